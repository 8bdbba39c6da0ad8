// @ts-check
// Times on the page: how long ago, which moves on by itself, and when.

import { attribute, h, setText } from "../dom.js";
import { duration, exactMoment, fullMoment, minuteMoment, shortDuration } from "../format.js";

/** How long ago something was. @param {string | null} moment @param {boolean} [short] only its largest unit */
export function since(moment, short = false) {
  const node = h("time", { class: "since", "data-short": short });
  setSince(node, moment);
  return node;
}

/** @param {HTMLElement} node @param {string | null} moment */
export function setSince(node, moment) {
  if (node.dataset.since === (moment ?? "")) return;
  node.dataset.since = moment ?? "";
  attribute(node, "datetime", moment);
  attribute(node, "title", moment && fullMoment(moment));
  tickOne(node, currentTime);
}

let currentTime = Date.now();

/** @param {HTMLElement} node @param {number} now */
function tickOne(node, now) {
  const moment = node.dataset.since;
  const past = /** @type {HTMLElement | null} */ (node.closest("[data-now]"))?.dataset.now;
  const then = past === undefined ? now : Date.parse(past);
  const words = node.dataset.short === undefined ? duration : shortDuration;
  setText(node, moment && !Number.isNaN(then) ? words(then - Date.parse(moment)) : "");
}

/** Moves all of them on. @param {ParentNode} root @param {number} now server time in ms */
export function tick(root, now) {
  currentTime = now;
  for (const node of root.querySelectorAll("time[data-since]")) tickOne(/** @type {HTMLElement} */ (node), now);
}

/** @param {string | null} moment @param {boolean} [exact] with its seconds */
export function when(moment, exact = false) {
  if (!moment) return h("span", { class: "dim" }, "never");
  return h("time", { datetime: moment, title: fullMoment(moment) }, exact ? exactMoment(moment) : minuteMoment(moment));
}
