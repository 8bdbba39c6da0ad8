// @ts-check
// The checkpoints of a task, and what each one keeps.

import { get, requestId, send } from "../api.js";
import { attribute, h, keyed, said, setText, show, visible } from "../dom.js";
import { count, words } from "../format.js";
import { Resource } from "../resource.js";
import { field, form } from "./forms.js";
import { since, when } from "./moments.js";
import { failure } from "./notices.js";
import { json } from "./payload.js";
import { sign } from "./status.js";

/** @typedef {Record<string, any>} Row */

export class Checkpoints {
  /** @param {import("../app.js").App} app @param {string} id */
  constructor(app, id) {
    this.app = app;
    this.id = id;
    this.list = h("ul", { class: "checkpoints" });
    this.none = h("p", { class: "dim quiet-line", hidden: true }, "None. A checkpoint keeps the task as it is, so that another session can go on from it.");
    this.problem = h("p", { class: "complaint", hidden: true });
    this.place = h("div", { class: "inline-form", hidden: true });
    this.button = h("button", { type: "button", class: "small", on: { click: () => this.#open() } }, "Make a checkpoint");
    this.node = h("section", { class: "panel", "aria-labelledby": "checkpoints-head" },
      h("div", { class: "panel-head" }, h("h2", { id: "checkpoints-head" }, "Checkpoints"), this.button),
      this.place, this.list, this.none, this.problem);
    this.rows = new Resource(() => get(`/api/tasks/${encodeURIComponent(id)}/checkpoints`, {}), () => this.#show());
  }

  load() {
    this.rows.load();
  }

  refresh() {
    this.rows.refresh();
  }

  recover() {
    this.rows.recover();
  }

  #show() {
    const { value, error } = this.rows;
    const rows = value?.checkpoints ?? [];
    keyed(this.list, rows, (/** @type {Row} */ row) => row.checkpointId, (row) => this.#entry(row));
    show(this.none, Boolean(value) && rows.length === 0);
    show(this.problem, Boolean(error));
    if (error) setText(this.problem, error.message);
  }

  /** @param {Row} row */
  #entry(row) {
    const kept = h("div", { class: "kept" });
    const node = h("details", {},
      h("summary", { "data-item": true },
        h("span", { class: "id" }, row.checkpointId),
        h("span", {}, words(row.trigger)),
        said([row.executionPhase, row.executionStep].filter((part) => part !== null).join(", "), "step"),
        row.hasDraft && h("span", { class: "tag" }, "draft"),
        since(row.createdAt)),
      kept);
    node.addEventListener("toggle", () => {
      if (node.open && !kept.hasChildNodes()) this.#read(row.checkpointId, kept);
    });
    return h("li", {}, node);
  }

  /** @param {string} id @param {HTMLElement} place */
  async #read(id, place) {
    try {
      place.replaceChildren(h("p", { class: "dim" }, "Reading …"));
      const found = await get(`/api/checkpoints/${encodeURIComponent(id)}`);
      place.replaceChildren(...contents(found));
    } catch (error) {
      place.replaceChildren(failure(error, () => this.#read(id, place)));
    }
  }

  #open() {
    const close = () => {
      this.place.replaceChildren();
      show(this.place, false);
      this.button.focus();
    };
    const request = requestId();
    const phase = field("executionPhase", "Phase", h("input", { maxlength: 200, autocomplete: "off" }));
    const next = field("pauseMetadata", "What is next", h("textarea", { rows: 2 }), "For whoever resumes it.");
    this.place.replaceChildren(form({
      fields: [phase, next],
      action: "Make checkpoint",
      label: "Make a checkpoint",
      cancel: close,
      send: (values) => send("POST", `/api/tasks/${encodeURIComponent(this.id)}/checkpoints`, {}, {
        trigger: "manual",
        requestId: request,
        ...(values.executionPhase ? { executionPhase: values.executionPhase } : {}),
        ...(values.pauseMetadata ? { pauseMetadata: { nextSteps: values.pauseMetadata } } : {}),
      }),
      sent: (answer) => {
        this.app.announce(`Made ${answer.id}.`);
        close();
      },
    }));
    show(this.place, true);
    phase.control.focus();
  }

  close() {
    this.rows.close();
  }
}

/** @param {Row} found */
function contents(found) {
  const facts = h("dl", { class: "facts-list" },
    ...fact("Status then", found.status && h("span", { class: "status" }, sign(found.status), words(found.status))),
    ...fact("Agent", found.assignedAgent && said(`@${found.assignedAgent}`)),
    ...fact("Made", when(found.createdAt)),
    ...fact("Expires", when(found.expiresAt)));
  return [
    facts,
    ...text("Notes then", found.notes),
    ...subtasks(found),
    ...object("Context for the next agent", found.agentContext),
    ...object("Pause", found.pauseMetadata),
    ...object("Metadata then", found.metadata),
    ...draft(found),
  ];
}

/** @param {string} name @param {any} value */
function fact(name, value) {
  return value ? [h("dt", {}, name), h("dd", {}, value)] : [];
}

/** @param {string} name @param {string | null} value */
function text(name, value) {
  return value ? [h("h4", {}, name), said(value, "long")] : [];
}

/** @param {string} name @param {any} value */
function object(name, value) {
  return value && Object.keys(value).length ? [h("h4", {}, name), json(value, name)] : [];
}

/** @param {Row} found */
function subtasks(found) {
  const value = found.subtaskStatuses ?? found.subtasks;
  if (!value || !Object.keys(value).length) return [];
  const rows = Array.isArray(value) ? value.map((row) => [row.id, row.status]) : Object.entries(value);
  return [h("h4", {}, "Subtasks then"), h("ul", { class: "subtasks" }, ...rows.map(([id, status]) =>
    h("li", {}, h("span", { class: "status" }, sign(status), words(status)), h("span", { class: "id" }, id))))];
}

/** @param {Row} found */
function draft(found) {
  if (found.draft === null || found.draft === undefined) return [];
  const shown = found.draft.length;
  const left = (found.draftLength ?? shown) - shown;
  const kind = found.draftType ? `, ${found.draftType}` : "";
  const node = h("pre", { class: "draft said", tabindex: 0, role: "region", "aria-label": "Draft" }, visible(found.draft));
  attribute(node, "data-cut", left > 0);
  return [h("h4", {}, h("bdi", {}, `Draft${kind}`)), node,
    left > 0 && h("p", { class: "dim" }, `${count(left)} more characters: checkpoint_resume gives them.`)].filter(Boolean);
}
