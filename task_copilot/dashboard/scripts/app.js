// @ts-check
// Puts the page together: address, store, connection, the frame around all views and the view.

import { isSamePlace, Router } from "./address.js";
import { Clock } from "./clock.js";
import { attribute, h, setText } from "./dom.js";
import { bindKeys } from "./keyboard.js";
import { createTask } from "./parts/create.js";
import { helpPanel } from "./parts/help.js";
import { tick } from "./parts/moments.js";
import { Shell } from "./shell.js";
import { Store } from "./store.js";
import { Sync } from "./sync.js";
import { EventsView } from "./views/events.js";
import { NowhereView } from "./views/nowhere.js";
import { OverviewView } from "./views/overview.js";
import { StreamView } from "./views/stream.js";
import { TaskView } from "./views/task.js";
import { TasksView } from "./views/tasks.js";

const TICK_MS = 1_000;

/**
 * @typedef {object} View
 * @property {HTMLElement} node
 * @property {string} title
 * @property {() => void} update shows the present state and address; called once a frame at most
 * @property {() => void} close
 * @property {() => void} [recover] the server answers again: reads what could not be read
 * @property {(() => string | null)} [up] the address of what this is a part of
 */

/** @type {Record<import("./address.js").ViewName, new (app: App) => View>} */
const VIEWS = {
  overview: OverviewView,
  stream: StreamView,
  tasks: TasksView,
  task: TaskView,
  events: EventsView,
  nowhere: NowhereView,
};

export class App {
  #asked = false;
  /** @type {View | null} */
  view = null;
  /** @type {import("./address.js").Address | null} */
  #place = null;
  #wasOffline = false;

  /** @param {HTMLElement} body */
  constructor(body) {
    this.body = body;
    this.clock = new Clock();
    this.store = new Store();
    this.sync = new Sync(this.store, this.clock);
    this.router = new Router(() => this.#navigate());
    this.help = helpPanel();
    this.shell = new Shell(this);
    this.main = h("main", { id: "main", tabindex: -1 });
    this.voice = h("p", { class: "heard", "aria-live": "polite" });
  }

  start() {
    this.body.append(this.shell.node, this.main, this.voice, this.help);
    this.store.watch(() => this.draw());
    bindKeys(this);
    this.#navigate();
    setInterval(() => this.#tick(), TICK_MS);
  }

  /** Asks for a frame: however much happens, the page is drawn once. */
  draw() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#draw();
    });
  }

  /** Says something to those who hear the page. @param {string} text */
  announce(text) {
    setText(this.voice, text);
  }

  /** @param {Record<string, string>} [given] fields that are filled in already */
  create(given = {}) {
    createTask(this, given);
  }

  #navigate() {
    const address = this.router.current;
    const { workspace = null, archived } = address.query;
    this.sync.look({ workspace, archived: archived === "1" });
    if (!this.view || !this.#place || !isSamePlace(this.#place, address)) this.#open(address);
    this.#place = address;
    this.draw();
  }

  /** @param {import("./address.js").Address} address */
  #open(address) {
    const isFirst = this.view === null;
    this.view?.close();
    this.view = new VIEWS[address.view](this);
    attribute(this.main, "data-view", address.view);
    this.main.replaceChildren(this.view.node);
    if (isFirst) return;
    scrollTo(0, 0);
    if (document.activeElement === document.body || document.activeElement === null) {
      this.main.focus({ preventScroll: true });
    }
  }

  #draw() {
    this.#recover();
    this.shell.update();
    this.view?.update();
    const title = `${this.view?.title ? `${this.view.title} · ` : ""}Task Copilot`;
    if (document.title !== title) document.title = title;
    const { overview, connection } = this.store.state;
    attribute(this.body, "data-seq", overview?.seq);
    attribute(this.body, "data-mode", connection.mode);
  }

  #recover() {
    const { mode } = this.store.state.connection;
    if (this.#wasOffline && (mode === "live" || mode === "behind")) this.view?.recover?.();
    this.#wasOffline = mode === "offline";
  }

  #tick() {
    tick(document, this.clock.now());
    this.draw(); // who is quiet, and when the next try is, changes with time alone
  }
}
