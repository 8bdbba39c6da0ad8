// @ts-check
// One stream: its tasks by status, moving as they move.

import { attribute, fill, h, keyed, say, said, setText, show } from "../dom.js";
import { streamKey } from "../fold.js";
import { count, numberOf, percent, several, words } from "../format.js";
import { Choice, Typed } from "../parts/filters.js";
import { setSince, since } from "../parts/moments.js";
import { failure, loading } from "../parts/notices.js";
import { bar, countsOf, legend, setBar, setLegend, setStatus, sign, STATUSES, statusTag } from "../parts/status.js";
import { taskCard, updateCard } from "../parts/tasklines.js";
import { Windowed } from "../parts/windowed.js";
import { MOST_TASKS, TaskSet } from "../taskset.js";

const FRESH_MS = 1_200;

/** @typedef {Record<string, any>} Row */

export class StreamView {
  #drawn = "";

  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.app = app;
    const [workspace, streamId] = app.router.current.path;
    this.workspace = workspace;
    this.streamId = streamId;
    this.tasks = new TaskSet(app.store, this.workspace, this.streamId, () => app.draw());
    this.loading = loading();
    this.problem = h("div", { hidden: true });
    this.head = new Head(app);
    this.agent = new Choice(app, "agent", "Agent");
    this.status = new Choice(app, "status", "Status");
    this.text = new Typed(app, "find", "Title", { placeholder: "part of it" });
    this.filters = h("div", { class: "filters", role: "group", "aria-label": "Filters of the tasks" },
      this.status.node, this.agent.node, this.text.node,
      h("button", { type: "button", class: "small", on: { click: () => app.create({ streamId: this.streamId, workspace: this.workspace }) } }, "New task in this stream"));
    this.columns = STATUSES.map((status) => this.#column(status));
    this.board = h("div", { class: "board" }, ...this.columns.map((column) => column.node));
    this.cut = h("p", { class: "notice", hidden: true }, `Only the first ${count(MOST_TASKS)} tasks are shown; Tasks finds the others.`);
    this.content = h("div", { hidden: true }, this.head.node, this.filters, this.cut, this.board);
    this.node = h("div", { class: "stream-view" }, this.loading, this.problem, this.content);
    this.stop = app.store.listen({
      events: (events) => this.tasks.take(events),
      reset: () => void this.tasks.load(),
    });
    this.tasks.load();
  }

  get title() {
    return this.tasks.stream?.streamName ?? this.streamId;
  }

  /** @param {string} status */
  #column(status) {
    const number = h("span", { class: "count" });
    const list = new Windowed({
      label: `${words(status)} tasks`,
      className: "cards",
      key: (/** @type {Row} */ task) => task.id,
      make: (task) => this.#card(task),
      update: updateCard,
    });
    const node = h("section", { class: "column", data: { status } }, h("h2", {}, sign(status), h("span", {}, words(status)), number), list.node);
    return { status, node, number, list };
  }

  /** @param {Row} task */
  #card(task) {
    const card = taskCard(task, (id) => this.app.router.to("task", [id]));
    attribute(card, "data-fresh", task.arrived !== undefined && performance.now() - task.arrived < FRESH_MS);
    return card;
  }

  update() {
    const { stream, error } = this.tasks;
    show(this.loading, !stream && !error);
    show(this.problem, Boolean(error));
    show(this.content, Boolean(stream) && !error);
    if (error) this.#fail(error);
    if (!stream || error) return;
    this.head.update(stream, this.app.store.state.overview?.blocked);
    this.status.update(STATUSES);
    this.agent.update([...new Set([...this.tasks.rows.values()].map((row) => row.assignedAgent).filter(Boolean))].sort());
    this.text.update();
    show(this.cut, this.tasks.cut);
    const { status, agent, find } = this.app.router.current.query;
    const drawn = JSON.stringify([this.tasks.version, status, agent, find]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.#draw();
  }

  #draw() {
    const { status, agent, find } = this.app.router.current.query;
    const text = find?.toLowerCase();
    /** @type {Map<string, Row[]>} */
    const byStatus = new Map(STATUSES.map((one) => [one, []]));
    for (const row of this.tasks.rows.values()) {
      if (agent && row.assignedAgent !== agent) continue;
      if (text && !row.title.toLowerCase().includes(text)) continue;
      byStatus.get(row.status)?.push(row);
    }
    for (const column of this.columns) {
      const rows = byStatus.get(column.status) ?? [];
      rows.sort(column.status === "pending" ? byNumber : newestFirst);
      show(column.node, status ? column.status === status : column.status !== "cancelled" || rows.length > 0);
      setText(column.number, count(rows.length));
      column.list.set(rows);
    }
  }

  /** @param {any} error */
  #fail(error) {
    if (this.problem.dataset.of === error.message) return;
    this.problem.dataset.of = error.message;
    fill(this.problem, h("h1", { class: "heard" }, this.streamId), failure(error, () => this.tasks.load()));
  }

  recover() {
    if (this.tasks.error) this.tasks.load();
  }

  up() {
    return this.app.router.to("overview");
  }

  close() {
    this.stop();
    this.tasks.close();
  }
}

/** @param {Row} a @param {Row} b */
function byNumber(a, b) {
  return numberOf(a.id) - numberOf(b.id);
}

/** @param {Row} a @param {Row} b */
function newestFirst(a, b) {
  if (a.updatedAt === b.updatedAt) return numberOf(b.id) - numberOf(a.id);
  return a.updatedAt < b.updatedAt ? 1 : -1;
}

class Head {
  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.app = app;
    this.name = said("");
    this.status = statusTag("pending");
    this.where = said("");
    this.id = h("span", { class: "id" });
    this.phase = h("span", {});
    this.needs = h("span", { class: "needs" });
    this.share = h("b", { class: "share" });
    this.total = h("span", { class: "dim" });
    this.time = since(null);
    this.bar = bar();
    this.legend = legend();
    this.archived = h("span", { class: "tag", hidden: true }, "archived");
    this.node = h("header", { class: "view-head" },
      h("p", { class: "crumbs" }, h("a", { href: app.router.to("overview") }, "Overview"), " / ", this.where),
      h("div", { class: "title-row" }, h("h1", {}, this.name), this.status, this.archived),
      h("p", { class: "facts" }, this.id, this.phase, this.needs, h("span", {}, "last change ", this.time, " ago")),
      h("div", { class: "panel progress-panel" }, h("p", { class: "overall" }, this.share, this.total), this.bar, this.legend));
  }

  /** @param {Row} stream @param {Map<string, Row> | undefined} _blocked */
  update(stream, _blocked) {
    say(this.name, stream.streamName);
    say(this.where, stream.workspace);
    setText(this.id, stream.streamId);
    setStatus(this.status, stream.status);
    setText(this.phase, `${stream.streamPhase} phase`);
    setText(this.share, `${percent(stream.completedTasks, stream.totalTasks)}%`);
    setText(this.total, `${count(stream.completedTasks)} of ${several(stream.totalTasks, "task")} completed`);
    setBar(this.bar, countsOf(stream));
    setLegend(this.legend, countsOf(stream), count);
    setSince(this.time, stream.lastUpdated);
    show(this.archived, Boolean(stream.archivedAt));
    this.#updateNeeds(stream);
  }

  /** @param {Row} stream */
  #updateNeeds(stream) {
    const { overview } = this.app.store.state;
    const items = stream.dependencies.map((/** @type {string} */ id) => ({ id, status: overview?.streams.get(streamKey(stream.workspace, id))?.status }));
    const text = JSON.stringify(items);
    if (this.needs.dataset.of === text) return;
    this.needs.dataset.of = text;
    fill(this.needs, items.length > 0 && "needs ", h("span", {}));
    keyed(this.needs.lastChild, items, (item) => item.id, (item) => h("a", { class: "need", href: this.app.router.to("stream", [stream.workspace, item.id]) },
      item.status && sign(item.status), item.id, item.status && h("span", { class: "heard" }, ` (${words(item.status)})`)));
  }
}
