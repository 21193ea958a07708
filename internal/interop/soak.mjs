// Official clients for the soak: they come as a list, one JSON line on stdin,
// receive and send numbers, and notice for themselves when one is missing, comes
// twice or out of order. Reports are JSON lines on stdout:
//
//   {"client":"c1", "event":"connected"}        the first time
//   {"client":"c1", "event":"wrong", "what":"…"}
//   {"client":"c1", "event":"done", …}          after the server's "end"
//
// The process ends when stdin does.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import msgpack from "socket.io-msgpack-parser";

const parsers = { msgpack }; // the default is that of JSON
const sockets = [];
const write = (report) => process.stdout.write(JSON.stringify(report) + "\n");

function run({ name, url, transports, gap, codec }) {
  const next = { all: 0, room: 0, direct: 0 }; // the number that must come next
  const stats = { connects: 0, ticks: 0, sent: 0, acked: 0, tries: 0 };
  let lastTick = -1;
  let sid;
  let ended = false;
  const wrong = (what) => write({ client: name, event: "wrong", what });

  const socket = io(url, {
    forceNew: true,
    transports,
    auth: { name },
    reconnectionDelay: 50,
    reconnectionDelayMax: 400,
    timeout: 8000,
    // Whatever is emitted is repeated until it is acknowledged, one after the other.
    retries: 10_000,
    ackTimeout: 4000,
    parser: parsers[codec],
  });
  sockets.push(socket);

  socket.on("connect", () => {
    if (stats.connects++ === 0) {
      sid = socket.id;
      write({ client: name, event: "connected" });
      return;
    }
    if (!socket.recovered) wrong("not recovered");
    if (socket.id !== sid) wrong(`was ${sid}, is ${socket.id}`);
  });
  socket.on("connect_error", (err) => {
    if (!socket.active) wrong(`refused: ${err.message}`);
  });
  socket.on("disconnect", (reason) => {
    if (!socket.active && !ended) wrong(`disconnected for good: ${reason}`);
    // What came before the end of a connection that has not lasted until CONNECT
    // comes again.
    socket.receiveBuffer = [];
  });

  const count = (kind) => (n, data) => {
    if (n !== next[kind]) wrong(`${kind} ${n} when ${next[kind]} is due`);
    next[kind] = n + 1;
    if (data instanceof Uint8Array && Buffer.from(data).toString() !== String(n)) wrong(`${kind} ${n} carries ${data}`);
  };
  for (const kind of Object.keys(next)) socket.on(kind, count(kind));
  socket.on("tick", (n) => {
    if (n <= lastTick) wrong(`tick ${n} after ${lastTick}`);
    lastTick = n;
    stats.ticks++;
  });

  const produce = () => {
    const n = stats.sent++;
    const payload = n % 7 === 0 ? Buffer.from(String(n)) : null;
    socket.emit("up", n, payload, (err) => {
      if (err) wrong(`up ${n} was given up: ${err.message}`);
      else if (n !== stats.acked) wrong(`up ${n} is acknowledged when ${stats.acked} is due`);
      stats.acked++;
      if (ended) finish();
    });
    socket.volatile.emit("fire", n);
  };
  const timer = setInterval(produce, gap);

  const finish = () => {
    if (stats.acked === stats.sent) write({ client: name, event: "done", next, ...stats });
  };
  socket.on("end", () => {
    clearInterval(timer);
    ended = true;
    finish();
  });
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => JSON.parse(line).forEach(run));
lines.on("close", () => {
  for (const socket of sockets) socket.off().disconnect();
  // What is to be sent is sent.
  setTimeout(() => process.exit(0), 500);
});
