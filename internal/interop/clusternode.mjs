// A Socket.IO server of a cluster, for the tests of adapters. Its one argument is JSON:
//
//   {"redis":"redis://127.0.0.1:6379", "adapter":"classic", "key":"socket.io", "options":{…}, "adapterOptions":{…}}
//
// It writes one JSON report per line: the first is {"kind":"listening","port":…}. One JSON
// command per line on stdin, {"id":1, "op":"emit", …}, is answered by {"kind":"reply","id":1,
// "value":…} or by {"kind":"reply","id":1,"error":"…"}. The process ends when stdin does.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Server } from "socket.io";
import { createClient } from "redis";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createAdapter as createStreamsAdapter } from "@socket.io/redis-streams-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import { instrument } from "@socket.io/admin-ui";

const { redis, adapter, key, options = {}, adapterOptions = {} } = JSON.parse(process.argv[2]);
const report = (fields) => process.stdout.write(JSON.stringify(fields) + "\n");

const clients = [];
async function connect() {
  const client = createClient({ url: redis });
  client.on("error", () => {}); // it connects again by itself
  await client.connect();
  clients.push(client);
  return client;
}
const pub = await connect();
const makeAdapter = {
  classic: async () => createAdapter(pub, await connect(), { key, ...adapterOptions }),
  sharded: async () => createShardedAdapter(pub, await connect(), { channelPrefix: key, ...adapterOptions }),
  streams: async () => createStreamsAdapter(pub, { streamName: key, channelPrefix: key, sessionKeyPrefix: key + ":session:", ...adapterOptions }),
}[adapter];

const http = createServer();
const io = new Server(http, { ...options, serveClient: false, adapter: await makeAdapter() });
const emitter = new Emitter(pub, { key });

// Bytes and dates cannot stand in JSON as they are.
const pack = (value) => {
  if (Buffer.isBuffer(value) || value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("hex") };
  if (value instanceof Date) return { $date: value.toISOString() };
  if (Array.isArray(value)) return value.map(pack);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, pack(v)]));
  return value;
};
const unpack = (value) => {
  if (Array.isArray(value)) return value.map(unpack);
  if (value && typeof value === "object") {
    if ("$bytes" in value) return Buffer.from(value.$bytes, "hex");
    if ("$date" in value) return new Date(value.$date);
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, unpack(v)]));
  }
  return value;
};

function serve(nsp) {
  nsp.on("connection", (socket) => {
    socket.data.user = "of node";
    report({ kind: "connection", namespace: nsp.name, socket: socket.id, recovered: socket.recovered });
    socket.on("disconnect", (reason) => report({ kind: "disconnect", namespace: nsp.name, socket: socket.id, reason }));
  });
  nsp.on("hello", (...args) => {
    const answer = typeof args.at(-1) === "function" ? args.pop() : undefined;
    report({ kind: "hello", args: pack(args) });
    answer?.({ from: "node", args });
  });
}
serve(io.of("/"));
io.of(/^\/made\/.+$/).on("connection", (socket) => report({ kind: "connection", namespace: socket.nsp.name, socket: socket.id }));

const select = (of, { rooms = [], except = [], volatile, timeout }) => {
  let target = of;
  for (const room of rooms) target = target.to(room);
  for (const room of except) target = target.except(room);
  if (volatile) target = target.volatile;
  if (timeout) target = target.timeout(timeout);
  return target;
};
const ops = {
  emit: (c) => void select(io.of(c.namespace), c).emit(c.event, ...unpack(c.args ?? [])),
  ask: (c) => new Promise((resolve) =>
    select(io.of(c.namespace), { timeout: 10_000, ...c }).emit(c.event, ...unpack(c.args ?? []), (error, answers) => resolve({ error: error?.message, answers: pack(answers) }))),
  fetch: async (c) => (await select(io.of(c.namespace), c).fetchSockets()).map((s) => ({ id: s.id, rooms: [...s.rooms], data: s.data, handshake: s.handshake })),
  // asks one remote socket that fetchSockets finds
  askOne: async (c) => {
    const found = (await io.of(c.namespace).fetchSockets()).find((s) => s.id === c.socket);
    return pack(await found.timeout(10_000).emitWithAck(c.event, ...unpack(c.args ?? [])));
  },
  join: (c) => void select(io.of(c.namespace), c).socketsJoin(c.names),
  leave: (c) => void select(io.of(c.namespace), c).socketsLeave(c.names),
  disconnect: (c) => void select(io.of(c.namespace), c).disconnectSockets(c.close),
  serverSideEmit: (c) => void io.of(c.namespace).serverSideEmit(c.event, ...unpack(c.args ?? [])),
  serverSideAsk: async (c) => pack(await io.of(c.namespace).serverSideEmitWithAck(c.event, ...unpack(c.args ?? []))),
  rooms: (c) => [...(io.of(c.namespace).sockets.get(c.socket)?.rooms ?? [])],
  instrument: () => void instrument(io, { auth: false, mode: "development" }),
  emitter: (c) => void select(emitter.of(c.namespace), c).emit(c.event, ...unpack(c.args ?? [])),
  emitterJoin: (c) => void select(emitter.of(c.namespace), c).socketsJoin(c.names),
  emitterDisconnect: (c) => void select(emitter.of(c.namespace), c).disconnectSockets(c.close),
  emitterServerSide: (c) => void emitter.of(c.namespace).serverSideEmit(c.event, ...unpack(c.args ?? [])),
};

http.listen(0, "127.0.0.1", () => report({ kind: "listening", port: http.address().port }));
createInterface({ input: process.stdin })
  .on("line", async (line) => {
    const command = JSON.parse(line);
    try {
      report({ kind: "reply", id: command.id, value: (await ops[command.op]({ namespace: "/", ...command })) ?? null });
    } catch (error) {
      report({ kind: "reply", id: command.id, error: error.message });
    }
  })
  .on("close", () => process.exit(0));
