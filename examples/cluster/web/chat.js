// Which server one is on, and which has taken a message, is shown with it.
const { io } = await import("/socket.io/socket.io.esm.min.js")
  .catch(() => import("https://cdn.socket.io/4.8.4/socket.io.esm.min.js"));

const name = new URLSearchParams(location.search).get("name") ?? "guest " + Math.floor(Math.random() * 1000);
const socket = io({ auth: { name } });
const $ = (selector) => document.querySelector(selector);
let server = "?";

function state() {
  const how = socket.connected ? `connected to ${server} by ${socket.io.engine.transport.name}` : "not connected";
  $("#state").textContent = `You are ${name}, ${how}${socket.recovered ? ", back with all you missed" : ""}.`;
}
function show(text, note) {
  const item = document.createElement("li");
  item.textContent = text + " ";
  item.append(Object.assign(document.createElement("small"), { textContent: note }));
  $("#messages").append(item);
}

socket.on("connect", () => {
  state();
  socket.io.engine.on("upgrade", state);
});
socket.on("disconnect", state);
socket.on("welcome", (name) => {
  server = name;
  state();
});
socket.on("message", (m) => show(`${m.from}: ${m.text}`, `by way of ${m.server}`));

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("input").value.trim();
  $("input").value = "";
  if (text === "/who") socket.emit("who", (names) => show(names.join(", "), "are there"));
  else if (text) socket.emit("say", text);
});
