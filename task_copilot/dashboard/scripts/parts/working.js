// @ts-check
// Who is working on what, those that did something last first.

import { attribute, h, keyed, say, said, setText, show } from "../dom.js";
import { several } from "../format.js";
import { setSince, since } from "./moments.js";

const FEW = 12;
const IDLE_MS = 5 * 60 * 1000;
/** As the server counts: an agent is active whose task changed within five minutes. */

/** @typedef {Record<string, any>} Row */

export class Working {
  #all = false;

  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.app = app;
    this.head = h("span", { class: "dim" });
    this.list = h("ul", { class: "working-list" });
    this.none = h("p", { class: "dim quiet-line" }, "Nobody works on a task.");
    this.more = h("button", { type: "button", class: "small", on: { click: () => this.#toggle() } });
    this.node = h("section", { class: "panel working", "aria-labelledby": "working-head" },
      h("h2", { id: "working-head" }, "Working now ", this.head), this.none, this.list, this.more);
  }

  /** @param {Row[]} rows newest first @param {number} total @param {number} now */
  update(rows, total, now) {
    const idle = rows.filter((row) => isIdle(row, now)).length;
    setText(this.head, total ? `${several(total, "task")}${idle ? `, ${idle} quiet for 5 min` : ""}` : "");
    show(this.none, rows.length === 0);
    show(this.list, rows.length > 0);
    keyed(this.list, this.#all ? rows : rows.slice(0, FEW), (row) => row.taskId, (row) => this.#line(row), updateLine);
    for (const [place, row] of rows.slice(0, this.list.children.length).entries()) {
      attribute(this.list.children[place], "data-idle", isIdle(row, now));
    }
    show(this.more, rows.length > FEW);
    setText(this.more, this.#all ? `Show the last ${FEW}` : `Show all ${rows.length}`);
  }

  #toggle() {
    this.#all = !this.#all;
    this.app.draw();
  }

  /** @param {Row} row */
  #line(row) {
    return h("li", {},
      h("a", { href: this.app.router.to("task", [row.taskId]), "data-item": true },
        h("span", { class: "top" }, said("", "agent"), said("", "stream"), h("span", { class: "quiet-word" }, "quiet"), since(null)),
        h("span", { class: "bottom" }, h("span", { class: "id" }, row.taskId), said("", "title"))));
  }
}

/** @param {Row} row @param {number} now */
function isIdle(row, now) {
  return row.lastHeartbeat !== null && now - Date.parse(row.lastHeartbeat) > IDLE_MS;
}

/** @param {any} item @param {Row} row */
function updateLine(item, row) {
  const [top, bottom] = item.firstChild.children;
  const [agent, stream, , time] = top.children;
  const title = bottom.children[1];
  say(agent, row.agentId ? `@${row.agentId}` : "nobody named");
  attribute(agent, "data-nobody", !row.agentId);
  setSince(time, row.lastHeartbeat);
  say(title, row.taskTitle ?? "title no longer known");
  attribute(title, "title", row.taskTitle);
  say(stream, row.streamId ?? "");
}
