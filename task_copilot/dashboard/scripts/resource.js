// @ts-check
// Something that is read from the server and read again when it may have changed.

const PACE_MS = 400;

/** @template T */
export class Resource {
  /** @type {T | null} */
  value = null;
  /** @type {any} */
  error = null;
  #turn = 0;
  #readAt = -Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {() => Promise<T>} read
   * @param {() => void} changed
   * @param {number} [pace] at most one reading in so many ms
   */
  constructor(read, changed, pace = PACE_MS) {
    this.read = read;
    this.changed = changed;
    this.pace = pace;
  }

  /** Reads at once. Answers of earlier readings are dropped. */
  async load() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#readAt = performance.now();
    const turn = (this.#turn += 1);
    try {
      const value = await this.read();
      if (turn !== this.#turn) return;
      this.value = value;
      this.error = null;
    } catch (error) {
      if (turn !== this.#turn) return;
      this.error = error;
    }
    this.changed();
  }

  /** Reads soon; several calls make one reading. */
  refresh() {
    if (this.#timer !== undefined) return;
    const delay = Math.max(0, this.#readAt + this.pace - performance.now());
    this.#timer = setTimeout(() => this.load(), delay);
  }

  /** Reads again what could not be read. */
  recover() {
    if (this.error) this.load();
  }

  close() {
    this.#turn += 1;
    clearTimeout(this.#timer);
  }
}
