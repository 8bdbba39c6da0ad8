// @ts-check
// Menus and fields that write into the address.

import { h } from "../dom.js";
import { words } from "../format.js";
import { setChoices } from "./forms.js";

const TYPING_MS = 200;

/** A menu for one parameter of the address. */
export class Choice {
  /** @param {import("../app.js").App} app @param {string} name @param {string} label */
  constructor(app, name, label) {
    this.app = app;
    this.name = name;
    this.control = h("select", { on: { change: () => app.router.filter({ [name]: this.control.value }) } });
    this.node = h("label", { class: "filter" }, h("span", {}, label), this.control);
  }

  /** @param {string[]} values @param {string} all what no choice is called */
  update(values, all = "any") {
    const value = this.app.router.current.query[this.name] ?? "";
    setChoices(this.control, [["", all], ...values.map((one) => /** @type {[string, string]} */ ([one, words(one)]))], value);
  }
}

/** A text for one parameter of the address. */
export class Typed {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {import("../app.js").App} app @param {string} name @param {string} label @param {Record<string, any>} [props] */
  constructor(app, name, label, props = {}) {
    this.app = app;
    this.name = name;
    this.control = h("input", { autocomplete: "off", spellcheck: "false", maxlength: 200, ...props, on: { input: () => this.#soon(), change: () => this.#now() } });
    this.node = h("label", { class: "filter" }, h("span", {}, label), this.control);
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#now(), TYPING_MS);
  }

  #now() {
    clearTimeout(this.#timer);
    const value = this.control.value.trim();
    if (value !== (this.app.router.current.query[this.name] ?? "")) this.app.router.filter({ [this.name]: value });
  }

  update() {
    const value = this.app.router.current.query[this.name] ?? "";
    if (document.activeElement !== this.control && this.control.value !== value) this.control.value = value;
  }
}

/** A box for one parameter of the address. */
export class Box {
  /** @param {import("../app.js").App} app @param {string} name @param {string} label */
  constructor(app, name, label) {
    this.app = app;
    this.name = name;
    this.control = h("input", { type: "checkbox", on: { change: () => app.router.filter({ [name]: this.control.checked ? "1" : "" }) } });
    this.node = h("label", { class: "filter box" }, this.control, h("span", {}, label));
  }

  update() {
    this.control.checked = this.app.router.current.query[this.name] === "1";
  }
}
