// A Socket.IO server of version 2, which speaks Engine.IO 3 alone. It writes its port, and
// ends when stdin does.
import { createServer } from "node:http";
import createOld from "socket.io-2";

const http = createServer();
createOld(http, { serveClient: false });
http.listen(0, "127.0.0.1", () => process.stdout.write(http.address().port + "\n"));
process.stdin.on("end", () => process.exit(0)).resume();
