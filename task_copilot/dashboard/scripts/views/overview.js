// @ts-check
// The overview: what is blocked, how far everything is, every stream, and who works.

import { attribute, h, keyed, show } from "../dom.js";
import { newestFirst } from "../fold.js";
import { Blocked } from "../parts/blocked.js";
import { tick } from "../parts/moments.js";
import { Box, Choice, Typed } from "../parts/filters.js";
import { Graph, shownStreams } from "../parts/graph.js";
import { loading, welcome } from "../parts/notices.js";
import { totalOf } from "../parts/status.js";
import { Summary } from "../parts/summary.js";
import { Travel } from "../parts/travel.js";
import { Working } from "../parts/working.js";

const STREAM_STATUSES = ["blocked", "in_progress", "pending", "completed"];

/** @typedef {Record<string, any>} Row */

export class OverviewView {
  title = "Overview";
  /** @type {Map<string, Graph>} */
  #graphs = new Map();
  /** @type {() => void} */
  #stop;

  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.app = app;
    this.travel = new Travel(app);
    this.blocked = new Blocked(app);
    this.summary = new Summary(app);
    this.working = new Working(app);
    this.status = new Choice(app, "status", "Status");
    this.agent = new Choice(app, "agent", "Agent");
    this.stream = new Typed(app, "stream", "Stream", { placeholder: "id or name" });
    this.archived = new Box(app, "archived", "with archived");
    this.graphs = h("div", { class: "graphs" });
    this.filters = h("div", { class: "filters", role: "group", "aria-label": "Filters of the streams" },
      this.status.node, this.agent.node, this.stream.node, this.archived.node);
    this.none = h("p", { class: "notice", hidden: true }, "No stream matches the filters.");
    this.empty = welcome(() => app.create());
    this.loading = loading();
    this.content = h("div", { class: "overview" },
      h("div", { class: "side-by-side" }, this.blocked.node,
        h("section", { class: "streams", "aria-label": "Streams" }, this.filters, this.graphs, this.none)),
      h("div", { class: "side-by-side" }, this.summary.node, this.working.node));
    this.node = h("div", { class: "overview-view" }, h("h1", { class: "heard" }, "Overview"), this.travel.banner, this.loading, this.empty, this.content, this.travel.node);
    this.#stop = app.store.listen({
      events: (events) => {
        if (events.some(isAboutCompletion)) this.summary.refresh();
      },
      reset: () => this.summary.refresh(),
    });
  }

  update() {
    const { error } = this.app.store.state;
    const overview = error ? null : this.#overview;
    this.travel.update();
    const isPast = this.travel.at !== null;
    // Until the past is here, nothing must pass for it.
    const seen = isPast ? this.travel.past : overview;
    show(this.loading, !seen && !error && !this.travel.error);
    const isEmpty = overview !== null && !isPast && totalOf(overview.totals) === 0 && overview.streams.size === 0;
    show(this.empty, isEmpty);
    show(this.content, seen !== null && !isEmpty && !this.travel.error);
    if (!seen || isEmpty) return;
    attribute(this.content, "data-past", isPast);
    attribute(this.content, "data-shows", seen.seq);
    attribute(this.content, "aria-busy", isPast && this.travel.past?.seq !== this.travel.at ? "true" : null);
    this.#show(seen, isPast);
    const now = isPast ? seen.timestamp ?? "" : undefined;
    if (this.content.dataset.now === now) return;
    attribute(this.content, "data-now", now);
    tick(this.content, this.app.clock.now());
  }

  /** What is known of the part of the database that the address names. */
  get #overview() {
    const { overview } = this.app.store.state;
    const { workspace = null, archived } = this.app.router.current.query;
    const isOfIt = overview?.workspace === workspace && overview.withArchived === (archived === "1");
    return isOfIt ? overview : null;
  }

  /** @param {import("../fold.js").Overview} seen @param {boolean} isPast */
  #show(seen, isPast) {
    const now = isPast && seen.timestamp ? Date.parse(seen.timestamp) : this.app.clock.now();
    const blocked = newestFirst(seen.blocked, "blockedAt");
    const activities = newestFirst(seen.activities, "lastHeartbeat");
    const { query } = this.app.router.current;
    const isWanted = (/** @type {Row} */ row) =>
      (!query.agent || (row.assignedAgent ?? row.agentId) === query.agent) && matches(query.stream, row.streamId);
    const isFiltered = Boolean(query.agent || query.stream);
    const wantedBlocked = isFiltered ? blocked.filter(isWanted) : blocked;
    const wantedActivities = isFiltered ? activities.filter(isWanted) : activities;
    this.blocked.update(wantedBlocked, isFiltered ? wantedBlocked.length : seen.totals.blocked, !isPast);
    this.working.update(wantedActivities, isFiltered ? wantedActivities.length : seen.totals.in_progress, now);
    this.summary.update(seen.totals, isPast);
    this.#showFilters(blocked, activities);
    this.#showStreams(seen, activities, blocked);
  }

  /** @param {Row[]} blocked @param {Row[]} activities */
  #showFilters(blocked, activities) {
    const agents = new Set([...activities.map((row) => row.agentId), ...blocked.map((row) => row.assignedAgent)]);
    this.status.update(STREAM_STATUSES);
    this.agent.update([...agents].filter(Boolean).sort());
    this.stream.update();
    this.archived.update();
  }

  /** @param {import("../fold.js").Overview} seen @param {Row[]} activities @param {Row[]} blocked */
  #showStreams(seen, activities, blocked) {
    const { query } = this.app.router.current;
    const all = shownStreams(inOrder([...seen.streams.values()]), activities);
    const ofAgent = new Set([...activities, ...blocked]
      .filter((row) => (row.agentId ?? row.assignedAgent) === query.agent)
      .map((row) => `${row.workspace}\n${row.streamId}`));
    const wanted = all.filter(({ stream }) =>
      (!query.status || stream.status === query.status)
      && (!query.agent || ofAgent.has(`${stream.workspace}\n${stream.streamId}`))
      && (matches(query.stream, stream.streamId) || matches(query.stream, stream.streamName)));
    const names = [...new Set(wanted.map(({ stream }) => stream.workspace))].sort();
    keyed(this.graphs, names, (name) => name, (name) => this.#graph(name).node);
    for (const name of names) {
      const shown = wanted.filter(({ stream }) => stream.workspace === name);
      const total = all.filter(({ stream }) => stream.workspace === name).length;
      this.#graph(name).update(shown, total - shown.length);
    }
    show(this.none, all.length > 0 && wanted.length === 0);
    show(this.filters, all.length > 0 || Boolean(query.archived));
  }

  /** @param {string} workspace */
  #graph(workspace) {
    let found = this.#graphs.get(workspace);
    if (!found) {
      found = new Graph(workspace, (stream) => this.app.router.to("stream", [stream.workspace, stream.streamId]));
      this.#graphs.set(workspace, found);
    }
    return found;
  }

  recover() {
    this.summary.completions.recover();
    this.travel.recover();
  }

  up() {
    return this.travel.at === null ? null : this.app.router.to("overview");
  }

  close() {
    this.#stop();
    this.travel.close();
    this.summary.close();
  }
}

/** @param {import("../fold.js").Event} event */
function isAboutCompletion({ eventType, data }) {
  return eventType === "task.status_changed" && (data.newStatus === "completed" || data.oldStatus === "completed");
}

/** @param {string | undefined} wanted @param {string | null} text */
function matches(wanted, text) {
  return !wanted || (text ?? "").toLowerCase().includes(wanted.toLowerCase());
}

/** In the order in which they were made, as the server lists them. @param {Row[]} streams */
function inOrder(streams) {
  return streams.sort((a, b) => compare(a.createdAt, b.createdAt) || compare(a.streamId, b.streamId));
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
