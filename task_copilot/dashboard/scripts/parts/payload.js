// @ts-check
// A value as JSON, and an event as it came.

import { h, visible } from "../dom.js";

/** @param {any} value @param {string} label */
export function json(value, label) {
  return h("pre", { class: "json said", tabindex: 0, role: "region", "aria-label": label }, visible(JSON.stringify(value, null, 2)));
}

/** @param {import("../app.js").App} app @param {import("../fold.js").Event} event */
export function showPayload(app, event) {
  const close = h("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
  const dialog = h("dialog", { class: "panel-dialog wide", "aria-labelledby": "payload-title" },
    h("div", { class: "dialog-head" }, h("h2", { id: "payload-title" }, `Event ${event.seq}: ${event.eventType}`), close),
    json(event, "Payload"));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (/** @type {any} */ click) => {
    if (click.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => dialog.remove());
  app.body.append(dialog);
  dialog.showModal();
}
