// @ts-check
// The overall bar, and a small chart of what was completed.

import { get } from "../api.js";
import { attribute, h, keyed, setText, show, svg } from "../dom.js";
import { count, percent, several, shortMoment } from "../format.js";
import { Resource } from "../resource.js";
import { bar, legend, setBar, setLegend, totalOf } from "./status.js";

const HOURS = 24;
const PACE_MS = 2_000;
const TURN_MS = 60_000;
/** The chart moves on with time also where nothing happens. */
const WIDTH = 240;
const HEIGHT = 44;

export class Summary {
  #asked = "";

  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.app = app;
    this.share = h("b", { class: "share" }, "");
    this.words = h("span", { class: "dim" });
    this.bar = bar();
    this.legend = legend();
    this.chart = new Chart();
    this.node = h("section", { class: "panel summary", "aria-labelledby": "summary-head" },
      h("h2", { id: "summary-head" }, "Progress"),
      h("p", { class: "overall" }, this.share, this.words), this.bar, this.legend, this.chart.node);
    this.completions = new Resource(() => this.#read(), () => this.#show(), PACE_MS);
    this.timer = setInterval(() => this.refresh(), TURN_MS);
  }

  #read() {
    return get("/api/completions", { workspace: this.app.router.current.query.workspace, hours: HOURS });
  }

  #show() {
    if (this.completions.value) this.chart.update(this.completions.value);
    this.chart.fail(this.completions.error);
  }

  /** What was completed may be another number now. */
  refresh() {
    this.completions.refresh();
  }

  /** @param {import("../fold.js").Totals} totals @param {boolean} isPast */
  update(totals, isPast) {
    const all = totalOf(totals);
    setText(this.share, `${percent(totals.completed, all)}%`);
    setText(this.words, `${count(totals.completed)} of ${several(all, "task")} completed`);
    setBar(this.bar, totals);
    setLegend(this.legend, totals, count);
    show(this.chart.node, !isPast);
    const scope = this.app.router.current.query.workspace ?? "";
    const asked = `${scope}\n${this.app.store.state.overview?.epoch}`;
    if (asked === this.#asked) return;
    this.#asked = asked;
    this.completions.load();
  }

  close() {
    clearInterval(this.timer);
    this.completions.close();
  }
}

class Chart {
  constructor() {
    this.bars = svg("g", {});
    this.svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, this.bars,
      svg("path", { d: `M0 ${HEIGHT - 0.5}H${WIDTH}`, class: "axis" }));
    this.caption = h("figcaption", {}, h("span", {}, `Completed, last ${HOURS} hours`), h("b", {}));
    this.axis = h("p", { class: "axis-words dim", "aria-hidden": "true" }, h("span", {}), h("span", {}, "now"));
    this.node = h("figure", { class: "chart" }, this.caption, this.svg, this.axis);
  }

  /** @param {{buckets: {start: string, completed: number}[], bucketMinutes: number}} found */
  update({ buckets, bucketMinutes }) {
    const most = Math.max(1, ...buckets.map((one) => one.completed));
    const step = WIDTH / buckets.length;
    const total = buckets.reduce((sum, one) => sum + one.completed, 0);
    keyed(this.bars, buckets, (one) => one.start, () => svg("rect", {}, svg("title", {})), (node, one) => {
      setText(node.firstChild, `${shortMoment(one.start)}, ${bucketMinutes} min: ${one.completed}`);
    });
    [...this.bars.children].forEach((node, place) => {
      const value = buckets[place].completed;
      const height = value ? Math.max(2, (HEIGHT - 2) * value / most) : 0;
      attribute(node, "x", (place * step + step * 0.1).toFixed(2));
      attribute(node, "width", (step * 0.8).toFixed(2));
      attribute(node, "y", (HEIGHT - 1 - height).toFixed(2));
      attribute(node, "height", height.toFixed(2));
    });
    setText(this.caption.lastChild, count(total));
    setText(this.axis.firstChild, shortMoment(buckets[0].start));
    attribute(this.svg, "aria-label", `${several(total, "task")} completed in the last ${HOURS} hours, at most ${most} in ${bucketMinutes} minutes`);
  }

  /** @param {any} error */
  fail(error) {
    attribute(this.node, "data-failed", Boolean(error));
    attribute(this.caption, "title", error ? error.message : null);
  }
}
