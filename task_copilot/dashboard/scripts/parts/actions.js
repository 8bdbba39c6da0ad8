// @ts-check
// Changing a task's status by hand.

import { requestId, send } from "../api.js";
import { h, show } from "../dom.js";
import { words } from "../format.js";
import { field, form, select } from "./forms.js";
import { unblockForm } from "./unblock.js";

const CHOICES = /** @type {[string, string][]} */ (["pending", "in_progress", "blocked", "completed", "cancelled"].map((one) => [one, words(one)]));

export class Actions {
  /** @param {import("../app.js").App} app @param {string} id */
  constructor(app, id) {
    this.app = app;
    this.id = id;
    this.status = "";
    this.place = h("div", { class: "inline-form", hidden: true });
    this.change = h("button", { type: "button", on: { click: () => this.#open(this.#statusForm()) } }, "Change status");
    this.unblock = h("button", { type: "button", class: "primary", hidden: true, on: { click: () => this.#open(unblockForm(app, id, () => this.#close(), () => this.#close())) } }, "Unblock");
    this.subtask = h("button", { type: "button", on: { click: () => this.#open(this.#subtaskForm()) } }, "New subtask");
    this.buttons = h("div", { class: "buttons" }, this.unblock, this.change, this.subtask);
  }

  /** @param {Record<string, any>} task */
  update(task) {
    this.task = task;
    this.status = task.status;
    show(this.unblock, task.status === "blocked");
  }

  /** @param {HTMLElement} node */
  #open(node) {
    this.opener = /** @type {HTMLElement} */ (document.activeElement);
    this.place.replaceChildren(node);
    show(this.place, true);
    /** @type {HTMLElement | null} */ (node.querySelector("select, input, textarea"))?.focus();
  }

  #close() {
    this.place.replaceChildren();
    show(this.place, false);
    (this.opener?.checkVisibility() ? this.opener : this.change).focus();
  }

  #statusForm() {
    const request = requestId();
    const status = field("status", "Status", select(CHOICES, this.status));
    const reason = field("blockedReason", "Why it is blocked", h("input", { maxlength: 2000, autocomplete: "off", value: this.task?.blockedReason }));
    const sync = () => show(reason.node, status.control.value === "blocked");
    status.control.addEventListener("change", sync);
    sync();
    return form({
      fields: [status, reason],
      action: "Change",
      label: `Change the status of ${this.id}`,
      cancel: () => this.#close(),
      send: (values) => {
        const isBlocked = values.status === "blocked";
        const body = { status: values.status, requestId: request, ...(isBlocked && values.blockedReason ? { blockedReason: values.blockedReason } : {}) };
        return send("PATCH", `/api/tasks/${encodeURIComponent(this.id)}`, {}, body);
      },
      sent: (answer) => {
        this.app.announce(`${this.id} is ${words(answer.status)}.`);
        this.#close();
      },
    });
  }

  #subtaskForm() {
    const request = requestId();
    const title = field("title", "Title of the subtask", h("input", { maxlength: 500, autocomplete: "off" }));
    return form({
      fields: [title],
      action: "Create subtask",
      label: `New subtask of ${this.id}`,
      cancel: () => this.#close(),
      send: (values) => {
        const { workspace, streamId } = /** @type {any} */ (this.task);
        const body = { title: values.title, parentId: this.id, requestId: request, ...(streamId ? { streamId } : {}) };
        return send("POST", "/api/tasks", { workspace }, body);
      },
      sent: (answer) => {
        this.app.announce(`Made ${answer.id}.`);
        this.#close();
      },
    });
  }
}
