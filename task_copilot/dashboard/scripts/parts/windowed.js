// @ts-check
// A long list of which only the rows on screen are there. All rows have the same height, which the
// style sheet says as --row; the list scrolls with the page.

import { attribute, h, keyed } from "../dom.js";

const MORE_ROWS = 8;
/** Rows above and below the screen that are there already. */

/** @type {Set<Windowed<any>>} */
const shown = new Set();
let asked = false;

function look() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    for (const list of shown) {
      if (list.node.isConnected) list.draw();
      else shown.delete(list);
    }
  });
}
window.addEventListener("scroll", look, { passive: true, capture: true });
window.addEventListener("resize", look, { passive: true });

/** @template T */
export class Windowed {
  /** @type {T[]} */
  items = [];
  #height = 0;

  /**
   * @param {object} options
   * @param {string} options.label what the list is of
   * @param {(item: T) => any} options.key
   * @param {(item: T) => HTMLElement} options.make the node of a row
   * @param {(node: any, item: T) => void} options.update
   * @param {string} [options.className]
   * @param {() => void} [options.end] called when the last rows come into sight
   */
  constructor({ label, key, make, update, className = "", end }) {
    this.key = key;
    this.make = make;
    this.update = update;
    this.end = end;
    this.node = h("div", { class: `windowed ${className}`, role: "list", "aria-label": label });
  }

  /** @param {T[]} items */
  set(items) {
    this.items = items;
    shown.add(this);
    this.draw();
  }

  /** Height of a row in pixels. */
  get row() {
    this.#height = parseFloat(getComputedStyle(this.node).getPropertyValue("--row")) || this.#height || 40;
    return this.#height;
  }

  draw() {
    const { items, node, row } = this;
    const height = `${items.length * row}px`;
    if (node.style.height !== height) node.style.height = height;
    const top = node.getBoundingClientRect().top;
    const first = Math.min(items.length, Math.max(0, Math.floor(-top / row) - MORE_ROWS));
    const last = Math.min(items.length, Math.ceil((innerHeight - top) / row) + MORE_ROWS);
    const rows = items.slice(first, Math.max(first, last));
    /** @type {Map<T, number>} */
    const places = new Map(rows.map((item, place) => [item, first + place]));
    keyed(node, rows, this.key, (item) => this.#made(item), (line, item) => this.update(line.firstChild, item));
    for (const [place, line] of [...node.children].entries()) {
      const number = places.get(rows[place]) ?? 0;
      const shift = `translateY(${number * row}px)`;
      const styled = /** @type {HTMLElement} */ (line);
      if (styled.style.transform !== shift) styled.style.transform = shift;
      attribute(line, "aria-posinset", number + 1);
      attribute(line, "aria-setsize", items.length);
    }
    if (this.end && last >= items.length) this.end();
  }

  /** @param {T} item */
  #made(item) {
    return h("div", { role: "listitem", class: "line" }, this.make(item));
  }
}
