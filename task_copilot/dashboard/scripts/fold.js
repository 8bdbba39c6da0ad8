// @ts-check
// The overview as data, and what an event makes of it. Nothing here touches the page, the network
// or a clock.
//
// An event of a stream says all of the stream, an event of a task all that the overview shows of
// the task. Where an event tells less than what it changed, the state becomes `outdated`: it has to
// be read anew, and until then shows what is known.

/** @typedef {Record<string, any>} Row */
/** @typedef {{seq: number, topic: string, eventType: string, workspace: string, actor: string, timestamp: string, data: any}} Event */
/** @typedef {{pending: number, in_progress: number, blocked: number, completed: number}} Totals */
/**
 * @typedef {object} Overview
 * @property {number} seq the last event that is in it
 * @property {string} epoch
 * @property {number} oldestSeq
 * @property {string} timestamp when it was so
 * @property {string | null} workspace the only one that it is of
 * @property {boolean} withArchived
 * @property {Row[]} workspaces
 * @property {Map<string, Row>} streams by `streamKey`
 * @property {number} totalStreams
 * @property {Totals} totals of all tasks that count
 * @property {Totals} loose of those in no stream
 * @property {Map<string, Row>} blocked by the task's id
 * @property {Map<string, Row>} activities by the task's id
 * @property {boolean} outdated
 */

export const LIST_LIMIT = 200;
/** As many blocked tasks and activities as an answer of the server holds. */

export const STREAM_LIMIT = 1000;

/** @param {string} workspace @param {string} streamId */
export function streamKey(workspace, streamId) {
  return `${workspace}\n${streamId}`;
}

/** @param {Row} stream */
export function keyOf(stream) {
  return streamKey(stream.workspace, stream.streamId);
}

/**
 * The state that an answer of /api/overview shows.
 * @param {Row} answer
 * @param {{workspace: string | null, archived: boolean}} scope
 * @returns {Overview}
 */
export function overviewOf(answer, scope) {
  const totals = named(answer.totals);
  return {
    seq: answer.at ?? answer.seq,
    epoch: answer.epoch,
    oldestSeq: answer.oldestSeq,
    timestamp: answer.timestamp,
    workspace: scope.workspace,
    withArchived: scope.archived,
    workspaces: answer.workspaces,
    streams: new Map(answer.streams.map((/** @type {Row} */ row) => [keyOf(row), { ...row, dependencies: row.dependencies ?? [] }])),
    totalStreams: answer.totalStreams,
    totals,
    loose: sum([totals], answer.streams.map(named)),
    blocked: new Map(answer.blocked.map((/** @type {Row} */ row) => [row.taskId, row])),
    activities: new Map(answer.activities.map((/** @type {Row} */ row) => [row.taskId, row])),
    outdated: false,
  };
}

/** @param {Row} row @returns {Totals} */
function named(row) {
  return { pending: row.pendingTasks, in_progress: row.inProgressTasks, blocked: row.blockedTasks, completed: row.completedTasks };
}

/** @param {Totals[]} added @param {Totals[]} taken @returns {Totals} */
function sum(added, taken) {
  const found = { pending: 0, in_progress: 0, blocked: 0, completed: 0 };
  for (const name of /** @type {(keyof Totals)[]} */ (Object.keys(found))) {
    for (const one of added) found[name] += one[name];
    for (const one of taken) found[name] -= one[name];
  }
  return found;
}

/** @param {Overview} state @param {Event} event @returns {Overview} */
export function fold(state, event) {
  return foldAll(state, [event]);
}

/**
 * The state after some events in order; those that are in it already change nothing.
 * @param {Overview} state
 * @param {Event[]} events
 * @returns {Overview}
 */
export function foldAll(state, events) {
  const next = {
    ...state,
    streams: new Map(state.streams),
    blocked: new Map(state.blocked),
    activities: new Map(state.activities),
    loose: { ...state.loose },
  };
  for (const event of events) {
    if (event.seq <= next.seq) continue;
    next.seq = event.seq;
    if (next.oldestSeq === 0) next.oldestSeq = event.seq;
    if (next.workspace !== null && event.workspace !== next.workspace) continue;
    take(next, event);
  }
  // A stream's events have all of its counters, so no change is counted twice or left out.
  next.totals = sum([next.loose, ...[...next.streams.values()].map(named)], []);
  return next;
}

/** @param {Overview} next @param {Event} event */
function take(next, event) {
  if (!next.workspaces.some((row) => row.workspace === event.workspace)) next.outdated = true;
  if (event.topic.startsWith("stream:")) takeStream(next, event);
  else if (event.topic.startsWith("task:")) takeTask(next, event);
}

// --- streams ---

/** @param {Overview} next @param {Event} event */
function takeStream(next, event) {
  const { data } = event;
  const key = keyOf(data);
  const known = next.streams.get(key);
  const archived = event.eventType === "stream.archived";
  if (archived && !next.withArchived) {
    if (next.streams.delete(key)) next.totalStreams -= 1;
    if (next.totalStreams > next.streams.size) next.outdated = true;
    return;
  }
  if (!known) {
    // New, or back from the archive: only the server knows when it was made.
    next.outdated = true;
    next.totalStreams += 1;
  }
  next.streams.set(key, {
    createdAt: event.timestamp,
    ...known,
    ...streamFields(data),
    archivedAt: archived ? event.timestamp : null,
  });
}

/** @param {Row} data */
function streamFields(data) {
  const { workspace, streamId, streamName, streamPhase, status, dependencies, lastUpdated } = data;
  const { totalTasks, completedTasks, inProgressTasks, blockedTasks, pendingTasks } = data;
  return {
    ...{ workspace, streamId, streamName, streamPhase, status, dependencies, lastUpdated },
    ...{ totalTasks, completedTasks, inProgressTasks, blockedTasks, pendingTasks },
  };
}

const OF_STREAM = /** @type {Record<string, string>} */ ({
  streamName: "streamName",
  streamPhase: "streamPhase",
  streamDependencies: "dependencies",
});

/** What an update of a task has changed of its stream, of which no other event tells. */
/** @param {Overview} next @param {Event} event */
function takeStreamChanges(next, event) {
  const { data } = event;
  for (const { field, newValue } of data.changes) {
    const name = OF_STREAM[field];
    const key = data.streamId && streamKey(data.workspace, data.streamId);
    const stream = key && next.streams.get(key);
    if (!name || !stream) continue;
    if (typeof newValue !== "string" && !Array.isArray(newValue)) next.outdated = true;
    else next.streams.set(key, { ...stream, [name]: newValue, lastUpdated: event.timestamp });
  }
}

// --- tasks ---

/** @param {Overview} next @param {Event} event */
function takeTask(next, event) {
  const { data, eventType } = event;
  if (eventType === "task.updated") takeStreamChanges(next, event);
  if (eventType === "task.created" || eventType === "task.updated") countLoose(next.loose, data);
  takeBlocked(next, event);
  takeActivity(next, event);
}

/** Tasks in a stream are counted by the stream's own events. @param {any} loose @param {Row} data */
function countLoose(loose, data) {
  const moved = data.changes?.find((/** @type {Row} */ change) => change.field === "streamId");
  const before = moved ? moved.oldValue : data.streamId;
  if (before === null && data.oldStatus in loose) loose[data.oldStatus] -= 1;
  if (data.streamId === null && data.newStatus in loose) loose[data.newStatus] += 1;
}

/** @param {Overview} next @param {Event} event */
function takeBlocked(next, event) {
  const { data } = event;
  const known = next.blocked.get(data.taskId);
  if (data.newStatus !== "blocked") {
    if (!known) return;
    next.blocked.delete(data.taskId);
    // One that did not fit into the answer takes its place.
    if (next.blocked.size === LIST_LIMIT - 1) next.outdated = true;
    return;
  }
  // Blocked for long, and not among the newest.
  if (!known && data.oldStatus === "blocked") return;
  const isNews = !known || (data.oldStatus !== "blocked" && event.eventType === "task.blocked");
  next.blocked.set(data.taskId, {
    workspace: data.workspace,
    taskId: data.taskId,
    taskTitle: data.taskTitle,
    streamId: data.streamId,
    assignedAgent: data.assignedAgent,
    blockedReason: data.blockedReason,
    blockedAt: isNews ? event.timestamp : known?.blockedAt,
  });
  limit(next.blocked, "blockedAt");
}

/** @param {Overview} next @param {Event} event */
function takeActivity(next, event) {
  const { data } = event;
  const known = next.activities.get(data.taskId);
  if (data.newStatus !== "in_progress") {
    if (!known) return;
    next.activities.delete(data.taskId);
    if (next.activities.size === LIST_LIMIT - 1) next.outdated = true;
    return;
  }
  const redacted = event.eventType === "task.redacted";
  if (redacted && !known) return;
  next.activities.set(data.taskId, {
    workspace: data.workspace,
    taskId: data.taskId,
    taskTitle: data.taskTitle,
    streamId: data.streamId,
    agentId: data.assignedAgent,
    lastHeartbeat: redacted ? known?.lastHeartbeat : event.timestamp,
  });
  limit(next.activities, "lastHeartbeat");
}

/** Keeps the newest. @param {Map<string, Row>} rows @param {string} field */
function limit(rows, field) {
  if (rows.size <= LIST_LIMIT) return;
  const oldest = [...rows.values()].reduce((a, b) => (b[field] < a[field] ? b : a));
  rows.delete(oldest.taskId);
}

/** Rows newest first, as the server lists them. @param {Map<string, Row>} rows @param {string} field */
export function newestFirst(rows, field) {
  return [...rows.values()].sort((a, b) => order(b[field], a[field]) || number(b.taskId) - number(a.taskId));
}

/** @param {string} a @param {string} b */
function order(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** @param {string} id */
function number(id) {
  return Number(id.slice(id.lastIndexOf("-") + 1));
}
