// @ts-check
// The history of a task, made from its events, newest first.

import { get } from "../api.js";
import { h, keyed, said, setText, show, visible } from "../dom.js";
import { several } from "../format.js";
import { isNews, otherChanges, sentence } from "../sentences.js";
import { since } from "./moments.js";

const PAGE = 1_000;
const PAGES = 10;
const FEW = 30;
const SHORT = 160;

/** @typedef {import("../fold.js").Event} Event */

export class Timeline {
  /** @type {Event[]} oldest first */
  #events = [];
  #last = 0;
  #pruned = false;
  #cut = false;
  #all = false;
  #turn = 0;
  /** @type {any} */
  error = null;

  /** @param {import("../app.js").App} app @param {string} id */
  constructor(app, id) {
    this.app = app;
    this.topics = [`task:${id}`, `checkpoint:${id}`];
    this.list = h("ol", { class: "timeline" });
    this.note = h("p", { class: "dim quiet-line", hidden: true });
    this.more = h("button", { type: "button", class: "small", hidden: true, on: { click: () => this.#showAll() } });
    this.node = h("section", { class: "panel history", "aria-labelledby": "history-head" }, h("h2", { id: "history-head" }, "History"), this.list, this.more, this.note);
  }

  async load() {
    const turn = (this.#turn += 1);
    this.#events = [];
    this.#last = 0;
    try {
      let next = 0;
      for (let page = 0; page < PAGES; page += 1) {
        const found = await get("/api/events", { topics: this.topics.join(","), since: next, limit: PAGE });
        if (turn !== this.#turn) return;
        this.#pruned ||= found.gap !== null;
        this.#events.push(...found.events);
        this.#last = Math.max(this.#last, found.next);
        next = found.next;
        this.#cut = next < found.seq;
        if (!this.#cut) break;
      }
      this.take(this.app.store.after(this.#last));
      this.error = null;
    } catch (error) {
      if (turn === this.#turn) this.error = error;
    }
    this.#show();
  }

  /** @param {Event[]} events @returns {boolean} whether any is of this task */
  take(events) {
    const ours = events.filter((event) => event.seq > this.#last && this.topics.includes(event.topic));
    if (!ours.length) return false;
    this.#events.push(...ours);
    this.#last = ours[ours.length - 1].seq;
    this.#show();
    return true;
  }

  recover() {
    if (this.error) this.load();
  }

  #showAll() {
    this.#all = true;
    this.#show();
  }

  #show() {
    const news = this.#events.filter(isNews).reverse();
    keyed(this.list, this.#all ? news : news.slice(0, FEW), (event) => event.seq, entry);
    show(this.more, !this.#all && news.length > FEW);
    setText(this.more, `Show all ${news.length}`);
    const words = this.error ? this.error.message
      : this.#cut ? `Only the first ${several(this.#events.length, "event")} are shown.`
        : this.#pruned || this.#events[0]?.eventType !== "task.created" ? "What was before is no longer in the log." : "";
    setText(this.note, words);
    show(this.note, words !== "");
  }

  close() {
    this.#turn += 1;
  }
}

/** @param {Event} event */
function entry(event) {
  const changes = event.eventType === "task.updated" ? otherChanges(event) : [];
  const name = changes.length ? `changed ${changes.map((one) => one.field).join(", ")}` : sentence(event);
  return h("li", { data: { type: event.eventType } },
    h("div", { class: "head" }, said(name, "what"), since(event.timestamp)),
    h("p", { class: "meta" }, "by ", said(event.actor), h("span", { class: "number" }, ` event ${event.seq}`)),
    changes.length > 0 && h("dl", { class: "changes" }, ...changes.flatMap((one) => [
      h("dt", {}, one.field),
      h("dd", {}, value(one.oldValue, "old"), h("span", { "aria-label": "became" }, " → "), value(one.newValue, "new")),
    ])));
}

/** @param {any} item @param {string} className */
function value(item, className) {
  if (item === null || item === undefined || item === "") return h("span", { class: `${className} dim` }, "none");
  if (typeof item === "object" && "omitted" in item && Object.keys(item).length === 1) {
    return h("span", { class: `${className} dim` }, `(${item.omitted} bytes)`);
  }
  const text = visible(typeof item === "string" ? item : JSON.stringify(item));
  const short = text.length > SHORT ? `${text.slice(0, SHORT)} …` : text;
  return h("bdi", { class: `said ${className}`, title: text.length > SHORT ? text.slice(0, 2000) : null }, short);
}
