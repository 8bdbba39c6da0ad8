// @ts-check
// Keeps the store in step with the server: the state is read once, then every event after its
// number is folded into it. What cannot be known from events is read anew.

import { ApiError, get } from "./api.js";
import { overviewOf } from "./fold.js";
import { Link } from "./link.js";

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
const READ_AGAIN_MS = 1_000;
/** At most one reading of what is outdated in this time. */
const TOO_FAR_BEHIND = 5_000;
/** Reading the state is cheaper than so many events. */

/** @typedef {{workspace: string | null, archived: boolean}} Scope */

export class Sync {
  /** @type {Scope} */
  #scope = { workspace: null, archived: false };
  #reading = 0;
  #failures = 0;
  #lastRead = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {import("./store.js").Store} store @param {import("./clock.js").Clock} clock */
  constructor(store, clock) {
    this.store = store;
    this.clock = clock;
    this.link = new Link({
      cursor: () => ({ seq: store.heard, epoch: store.state.overview?.epoch ?? "" }),
      events: (events) => this.#take(events),
      connected: (head) => this.#connected(head),
      stale: () => this.#readWhole(),
      time: (timestamp) => clock.set(timestamp),
      offline: (reason, delay) => this.#offline(reason, delay),
      refused: (error) => this.#refused(error),
    });
    window.addEventListener("online", () => this.#wake());
    document.addEventListener("visibilitychange", () => this.#wake());
  }

  /** Shows another part of the database. @param {Scope} scope */
  look(scope) {
    const before = this.#scope;
    const isFirst = this.#lastRead === -Infinity;
    if (!isFirst && before.workspace === scope.workspace && before.archived === scope.archived) return;
    this.#scope = scope;
    this.store.set({ error: null });
    if (this.store.state.overview) this.#readPart();
    else this.#readWhole();
  }

  /** The network is back, or somebody looks again: no need to wait for the next try. */
  #wake() {
    const { mode } = this.store.state.connection;
    if (mode === "offline" && document.visibilityState === "visible") this.retry();
  }

  /** Tries at once. */
  retry() {
    if (this.#timer !== undefined || !this.store.state.overview) this.#readWhole();
    else this.link.retry();
  }

  /** Everything anew: the state, then the events after it. */
  async #readWhole() {
    this.link.close();
    const read = await this.#read();
    if (!read) return;
    this.store.restart(read);
    this.link.open();
  }

  /** The state anew, while events go on. */
  async #readPart() {
    const read = await this.#read();
    if (!read) return;
    if (read.epoch !== this.store.state.overview?.epoch || !this.store.replace(read)) await this.#readWhole();
  }

  /** @returns {Promise<import("./fold.js").Overview | null>} null where it failed or is of no use any more */
  async #read() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const turn = (this.#reading += 1);
    const scope = this.#scope;
    const asked = performance.now();
    this.#lastRead = asked;
    try {
      const query = { workspace: scope.workspace, includeArchived: scope.archived || null };
      const answer = await get("/api/overview", query);
      if (turn !== this.#reading) return null;
      this.#failures = 0;
      this.clock.set(answer.timestamp, asked);
      return overviewOf(answer, scope);
    } catch (error) {
      if (turn === this.#reading) this.#failed(/** @type {ApiError} */ (error));
      return null;
    }
  }

  /** @param {ApiError} error */
  #failed(error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401 || error.status === 403) {
      this.#refused(error);
      return;
    }
    if (error.status === 404 || error.status === 422) {
      this.store.set({ error });
      return;
    }
    this.#failures += 1;
    const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(this.#failures, 10));
    this.#offline(error.message, delay);
    this.#timer = setTimeout(() => this.#readWhole(), delay);
  }

  /** @param {any[]} events */
  #take(events) {
    if (events.length) this.clock.atLeast(events[events.length - 1].timestamp);
    this.store.take(events);
    this.#say();
    if (this.store.state.overview?.outdated) this.#readAgain();
  }

  #readAgain() {
    if (this.#timer !== undefined) return;
    const delay = Math.max(0, this.#lastRead + READ_AGAIN_MS - performance.now());
    this.#timer = setTimeout(() => this.#readPart(), delay);
  }

  /** @param {number} head */
  #connected(head) {
    const { heard } = this.store;
    this.store.set({ head: Math.max(head, heard) });
    if (head - heard > TOO_FAR_BEHIND) this.#readWhole();
    else this.#say();
  }

  #say() {
    const { head, connection } = this.store.state;
    const behind = Math.max(0, head - this.store.heard);
    const mode = behind ? "behind" : "live";
    if (connection.mode !== mode || connection.behind !== behind) {
      this.store.setConnection({ mode, behind, since: null, retryAt: null, reason: "" });
    }
  }

  /** @param {string} reason @param {number} delay */
  #offline(reason, delay) {
    const now = this.clock.now();
    const since = this.store.state.connection.since ?? now;
    this.store.setConnection({ mode: "offline", since, retryAt: now + delay, reason });
  }

  /** @param {ApiError} error */
  #refused(error) {
    this.link.close();
    this.store.set({ error });
    this.store.setConnection({ mode: "refused", reason: error.message, retryAt: null });
  }
}
