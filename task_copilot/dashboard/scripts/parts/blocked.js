// @ts-check
// What is blocked and why, with a way to unblock it on the spot.

import { attribute, h, keyed, say, said, setText, show } from "../dom.js";
import { several } from "../format.js";
import { setSince, since } from "./moments.js";
import { sign } from "./status.js";
import { unblockForm } from "./unblock.js";

const FEW = 5;

/** @typedef {Record<string, any>} Row */

export class Blocked {
  #all = false;
  /** @type {Set<string>} tasks whose form is open: they stay whatever comes in above them */
  #open = new Set();

  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.app = app;
    this.head = h("span", {}, "Blocked");
    this.list = h("ul", { class: "blocked-list" });
    this.none = h("p", { class: "dim quiet-line" }, "Nothing is blocked.");
    this.more = h("button", { type: "button", class: "small", on: { click: () => this.#toggle() } });
    this.rest = h("p", { class: "dim quiet-line", hidden: true });
    this.node = h("section", { class: "panel blocked", "aria-labelledby": "blocked-head" },
      h("h2", { id: "blocked-head" }, sign("blocked"), this.head), this.none, this.list, this.rest, this.more);
  }

  /** @param {Row[]} rows newest first @param {number} total @param {boolean} canAct */
  update(rows, total, canAct) {
    attribute(this.node, "data-any", rows.length > 0);
    attribute(this.node, "data-past", !canAct);
    setText(this.head, total ? `Blocked: ${several(total, "task")}` : "Blocked");
    show(this.none, rows.length === 0);
    show(this.list, rows.length > 0);
    const shown = rows.filter((row, place) => this.#all || place < FEW || this.#open.has(row.taskId));
    keyed(this.list, shown, (row) => row.taskId, (row) => this.#line(row), updateLine);
    show(this.more, rows.length > FEW);
    const left = total - rows.length;
    const most = left > 0 ? `Show the newest ${rows.length}` : `Show all ${rows.length}`;
    setText(this.more, this.#all ? `Show the newest ${FEW}` : most);
    show(this.rest, left > 0 && this.#all);
    if (left > 0) setText(this.rest, `${several(left, "more task")}: see Tasks with the status blocked.`);
  }

  #toggle() {
    this.#all = !this.#all;
    this.app.draw();
  }

  /** @param {Row} row */
  #line(row) {
    const button = h("button", { type: "button", class: "small unblock" }, "Unblock");
    const place = h("div", { class: "inline-form", hidden: true });
    button.addEventListener("click", () => this.#ask(row.taskId, place, button));
    return h("li", {},
      h("div", { class: "blocked-line" },
        h("a", { href: this.app.router.to("task", [row.taskId]), "data-item": true }, h("span", { class: "id" }, row.taskId), said("", "title")),
        said("", "reason"),
        h("span", { class: "meta" }, said("", "stream"), said("", "agent"), since(null)),
        button),
      place);
  }

  /** @param {string} id @param {HTMLElement} place @param {HTMLButtonElement} button */
  #ask(id, place, button) {
    this.#open.add(id);
    const close = () => {
      this.#open.delete(id);
      place.replaceChildren();
      show(place, false);
      button.disabled = false;
      button.focus();
    };
    place.replaceChildren(unblockForm(this.app, id, close, close));
    show(place, true);
    button.disabled = true;
    /** @type {HTMLElement} */ (place.querySelector("textarea")).focus();
  }
}

/** @param {any} item @param {Row} row */
function updateLine(item, row) {
  const [link, reason, meta] = item.firstChild.children;
  say(link.children[1], row.taskTitle ?? "title no longer known");
  attribute(link.children[1], "title", row.taskTitle);
  say(reason, row.blockedReason ?? "reason no longer known");
  say(meta.children[0], row.streamId ?? "");
  say(meta.children[1], row.assignedAgent ? `@${row.assignedAgent}` : "");
  setSince(meta.children[2], row.blockedAt);
}
