// @ts-check
// One task: all its fields, its subtasks, its checkpoints and its history.

import { get } from "../api.js";
import { fill, h, keyed, say, said, show } from "../dom.js";
import { Actions } from "../parts/actions.js";
import { Checkpoints } from "../parts/checkpoints.js";
import { since, when } from "../parts/moments.js";
import { failure, loading } from "../parts/notices.js";
import { json } from "../parts/payload.js";
import { setQuietStatus, setStatus, sign, statusTag, quietStatus } from "../parts/status.js";
import { Timeline } from "../parts/timeline.js";
import { Resource } from "../resource.js";

/** @typedef {Record<string, any>} Row */

export class TaskView {
  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.app = app;
    this.id = normal(app.router.current.path[0]);
    this.task = new Resource(() => get(`/api/tasks/${encodeURIComponent(this.id)}`), () => this.#shown(), 150);
    this.timeline = new Timeline(app, this.id);
    this.checkpoints = new Checkpoints(app, this.id);
    this.actions = new Actions(app, this.id);
    this.loading = loading();
    this.problem = h("div", { hidden: true });
    this.crumbs = h("p", { class: "crumbs" });
    this.name = said("");
    this.status = statusTag("pending");
    this.reason = said("", "reason");
    this.blockedBox = h("p", { class: "blocked-box", hidden: true }, sign("blocked"), h("span", {}, h("b", {}, "Blocked: "), this.reason));
    this.description = section("Description");
    this.notes = section("Notes");
    this.subtasks = h("ul", { class: "subtasks" });
    this.subtaskPanel = h("section", { class: "panel", "aria-labelledby": "subtasks-head", hidden: true }, h("h2", { id: "subtasks-head" }, "Subtasks"), this.subtasks);
    this.facts = h("dl", { class: "facts-list" });
    this.metadata = h("section", { class: "panel", hidden: true });
    this.node = this.#build();
    this.stop = app.store.listen({ events: (events) => this.#take(events), reset: () => this.#load() });
    this.#load();
  }

  #build() {
    this.content = h("div", { hidden: true },
      h("header", { class: "view-head" }, this.crumbs, h("div", { class: "title-row" }, h("span", { class: "id" }, this.id), h("h1", {}, this.name)),
        h("div", { class: "state-row" }, this.status, this.actions.buttons), this.blockedBox, this.actions.place),
      h("div", { class: "task-columns" },
        h("div", { class: "task-main" }, this.description.node, this.notes.node, this.subtaskPanel, this.checkpoints.node, this.timeline.node),
        h("aside", { "aria-label": "Fields" }, h("section", { class: "panel" }, h("h2", {}, "Fields"), this.facts), this.metadata)));
    return h("article", { class: "task-view" }, this.loading, this.problem, this.content);
  }

  get title() {
    return this.task?.value ? `${this.id} ${this.task.value.title}` : this.id;
  }

  #load() {
    this.task.load();
    this.timeline.load();
    this.checkpoints.load();
  }

  /** @param {import("../fold.js").Event[]} events */
  #take(events) {
    this.timeline.take(events);
    const isAbout = (/** @type {import("../fold.js").Event} */ { data }) => data.taskId === this.id || data.parentId === this.id;
    if (events.some((event) => event.topic.startsWith("task:") && isAbout(event))) this.task.refresh();
    if (events.some((event) => event.topic === `checkpoint:${this.id}`)) this.checkpoints.refresh();
  }

  update() {}

  recover() {
    this.task.recover();
    this.checkpoints.recover();
    this.timeline.recover();
  }

  #shown() {
    const { value } = this.task;
    // While nobody answers, what was read stays; the head of the page says of when it is.
    const error = value && this.task.error?.status === 0 ? null : this.task.error;
    show(this.loading, false);
    show(this.problem, Boolean(error));
    show(this.content, Boolean(value) && !error);
    if (error) fill(this.problem, h("h1", { class: "heard" }, this.id), failure(error, () => this.#load()));
    else if (value) this.#fill(value);
    this.app.draw();
  }

  /** @param {Row} task */
  #fill(task) {
    const { router } = this.app;
    const stream = task.streamId && h("a", { href: router.to("stream", [task.workspace, task.streamId]) }, h("bdi", {}, task.streamId));
    const parent = task.parentId && h("a", { href: router.to("task", [task.parentId]) }, task.parentId);
    fill(this.crumbs, h("a", { href: router.to("overview") }, "Overview"), " / ", h("bdi", {}, task.workspace), stream && " / ", stream, parent && " / ", parent && parent.cloneNode(true));
    say(this.name, task.title);
    setStatus(this.status, task.status);
    show(this.blockedBox, task.status === "blocked");
    say(this.reason, task.blockedReason ?? "no reason given");
    this.description.update(task.description);
    this.notes.update(task.notes);
    this.actions.update(task);
    this.#fillSubtasks(task.subtasks);
    this.#fillFacts(task, stream && stream.cloneNode(true), parent);
    this.#fillMetadata(task.metadata);
  }

  /** @param {Row[]} rows */
  #fillSubtasks(rows) {
    show(this.subtaskPanel, rows.length > 0);
    keyed(this.subtasks, rows, (row) => row.id, (row) =>
      h("li", {}, h("a", { href: this.app.router.to("task", [row.id]), "data-item": true },
        quietStatus(row.status), h("span", { class: "id" }, row.id), said("", "title"), said("", "agent"))),
    (item, row) => {
      const [status, , title, agent] = item.firstChild.children;
      setQuietStatus(status, row.status);
      say(title, row.title);
      say(agent, row.assignedAgent ? `@${row.assignedAgent}` : "");
    });
  }

  /** @param {Row} task @param {Node | null} stream @param {Node | null} parent */
  #fillFacts(task, stream, parent) {
    const none = () => h("span", { class: "dim" }, "none");
    const moment = (/** @type {string | null} */ at) => (at ? h("span", { class: "moment" }, when(at), since(at)) : null);
    /** @type {[string, any][]} */
    const facts = [
      ["Agent", task.assignedAgent ? said(`@${task.assignedAgent}`) : none()],
      ["Stream", stream ?? none()],
      ["Parent", parent ?? none()],
      ["Workspace", h("bdi", {}, task.workspace)],
      ["Created", moment(task.createdAt)],
      ["Changed", moment(task.updatedAt)],
      ["Started", moment(task.startedAt)],
      ["Blocked", moment(task.blockedAt)],
      ["Completed", moment(task.completedAt)],
      ["Files", task.files.length ? h("ul", { class: "files" }, ...task.files.map((/** @type {string} */ file) => h("li", {}, said(file)))) : null],
    ];
    fill(this.facts, ...facts.filter(([, value]) => value).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  }

  /** @param {Row} metadata */
  #fillMetadata(metadata) {
    const any = Object.keys(metadata).length > 0;
    show(this.metadata, any);
    if (any) fill(this.metadata, h("h2", {}, "Metadata"), json(metadata, "Metadata"));
  }

  up() {
    const { value } = this.task;
    if (value?.parentId) return this.app.router.to("task", [value.parentId]);
    return value?.streamId ? this.app.router.to("stream", [value.workspace, value.streamId]) : this.app.router.to("overview");
  }

  close() {
    this.stop();
    this.task.close();
    this.timeline.close();
    this.checkpoints.close();
  }
}

/** `12` and `task-12` are TASK-12. @param {string} id */
function normal(id) {
  return `TASK-${id.replace(/^task-/i, "")}`;
}

/** A panel with a long text. @param {string} name */
function section(name) {
  const text = said("", "long");
  const node = h("section", { class: "panel", hidden: true }, h("h2", {}, name), text);
  return {
    node,
    /** @param {string | null} value */
    update(value) {
      say(text, value ?? "");
      show(node, Boolean(value));
    },
  };
}
