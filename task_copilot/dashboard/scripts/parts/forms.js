// @ts-check
// Fields, and forms that send a change and show a refusal where it happened. What was changed
// comes back as an event; nothing is shown before.

import { ApiError } from "../api.js";
import { attribute, fill, h, setText, show } from "../dom.js";

let ids = 0;

/** @typedef {{name: string, label: string, control: any, node: HTMLElement, complaint: HTMLElement}} Field */

/**
 * A labelled control with a place for what is wrong with it.
 * @param {string} name the argument's name
 * @param {string} label
 * @param {any} control
 * @param {string} [hint]
 * @returns {Field}
 */
export function field(name, label, control, hint) {
  const id = `field-${(ids += 1)}`;
  control.id = id;
  control.name = name;
  const complaint = h("p", { class: "complaint", id: `${id}-wrong`, hidden: true });
  const node = h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    control,
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
    complaint,
  );
  if (hint) attribute(control, "aria-describedby", `${id}-hint`);
  return { name, label, control, node, complaint };
}

/**
 * A form.
 * @param {object} options
 * @param {Field[]} options.fields
 * @param {string} options.action what its button says
 * @param {(values: Record<string, string>) => Promise<any>} options.send raises ApiError
 * @param {(answer: any) => void} options.sent
 * @param {() => void} [options.cancel]
 * @param {string} [options.label]
 */
export function form({ fields, action, send, sent, cancel, label }) {
  const complaint = h("p", { class: "complaint", role: "alert", hidden: true });
  const button = h("button", { class: "primary", type: "submit" }, action);
  const buttons = h(
    "div",
    { class: "buttons" },
    button,
    cancel && h("button", { type: "button", on: { click: cancel } }, "Cancel"),
  );
  const node = h("form", { class: "form", "aria-label": label, novalidate: true }, ...fields.map((one) => one.node), complaint, buttons);
  node.addEventListener("submit", async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    clear(fields, complaint);
    button.disabled = true;
    try {
      sent(await send(Object.fromEntries(fields.map((one) => [one.name, one.control.value]))));
    } catch (error) {
      complain(fields, complaint, error);
    } finally {
      button.disabled = false;
    }
  });
  if (cancel) {
    node.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      event.preventDefault();
      cancel();
    });
  }
  return node;
}

/** @param {Field[]} fields @param {HTMLElement} complaint */
function clear(fields, complaint) {
  show(complaint, false);
  for (const one of fields) {
    show(one.complaint, false);
    attribute(one.control, "aria-invalid", null);
  }
}

/** @param {Field[]} fields @param {HTMLElement} complaint @param {any} error */
function complain(fields, complaint, error) {
  if (!(error instanceof ApiError)) throw error;
  const wrong = fields.find((one) => one.name === error.field || error.message.startsWith(`${one.name}:`));
  const place = wrong?.complaint ?? complaint;
  setText(place, advice(error));
  show(place, true);
  if (!wrong) return;
  attribute(wrong.control, "aria-invalid", "true");
  attribute(wrong.control, "aria-errormessage", wrong.complaint.id);
  wrong.control.focus();
}

/** What went wrong and what to do. @param {any} error */
export function advice(error) {
  if (!(error instanceof ApiError)) return String(error);
  if (error.status === 401) return "You are signed out. Run 'task-copilot token --ticket' and open the address that it prints.";
  if (error.status === 403) return `${error.message}`;
  return error.message;
}

/** A menu. @param {[string, string][]} choices value and words @param {string} [value] */
export function select(choices, value = "") {
  const node = h("select", {});
  setChoices(node, choices, value);
  return node;
}

/** Changes the choices of a menu. @param {any} node @param {[string, string][]} choices @param {string} value */
export function setChoices(node, choices, value) {
  const all = choices.some(([known]) => known === value) ? choices : [...choices, /** @type {[string, string]} */ ([value, value])];
  const text = JSON.stringify(all);
  if (node.dataset.choices !== text) {
    node.dataset.choices = text;
    fill(node, ...all.map(([known, words]) => h("option", { value: known }, words)));
  }
  if (node.value !== value) node.value = value;
}
