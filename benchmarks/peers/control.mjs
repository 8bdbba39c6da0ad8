// How a server on Node is told what to publish: the same lines as in control.py.

import { createInterface } from "node:readline";

const TIMESTAMP = "2026-01-01T00:00:00.000Z";
const EVENT_TYPE = "task.updated";
const NOTE = "Every node gets a type";

export const EVERYTHING = "*";
export const OK = "ok";

const say = (content) => process.stdout.write(`${JSON.stringify(content)}\n`);
const microseconds = () => Number(process.hrtime.bigint() / 1000n);
const seconds = () => performance.now() / 1000;

// Who listens to what, where the server has nothing of the kind itself.
export class Topics {
  #listeners = new Map([[EVERYTHING, new Set()]]);

  add(topic, listener) {
    if (!this.#listeners.has(topic)) this.#listeners.set(topic, new Set());
    this.#listeners.get(topic).add(listener);
  }

  remove(topic, listener) {
    this.#listeners.get(topic)?.delete(listener);
  }

  of(topic) {
    const everybody = this.#listeners.get(EVERYTHING);
    return everybody.size ? everybody : (this.#listeners.get(topic) ?? []);
  }
}

let last = 0;
let acked = 0;
let wake = null;

function next(topics) {
  last += 1;
  const payload = {
    seq: last,
    at: microseconds(),
    topic: `task:TASK-${last % topics}`,
    eventType: EVENT_TYPE,
    note: NOTE,
  };
  return { type: "event", timestamp: TIMESTAMP, payload };
}

function due(order, begin, done) {
  let count = Math.min(order.at_once, order.events - done);
  if (order.per_second) {
    count = Math.min(count, 1 + Math.floor((seconds() - begin) * order.per_second) - done);
  }
  return order.ahead ? Math.min(count, acked + order.ahead - last) : count;
}

function pause(order, begin, done) {
  if (order.per_second) {
    const left = begin + done / order.per_second - seconds();
    return new Promise((go) => setTimeout(go, Math.max(0, Math.ceil(left * 1000))));
  }
  if (order.ahead && last >= acked + order.ahead) {
    return new Promise((go) => { wake = go; });
  }
  return new Promise((go) => setImmediate(go));
}

async function publish(order, send) {
  const begin = seconds();
  acked = last;
  let done = 0;
  while (done < order.events && seconds() - begin < order.seconds) {
    const count = due(order, begin, done);
    for (let place = 0; place < count; place += 1) send(next(order.topics));
    done += Math.max(0, count);
    await pause(order, begin, done);
  }
  say({ published: last });
}

export async function obey(port, send) {
  say({ port });
  for await (const line of createInterface({ input: process.stdin })) {
    const said = JSON.parse(line);
    if ("ack" in said) {
      acked = said.ack;
      wake?.();
      wake = null;
    } else {
      publish(said.publish, send);
    }
  }
  process.exit();
}
