// @ts-check
// The frame around all views: where to go, what to search, how the connection is.

import { attribute, h, setText, show, svg } from "./dom.js";
import { count, duration, several, timeOfDay } from "./format.js";
import { failure } from "./parts/notices.js";
import { setChoices } from "./parts/forms.js";

const SEARCH_DELAY_MS = 180;
const NAVIGATION = /** @type {const} */ ([["overview", "Overview"], ["tasks", "Tasks"], ["events", "Events"]]);
const EXACT_ID = /^(?:task-)?\d+$/i;

export class Shell {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.links = NAVIGATION.map(([view, words]) => h("a", { data: { to: view } }, words));
    this.workspace = h("select", { "aria-label": "Workspace", on: { change: () => this.#choose() } });
    this.search = h("input", {
      type: "search", placeholder: "Search", "aria-label": "Search tasks by text or id",
      autocomplete: "off", spellcheck: "false", maxlength: 200,
      on: { input: () => this.#searchSoon() },
    });
    this.state = h("span", { class: "state", role: "status" }, h("span", { class: "dot", "aria-hidden": "true" }), h("span", {}));
    this.seq = h("span", { class: "seq dim" });
    this.retry = h("button", { type: "button", class: "small", on: { click: () => app.sync.retry() } }, "Try now");
    this.bannerText = h("span", {});
    this.banner = h("div", { class: "banner offline", hidden: true }, this.bannerText, this.retry);
    this.problem = h("div", { class: "problem", hidden: true });
    this.node = h("header", { class: "shell" }, this.#row(), this.banner, this.problem);
  }

  #row() {
    const { app } = this;
    const form = h("form", { role: "search", on: { submit: (/** @type {Event} */ event) => this.#submit(event) } },
      this.search, h("kbd", { "aria-hidden": "true" }, "/"));
    return h("div", { class: "row" },
      h("a", { class: "skip", href: "#main", on: { click: (/** @type {Event} */ event) => { event.preventDefault(); app.main.focus(); } } }, "To the content"),
      h("a", { class: "brand", href: "#/", "aria-label": "Task Copilot" }, logo(), h("span", {}, "Task Copilot")),
      h("nav", { "aria-label": "Views" }, ...this.links),
      h("div", { class: "find" }, this.workspace, form),
      h("div", { class: "live" }, this.state, this.seq),
      h("div", { class: "acts" },
        h("button", { type: "button", class: "new", "aria-label": "New task", on: { click: () => app.create() } }, h("span", { "aria-hidden": "true" }, "+"), h("span", { class: "word" }, " New task")),
        h("button", { type: "button", class: "help", "aria-label": "Keys and help", on: { click: () => app.help.showModal() } }, "?")));
  }

  update() {
    this.#updateLinks();
    this.#updateWorkspaces();
    this.#updateState();
    const { query } = this.app.router.current;
    const text = query.text ?? "";
    if (document.activeElement !== this.search && this.search.value !== text) this.search.value = text;
  }

  #updateLinks() {
    const { router } = this.app;
    const { view } = router.current;
    for (const link of this.links) {
      const to = link.dataset.to;
      attribute(link, "href", router.to(to));
      attribute(link, "aria-current", to === view ? "page" : null);
    }
  }

  #updateWorkspaces() {
    const rows = this.app.store.state.overview?.workspaces ?? [];
    const chosen = this.app.router.current.query.workspace ?? "";
    /** @type {[string, string][]} */
    const choices = [["", "All workspaces"], ...rows.map((row) => /** @type {[string, string]} */ ([row.workspace, row.workspace]))];
    setChoices(this.workspace, choices, chosen);
    show(this.workspace, rows.length > 1 || chosen !== "");
  }

  #updateState() {
    const { connection, error, overview } = this.app.store.state;
    const words = stateWords(connection);
    attribute(this.state, "data-mode", connection.mode);
    setText(this.state.lastChild, words);
    setText(this.seq, overview ? `event ${count(overview.seq)}` : "");
    const isOffline = connection.mode === "offline";
    show(this.banner, isOffline);
    if (isOffline) setText(this.bannerText, this.#offlineWords());
    const isRefused = Boolean(error) && (!overview || error.status !== 0);
    if (isRefused && this.problem.dataset.of !== error.message) {
      this.problem.dataset.of = error.message;
      this.problem.replaceChildren(failure(error, () => this.app.sync.retry()));
    }
    show(this.problem, isRefused);
    if (!isRefused) delete this.problem.dataset.of;
  }

  #offlineWords() {
    const { connection, overview } = this.app.store.state;
    const now = this.app.clock.now();
    const wait = Math.max(0, (connection.retryAt ?? now) - now);
    const next = wait < 1000 ? "Trying again now." : `Trying again in ${duration(wait)}.`;
    const of = overview ? ` What you see is of ${timeOfDay(connection.since ?? now)}.` : "";
    return `${connection.reason}${of} ${next}`;
  }

  // --- search ---

  focusSearch() {
    this.search.focus();
    this.search.select();
  }

  /** @returns {boolean} whether there was something to clear */
  clearSearch() {
    if (!this.search.value) return false;
    this.search.value = "";
    this.#search();
    return true;
  }

  #searchSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#search(), SEARCH_DELAY_MS);
  }

  #search() {
    clearTimeout(this.#timer);
    const { router } = this.app;
    const text = this.search.value.trim();
    if (router.current.view === "tasks") router.filter({ text });
    else if (text) router.go(router.to("tasks", [], { text }));
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const text = this.search.value.trim();
    if (EXACT_ID.test(text)) {
      clearTimeout(this.#timer);
      this.search.blur();
      const number = text.replace(/^task-/i, "");
      this.app.router.go(this.app.router.to("task", [`TASK-${number}`]));
      return;
    }
    this.#search();
  }

  #choose() {
    const { router } = this.app;
    const workspace = this.workspace.value;
    router.filter({ workspace, at: "" });
  }
}

/** @param {import("./store.js").Connection} connection */
function stateWords({ mode, behind, since }) {
  if (mode === "live") return "Live";
  if (mode === "behind") return `Behind by ${several(behind, "event")}`;
  if (mode === "offline") return since ? `Offline since ${timeOfDay(since)}` : "Offline";
  return mode === "refused" ? "Signed out" : "Connecting …";
}

function logo() {
  return svg("svg", { viewBox: "0 0 32 32", width: 22, height: 22, "aria-hidden": "true" },
    svg("rect", { width: 32, height: 32, rx: 7, class: "plate" }),
    svg("path", { d: "M7 10h18M7 16h12M7 22h7", class: "rows" }),
    svg("circle", { cx: 22.5, cy: 22, r: 3.5, class: "point" }));
}
