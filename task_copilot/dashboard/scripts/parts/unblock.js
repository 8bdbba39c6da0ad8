// @ts-check
// Unblocking a task with a note to the agent that waits.

import { get, requestId, send } from "../api.js";
import { h } from "../dom.js";
import { field, form, select } from "./forms.js";

/**
 * @param {import("../app.js").App} app
 * @param {string} id
 * @param {() => void} done
 * @param {() => void} cancel
 */
export function unblockForm(app, id, done, cancel) {
  const note = field("notes", "Note to the agent", h("textarea", { rows: 2 }), "It is added to the task's notes.");
  const status = field("status", "Goes on as", select([["in_progress", "in progress"], ["pending", "pending"], ["completed", "completed"]], "in_progress"));
  const request = requestId();
  return form({
    fields: [note, status],
    action: "Unblock",
    label: `Unblock ${id}`,
    cancel,
    send: async (values) => {
      const body = { status: values.status, requestId: request, ...(await withNote(id, values.notes)) };
      return send("PATCH", `/api/tasks/${encodeURIComponent(id)}`, {}, body);
    },
    sent: () => {
      app.announce(`${id} is unblocked.`);
      done();
    },
  });
}

/** An update replaces the notes, so what they say is read just before. @param {string} id @param {string} note */
async function withNote(id, note) {
  const text = note.trim();
  if (!text) return {};
  const { notes } = await get(`/api/tasks/${encodeURIComponent(id)}`);
  return { notes: notes ? `${notes}\n\n${text}` : text };
}
