// @ts-check
// The event log, newest first and live, with the protocol's own filters.

import { get } from "../api.js";
import { h, said, setText, show } from "../dom.js";
import { count, several } from "../format.js";
import { Typed } from "../parts/filters.js";
import { field, form } from "../parts/forms.js";
import { showPayload } from "../parts/payload.js";
import { failure, loading } from "../parts/notices.js";
import { when } from "../parts/moments.js";
import { Windowed } from "../parts/windowed.js";
import { NAMES, parameters, selectionOf, selects } from "../selection.js";
import { sentence, subject, subjectId } from "../sentences.js";

const FIRST = 300;
const STRETCH = 1_000;
/** Numbers of the log that one reading of earlier events looks at. */
const STRETCHES = 20;
const MOST_ROWS = 20_000;

/** @typedef {import("../fold.js").Event} Event */

export class EventsView {
  title = "Events";
  /** @type {Event[] | null} newest first */
  #rows = null;
  /** @type {Event[]} newest first, while paused */
  #held = [];
  #paused = false;
  #asked = "";
  #turn = 0;
  #reading = false;
  #last = 0;
  /** Everything before it was read, or is pruned. */
  #floor = 0;
  /** @type {any} */
  #error = null;
  #drawn = /** @type {Event[] | null} */ (null);

  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.app = app;
    this.filters = [
      new Typed(app, "topics", "Topics", { placeholder: "task:*, stream:Stream-A", maxlength: 2000 }),
      new Typed(app, "eventTypes", "Types", { placeholder: "task.completed, stream.*", maxlength: 2000 }),
      new Typed(app, "streams", "Streams", { placeholder: "Stream-A", maxlength: 2000 }),
      new Typed(app, "agents", "Agents", { placeholder: "me", maxlength: 2000 }),
      new Typed(app, "notActors", "Not by", { placeholder: "me", maxlength: 2000 }),
    ];
    this.pause = h("button", { type: "button", class: "small", "aria-pressed": "false", data: { key: "p" }, on: { click: () => this.#toggle() } }, "Pause");
    this.said = h("p", { class: "dim result-count", role: "status" });
    this.live = h("a", { class: "button small", hidden: true }, "Back to live");
    this.problem = h("div", { hidden: true });
    this.loading = loading();
    this.none = h("p", { class: "notice", hidden: true }, "No event matches. Filters are separated by commas; a * stands for the rest.");
    this.end = h("p", { class: "dim quiet-line", hidden: true }, "This is the beginning of the log.");
    this.list = new Windowed({
      label: "Events, newest first",
      className: "event-lines",
      key: (/** @type {Event} */ event) => event.seq,
      make: (event) => this.#line(event),
      update: () => {},
      end: () => void this.#earlier(),
    });
    this.node = h("div", { class: "events-view" }, h("h1", { class: "heard" }, "Events"),
      h("div", { class: "filters", role: "group", "aria-label": "Filters of the events" }, ...this.filters.map((filter) => filter.node)),
      h("div", { class: "filters second" }, this.pause, this.live, this.#jumpForm(), this.said),
      this.problem, this.loading, this.none, this.list.node, this.end);
    this.stop = app.store.listen({ events: (events) => this.#take(events), reset: () => void this.#read() });
  }

  update() {
    const { query } = this.app.router.current;
    for (const filter of this.filters) filter.update();
    const asked = JSON.stringify([...NAMES, "workspace", "at"].map((name) => query[name] ?? ""));
    if (asked !== this.#asked && this.app.store.state.overview) {
      this.#asked = asked;
      this.#read();
    }
    this.live.href = this.app.router.to("events", [], { ...query, at: "" });
    this.#show();
  }

  #show() {
    const rows = this.#rows;
    const isPast = this.#at !== null;
    show(this.loading, !rows && !this.#error && !this.#drawn);
    show(this.list.node, !this.#error);
    show(this.problem, Boolean(this.#error));
    show(this.none, rows?.length === 0);
    show(this.live, isPast);
    show(this.pause, !isPast);
    show(this.end, Boolean(rows?.length) && this.#floor <= 0);
    setText(this.pause, this.#paused ? "Resume" : "Pause");
    this.pause.setAttribute("aria-pressed", String(this.#paused));
    setText(this.said, this.#words());
    if (rows && rows !== this.#drawn) this.#draw(rows);
  }

  /** New rows come in at the top: what is being read stays where it is. */
  /** @param {Event[]} rows */
  #draw(rows) {
    const before = this.#drawn?.[0]?.seq;
    const added = before === undefined ? 0 : rows.findIndex((row) => row.seq === before);
    const isReading = this.list.node.getBoundingClientRect().top < 0;
    this.#drawn = rows;
    this.list.set(rows);
    if (isReading && added > 0) scrollBy({ top: added * this.list.row, behavior: "instant" });
  }

  #words() {
    if (!this.#rows) return this.#error ? "" : "Reading …";
    if (this.#at !== null) return `up to event ${count(this.#at)}`;
    if (this.#paused) return `paused, ${several(this.#held.length, "new event")}`;
    return `${several(this.#rows.length, "event")} shown, new ones come in at the top`;
  }

  get #at() {
    const { at } = this.app.router.current.query;
    return at !== undefined && /^\d+$/.test(at) ? Number(at) : null;
  }

  /** @param {Event} event */
  #line(event) {
    const { router } = this.app;
    const [kind] = event.topic.split(":");
    const id = subjectId(event);
    const to = kind === "stream" ? router.to("stream", [event.workspace, id]) : router.to("task", [id]);
    const title = said(subject(event), "title");
    const what = said(sentence(event), "what");
    title.title = subject(event);
    what.title = sentence(event);
    return h("div", { class: "event-line", data: { kind } },
      h("span", { class: "number" }, event.seq),
      when(event.timestamp, true),
      h("span", { class: "type" }, event.eventType),
      h("a", { href: to, "data-item": true }, h("span", { class: "id" }, id), title),
      what,
      said(event.actor, "actor"),
      h("button", { type: "button", class: "small raw", "aria-label": `Payload of event ${event.seq}`, on: { click: () => showPayload(this.app, event) } }, "{ }"));
  }

  // --- reading ---

  get #query() {
    const { query } = this.app.router.current;
    return { workspace: query.workspace, ...parameters(selectionOf(query)) };
  }

  async #read() {
    const turn = (this.#turn += 1);
    this.#rows = null;
    this.#held = [];
    this.#error = null;
    this.#reading = true;
    try {
      const at = this.#at;
      if (at === null) await this.#readNewest(turn);
      else await this.#readUpTo(at, turn);
    } catch (error) {
      if (turn === this.#turn) this.#fail(error);
    } finally {
      if (turn === this.#turn) this.#reading = false;
    }
  }

  /** @param {number} turn */
  async #readNewest(turn) {
    const page = await get("/api/events", { ...this.#query, replay: FIRST, limit: FIRST });
    if (turn !== this.#turn) return;
    this.#last = page.seq;
    this.#rows = page.events.reverse();
    this.#floor = (this.#rows?.[this.#rows.length - 1]?.seq ?? page.seq + 1) - 1;
    if (page.events.length < FIRST) this.#floor = 0;
    this.#take(this.app.store.after(page.seq));
    this.app.draw();
  }

  /** @param {number} at @param {number} turn */
  async #readUpTo(at, turn) {
    this.#floor = at;
    const rows = await this.#before(turn);
    if (turn !== this.#turn) return;
    this.#rows = rows;
    this.app.draw();
  }

  async #earlier() {
    if (this.#reading || !this.#rows || this.#floor <= 0 || this.#rows.length >= MOST_ROWS) return;
    this.#reading = true;
    const turn = this.#turn;
    try {
      const rows = await this.#before(turn);
      if (turn !== this.#turn) return;
      this.#rows = (this.#rows ?? []).concat(rows);
      this.app.draw();
    } catch (error) {
      if (turn === this.#turn) this.#fail(error);
    } finally {
      if (turn === this.#turn) this.#reading = false;
    }
  }

  /** The next events before those that are there, newest first. */
  /** @param {number} turn @returns {Promise<Event[]>} */
  async #before(turn) {
    const oldest = Math.max(1, this.app.store.state.overview?.oldestSeq ?? 1);
    for (let turns = 0; turns < STRETCHES && this.#floor >= oldest; turns += 1) {
      const since = Math.max(oldest - 1, this.#floor - STRETCH);
      const page = await get("/api/events", { ...this.#query, since, limit: STRETCH });
      if (turn !== this.#turn) return [];
      const upTo = this.#floor;
      this.#floor = since;
      const found = page.events.filter((/** @type {Event} */ event) => event.seq <= upTo).reverse();
      if (found.length) return found;
    }
    if (this.#floor < oldest) this.#floor = 0;
    return [];
  }

  /** @param {any} error */
  #fail(error) {
    this.#error = error;
    this.problem.replaceChildren(failure(error, () => this.#read()));
    this.app.draw();
  }

  // --- live ---

  /** @param {Event[]} events */
  #take(events) {
    if (!this.#rows || this.#at !== null) return;
    const { query } = this.app.router.current;
    const selection = selectionOf(query);
    const news = events.filter((event) => event.seq > this.#last && selects(selection, query.workspace, event)).reverse();
    this.#last = Math.max(this.#last, events[events.length - 1]?.seq ?? 0);
    if (!news.length) return;
    if (this.#paused) this.#held = news.concat(this.#held).slice(0, MOST_ROWS);
    else this.#rows = news.concat(this.#rows).slice(0, MOST_ROWS);
  }

  #toggle() {
    this.#paused = !this.#paused;
    if (!this.#paused && this.#rows) {
      this.#rows = this.#held.concat(this.#rows).slice(0, MOST_ROWS);
      this.#held = [];
    }
    this.app.draw();
  }

  // --- jump to a time ---

  #jumpForm() {
    const time = field("time", "Jump to", h("input", { type: "datetime-local", step: 1, required: true }));
    return form({
      fields: [time],
      action: "Jump",
      label: "Jump to a time",
      send: ({ time: text }) => this.#numberAt(Date.parse(text)),
      sent: (at) => this.app.router.filter({ at }),
    });
  }

  /** The last event before a moment, found by halving. @param {number} moment @returns {Promise<number>} */
  async #numberAt(moment) {
    const { overview } = this.app.store.state;
    let low = Math.max(1, overview?.oldestSeq ?? 1);
    let high = overview?.seq ?? 0;
    if (Number.isNaN(moment)) return high;
    const first = low;
    while (low <= high) {
      const middle = Math.floor((low + high) / 2);
      const page = await get("/api/events", { since: middle - 1, limit: 1 });
      const timestamp = page.events[0]?.timestamp;
      if (timestamp !== undefined && Date.parse(timestamp) <= moment) low = middle + 1;
      else high = middle - 1;
    }
    return Math.max(first, high);
  }

  recover() {
    if (this.#error) this.#read();
  }

  up() {
    return this.app.router.to("overview");
  }

  close() {
    this.#turn += 1;
    this.stop();
  }
}
