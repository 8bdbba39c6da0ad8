// @ts-check
// One task in one line of a list, and as a card of a board.

import { attribute, h, say, said, setText, show } from "../dom.js";
import { setSince, since } from "./moments.js";
import { quietStatus, setQuietStatus, setStatus, statusTag } from "./status.js";

/** @typedef {Record<string, any>} Row */

/** @param {Row} task @param {(id: string) => string} to the address of a task */
export function taskLine(task, to) {
  const line = h("a", { class: "task-line", href: to(task.id), "data-item": true },
    statusTag(task.status),
    h("span", { class: "id" }, task.id),
    said(task.title, "title"),
    said("", "stream"),
    said("", "agent"),
    since(task.updatedAt));
  updateLine(line, task);
  return line;
}

/** @param {HTMLElement} line @param {Row} task */
export function updateLine(line, task) {
  const [status, , title, stream, agent, time] = /** @type {any} */ (line.children);
  setStatus(status, task.status);
  say(title, task.title);
  attribute(title, "title", task.title);
  say(stream, task.streamId ?? "");
  say(agent, task.assignedAgent ? `@${task.assignedAgent}` : "");
  setSince(time, task.updatedAt);
}

/** @param {Row} task @param {(id: string) => string} to */
export function taskCard(task, to) {
  const card = h("a", { class: "task-card", href: to(task.id), "data-item": true },
    h("span", { class: "top" }, quietStatus(task.status), said(task.title, "title")),
    h("span", { class: "bottom" }, h("span", { class: "id" }, task.id), said("", "agent"), said("", "reason"), since(task.updatedAt, true)));
  updateCard(card, task);
  return card;
}

/** @param {HTMLElement} card @param {Row} task */
export function updateCard(card, task) {
  const [top, bottom] = /** @type {any} */ (card.children);
  setQuietStatus(top.children[0], task.status);
  say(top.children[1], task.title);
  attribute(top.children[1], "title", task.title);
  const [, agent, reason, time] = bottom.children;
  say(agent, task.assignedAgent ? `@${task.assignedAgent}` : "");
  say(reason, task.blockedReason ?? "");
  show(reason, Boolean(task.blockedReason));
  attribute(reason, "title", task.blockedReason);
  setSince(time, task.updatedAt);
  setText(bottom.children[0], task.id);
}
