// The program of server.go, for Node's socket.io. Its argument is the address of Redis; it writes
// its own.
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import { createAdapter } from "@socket.io/redis-streams-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const redis = createClient({ url: "redis://" + process.argv[2] });
redis.on("error", (error) => console.error(error.message)); // it connects again by itself
await redis.connect();

const page = (file, type) => ({ type, text: readFileSync(new URL("web/" + file, import.meta.url)) });
const pages = { "/": page("index.html", "text/html"), "/chat.js": page("chat.js", "text/javascript") };
const http = createServer((request, response) => {
  const found = pages[request.url];
  response.writeHead(found ? 200 : 404, { "content-type": found?.type ?? "text/plain" }).end(found?.text ?? "not found");
});
const io = new Server(http, { adapter: createAdapter(redis), connectionStateRecovery: {} });

io.on("connection", (socket) => {
  if (!socket.recovered) {
    socket.data.name = socket.handshake.auth.name || "somebody";
    socket.join("chat");
    socket.emit("welcome", "node");
  }
  socket.on("say", (text, answer) => {
    io.to("chat").emit("message", { from: socket.data.name, text, server: "node" });
    answer?.();
  });
  socket.on("who", async (answer) => answer((await io.in("chat").fetchSockets()).map((s) => s.data.name)));
});

const [host, port] = (process.argv[3] ?? "127.0.0.1:0").split(":");
http.listen(Number(port), host, () => console.log(`http://${host}:${http.address().port}/`));
