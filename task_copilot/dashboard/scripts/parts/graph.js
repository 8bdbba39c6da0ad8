// @ts-check
// The streams of one workspace as a graph: phases from left to right, a card a stream, a line a
// dependency.

import { attribute, h, keyed, say, said, setText, show, svg } from "../dom.js";
import { keyOf } from "../fold.js";
import { percent, several } from "../format.js";
import { layout, PHASES, waitsFor } from "../layout.js";
import { setSince, since } from "./moments.js";
import { bar, countsOf, quietStatus, setBar, setQuietStatus } from "./status.js";

/** @typedef {Record<string, any>} Row */
/** @typedef {{stream: Row, agents: string[], lastActivity: string, waits: string[]}} Shown */

export class Graph {
  /** @type {Shown[]} */
  #shown = [];
  #structure = "";
  /** @type {import("../layout.js").Layout | null} */
  #layout = null;
  /** @type {Map<string, Shown>} */
  #cards = new Map();

  /** @param {string} workspace @param {(stream: Row) => string} to the address of a stream */
  constructor(workspace, to) {
    this.workspace = workspace;
    this.to = to;
    this.lines = svg("svg", { class: "edges", "aria-hidden": "true" });
    this.phases = h("div", { class: "phases" });
    this.title = said(workspace);
    this.summary = h("span", { class: "dim" });
    this.canvas = h("div", { class: "canvas" }, this.lines, this.phases);
    this.node = h("section", { class: "graph", "aria-label": `Streams of ${workspace}` },
      h("h2", {}, this.title, this.summary), this.canvas);
    new ResizeObserver(() => this.#arrange()).observe(this.canvas);
  }

  /** @param {Shown[]} shown @param {number} hidden how many the filters leave out */
  update(shown, hidden) {
    this.#shown = shown.map((one) => this.#same(one));
    this.#cards = new Map(this.#shown.map((one) => [keyOf(one.stream), one]));
    setText(this.summary, several(shown.length, "stream") + (hidden ? `, ${hidden} left out by the filters` : ""));
    this.#arrange();
  }

  /** What was shown before where nothing has changed, so that its card is left alone. */
  /** @param {Shown} one */
  #same(one) {
    const before = this.#cards.get(keyOf(one.stream));
    const isSame = before && before.stream === one.stream && before.lastActivity === one.lastActivity
      && before.agents.join() === one.agents.join() && before.waits.join() === one.waits.join();
    return isSame ? before : one;
  }

  #arrange() {
    const width = Math.floor(this.canvas.clientWidth);
    if (!width) return;
    const structure = [width, ...this.#shown.map(({ stream }) =>
      `${stream.streamId} ${stream.streamPhase} ${stream.dependencies.join(",")}`)].join("\n");
    if (structure !== this.#structure || !this.#layout) {
      this.#structure = structure;
      this.#layout = layout(this.#shown.map(({ stream }) => stream), width);
      this.#draw(this.#layout);
    }
    this.#fill(this.#layout);
  }

  /** @param {import("../layout.js").Layout} found */
  #draw(found) {
    this.canvas.style.height = `${found.height}px`;
    this.canvas.style.setProperty("--card", `${found.card}px`);
    attribute(this.lines, "width", found.width);
    attribute(this.lines, "height", found.height);
    keyed(this.lines, found.edges, (edge) => `${edge.from} ${edge.to}`,
      () => svg("path", { class: "edge" }), (node, edge) => attribute(node, "d", edge.path));
  }

  /** @param {import("../layout.js").Layout} found */
  #fill(found) {
    keyed(this.phases, found.phases.map((phase) => ({ ...phase })), (phase) => phase.phase, phaseNode, (node, phase) => {
      const [head, list] = node.children;
      move(head, phase.x, phase.y);
      head.style.width = `${phase.width}px`;
      setText(head.children[1], phaseSummary(phase.streams.map((row) => this.#cards.get(keyOf(row))?.stream ?? row)));
      const cards = phase.streams.map((row) => this.#cards.get(keyOf(row))).filter(Boolean);
      keyed(list, /** @type {Shown[]} */ (cards), (one) => keyOf(one.stream), (one) => this.#card(one), updateCard);
      for (const [place, item] of [...list.children].entries()) {
        const at = found.places.get(keyOf(phase.streams[place]));
        if (at) move(/** @type {HTMLElement} */ (item), at.x, at.y);
      }
    });
    for (const [place, line] of [...this.lines.children].entries()) {
      const edge = found.edges[place];
      const from = edge && this.#cards.get(edge.from)?.stream;
      attribute(line, "data-done", Boolean(from && from.status === "completed"));
    }
  }

  /** @param {Shown} one */
  #card({ stream }) {
    return h("li", { class: "stream-item" },
      h("a", { class: "stream-card", href: this.to(stream), "data-item": true, data: { stream: stream.streamId } },
        h("span", { class: "top" }, quietStatus(stream.status), said("", "title"), said("", "id"), h("span", { class: "percent" })),
        bar(),
        h("span", { class: "bottom" }, said("", "who"), since(null, true)),
        h("span", { class: "heard needs" })));
  }
}

/** @param {HTMLElement} node @param {number} x @param {number} y */
function move(node, x, y) {
  const shift = `translate(${x}px, ${y}px)`;
  if (node.style.transform !== shift) node.style.transform = shift;
}

/** @param {import("../layout.js").PhasePlace} phase */
function phaseNode(phase) {
  return h("section", { class: "phase", data: { phase: phase.phase } },
    h("h3", {}, h("span", {}, phase.phase), h("span", { class: "dim" }), PHASES.indexOf(phase.phase) > 0 && h("span", { class: "heard" }, ", after the phases before")),
    h("ul", {}));
}

/** @param {Row[]} streams */
function phaseSummary(streams) {
  const done = streams.filter((row) => row.status === "completed").length;
  return `${done}/${streams.length}`;
}

/** @param {HTMLElement} item @param {Shown} shown */
function updateCard(item, shown) {
  const { stream } = shown;
  const [top, progress, bottom, needs] = /** @type {any} */ (item.firstChild).children;
  const [status, title, id, share] = top.children;
  attribute(/** @type {Element} */ (item.firstChild), "data-status", stream.status);
  setQuietStatus(status, stream.status);
  say(title, stream.streamName);
  attribute(title, "title", stream.streamName);
  say(id, stream.streamId);
  show(id, stream.streamName !== stream.streamId);
  setText(share, `${percent(stream.completedTasks, stream.totalTasks)}%`);
  setBar(progress, countsOf(stream));
  say(bottom.children[0], who(shown));
  attribute(bottom.children[0], "title", who(shown));
  setSince(bottom.children[1], shown.lastActivity);
  setText(needs, stream.dependencies.length ? `Needs ${stream.dependencies.join(", ")}` : "");
}

/** @param {Shown} shown */
function who({ stream, agents, waits }) {
  const working = agents.map((agent) => `@${agent}`).join(" ");
  const done = `${stream.completedTasks}/${stream.totalTasks}`;
  if (stream.archivedAt) return `${done} · archived`;
  if (stream.blockedTasks) return [done, `${stream.blockedTasks} blocked`, working].filter(Boolean).join(" · ");
  if (stream.status === "completed") return `${done} completed`;
  if (working) return `${done} · ${working}`;
  if (stream.status === "in_progress") return `${done} · nobody works on it`;
  if (waits.length) return `${done} · waits for ${waits.slice(0, 3).join(", ")}${waits.length > 3 ? " …" : ""}`;
  return `${done} · ready to start`;
}

/**
 * What the graph shows of each stream.
 * @param {Row[]} streams
 * @param {Row[]} activities
 * @returns {Shown[]}
 */
export function shownStreams(streams, activities) {
  /** @type {Map<string, Row[]>} */
  const working = new Map();
  for (const row of activities) {
    const key = `${row.workspace}\n${row.streamId}`;
    working.set(key, [...(working.get(key) ?? []), row]);
  }
  /** @type {Map<string, Row[]>} */
  const byWorkspace = new Map();
  for (const row of streams) byWorkspace.set(row.workspace, [...(byWorkspace.get(row.workspace) ?? []), row]);
  return streams.map((stream) => {
    const rows = working.get(keyOf(stream)) ?? [];
    const moments = [stream.lastUpdated, ...rows.map((row) => row.lastHeartbeat)].filter(Boolean);
    return {
      stream,
      agents: [...new Set(rows.map((row) => row.agentId ?? "somebody"))].sort(),
      lastActivity: moments.reduce((a, b) => (a > b ? a : b), ""),
      waits: stream.status === "pending" ? waitsFor(stream, byWorkspace.get(stream.workspace) ?? []) : [],
    };
  });
}
