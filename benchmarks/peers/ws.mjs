// Node's ws without compression, its default. `node ws.mjs once` makes the JSON once an event and
// hands every client the same bytes; `node ws.mjs each` makes it for each client anew.

import { WebSocketServer } from "ws";
import { OK, Topics, obey } from "./control.mjs";

const topics = new Topics();
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });

server.on("connection", (client) => {
  client.once("message", (said) => {
    const topic = said.toString();
    topics.add(topic, client);
    client.on("close", () => topics.remove(topic, client));
    client.send(OK);
  });
});

function once(event) {
  const bytes = Buffer.from(JSON.stringify(event));
  for (const client of topics.of(event.payload.topic)) client.send(bytes, { binary: false });
}

function each(event) {
  for (const client of topics.of(event.payload.topic)) client.send(JSON.stringify(event));
}

server.on("listening", () => {
  obey(server.address().port, process.argv[2] === "each" ? each : once);
});
