// Official Socket.IO and Engine.IO clients, driven from outside: one JSON command per line on
// stdin, one JSON report per line on stdout.
//
//   {"id":1, "op":"open", "client":"a", "url":"http://…", "options":{…}}
//   {"reply":1}
//   {"client":"a", "event":"connect", "sid":"…", "transport":"polling"}
//
// What JSON has no word for travels as {"$binary":"<base64>"}, {"$date":<ms>} and
// {"$undefined":true}, and to here also {"$arrayBuffer":"<base64>"}. The process
// ends when stdin does.
import { Socket as Engine } from "engine.io-client";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import io2 from "socket.io-client-2";
import msgpack from "socket.io-msgpack-parser";
import * as plain from "../../examples/customcodec/parser.mjs";

const AsyncFunction = (async () => {}).constructor;
const parsers = { msgpack, plain }; // what the parser option may name

const clients = new Map(); // name -> Socket of socket.io-client
const engines = new Map(); // name -> Socket of engine.io-client
const pending = new Map(); // number -> { answer, binary } of an event that wants an answer
const posting = new Set(); // names of clients that post
let acks = 0;

function write(report) {
  const fields = Object.entries(report).map(([k, v]) => [k, v === undefined ? v : pack(v)]);
  process.stdout.write(JSON.stringify(Object.fromEntries(fields)) + "\n");
}

function pack(value) {
  if (value === undefined) return { $undefined: true };
  if (value instanceof Date) return { $date: value.getTime() };
  if (value instanceof ArrayBuffer) value = new Uint8Array(value);
  if (ArrayBuffer.isView(value)) {
    return { $binary: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  }
  if (Array.isArray(value)) return value.map(pack);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, pack(v)]));
  }
  return value;
}

// unpack makes Buffers and plain Uint8Arrays in turn: clients send both, those
// of version 2 excepted.
let binaries = 0;
const inTurn = (buffer) => (binaries++ % 2 === 0 ? buffer : new Uint8Array(buffer));
const asBuffer = (buffer) => buffer;
const binaryFor = (socket) => (socket.onAny ? inTurn : asBuffer);
function unpack(value, binary = inTurn) {
  if (Array.isArray(value)) return value.map((v) => unpack(v, binary));
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$binary === "string") return binary(Buffer.from(value.$binary, "base64"));
  if (typeof value.$arrayBuffer === "string") return new Uint8Array(Buffer.from(value.$arrayBuffer, "base64")).buffer;
  if (typeof value.$date === "number") return new Date(value.$date);
  if (value.$undefined) return undefined;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, unpack(v, binary)]));
}

function watch(name, socket, quiet) {
  const report = (event, more) => write({ client: name, event, ...more });
  const transport = () => socket.io.engine?.transport?.name;

  socket.on("connect", () => report("connect", { sid: socket.id, recovered: socket.recovered, transport: transport() }));
  socket.on("connect_error", (err) => report("connect_error", { message: err.message, data: err.data }));
  socket.on("disconnect", (reason, details) =>
    report("disconnect", { reason, message: String(details?.description?.message ?? details?.description ?? "") }));
  // A client of version 2 calls its refusal by a namespace an error.
  socket.on("error", (err) => report("refused", { data: err }));
  onAny(socket, (event, ...args) => {
    if (quiet.includes(event)) return;
    const more = { name: event, args };
    if (typeof args.at(-1) === "function") {
      pending.set(++acks, { answer: args.pop(), binary: binaryFor(socket) });
      more.ack = acks;
    }
    report("message", more);
  });
}

// onAny has fn called for every event. Clients of version 2 have no function for
// it.
function onAny(socket, fn) {
  if (socket.onAny) return socket.onAny(fn);
  const onevent = socket.onevent;
  socket.onevent = function (packet) {
    const ack = packet.id === undefined || packet.id === null ? [] : [this.ack(packet.id)];
    fn(...packet.data, ...ack);
    if (!ack.length) onevent.call(this, packet);
  };
}

// watchEngine reports the upgrades of a manager's connections, this and later
// ones.
function watchEngine(name, manager) {
  const hook = () => {
    manager.engine.on("upgrade", (t) => write({ client: name, event: "upgrade", transport: t.name }));
    manager.engine.on("upgradeError", (err) => write({ client: name, event: "upgradeError", message: err.message }));
  };
  manager.on("open", hook);
}

const operations = {
  // shares names a client whose connection is used; quiet lists events that are
  // not worth a report; clean makes the client forget events that came before
  // it was connected when the connection is lost; idle leaves connecting to
  // others; version is that of the client.
  open({ client, url, namespace = "/", options = {}, shares, quiet = [], clean, idle, version = 4 }) {
    let socket;
    if (options.parser) options.parser = parsers[options.parser];
    if (shares) {
      socket = clients.get(shares).io.socket(namespace, options);
    } else {
      socket = (version === 2 ? io2 : io)(url + namespace, { forceNew: true, autoConnect: false, ...options });
      watchEngine(client, socket.io);
    }
    clients.set(client, socket);
    watch(client, socket, quiet);
    if (clean) socket.on("disconnect", () => (socket.receiveBuffer = []));
    if (!idle) socket.connect();
  },
  drop({ client }) {
    const socket = clients.get(client);
    clients.delete(client);
    socket.off();
    socket.offAny?.();
    socket.disconnect();
  },
  connect({ client, auth }) {
    const socket = clients.get(client);
    if (auth !== undefined) socket.auth = auth;
    socket.connect();
  },
  disconnect({ client }) {
    clients.get(client).disconnect();
  },
  emit({ client, name, args = [] }) {
    const socket = clients.get(client);
    socket.emit(name, ...unpack(args, binaryFor(socket)));
  },
  async call({ client, name, args = [] }) {
    const socket = clients.get(client);
    return await new Promise((resolve) => socket.emit(name, ...unpack(args, binaryFor(socket)), (...out) => resolve(out)));
  },
  // run runs the body of a function that has the socket, the arguments and what
  // may be reported. The reply is what it returns, or how it failed.
  async run({ client, body, args = [] }) {
    const report = (event, more) => write({ client, event, ...more });
    try {
      const run = new AsyncFunction("socket", "args", "report", "io", body);
      return { value: await run(clients.get(client), unpack(args), report, io) };
    } catch (err) {
      return { failure: String(err?.message ?? err) };
    }
  },
  answer({ ack, args = [] }) {
    const { answer, binary } = pending.get(ack);
    answer(...unpack(args, binary));
    pending.delete(ack);
  },
  // post emits numbers from 0 on until it is stopped, and asks for an ack each
  // time. It reports what was sent, in which session if in any, and what was
  // acknowledged. The reply is how many there were.
  async post({ client, gap }) {
    const socket = clients.get(client);
    let n = 0;
    for (posting.add(client); posting.has(client); n++) {
      const number = n;
      socket.emit("post", number, () => write({ client, event: "acked", n: number }));
      write({ client, event: "sent", sid: socket.sendBuffer.length > 0 ? "" : socket.id, n });
      await new Promise((resolve) => setTimeout(resolve, gap));
    }
    return n;
  },
  stop({ client }) {
    posting.delete(client);
  },
  // barrier comes back when the server has answered, however many sessions that
  // takes.
  async barrier({ client }) {
    const socket = clients.get(client);
    for (;;) {
      try {
        await socket.timeout(60_000).emitWithAck("echo", null);
        return;
      } catch {
        // the session ended before the answer
      }
    }
  },
  // packed is a packet, a list of names and values, as the official parser for
  // MessagePack writes it.
  packed({ packet }) {
    const members = packet.map(([name, value]) => [name, unpack(value, asBuffer)]);
    return new msgpack.Encoder().encode(Object.fromEntries(members))[0];
  },
  // The operations on a bare Engine.IO connection begin with "engine".
  engineOpen({ client, url, options }) {
    const engine = new Engine(url, options ?? {});
    engines.set(client, engine);
    const report = (event, more) => write({ client, event, ...more });
    engine.binaryType = "arraybuffer"; // what a browser would use
    engine.on("open", () => report("open", { sid: engine.id, transport: engine.transport.name }));
    engine.on("upgrade", (t) => report("upgrade", { transport: t.name }));
    engine.on("message", (data) => report("message", { name: "message", args: [data] }));
    engine.on("close", (reason) => report("close", { reason }));
  },
  engineSend({ client, messages }) {
    for (const data of unpack(messages)) engines.get(client).send(data);
  },
  // engineStream sends numbers as text, one each `gap` milliseconds.
  async engineStream({ client, from, to, gap }) {
    for (let n = from; n < to; n++) {
      engines.get(client).send(String(n));
      await new Promise((resolve) => setTimeout(resolve, gap));
    }
  },
  engineTransport({ client }) {
    return engines.get(client).transport.name;
  },
  engineClose({ client }) {
    engines.get(client).close();
  },
  transport({ client }) {
    return clients.get(client).io.engine.transport.name;
  },
  // stream emits numbers from `from` up to, not including, `to`. Without `gap`
  // all at once; with it one every `gap` milliseconds. With `until` it ends early
  // once the connection has moved to that transport. The reply is the first
  // number that was not sent.
  async stream({ client, name, from, to, gap, until }) {
    const socket = clients.get(client);
    let n = from;
    while (n < to && !(until && socket.io.engine?.transport?.name === until)) {
      socket.emit(name, n++);
      if (gap !== undefined) await new Promise((resolve) => setTimeout(resolve, gap));
    }
    return n;
  },
};

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const { id, op, ...command } = JSON.parse(line);
  const value = await operations[op](command);
  write({ reply: id, value });
});
lines.on("close", () => process.exit(0));
