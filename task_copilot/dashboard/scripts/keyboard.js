// @ts-check
// The page without a mouse: every key that does something is in KEYS, and the help panel shows them.

export const KEYS = /** @type {[string, string][]} */ ([
  ["/", "search tasks by text or id"],
  ["← ↑ ↓ →", "move between streams, tasks and events"],
  ["Enter", "open what is marked"],
  ["Esc", "close, clear the search, or go one level up"],
  ["g o", "go to the overview"],
  ["g t", "go to all tasks"],
  ["g e", "go to the events"],
  ["n", "new task"],
  ["p", "pause or resume the events"],
  ["h", "look at the past (overview)"],
  ["?", "these keys"],
]);

const SEQUENCE_MS = 1_500;
/** So long after `g` the next key still belongs to it. */

const ARROWS = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"];

/** @param {import("./app.js").App} app */
export function bindKeys(app) {
  let waiting = -Infinity;
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === "Escape") return void escape(app, target, event);
    if (isSearch(target) && event.key === "ArrowDown") return void first(event);
    if (isField(target)) return;
    if (ARROWS.includes(event.key) && !target.closest("pre")) return void arrow(event);
    const isSecond = performance.now() - waiting < SEQUENCE_MS;
    waiting = event.key === "g" ? performance.now() : -Infinity;
    const action = isSecond ? GO[event.key] : SINGLE[event.key];
    if (!action) return;
    event.preventDefault();
    action(app);
  });
}

/** @type {Record<string, (app: import("./app.js").App) => void>} */
const GO = {
  o: (app) => app.router.go(app.router.to("overview")),
  t: (app) => app.router.go(app.router.to("tasks")),
  e: (app) => app.router.go(app.router.to("events")),
};

/** @type {Record<string, (app: import("./app.js").App) => void>} */
const SINGLE = {
  "/": (app) => app.shell.focusSearch(),
  "?": (app) => app.help.showModal(),
  n: (app) => app.create(),
  p: () => /** @type {HTMLElement | null} */ (document.querySelector("[data-key=p]"))?.click(),
  h: () => /** @type {HTMLElement | null} */ (document.querySelector("[data-key=h]"))?.focus(),
};

/** @param {HTMLElement} target */
function isField(target) {
  return target.matches("input:not([type=range], [type=checkbox]), textarea, select, [type=range]");
}

/** @param {HTMLElement} target */
function isSearch(target) {
  return target.matches("[type=search]");
}

/** @param {import("./app.js").App} app @param {HTMLElement} target @param {KeyboardEvent} event */
function escape(app, target, event) {
  event.preventDefault();
  if (isSearch(target) && app.shell.clearSearch()) return;
  if (isField(target) && !target.matches("[type=range]")) {
    target.blur();
    return;
  }
  const up = app.view?.up?.();
  if (up) app.router.go(up);
}

/** @param {KeyboardEvent} event */
function first(event) {
  const item = /** @type {HTMLElement | null} */ (document.querySelector("main [data-item]"));
  if (!item) return;
  event.preventDefault();
  item.focus();
}

/** @param {KeyboardEvent} event */
function arrow(event) {
  const items = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("main [data-item]")]);
  const current = items.find((item) => item === document.activeElement);
  if (!items.length) return;
  const found = current ? nearest(current, items, event.key) : items.find(isOnScreen) ?? items[0];
  if (!found) return;
  event.preventDefault();
  found.focus({ preventScroll: true });
  found.scrollIntoView({ block: "nearest" });
}

/** @param {HTMLElement} item */
function isOnScreen(item) {
  const { top, bottom } = item.getBoundingClientRect();
  return bottom > 0 && top < innerHeight;
}

/**
 * The next item in the direction of an arrow, as it looks on the screen.
 * @param {HTMLElement} current
 * @param {HTMLElement[]} items
 * @param {string} key
 */
function nearest(current, items, key) {
  const from = middle(current);
  let best = null;
  let least = Infinity;
  for (const item of items) {
    if (item === current) continue;
    const to = middle(item);
    const [along, across] = steps(key, to.x - from.x, to.y - from.y);
    if (along <= 2) continue;
    const far = along + 3 * Math.abs(across);
    if (far < least) [best, least] = [item, far];
  }
  return best;
}

/** How far along the arrow, and how far beside it. @param {string} key @param {number} x @param {number} y */
function steps(key, x, y) {
  if (key === "ArrowRight") return [x, y];
  if (key === "ArrowLeft") return [-x, y];
  return key === "ArrowDown" ? [y, x] : [-y, x];
}

/** @param {HTMLElement} item */
function middle(item) {
  const { left, top, width, height } = item.getBoundingClientRect();
  return { x: left + width / 2, y: top + height / 2 };
}
