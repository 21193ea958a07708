// The page of the chat: no framework, no build step. It talks to the server
// with the official client, which our server hands out; where it has none to
// hand out, the client comes from the project's CDN.

const VERSION = "4.8.4";
const CDN = {
  src: `https://cdn.socket.io/${VERSION}/socket.io.min.js`,
  integrity: "sha384-fBrXvbDtHoeKWJ/hcA6M+YGueiDW+h45I7V6F2kD1S8bOkrF9rZYPLVkCR6BLR/1",
  crossOrigin: "anonymous",
};

const MAX_TEXT = 2000; // as on the server, in characters
const MAX_ITEMS = 500; // kept on the page
const TYPING_AGAIN = 2500; // ms between two notices that we are typing
const TYPING_ENDS = 6000; // ms after which somebody who fell silent is not
const ANSWER = 10000; // ms the server may take

const $ = (id) => document.getElementById(id);
const list = $("messages");
const log = $("log");

// ---- who we are -----------------------------------------------------------

// The secret makes us the same person after a lost connection. It lives as
// long as the page.
const secret = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

let socket; // of the official client
let me = null; // {id, name}, once we are in a room
let room = ""; // where we are
let wish = null; // {name, room} that we asked for, repeated when the connection is back
let seated = false; // the server knows that we are here
let early = null; // what arrives while we enter, to be looked at afterwards

const memory = {
  get: (key) => { try { return localStorage.getItem("upshift." + key) ?? ""; } catch { return ""; } },
  set: (key, value) => { try { localStorage.setItem("upshift." + key, value); } catch { /* a private window */ } },
};

// ---- small things ---------------------------------------------------------

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

function hue(name) {
  let h = 0;
  for (const c of name.toLowerCase()) h = (h * 31 + c.codePointAt(0)) % 3600;
  return h / 10;
}

const segmenter = Intl.Segmenter && new Intl.Segmenter(undefined, { granularity: "grapheme" });
const first = (word) => (segmenter ? segmenter.segment(word)[Symbol.iterator]().next().value.segment : [...word][0]);

function initials(name) {
  const words = name.split(/\s+/).filter(Boolean);
  const two = words.length > 1 ? first(words[0]) + first(words.at(-1)) : first(words[0] ?? "?");
  return two.toLocaleUpperCase();
}

function avatar(name) {
  const a = element("span", "avatar", initials(name));
  a.setAttribute("aria-hidden", "true");
  return a;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const longDay = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const relative = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" });

function day(at) {
  const midnight = (t) => new Date(t).setHours(0, 0, 0, 0);
  const ago = Math.round((midnight(Date.now()) - midnight(at)) / 86400000);
  if (ago > 1) return longDay.format(at);
  const word = relative.format(-ago, "day");
  return word[0].toUpperCase() + word.slice(1);
}

// ---- the connection and its badge -----------------------------------------

const badge = $("transport");
let opened = 0; // when the present connection opened

function showTransport(name) {
  if (badge.textContent === name && badge.dataset.state === name) return;
  const before = badge.dataset.state;
  badge.textContent = badge.dataset.state = name;
  badge.classList.toggle("shifted", before === "polling" && name === "websocket");
  let what = name;
  if (name === "offline") what = "Offline, trying again";
  else if (before === "polling") what = `Shifted up to ${name} after ${Math.round(performance.now() - opened)} ms`;
  else what = `Opened on ${name}`;
  badge.title = what;
  const line = element("li");
  line.append(element("time", "", clock.format(Date.now())), element("span", "", what));
  $("shifts").append(line);
  while ($("shifts").children.length > 4) $("shifts").firstChild.remove();
}

function watchTransport(manager) {
  manager.on("open", () => {
    opened = performance.now();
    showTransport(manager.engine.transport.name);
    manager.engine.on("upgrade", (transport) => showTransport(transport.name));
  });
  manager.on("close", () => showTransport("offline"));
}

// ---- people ---------------------------------------------------------------

let people = [];
let rosterAt = 0;
const writers = new Map(); // by person id: {name, timer}

function showRoster(roster) {
  if (roster.room !== room || roster.at < rosterAt) return;
  rosterAt = roster.at;
  people = roster.people;
  for (const id of writers.keys()) if (!people.some((p) => p.id === id)) stopsWriting(id);
  showPeople();
}

function showPeople() {
  $("count").textContent = $("menu-count").textContent = people.length;
  $("people").replaceChildren(...people.map((p) => {
    const li = element("li");
    li.style.setProperty("--hue", hue(p.name));
    li.append(avatar(p.name), element("bdi", "", p.name));
    if (p.id === me?.id) li.append(element("span", "you", "you"));
    else if (writers.has(p.id)) li.append(element("span", "pen", "writing"));
    return li;
  }));
}

function showWriters() {
  const names = [...writers.values()].map((w) => w.name);
  const line = $("typing");
  line.replaceChildren();
  if (names.length) {
    const dots = element("span", "dots");
    dots.setAttribute("aria-hidden", "true");
    dots.append(element("i"), element("i"), element("i"));
    let text = `${names[0]} is typing`;
    if (names.length === 2) text = `${names[0]} and ${names[1]} are typing`;
    if (names.length > 2) text = `${names.length} people are typing`;
    line.append(dots, element("bdi", "", text));
  }
  showPeople();
}

function writes(person) {
  clearTimeout(writers.get(person.id)?.timer);
  writers.set(person.id, { name: person.name, timer: setTimeout(stopsWriting, TYPING_ENDS, person.id) });
  showWriters();
}

function stopsWriting(id) {
  const writer = writers.get(id);
  if (!writer) return;
  clearTimeout(writer.timer);
  writers.delete(id);
  showWriters();
}

// ---- messages -------------------------------------------------------------

const items = new Map(); // by their time, which no two share
const pending = new Map(); // by key: ours that the server has not confirmed
let unread = 0;
let pinned = true; // the reader is at the end and wants to stay there

const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 90;
function toEnd() {
  pinned = true;
  log.scrollTop = log.scrollHeight;
  $("latest").hidden = true;
}

// place puts an item where its time belongs and keeps the end in view.
function place(li, at, own) {
  const follow = own || pinned;
  const neighbour = li.parentNode ? li.nextElementSibling : null;
  li.dataset.at = at;
  let next = null;
  for (let last = list.lastElementChild; last && (last === li || Number(last.dataset.at) > at); last = last.previousElementSibling) {
    if (last !== li) next = last;
  }
  if (!li.parentNode || li.nextElementSibling !== next) list.insertBefore(li, next);
  for (const e of [li, next, neighbour]) if (e) dress(e);
  while (list.children.length > MAX_ITEMS) {
    items.delete(Number(list.firstChild.dataset.at));
    list.firstChild.remove();
    dress(list.firstChild);
  }
  $("empty").hidden = true;
  if (follow) toEnd();
  else $("latest").hidden = false;
}

// dress gives an item its day, and hides the name where it would only be
// repeated. What waits for the server has no time yet: it counts as now.
function dress(li) {
  const time = (e) => (isFinite(e.dataset.at) ? Number(e.dataset.at) : Date.now());
  const before = li.previousElementSibling;
  const newDay = !before || day(time(before)) !== day(time(li));
  if (newDay) li.dataset.day = day(time(li));
  else delete li.dataset.day;
  li.classList.toggle("follow", !newDay && !!li.dataset.from && before.dataset.from === li.dataset.from &&
    time(li) - time(before) < 300000);
}

function messageItem(from, text, own) {
  const li = element("li", own ? "own fresh" : "fresh");
  li.dataset.from = from.id;
  li.style.setProperty("--hue", hue(from.name));
  const said = element("div", "said");
  const meta = element("p", "meta");
  meta.append(element("bdi", "author", from.name), element("time"));
  const bubble = element("p", "bubble");
  bubble.dir = "auto";
  bubble.append(...withLinks(text));
  said.append(meta, bubble);
  li.append(avatar(from.name), said);
  return li;
}

// withLinks makes web addresses clickable; all the rest stays text.
function withLinks(text) {
  return text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,;:!?)\]}'])/).map((part, i) => {
    if (i % 2 === 0) return part;
    const a = element("a", "", part);
    a.href = part;
    a.target = "_blank";
    a.rel = "noopener noreferrer nofollow";
    return a;
  });
}

function stamp(li, at) {
  const time = li.querySelector("time");
  time.dateTime = new Date(at).toISOString();
  time.textContent = clock.format(at);
  time.title = exact.format(at);
}

// showMessage shows what was said, once, however often we are told.
function showMessage(m) {
  if (m.room !== room || items.has(m.at)) return;
  const own = m.from.id === me?.id;
  const waiting = own && pending.get(m.key);
  const li = waiting ? waiting.li : messageItem(m.from, m.text, own);
  if (waiting) {
    pending.delete(m.key);
    li.classList.remove("waiting");
    li.querySelector(".state")?.remove();
  }
  stamp(li, m.at);
  items.set(m.at, li);
  place(li, m.at, own);
  stopsWriting(m.from.id);
  if (!own && document.hidden) {
    unread++;
    showTitle();
  }
}

function showNotice(at, text) {
  if (items.has(at)) return;
  const li = element("li", "notice");
  li.append(element("bdi", "", text));
  items.set(at, li);
  place(li, at, false);
}

function showChange(roster) {
  showRoster(roster);
  if (roster.room !== room) return;
  for (const [who, what] of [[roster.joined, "joined"], [roster.left, "left"]]) {
    if (who && who.id !== me?.id) showNotice(roster.at, `${who.name} ${what}`);
  }
}

function clearMessages() {
  for (const { li } of pending.values()) li.remove();
  pending.clear();
  items.clear();
  list.replaceChildren();
  $("empty").hidden = false;
  $("latest").hidden = true;
}

function showTitle() {
  document.title = (unread ? `(${unread}) ` : "") + (room ? `#${room} · Upshift chat` : "Upshift chat");
}

// ---- saying something -----------------------------------------------------

function say(text) {
  const key = `${Date.now().toString(36)}-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
  const li = messageItem(me, text, true);
  li.classList.add("waiting");
  li.querySelector(".said").append(element("p", "state", seated ? "Sending" : "Waiting for the connection"));
  pending.set(key, { li, text });
  place(li, Infinity, true);
  if (seated) submit(key);
}

// submit hands a message to the server. If the connection is lost it stays
// pending and goes out again after the next welcome; the server takes a key
// only once.
async function submit(key) {
  const { li, text } = pending.get(key);
  const state = li.querySelector(".state");
  state.textContent = "Sending";
  let answer;
  try {
    answer = await socket.timeout(ANSWER).emitWithAck("message:send", { text, key });
  } catch {
    state.textContent = "Waiting for the connection";
    return;
  }
  if (!answer.error) {
    showMessage(answer);
  } else if (answer.error.code !== "not_in_room") { // that one comes again after the welcome
    pending.delete(key);
    li.className = "own refused";
    state.textContent = answer.error.message;
    place(li, Date.now(), false);
  }
}

let toldTyping = 0;

function tellTyping(on) {
  if (!seated || (!on && !toldTyping) || (on && Date.now() - toldTyping < TYPING_AGAIN)) return;
  toldTyping = on ? Date.now() : 0;
  socket.volatile.emit("typing:set", on);
}

const text = $("text");

function measure() {
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight}px`;
  const left = MAX_TEXT - [...text.value.trim()].length;
  $("limit").textContent = left < 100 ? left : "";
  $("send").disabled = !text.value.trim() || left < 0;
}

text.addEventListener("input", () => {
  measure();
  tellTyping(text.value.trim() !== "");
});
text.addEventListener("keydown", (e) => {
  if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
  e.preventDefault();
  $("composer").requestSubmit();
});
$("composer").addEventListener("submit", (e) => {
  e.preventDefault();
  measure();
  if (!me || $("send").disabled) return;
  say(text.value.trim());
  text.value = "";
  measure();
  tellTyping(false);
  text.focus();
});

// ---- coming in ------------------------------------------------------------

const door = $("door");

function openDoor(trouble) {
  $("trouble").textContent = trouble ?? "";
  $("stay").hidden = !seated;
  $("door-title").textContent = me ? "Another room?" : "Come in";
  closeSide();
  if (!door.open) {
    $("name").value = me?.name ?? memory.get("name");
    $("room").value = room || decodeURIComponent(location.hash.slice(1)) || memory.get("room") || "lobby";
    door.showModal();
    (me ? $("room") : $("name")).select();
  }
  listRooms();
}

async function listRooms() {
  if (!socket?.connected) return;
  let rooms = [];
  try { rooms = await socket.timeout(ANSWER).emitWithAck("room:list"); } catch { return; }
  if (!Array.isArray(rooms)) return;
  $("rooms").replaceChildren(...rooms.filter((r) => r.name !== room).slice(0, 8).map((r) => {
    const chip = element("button", "", `#${r.name}`);
    chip.type = "button";
    const size = element("small", "", r.people);
    size.setAttribute("aria-label", `${r.people} here`);
    chip.append(size);
    chip.addEventListener("click", () => {
      $("room").value = r.name;
      $("name").value.trim() ? $("entry").requestSubmit() : $("name").focus();
    });
    const li = element("li");
    li.append(chip);
    return li;
  }));
  $("rooms").hidden = !$("rooms").children.length;
}

// enter takes the seat that we wish for: at first, in another room, and again
// after the connection was lost.
async function enter() {
  if (early) return;
  early = [];
  $("join").disabled = true;
  let answer;
  try {
    answer = await socket.timeout(ANSWER).emitWithAck("room:enter", { ...wish, secret });
  } catch {
    answer = null;
  }
  $("join").disabled = false;
  const missed = early;
  early = null;
  if (answer && !answer.error) {
    welcome(answer);
    wish = { name: me.name, room };
  } else if (answer) {
    wish = me && { name: me.name, room };
    openDoor(answer.error.message);
    markField(answer.error);
  } else {
    $("trouble").textContent = "No answer yet. It will be asked again when the connection is back.";
  }
  for (const look of missed) look();
}

function markField(error) {
  const field = error.code.includes("name") ? $("name") : $("room");
  field.setAttribute("aria-invalid", "true");
  field.focus();
}

function welcome({ you, roster, history }) {
  const moved = roster.room !== room;
  if (moved) clearMessages();
  for (const id of [...writers.keys()]) stopsWriting(id);
  me = you;
  room = roster.room;
  rosterAt = 0;
  seated = true;
  unread = 0;
  memory.set("name", me.name);
  memory.set("room", room);
  window.history.replaceState(null, "", "#" + encodeURIComponent(room));
  $("title").textContent = room;
  $("here").textContent = "#" + room;
  showTitle();
  log.setAttribute("aria-busy", "true"); // the past is not news
  showRoster(roster);
  for (const m of history) {
    showMessage(m);
    items.get(m.at).classList.remove("fresh");
  }
  setTimeout(() => log.setAttribute("aria-busy", "false"), 500);
  for (const key of pending.keys()) submit(key);
  if (door.open) {
    door.close();
    text.focus();
  }
}

$("entry").addEventListener("submit", (e) => {
  e.preventDefault();
  if (early) return; // one question at a time
  for (const field of [$("name"), $("room")]) field.removeAttribute("aria-invalid");
  const empty = [$("name"), $("room")].find((field) => !field.value.trim());
  if (empty) {
    $("trouble").textContent = empty === $("name") ? "Please choose a name." : "Please choose a room.";
    empty.setAttribute("aria-invalid", "true");
    empty.focus();
    return;
  }
  $("trouble").textContent = "";
  wish = { name: $("name").value, room: $("room").value };
  if (socket?.connected) enter();
  else $("trouble").textContent = "No connection yet. You will be let in as soon as there is one.";
});
door.addEventListener("cancel", (e) => { if (!me) e.preventDefault(); });
$("stay").addEventListener("click", () => door.close());
$("switch").addEventListener("click", () => openDoor());

// ---- the rest of the page -------------------------------------------------

const narrow = matchMedia("(max-width: 760px)");

function openSide() {
  $("side").classList.add("open");
  $("scrim").hidden = false;
  $("menu").setAttribute("aria-expanded", "true");
  $("shut").focus();
}

function closeSide() {
  if (!$("side").classList.contains("open")) return;
  $("side").classList.remove("open");
  $("scrim").hidden = true;
  $("menu").setAttribute("aria-expanded", "false");
  if (narrow.matches) $("menu").focus();
}

$("menu").addEventListener("click", openSide);
$("shut").addEventListener("click", closeSide);
$("scrim").addEventListener("click", closeSide);
document.addEventListener("keydown", (e) => { if (e.key === "Escape") closeSide(); });
$("latest").addEventListener("click", toEnd);
log.addEventListener("scroll", () => {
  pinned = atEnd();
  if (pinned) $("latest").hidden = true;
}, { passive: true });
new ResizeObserver(() => { if (pinned) toEnd(); }).observe(log); // a keyboard comes up
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  unread = 0;
  showTitle();
});

// ---- start ----------------------------------------------------------------

function load(attributes) {
  return new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"), attributes);
    script.onload = done;
    script.onerror = () => failed(new Error(`cannot load ${attributes.src}`));
    document.head.append(script);
  });
}

// listen calls handle for an event, or later while we are entering a room.
function listen(event, handle) {
  socket.on(event, (data) => (early ? early.push(() => handle(data)) : handle(data)));
}

async function start() {
  openDoor();
  measure();
  try {
    await load({ src: "/socket.io/socket.io.min.js" }).catch(() => load(CDN));
  } catch {
    $("trouble").textContent = "The Socket.IO client could not be loaded, neither from here nor from cdn.socket.io.";
    return;
  }
  socket = globalThis.io();
  watchTransport(socket.io);
  socket.on("connect", () => {
    if (wish) enter();
    else listRooms();
  });
  socket.on("disconnect", (reason) => {
    seated = false;
    toldTyping = 0;
    for (const id of [...writers.keys()]) stopsWriting(id);
    if (reason === "io server disconnect") setTimeout(() => socket.connect(), 1000); // the client does not by itself
  });
  listen("message", showMessage);
  listen("people", showChange);
  listen("typing", (t) => {
    if (t.room !== room) return;
    if (t.on) writes(t.person);
    else stopsWriting(t.person.id);
  });
}

start();
