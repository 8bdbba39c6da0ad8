// @ts-check
// A status is told by a sign and by a word, and only then by a colour.

import { attribute, h, setText, svg } from "../dom.js";
import { words } from "../format.js";

export const STATUSES = ["blocked", "in_progress", "pending", "completed", "cancelled"];

/** @type {Record<string, [string, Record<string, string>][]>} */
const SHAPES = {
  pending: [["circle", { cx: "8", cy: "8", r: "5.25", class: "stroke" }]],
  in_progress: [
    ["circle", { cx: "8", cy: "8", r: "5.25", class: "stroke" }],
    ["path", { d: "M8 4.6a3.4 3.4 0 0 1 0 6.8z", class: "fill" }],
  ],
  blocked: [
    ["path", { d: "M5.4 1.75h5.2l3.65 3.65v5.2l-3.65 3.65H5.4L1.75 10.6V5.4z", class: "fill" }],
    ["path", { d: "M8 4.5v4.2M8 11v.6", class: "cut" }],
  ],
  completed: [
    ["circle", { cx: "8", cy: "8", r: "6", class: "fill" }],
    ["path", { d: "M5.2 8.2l2 2 3.6-4", class: "cut" }],
  ],
  cancelled: [
    ["circle", { cx: "8", cy: "8", r: "5.25", class: "stroke" }],
    ["path", { d: "M4.6 11.4l6.8-6.8", class: "stroke" }],
  ],
};

/** The sign of a status; it says nothing to those who hear the page. @param {string} status */
export function sign(status) {
  const shapes = (SHAPES[status] ?? SHAPES.pending).map(([tag, props]) => svg(tag, props));
  return svg(
    "svg",
    { class: "sign", viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true", "data-status": status },
    ...shapes,
  );
}

/** Sign and word. @param {string} status */
export function statusTag(status) {
  const tag = h("span", { class: "status" });
  setStatus(tag, status);
  return tag;
}

/** @param {HTMLElement} tag @param {string} status */
export function setStatus(tag, status) {
  if (tag.dataset.status === status) return;
  attribute(tag, "data-status", status);
  tag.replaceChildren(sign(status), h("span", {}, words(status)));
}

/** A sign that says its word to those who hear the page. @param {string} status */
export function quietStatus(status) {
  return h("span", { class: "status quiet", data: { status } }, sign(status), h("span", { class: "heard" }, words(status)));
}

/** @param {HTMLElement} node @param {string} status */
export function setQuietStatus(node, status) {
  if (node.dataset.status !== status) node.replaceWith(quietStatus(status));
}

// --- progress ---

const PARTS = ["completed", "in_progress", "blocked", "pending"];

/** @typedef {{pending: number, in_progress: number, blocked: number, completed: number}} Counts */

/** A bar of what is completed, in progress, blocked and pending. */
export function bar() {
  return h(
    "span",
    { class: "bar", role: "img" },
    ...PARTS.map((name) => h("span", { class: "part", data: { status: name } })),
  );
}

/** @param {HTMLElement} node @param {Counts} counts */
export function setBar(node, counts) {
  PARTS.forEach((name, place) => {
    const part = /** @type {HTMLElement} */ (node.children[place]);
    const value = String(/** @type {any} */ (counts)[name]);
    if (part.style.flexGrow !== value) part.style.flexGrow = value;
  });
  const said = PARTS.map((name) => `${/** @type {any} */ (counts)[name]} ${words(name)}`);
  attribute(node, "aria-label", said.join(", "));
}

/** @param {Counts} counts */
export function totalOf(counts) {
  return counts.pending + counts.in_progress + counts.blocked + counts.completed;
}

/** @param {Record<string, any>} stream @returns {Counts} */
export function countsOf(stream) {
  return {
    pending: stream.pendingTasks,
    in_progress: stream.inProgressTasks,
    blocked: stream.blockedTasks,
    completed: stream.completedTasks,
  };
}

/** How many of each status, as a list. */
export function legend() {
  return h(
    "ul",
    { class: "legend" },
    ...PARTS.map((name) => h("li", { data: { status: name } }, sign(name), h("b", {}, "0"), ` ${words(name)}`)),
  );
}

/** @param {HTMLElement} node @param {Counts} counts @param {(value: number) => string} shown */
export function setLegend(node, counts, shown) {
  PARTS.forEach((name, place) => {
    const value = /** @type {any} */ (counts)[name];
    setText(/** @type {any} */ (node.children[place].querySelector("b")), shown(value));
    attribute(node.children[place], "data-none", value === 0);
  });
}
