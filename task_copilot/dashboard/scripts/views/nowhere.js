// @ts-check
import { h } from "../dom.js";

/** What an address opens that means no view. */
export class NowhereView {
  title = "Not found";

  /** @param {import("../app.js").App} app */
  constructor(app) {
    this.node = h("section", { class: "notice" },
      h("h1", {}, "There is nothing at this address"),
      h("p", {}, "Addresses look like ", h("code", {}, "#/streams/WORKSPACE/STREAM"), ", ", h("code", {}, "#/tasks/TASK-12"), " or ", h("code", {}, "#/events"), "."),
      h("a", { class: "button", href: app.router.to("overview") }, "To the overview"));
  }

  update() {}

  close() {}
}
