// @ts-check
// What stands where there is nothing to show: nothing yet, still on its way, or why not.

import { h } from "../dom.js";
import { advice } from "./forms.js";

export function loading() {
  return h("p", { class: "notice loading", role: "status" }, "Reading …");
}

/** @param {any} error @param {() => void} retry */
export function failure(error, retry) {
  const again = h("button", { type: "button", on: { click: retry } }, "Try again");
  if (error?.status === 401) return signIn(again);
  return h("section", { class: "notice", role: "alert" }, h("h2", {}, "This cannot be shown"), h("p", {}, advice(error)),
    h("div", { class: "buttons" }, again, h("a", { class: "button", href: "#/" }, "To the overview")));
}

/** @param {Node} again */
function signIn(again) {
  return h(
    "section",
    { class: "notice", role: "alert" },
    h("h2", {}, "You are signed out"),
    h("p", {}, "In a terminal on the machine of the server, run"),
    command("task-copilot token --ticket"),
    h("p", {}, "and open the address that it prints. It works once, for a minute."),
    again,
  );
}

/** A line for the terminal, with a button that copies it. @param {string} text */
export function command(text) {
  const button = h("button", { type: "button", class: "small", "aria-label": `Copy: ${text}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy"; // no permission, or no secure context
    }
  });
  return h("div", { class: "command" }, h("code", { tabindex: 0 }, text), button);
}

/** Nothing has been recorded yet. @param {() => void} create */
export function welcome(create) {
  return h(
    "section",
    { class: "welcome" },
    h("h2", {}, "No tasks yet"),
    h("p", {}, "Connect an agent, and all that it plans, does and waits for appears here as it happens."),
    h("ol", {},
      h("li", {}, h("b", {}, "Connect"), command("claude mcp add task-copilot -- task-copilot")),
      h("li", {}, h("b", {}, "Ask your agent"), h("p", { class: "quote" }, "Plan this work as streams of tasks with task_create, and keep their status up to date.")),
      h("li", {}, h("b", {}, "Or make the first task yourself"),
        h("div", { class: "buttons" }, h("button", { type: "button", class: "primary", on: { click: create } }, "New task")),
        command('task-copilot create "My first task"')),
    ),
  );
}
