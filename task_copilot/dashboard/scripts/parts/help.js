// @ts-check
// The panel that shows the keys.

import { h } from "../dom.js";
import { KEYS } from "../keyboard.js";
import { command } from "./notices.js";

/** @returns {any} a dialog that is not open yet */
export function helpPanel() {
  const close = h("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
  const rows = KEYS.map(([keys, does]) =>
    h("tr", {}, h("th", { scope: "row" }, ...keys.split(" ").map((key) => h("kbd", {}, key))), h("td", {}, does)));
  const dialog = h("dialog", { class: "panel-dialog", "aria-labelledby": "help-title" },
    h("div", { class: "dialog-head" }, h("h2", { id: "help-title" }, "Keys and help"), close),
    h("table", { class: "keys" }, h("tbody", {}, ...rows)),
    h("h3", {}, "Connect an agent"),
    command("claude mcp add task-copilot -- task-copilot"),
    h("p", { class: "dim" }, "The address of this page holds the view and its filters: copy it to share what you see."));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (/** @type {Event} */ event) => {
    if (event.target === dialog) dialog.close();
  });
  return dialog;
}
