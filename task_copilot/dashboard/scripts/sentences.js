// @ts-check
// Events in words.

import { duration, several, words } from "./format.js";

/** @typedef {import("./fold.js").Event} Event */

/** @type {Record<string, (data: any) => string>} */
const SENTENCES = {
  "task.created": (data) => (data.assignedAgent ? `created for @${data.assignedAgent}` : "created"),
  "task.updated": (data) => `changed ${data.changes.map((/** @type {any} */ one) => one.field).join(", ") || "nothing"}`,
  "task.status_changed": (data) => `${words(data.oldStatus ?? "new")} → ${words(data.newStatus)}`,
  "task.blocked": (data) => `blocked: ${data.blockedReason}`,
  "task.completed": (data) => (data.duration === null ? "completed" : `completed after ${duration(data.duration)}`),
  "task.redacted": (data) => `redacted ${data.fields.join(", ")}`,
  "stream.progress": (data) => `${data.completedTasks} of ${several(data.totalTasks, "task")} completed`,
  "stream.completed": (data) => `all ${several(data.totalTasks, "task")} completed after ${duration(data.duration)}`,
  "stream.blocked": (data) => `${several(data.blockedTasks, "task")} blocked: ${data.blockedReason}`,
  "stream.started": () => "started",
  "stream.archived": () => "archived",
  "checkpoint.created": (data) => `${data.checkpointId} made (${words(data.trigger)})${place(data)}`,
  "checkpoint.resumed": (data) => `${data.checkpointId} resumed`,
  "checkpoint.expired": (data) => `${data.checkpointId} expired`,
};

/** @param {any} data */
function place(data) {
  const parts = [data.executionPhase, data.executionStep].filter((part) => part !== null && part !== undefined);
  return parts.length ? `: ${parts.join(", ")}` : "";
}

/** What happened. @param {Event} event */
export function sentence({ eventType, data }) {
  return SENTENCES[eventType]?.(data) ?? eventType;
}

/** What it happened to. @param {Event} event */
export function subject({ data }) {
  return data.taskTitle ?? data.streamName ?? "";
}

/** The id of what it happened to. @param {Event} event */
export function subjectId({ topic }) {
  return topic.slice(topic.indexOf(":") + 1);
}

const TOLD_BY_OTHERS = new Set(["status", "blockedReason"]);
/** Changes that the events behind `task.updated` tell better. */

const AFTERWARDS = new Set(["blocked", "completed"]);

/** What an update changed beside the status. @param {Event} event @returns {any[]} */
export function otherChanges({ data }) {
  return (data.changes ?? []).filter((/** @type {any} */ one) => !TOLD_BY_OTHERS.has(one.field) || data.oldStatus === data.newStatus);
}

/** Whether an event says what another one of the same change does not. @param {Event} event */
export function isNews(event) {
  if (event.eventType === "task.updated") return otherChanges(event).length > 0;
  return event.eventType !== "task.status_changed" || !AFTERWARDS.has(event.data.newStatus);
}
