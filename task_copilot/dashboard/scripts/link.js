// @ts-check
// The connection to the hub: events after a cursor, over a WebSocket, and by asking for them where
// WebSockets do not get through. It comes back by itself, at its cursor.

import { ApiError, get } from "./api.js";

const BATCH = { maxEvents: 500, maxDelayMs: 20 };
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 15_000;
const SILENCE_MS = 75_000;
/** The hub pings every 30 s: after this a connection is taken for dead. */
const COME_BACK_AT_ONCE = 1012;
const COME_BACK_LATER = 1013;
const LATER_MS = 5_000;
const POLL_SECONDS = 20;
const POLLS_BETWEEN_TRIES = 3;
const POLL_EVENTS = 1_000;

/**
 * @typedef {object} Listener
 * @property {() => {seq: number, epoch: string}} cursor
 * @property {(events: any[]) => void} events
 * @property {(head: number) => void} connected what the head of the log is
 * @property {(why: string) => void} stale the state has to be read anew; the link has closed itself
 * @property {(timestamp: string) => void} time the server's time now
 * @property {(reason: string, retryInMs: number) => void} offline
 * @property {(error: ApiError) => void} refused
 */

export class Link {
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #silence;
  #failures = 0;
  #generation = 0;
  #wasOpen = false;

  /** @param {Listener} listener */
  constructor(listener) {
    this.listener = listener;
  }

  /** Connects at the cursor; what was there before is closed. */
  open() {
    this.close();
    const generation = this.#generation;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws`);
    this.#socket = socket;
    this.#wasOpen = false;
    socket.addEventListener("open", () => this.#subscribe(socket));
    socket.addEventListener("message", (message) => {
      if (generation === this.#generation) this.#receive(socket, JSON.parse(message.data));
    });
    socket.addEventListener("close", (end) => {
      if (generation === this.#generation) this.#ended(end.code);
    });
    this.#hear(generation);
  }

  close() {
    this.#generation += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    this.#timer = undefined;
    this.#socket?.close();
    this.#socket = null;
  }

  /** Tries at once, where it waits for its next try. */
  retry() {
    if (this.#timer !== undefined) this.open();
  }

  /** @param {WebSocket} socket */
  #subscribe(socket) {
    const { seq, epoch } = this.listener.cursor();
    const payload = { topics: ["*"], since: seq, epoch, batch: BATCH };
    socket.send(JSON.stringify({ type: "subscribe", payload }));
  }

  /** @param {WebSocket} socket @param {any} message */
  #receive(socket, { type, payload, timestamp }) {
    this.#hear(this.#generation);
    if (type === "events") this.listener.events(payload.events);
    else if (type === "event") this.listener.events([payload]);
    else if (type === "ping") this.#answer(socket, timestamp);
    else if (type === "subscribed") this.#subscribed(payload);
    else if (type === "gap") this.#stale("Events were pruned before they came.");
    else if (type === "error") this.#stale(payload.message);
  }

  /** @param {WebSocket} socket @param {string} timestamp */
  #answer(socket, timestamp) {
    this.listener.time(timestamp);
    socket.send(JSON.stringify({ type: "pong", payload: {} }));
  }

  /** @param {{epoch: string, seq: number}} payload */
  #subscribed({ epoch, seq }) {
    if (epoch !== this.listener.cursor().epoch) {
      this.#stale("The database is another one.");
      return;
    }
    this.#wasOpen = true;
    this.#failures = 0;
    this.listener.connected(seq);
  }

  /** @param {string} why */
  #stale(why) {
    this.close();
    this.listener.stale(why);
  }

  /** @param {number} generation */
  #hear(generation) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      if (generation !== this.#generation) return;
      this.#socket?.close();
      this.#ended(COME_BACK_AT_ONCE);
    }, SILENCE_MS);
  }

  /** @param {number} code */
  async #ended(code) {
    this.#generation += 1;
    clearTimeout(this.#silence);
    const generation = this.#generation;
    this.#failures += 1;
    if (this.#wasOpen && code !== COME_BACK_LATER) {
      this.#wait("The connection ended.", FIRST_DELAY_MS * Math.random());
      return;
    }
    const answered = await this.#poll(0, generation);
    if (generation !== this.#generation || answered === "stale" || answered === "refused") return;
    if (answered === "offline") this.#wait("The server does not answer.", this.#delay(code));
    else await this.#pollOn(generation);
  }

  /** @param {string} reason @param {number} delay */
  #wait(reason, delay) {
    this.listener.offline(reason, delay);
    this.#timer = setTimeout(() => this.open(), delay);
  }

  /** @param {number} code */
  #delay(code) {
    const grown = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(this.#failures, 10));
    const spread = grown * (0.5 + Math.random() / 2);
    return code === COME_BACK_LATER ? Math.max(LATER_MS, spread) : spread;
  }

  /** HTTP answers and the WebSocket does not: ask, and try the WebSocket now and then. */
  /** @param {number} generation */
  async #pollOn(generation) {
    for (let turn = 0; turn < POLLS_BETWEEN_TRIES; turn += 1) {
      const answered = await this.#poll(POLL_SECONDS, generation);
      if (generation !== this.#generation || answered === "stale" || answered === "refused") return;
      if (answered === "offline") break;
    }
    this.open();
  }

  /**
   * Asks for events once.
   * @param {number} wait seconds
   * @param {number} generation
   * @returns {Promise<"ok" | "offline" | "stale" | "refused">}
   */
  async #poll(wait, generation) {
    const { seq, epoch } = this.listener.cursor();
    const query = { since: seq, epoch, limit: POLL_EVENTS, wait: wait || undefined };
    try {
      const page = await get("/api/events", query, { patience: wait * 1000 + LONGEST_DELAY_MS });
      if (generation !== this.#generation) return "ok";
      if (page.gap || page.epoch !== epoch) {
        this.#stale("Events were pruned before they came.");
        return "stale";
      }
      this.listener.events(page.events);
      this.listener.connected(page.seq);
      return "ok";
    } catch (error) {
      return generation === this.#generation ? this.#failed(/** @type {ApiError} */ (error)) : "ok";
    }
  }

  /** @param {ApiError} error @returns {"offline" | "stale" | "refused"} */
  #failed(error) {
    if (error.code === "WS_INVALID_CURSOR") {
      this.#stale(error.message);
      return "stale";
    }
    if (error.status === 401 || error.status === 403) {
      this.listener.refused(error);
      return "refused";
    }
    return "offline";
  }
}
