// @ts-check
// The tasks of one stream: read page by page, and kept in step by their events.

import { get } from "./api.js";
import { keyOf, streamKey } from "./fold.js";

const PAGE = 1_000;
export const MOST_TASKS = 20_000;

/** @typedef {Record<string, any>} Row */

export class TaskSet {
  /** @type {Map<string, Row>} each with the `seq` that it is of */
  rows = new Map();
  /** @type {Row | null} */
  stream = null;
  /** @type {any} */
  error = null;
  /** Whether there are more than are shown. */
  cut = false;
  version = 0;
  #base = 0;
  #turn = 0;

  /**
   * @param {import("./store.js").Store} store
   * @param {string} workspace
   * @param {string} streamId
   * @param {() => void} changed
   */
  constructor(store, workspace, streamId, changed) {
    this.store = store;
    this.workspace = workspace;
    this.streamId = streamId;
    this.changed = changed;
  }

  async load() {
    const turn = (this.#turn += 1);
    try {
      const { workspace, streamId } = this;
      const first = await get(`/api/streams/${encodeURIComponent(streamId)}`, { workspace });
      if (turn !== this.#turn) return;
      const { tasks, nextCursor, ...stream } = first;
      this.rows = new Map();
      this.#base = first.seq;
      this.stream = stream;
      this.error = null;
      this.#add(tasks, first.seq);
      await this.#loadRest(nextCursor, turn);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.error = error;
      this.changed();
    }
  }

  /** @param {string | null} cursor @param {number} turn */
  async #loadRest(cursor, turn) {
    const { workspace, streamId } = this;
    while (cursor !== null && this.rows.size < MOST_TASKS) {
      const page = await get("/api/tasks", { workspace, streamId, cursor, limit: PAGE });
      if (turn !== this.#turn) return;
      this.#add(page.tasks, page.seq);
      cursor = page.nextCursor;
    }
    this.cut = cursor !== null;
  }

  /** @param {Row[]} tasks @param {number} seq */
  #add(tasks, seq) {
    for (const { id, title, status, assignedAgent, blockedReason, updatedAt } of tasks) {
      if ((this.rows.get(id)?.seq ?? 0) > seq) continue;
      this.rows.set(id, { id, title, status, assignedAgent, blockedReason, updatedAt, seq });
    }
    this.take(this.store.after(Math.min(seq, this.#base)));
    this.version += 1;
    this.changed();
  }

  /** @param {import("./fold.js").Event[]} events */
  take(events) {
    if (!this.stream) return;
    for (const event of events) {
      if (event.workspace !== this.workspace) continue;
      if (event.topic.startsWith("task:")) this.#takeTask(event);
      else if (event.topic === `stream:${this.streamId}`) this.#takeStream(event);
    }
  }

  /** @param {import("./fold.js").Event} event */
  #takeTask({ seq, eventType, timestamp, data }) {
    const row = this.rows.get(data.taskId);
    if (seq <= (row?.seq ?? this.#base)) return;
    if (data.streamId !== this.streamId) {
      if (this.rows.delete(data.taskId)) this.version += 1;
      return;
    }
    this.rows.set(data.taskId, {
      id: data.taskId,
      title: data.taskTitle,
      status: data.newStatus,
      assignedAgent: data.assignedAgent,
      blockedReason: data.blockedReason,
      updatedAt: eventType === "task.redacted" && row ? row.updatedAt : timestamp,
      arrived: row?.status === data.newStatus ? row?.arrived : performance.now(),
      seq,
    });
    this.version += 1;
    this.#takeChanges(data);
  }

  /** Of a changed name, phase or dependencies only the task's update tells. @param {Row} data */
  #takeChanges(data) {
    const known = this.store.state.overview?.streams.get(streamKey(this.workspace, this.streamId));
    if (!known || !data.changes?.some((/** @type {Row} */ one) => one.field.startsWith("stream"))) return;
    const { streamName, streamPhase, dependencies } = known;
    this.stream = { ...this.stream, streamName, streamPhase, dependencies };
  }

  /** @param {import("./fold.js").Event} event */
  #takeStream({ seq, eventType, timestamp, data }) {
    if (!this.stream || keyOf(data) !== keyOf(this.stream) || seq <= this.stream.seq) return;
    const archivedAt = eventType === "stream.archived" ? timestamp : null;
    this.stream = { ...this.stream, ...data, archivedAt, seq };
    this.version += 1;
  }

  close() {
    this.#turn += 1;
  }
}
