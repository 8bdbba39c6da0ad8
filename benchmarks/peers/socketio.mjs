// Socket.IO over WebSockets only, on ws, without compression, its default; topics are rooms.

import { createServer } from "node:http";
import { Server } from "socket.io";
import { EVERYTHING, OK, obey } from "./control.mjs";

const http = createServer();
const io = new Server(http, {
  transports: ["websocket"],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
});
let everybody = 0;

// Who wants everything is in no room: it is sent to everybody then.
io.on("connection", (socket) => {
  socket.on("subscribe", (topic) => {
    if (topic === EVERYTHING) {
      everybody += 1;
      socket.on("disconnect", () => { everybody -= 1; });
    } else {
      socket.join(topic);
    }
    socket.emit(OK);
  });
});

function send(event) {
  (everybody ? io : io.to(event.payload.topic)).emit("event", event);
}

http.listen(0, "127.0.0.1", () => obey(http.address().port, send));
