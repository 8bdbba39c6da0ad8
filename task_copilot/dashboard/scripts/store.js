// @ts-check
// The one place that holds what the page knows: the overview, how the connection is, and the newest
// events.

import { foldAll } from "./fold.js";

/** @typedef {import("./fold.js").Overview} Overview */
/** @typedef {import("./fold.js").Event} Event */
/**
 * @typedef {object} Connection
 * @property {"connecting" | "live" | "behind" | "offline" | "refused"} mode
 * @property {number} behind events still to come
 * @property {number | null} since when it went offline, server time in ms
 * @property {number | null} retryAt when it tries again, server time in ms
 * @property {string} reason
 */
/**
 * @typedef {object} Listener
 * @property {(events: Event[]) => void} events what has come, once each and in order
 * @property {() => void} reset events were left out: what was read before may be outdated
 */
/** @typedef {{overview: Overview | null, connection: Connection, error: any, head: number}} State */

export const EVENTS_KEPT = 5_000;
/** So many of the newest events stay at hand, to be folded into an answer that is older. */

/** @type {Connection} */
const CONNECTING = { mode: "connecting", behind: 0, since: null, retryAt: null, reason: "" };

export class Store {
  /** @type {State} */
  state = { overview: null, connection: CONNECTING, error: null, head: 0 };
  /** @type {Event[]} oldest first */
  #recent = [];
  /** @type {Set<() => void>} */
  #watching = new Set();
  /** @type {Set<Listener>} */
  #listening = new Set();
  /** The last event that has come. The overview may have been read at a later one. */
  heard = 0;

  /** @param {() => void} changed */
  watch(changed) {
    this.#watching.add(changed);
  }

  /**
   * @param {Listener} listener
   * @returns {() => void} ends it
   */
  listen(listener) {
    this.#listening.add(listener);
    return () => this.#listening.delete(listener);
  }

  /** @param {Partial<State>} change */
  set(change) {
    this.state = { ...this.state, ...change };
    for (const changed of this.#watching) changed();
  }

  /** @param {Partial<Connection>} change */
  setConnection(change) {
    this.set({ connection: { ...this.state.connection, ...change } });
  }

  /** @param {Event[]} events in order */
  take(events) {
    const { overview } = this.state;
    const news = events.filter((event) => event.seq > this.heard);
    if (!overview || !news.length) return;
    this.heard = news[news.length - 1].seq;
    this.#recent.push(...news);
    if (this.#recent.length > 2 * EVENTS_KEPT) this.#recent = this.#recent.slice(-EVENTS_KEPT);
    this.set({ overview: foldAll(overview, news), head: Math.max(this.state.head, this.heard) });
    for (const listener of this.#listening) listener.events(news);
  }

  /**
   * Takes an answer in place of what is there, with the events since.
   * @param {Overview} read
   * @returns {boolean} false where those are not at hand: it has to be read again
   */
  replace(read) {
    const oldest = this.#recent[0]?.seq ?? Infinity;
    if (this.heard > read.seq && oldest > read.seq + 1) return false;
    this.set({ overview: foldAll(read, this.#recent), error: null });
    return true;
  }

  /** Takes an answer and goes on after it, whatever came before. @param {Overview} read */
  restart(read) {
    this.#recent = [];
    this.heard = read.seq;
    this.set({ overview: read, error: null, head: read.seq });
    for (const listener of this.#listening) listener.reset();
  }

  /** The events after `seq` that are at hand, oldest first. @param {number} seq */
  after(seq) {
    let place = this.#recent.length;
    while (place > 0 && this.#recent[place - 1].seq > seq) place -= 1;
    return this.#recent.slice(place);
  }
}
