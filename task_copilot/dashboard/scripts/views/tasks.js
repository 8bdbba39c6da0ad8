// @ts-check
// Tasks by text, id, status, stream and agent.

import { get } from "../api.js";
import { h, setText, show } from "../dom.js";
import { keyOf } from "../fold.js";
import { several } from "../format.js";
import { Box, Choice, Typed } from "../parts/filters.js";
import { failure, loading, welcome } from "../parts/notices.js";
import { statusTag, STATUSES } from "../parts/status.js";
import { taskLine, updateLine } from "../parts/tasklines.js";
import { Windowed } from "../parts/windowed.js";

const PAGE = 200;
const LONGEST_PAGE = 1_000;
const AGAIN_MS = 1_500;
/** For each thousand rows, and at least once this: reading them again has its price. */
const FILTERS = ["workspace", "text", "status", "stream", "agent", "archived"];
const STREAMS_SHOWN = 8;

/** @typedef {Record<string, any>} Row */

export class TasksView {
  title = "Tasks";
  /** @type {Row[] | null} */
  #rows = null;
  #total = 0;
  /** @type {string | null} */
  #cursor = null;
  #asked = "";
  #turn = 0;
  #reading = false;
  /** @type {any} */
  #error = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.app = app;
    this.status = new Choice(app, "status", "Status");
    this.stream = new Typed(app, "stream", "Stream", { placeholder: "id", maxlength: 64 });
    this.agent = new Typed(app, "agent", "Agent", { placeholder: "name", maxlength: 100 });
    this.archived = new Box(app, "archived", "with archived streams");
    this.count = h("p", { class: "dim result-count", role: "status" });
    this.streams = h("ul", { class: "stream-hits" });
    this.loading = loading();
    this.problem = h("div", { hidden: true });
    this.empty = welcome(() => app.create());
    this.none = h("p", { class: "notice", hidden: true }, "No task matches. Esc clears the search.");
    this.list = new Windowed({
      label: "Tasks",
      className: "task-lines",
      key: (/** @type {Row} */ task) => task.id,
      make: (task) => taskLine(task, (id) => app.router.to("task", [id])),
      update: updateLine,
      end: () => void this.#more(),
    });
    this.node = h("div", { class: "tasks-view" },
      h("h1", { class: "heard" }, "Tasks"),
      h("div", { class: "filters", role: "group", "aria-label": "Filters of the tasks" }, this.status.node, this.stream.node, this.agent.node, this.archived.node, this.count),
      this.problem, this.loading, this.streams, this.list.node, this.none, this.empty);
    this.stop = app.store.listen({ events: (events) => this.#take(events), reset: () => this.#again(0) });
  }

  update() {
    const { query } = this.app.router.current;
    for (const filter of [this.stream, this.agent, this.archived]) filter.update();
    this.status.update(STATUSES);
    const asked = JSON.stringify(FILTERS.map((name) => query[name] ?? ""));
    if (asked !== this.#asked) {
      this.#asked = asked;
      this.#read(PAGE);
    }
    this.#show();
  }

  #show() {
    const rows = this.#rows;
    const { query } = this.app.router.current;
    const isFiltered = FILTERS.some((name) => query[name]);
    show(this.loading, !rows && !this.#error);
    show(this.problem, Boolean(this.#error));
    show(this.none, rows?.length === 0 && isFiltered);
    show(this.empty, rows?.length === 0 && !isFiltered);
    show(this.list.node, Boolean(rows?.length));
    if (rows) setText(this.count, several(this.#total, "task"));
    this.#showStreams(query.text);
    if (rows && rows !== this.list.items) this.list.set(rows);
  }

  /** Streams whose id or name matches the search. @param {string | undefined} text */
  #showStreams(text) {
    const streams = [...(this.app.store.state.overview?.streams.values() ?? [])];
    const wanted = text?.toLowerCase();
    const found = !wanted ? [] : streams
      .filter((row) => row.streamId.toLowerCase().includes(wanted) || row.streamName.toLowerCase().includes(wanted))
      .slice(0, STREAMS_SHOWN);
    const key = found.map((row) => `${keyOf(row)} ${row.status}`).join("\n");
    show(this.streams, found.length > 0);
    if (this.streams.dataset.of === key) return;
    this.streams.dataset.of = key;
    this.streams.replaceChildren(...found.map((row) => h("li", {},
      h("a", { class: "stream-hit", href: this.app.router.to("stream", [row.workspace, row.streamId]), "data-item": true },
        statusTag(row.status), h("span", { class: "dim" }, "stream"), h("bdi", {}, row.streamName)))));
  }

  // --- reading ---

  /** @param {number} limit @param {string | null} cursor */
  #query(limit, cursor) {
    const { workspace, text, status, stream, agent, archived } = this.app.router.current.query;
    return { workspace, text, status, streamId: stream, assignedAgent: agent, includeArchived: archived === "1" || null, limit, cursor };
  }

  /** @param {number} wanted rows */
  async #read(wanted) {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const turn = (this.#turn += 1);
    this.#reading = true;
    try {
      /** @type {Row[]} */
      let rows = [];
      /** @type {any} */
      let page = null;
      do {
        page = await get("/api/tasks", this.#query(Math.min(LONGEST_PAGE, wanted - rows.length), page?.nextCursor ?? null));
        if (turn !== this.#turn) return;
        rows = rows.concat(page.tasks.map((/** @type {Row} */ task) => ({ ...task, seq: page.seq })));
      } while (page.nextCursor !== null && rows.length < wanted);
      this.#keep(rows, page);
    } catch (error) {
      if (turn === this.#turn) this.#fail(error);
    } finally {
      if (turn === this.#turn) this.#reading = false;
    }
  }

  async #more() {
    if (this.#cursor === null || this.#reading || !this.#rows) return;
    this.#reading = true;
    const turn = this.#turn;
    try {
      const page = await get("/api/tasks", this.#query(PAGE, this.#cursor));
      if (turn !== this.#turn) return;
      this.#keep(this.#rows.concat(page.tasks.map((/** @type {Row} */ task) => ({ ...task, seq: page.seq }))), page);
    } catch (error) {
      if (turn === this.#turn) this.#fail(error);
    } finally {
      if (turn === this.#turn) this.#reading = false;
    }
  }

  /** @param {Row[]} rows @param {any} page the last one */
  #keep(rows, page) {
    this.#error = null;
    delete this.problem.dataset.of;
    const before = new Map(this.#rows?.map((row) => [row.id, row]));
    // A row that events have changed since the page was read stays as they left it.
    this.#rows = rows.map((row) => ((before.get(row.id)?.seq ?? 0) > row.seq ? before.get(row.id) ?? row : row));
    this.#total = page.totalTasks;
    this.#cursor = page.nextCursor;
    this.app.draw();
  }

  /** @param {any} error */
  #fail(error) {
    this.#error = error;
    if (error.status === 422 || error.status === 404) this.#rows = [];
    this.problem.replaceChildren(failure(error, () => this.#read(PAGE)));
    this.app.draw();
  }

  // --- live ---

  /** @param {import("../fold.js").Event[]} events */
  #take(events) {
    const { workspace } = this.app.router.current.query;
    const ours = events.filter((event) => event.topic.startsWith("task:") && (!workspace || event.workspace === workspace));
    if (!ours.length || !this.#rows) return;
    const newest = new Map(ours.map((event) => [event.data.taskId, event]));
    if (this.#rows.some((row) => newest.has(row.id))) this.#rows = this.#rows.map((row) => changed(row, newest.get(row.id)));
    // Only the server knows what matches now, and in which order.
    this.#again(AGAIN_MS);
  }

  /** @param {number} delay */
  #again(delay) {
    if (this.#timer !== undefined) return;
    const rows = this.#rows?.length ?? 0;
    const pace = delay * Math.max(1, rows / LONGEST_PAGE);
    this.#timer = setTimeout(() => this.#read(Math.max(PAGE, rows)), pace);
  }

  recover() {
    if (this.#error) this.#read(PAGE);
  }

  up() {
    return this.app.router.to("overview");
  }

  close() {
    this.#turn += 1;
    clearTimeout(this.#timer);
    this.stop();
  }
}

/** @param {Row} row @param {import("../fold.js").Event | undefined} event */
function changed(row, event) {
  if (!event || event.seq <= row.seq) return row;
  const { data, timestamp, seq } = event;
  return {
    ...row, seq,
    title: data.taskTitle, status: data.newStatus, streamId: data.streamId, assignedAgent: data.assignedAgent,
    updatedAt: event.eventType === "task.redacted" ? row.updatedAt : timestamp,
  };
}
