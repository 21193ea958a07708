// The same program as serve_upshift.go, for Node's socket.io. It prints its address and ends when
// its standard input does.
import { Server } from "socket.io";

export function serve(http, options) {
  const io = new Server(http, { ...options, pingInterval: 3_600_000, serveClient: false });

  io.on("connection", (socket) => {
    socket.join("all");
    socket.on("echo", (message) => socket.emit("echo", message));
    socket.on("ack", (message, answer) => answer(message));
    socket.on("cast", (message) => io.to("all").emit("cast", message));
    socket.on("join", (rooms, answer) => {
      socket.join(rooms);
      answer(true);
    });
    socket.on("room", (room, message) => io.to(room).emit("room", room, message));
  });

  http.listen(0, "127.0.0.1", () => console.log(`127.0.0.1:${http.address().port}`));
  process.stdin.on("end", () => process.exit(0)).resume();
}
