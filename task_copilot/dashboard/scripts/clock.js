// @ts-check
// The server's time: durations on the page come from it, whatever the clock of this machine says.

/** @typedef {{now: () => number}} TimeSource */

export class Clock {
  /** @type {number | null} server time minus the time since the page was opened, in ms */
  #offset = null;

  /** The server's time now, in ms since 1970. */
  now() {
    return this.#offset === null ? Date.now() : performance.now() + this.#offset;
  }

  /**
   * Takes a time that the server gave as now.
   * @param {string} timestamp
   * @param {number} [asked] `performance.now()` when it was asked for
   */
  set(timestamp, asked = performance.now()) {
    const server = Date.parse(timestamp);
    if (!Number.isNaN(server)) this.#offset = server - (asked + performance.now()) / 2;
  }

  /** Takes the time of something that has happened: it is not later now. @param {string} timestamp */
  atLeast(timestamp) {
    const server = Date.parse(timestamp);
    if (server > this.now()) this.#offset = server - performance.now();
  }
}
