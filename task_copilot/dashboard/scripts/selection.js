// @ts-check
// Which events a view wants: the protocol's own filters, as the server applies them.

/** @typedef {import("./fold.js").Event} Event */
/** @typedef {{topics: string[], eventTypes: string[], streams: string[], agents: string[], notActors: string[]}} Selection */

export const NAMES = /** @type {const} */ (["topics", "eventTypes", "streams", "agents", "notActors"]);

/** @param {Record<string, string>} query @returns {Selection} */
export function selectionOf(query) {
  return /** @type {any} */ (Object.fromEntries(NAMES.map((name) => [name, list(query[name])])));
}

/** @param {string | undefined} text */
function list(text) {
  return (text ?? "").split(",").map((part) => part.trim()).filter(Boolean);
}

/** The parameters of a request for them. @param {Selection} selection */
export function parameters(selection) {
  return Object.fromEntries(NAMES.map((name) => [name, selection[name].join(",")]));
}

/** @param {Selection} selection @param {string | undefined} workspace @param {Event} event */
export function selects(selection, workspace, event) {
  const { topics, eventTypes, streams, agents, notActors } = selection;
  return (!workspace || event.workspace === workspace)
    && any(topics, event.topic)
    && any(eventTypes, event.eventType)
    && (!streams.length || streams.includes(event.data.streamId))
    && (!agents.length || agents.includes(event.data.assignedAgent))
    && !notActors.includes(event.actor);
}

/** @param {string[]} patterns @param {string} text */
function any(patterns, text) {
  return !patterns.length || patterns.some((one) => (one.endsWith("*") ? text.startsWith(one.slice(0, -1)) : text === one));
}
