// @ts-check
// Time travel: a slider over all events that are still in the log, and the overview as it was then.

import { get } from "../api.js";
import { attribute, h, setText, show } from "../dom.js";
import { overviewOf } from "../fold.js";
import { count, fullMoment } from "../format.js";

const DELAY_MS = 120;

export class Travel {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #sliding;
  #turn = 0;
  /** Ends the request whose answer nobody waits for any more. */
  #request = new AbortController();
  #asked = "";
  /** @type {import("../fold.js").Overview | null} */
  past = null;
  /** @type {any} */
  error = null;

  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.app = app;
    this.slider = h("input", { type: "range", step: 1, "aria-label": "Event at which the overview is shown", data: { key: "h" }, on: { input: () => this.#slide() } });
    this.where = h("output", { class: "where" });
    this.live = h("button", { type: "button", class: "small", on: { click: () => this.#leave() } }, "Back to live");
    this.node = h("section", { class: "travel", "aria-label": "Time travel" }, h("span", { class: "word" }, "History"), this.slider, this.where, this.live);
    this.bannerText = h("span", {});
    this.banner = h("div", { class: "banner past", role: "status", hidden: true }, this.bannerText,
      h("button", { type: "button", class: "small", on: { click: () => this.#leave() } }, "Back to live"));
  }

  /** The event that is asked for; null is now. */
  get at() {
    const { at } = this.app.router.current.query;
    return at !== undefined && /^\d+$/.test(at) ? Number(at) : null;
  }

  update() {
    const { overview } = this.app.store.state;
    const { at } = this;
    this.#ask(at);
    if (!overview) return;
    show(this.banner, at !== null);
    if (at !== null) setText(this.bannerText, this.#words(at));
    show(this.node, overview.seq > 0);
    show(this.live, at !== null);
    if (this.#sliding !== undefined) return;
    attribute(this.slider, "min", Math.min(Math.max(0, overview.oldestSeq - 1), overview.seq));
    attribute(this.slider, "max", overview.seq);
    this.slider.value = String(at ?? overview.seq);
    setText(this.where, at === null ? `now, event ${count(overview.seq)}` : `event ${count(at)} of ${count(overview.seq)}`);
    attribute(this.slider, "aria-valuetext", this.where.textContent);
  }

  /** @param {number} at */
  #words(at) {
    if (this.error) return `The past at event ${count(at)} cannot be shown: ${this.error.message}`;
    if (this.past?.seq !== at) return `Reading the past at event ${count(at)} …`;
    const moment = this.past.timestamp ? `, ${fullMoment(this.past.timestamp)}` : "";
    return `This is the past: right after event ${count(at)}${moment}.`;
  }

  /** The address follows when the slider rests: browsers allow few changes of it a second. */
  #slide() {
    clearTimeout(this.#sliding);
    setText(this.where, `event ${count(Number(this.slider.value))}`);
    this.#sliding = setTimeout(() => {
      this.#sliding = undefined;
      const at = Number(this.slider.value);
      this.app.router.filter({ at: at >= Number(this.slider.max) ? "" : at });
    }, DELAY_MS);
  }

  #leave() {
    this.app.router.filter({ at: "" });
    this.slider.focus();
  }

  /** @param {number | null} at */
  #ask(at) {
    const { workspace = null, archived } = this.app.router.current.query;
    const asked = at === null ? "" : `${at}\n${workspace}\n${archived}`;
    if (asked === this.#asked) return;
    this.#asked = asked;
    this.#request.abort();
    this.#request = new AbortController();
    this.#turn += 1;
    this.error = null;
    if (at === null) {
      this.past = null;
      return;
    }
    this.#read(at, { workspace, archived: archived === "1" }, this.#turn);
  }

  /** @param {number} at @param {import("../sync.js").Scope} scope @param {number} turn */
  async #read(at, scope, turn) {
    try {
      const query = { workspace: scope.workspace, includeArchived: scope.archived || null, at };
      const answer = await get("/api/overview", query, { signal: this.#request.signal });
      if (turn !== this.#turn) return;
      this.past = overviewOf(answer, scope);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.error = error;
    }
    this.app.draw();
  }

  recover() {
    if (!this.error) return;
    this.#asked = "";
    this.update();
  }

  close() {
    this.#turn += 1;
    clearTimeout(this.#sliding);
  }
}
