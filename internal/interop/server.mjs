// An official Socket.IO server for the tests of the Go client. Its one argument is JSON:
//
//   {"codec":"msgpack", "options":{…}}
//
// It writes one JSON report per line: the first is {"kind":"listening","port":…}. One JSON
// command per line on stdin makes it emit to a namespace: {"namespace":"/", "event":"news",
// "args":[…], "volatile":true}. The process ends when stdin does.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Server } from "socket.io";
import msgpack from "socket.io-msgpack-parser";

const { codec, options = {} } = JSON.parse(process.argv[2] ?? "{}");
const http = createServer();
const io = new Server(http, { ...options, serveClient: false, ...(codec === "msgpack" ? { parser: msgpack } : {}) });

const report = (fields) => process.stdout.write(JSON.stringify(fields) + "\n");
const deaf = new Map(); // key -> how often it was heard

function serve(socket) {
  const namespace = socket.nsp.name;
  report({
    kind: "connect",
    namespace,
    id: socket.id,
    recovered: socket.recovered,
    auth: socket.handshake.auth,
    query: socket.handshake.query.who,
    header: socket.handshake.headers["x-who"],
    cookie: socket.handshake.headers.cookie,
    transport: socket.conn.transport.name,
  });
  socket.conn.on("upgrade", (transport) => report({ kind: "upgrade", namespace, id: socket.id, transport: transport.name }));
  socket.on("disconnect", (reason) => report({ kind: "disconnect", namespace, id: socket.id, reason }));

  socket.on("echo", (...args) => args.pop()(...args));
  socket.on("bounce", (event, ...args) => socket.emit(event, ...args));
  socket.on("ask", async (event, value, answer) => {
    try {
      answer(await socket.timeout(10_000).emitWithAck(event, value));
    } catch (error) {
      answer({ error: { code: "unanswered", message: error.message } });
    }
  });
  socket.on("flood", (n, padding) => {
    for (let i = 0; i < n; i++) socket.emit("drop", i, padding);
  });
  socket.on("count", (n, answer) => {
    report({ kind: "count", namespace, n });
    if (typeof answer === "function") answer(n);
  });
  // deaf answers after it has been asked for the nth time.
  socket.on("deaf", (key, times, answer) => {
    const heard = (deaf.get(key) ?? 0) + 1;
    deaf.set(key, heard);
    report({ kind: "deaf", namespace, n: heard });
    if (heard >= times) answer(heard);
  });
  socket.on("leave", () => socket.disconnect());
  socket.on("end", () => socket.disconnect(true));
  socket.on("drop", () => socket.conn.close());
}

for (const name of ["/", "/chat", "/other"]) io.of(name).on("connection", serve);
io.of("/secret")
  .use((socket, next) => {
    if (socket.handshake.auth.token === "letmein") return next();
    const error = new Error("not you");
    error.data = { code: "denied", seen: socket.handshake.auth };
    next(error);
  })
  .on("connection", serve);

http.listen(0, "127.0.0.1", () => report({ kind: "listening", port: http.address().port }));
createInterface({ input: process.stdin })
  .on("line", (line) => {
    const { namespace, event, args, volatile } = JSON.parse(line);
    const target = io.of(namespace);
    (volatile ? target.volatile : target).emit(event, ...args);
    report({ kind: "emitted" });
  })
  .on("close", () => process.exit(0));
