// @ts-check
// A dialog that makes a task.

import { requestId, send } from "../api.js";
import { h } from "../dom.js";
import { PHASES } from "../layout.js";
import { field, form, select } from "./forms.js";

/** @param {import("../app.js").App} app @param {Record<string, string>} given */
export function createTask(app, given) {
  const title = h("input", { maxlength: 500, required: true, autocomplete: "off" });
  const fields = [
    field("title", "Title", title),
    field("description", "Description", h("textarea", { rows: 3 })),
    field("streamId", "Stream", streamInput(app, given.streamId), "Leave it empty for a task in no stream; a new id makes a stream."),
    field("streamPhase", "Phase of the stream", select([["", "as it is"], ...PHASES.map((phase) => /** @type {[string, string]} */ ([phase, phase]))])),
    field("assignedAgent", "Agent", h("input", { maxlength: 100, autocomplete: "off" })),
  ];
  const workspace = workspaceInput(app, given.workspace);
  if (workspace) fields.push(workspace);
  const id = requestId();
  const dialog = h("dialog", { class: "panel-dialog", "aria-labelledby": "create-title" });
  const sent = (/** @type {any} */ answer) => {
    dialog.close();
    app.announce(`Made ${answer.id}.`);
    app.router.go(app.router.to("task", [answer.id]));
  };
  dialog.append(
    h("h2", { id: "create-title" }, "New task"),
    form({
      fields, action: "Create task", sent, cancel: () => dialog.close(), label: "New task",
      send: ({ workspace: where, ...values }) => {
        const body = Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));
        return send("POST", "/api/tasks", { workspace: where ?? only(app) }, { ...body, title: values.title, requestId: id });
      },
    }),
  );
  dialog.addEventListener("close", () => dialog.remove());
  app.body.append(dialog);
  dialog.showModal();
  title.focus();
}

/** @param {import("../app.js").App} app @param {string} [value] */
function streamInput(app, value = "") {
  const streams = [...(app.store.state.overview?.streams.values() ?? [])];
  const list = h("datalist", { id: "known-streams" }, ...[...new Set(streams.map((row) => row.streamId))].map((id) => h("option", { value: id })));
  document.getElementById("known-streams")?.remove();
  app.body.append(list);
  return h("input", { list: "known-streams", value, maxlength: 64, autocomplete: "off" });
}

/** @param {import("../app.js").App} app */
function only(app) {
  const { overview } = app.store.state;
  const chosen = app.router.current.query.workspace;
  return chosen ?? (overview?.workspaces.length === 1 ? overview.workspaces[0].workspace : null);
}

/** A menu, where there are several. @param {import("../app.js").App} app @param {string} [value] */
function workspaceInput(app, value) {
  const rows = app.store.state.overview?.workspaces ?? [];
  if (rows.length === 1) return null;
  const hint = rows.length ? undefined : "The first task makes it: the name of the project.";
  const control = rows.length
    ? select(rows.map((row) => /** @type {[string, string]} */ ([row.workspace, row.workspace])), value ?? app.router.current.query.workspace ?? rows[0].workspace)
    : h("input", { maxlength: 200, autocomplete: "off" });
  return field("workspace", "Workspace", control, hint);
}
