// @ts-check
// Where the cards of a workspace's streams and the lines between them go. Pure: the same streams and
// width give the same places, whatever their progress, so that nothing jumps while work goes on.

import { keyOf, streamKey } from "./fold.js";

/** @typedef {Record<string, any>} Row */
/** @typedef {{x: number, y: number}} Place */
/** @typedef {{phase: string, x: number, y: number, width: number, streams: Row[]}} PhasePlace */
/** @typedef {{from: string, to: string, path: string}} Edge */
/** @typedef {{width: number, height: number, card: number, places: Map<string, Place>, phases: PhasePlace[], edges: Edge[]}} Layout */

export const PHASES = ["foundation", "parallel", "integration"];
export const CARD_HEIGHT = 82;
const CARD_MIN = 180;
const CARD_MAX = 460;
const GAP = 36;
/** Between columns, where the lines run. */
const LIST_GAP = 12;
const ROW_GAP = 12;
const HEAD = 30;
const TALL = 5;
/** A column of more cards than this is split where there is room. */

/** @param {Row[]} streams of one workspace @param {number} width @returns {Layout} */
export function layout(streams, width) {
  const room = Math.max(1, Math.floor((width + GAP) / (CARD_MIN + GAP)));
  const phases = PHASES.map((phase) => streams.filter((row) => row.streamPhase === phase));
  const used = phases.filter((rows) => rows.length).length;
  return room < used ? stacked(phases, width) : sideBySide(phases, width, room);
}

// --- narrow: phase below phase ---

/** @param {Row[][]} phases @param {number} width @returns {Layout} */
function stacked(phases, width) {
  const columns = Math.max(1, Math.floor((width + LIST_GAP) / (CARD_MIN + 70 + LIST_GAP)));
  const card = Math.floor((width - (columns - 1) * LIST_GAP) / columns);
  const found = empty(width, card);
  let y = 0;
  phases.forEach((rows, number) => {
    if (!rows.length) return;
    found.phases.push({ phase: PHASES[number], x: 0, y, width, streams: rows });
    rows.forEach((row, place) => {
      const x = (place % columns) * (card + LIST_GAP);
      found.places.set(keyOf(row), { x, y: y + HEAD + Math.floor(place / columns) * (CARD_HEIGHT + ROW_GAP) });
    });
    y += HEAD + Math.ceil(rows.length / columns) * (CARD_HEIGHT + ROW_GAP) + 8;
  });
  found.height = y;
  return found;
}

// --- wide: phase beside phase, with the lines of dependencies ---

/** @param {Row[][]} phases @param {number} width @param {number} room columns @returns {Layout} */
function sideBySide(phases, width, room) {
  const groups = grouped(phases, room);
  const columns = shares(groups.map((group) => group.rows.length), room);
  const total = columns.reduce((a, b) => a + b, 0);
  const card = Math.min(CARD_MAX, Math.floor((width - (total - 1) * GAP) / total));
  const found = empty(width, card);
  let column = 0;
  groups.forEach((group, number) => {
    placeGroup(found, group, column, columns[number]);
    column += columns[number];
  });
  found.edges = edges(groups.flatMap((group) => group.rows), found);
  return found;
}

/** @typedef {{phase: string, rows: Row[]}} Group */

/** One group of columns a level of a phase, or a phase where there is no room for levels. */
/** @param {Row[][]} phases @param {number} room @returns {Group[]} */
function grouped(phases, room) {
  const byLevel = phases.flatMap((rows, number) =>
    levels(rows).map((level) => ({ phase: PHASES[number], rows: level })));
  const groups = byLevel.length <= room
    ? byLevel
    : phases.map((rows, number) => ({ phase: PHASES[number], rows })).filter((group) => group.rows.length);
  return untangled(groups);
}

/** Streams of one phase by how many others of it have to come before. @param {Row[]} rows */
function levels(rows) {
  const known = new Map(rows.map((row) => [row.streamId, row]));
  /** @type {Map<string, number>} */
  const depths = new Map();
  /** @param {Row} row @returns {number} */
  const depth = (row) => {
    const found = depths.get(row.streamId);
    if (found !== undefined) return found;
    depths.set(row.streamId, 0); // ends a circle, which the server refuses anyway
    const before = row.dependencies.filter((/** @type {string} */ id) => known.has(id));
    const own = Math.max(-1, ...before.map((/** @type {string} */ id) => depth(/** @type {Row} */ (known.get(id))))) + 1;
    depths.set(row.streamId, own);
    return own;
  };
  /** @type {Row[][]} */
  const found = [];
  for (const row of rows) (found[depth(row)] ??= []).push(row);
  return found.filter(Boolean);
}

/** Each group in the order of what its streams depend on, so that few lines cross. */
/** @param {Group[]} groups */
function untangled(groups) {
  /** @type {Map<string, number>} */
  const heights = new Map();
  return groups.map(({ phase, rows }) => {
    const wanted = rows.map((row, place) => {
      const above = row.dependencies.map((/** @type {string} */ id) => heights.get(id)).filter((/** @type {any} */ at) => at !== undefined);
      const mean = above.length ? above.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0) / above.length : place;
      return { row, mean, place };
    });
    wanted.sort((a, b) => a.mean - b.mean || a.place - b.place);
    wanted.forEach(({ row }, place) => heights.set(row.streamId, place));
    return { phase, rows: wanted.map(({ row }) => row) };
  });
}

/** How many columns each group gets: one more for the tallest as long as there is room. */
/** @param {number[]} sizes @param {number} room */
function shares(sizes, room) {
  const columns = sizes.map(() => 1);
  for (let left = room - sizes.length; left > 0; left -= 1) {
    const heights = sizes.map((size, number) => Math.ceil(size / columns[number]));
    const tallest = Math.max(...heights);
    if (tallest <= TALL) break;
    columns[heights.indexOf(tallest)] += 1;
  }
  return columns;
}

/** @param {Layout} found @param {Group} group @param {number} column @param {number} columns */
function placeGroup(found, { phase, rows }, column, columns) {
  const step = found.card + GAP;
  const x = column * step;
  const last = found.phases[found.phases.length - 1];
  if (last?.phase === phase) {
    last.streams.push(...rows);
    last.width = x + columns * step - GAP - last.x;
  } else {
    found.phases.push({ phase, x, y: 0, width: columns * step - GAP, streams: [...rows] });
  }
  const height = Math.ceil(rows.length / columns);
  rows.forEach((row, place) => {
    const y = HEAD + (place % height) * (CARD_HEIGHT + ROW_GAP);
    found.places.set(keyOf(row), { x: x + Math.floor(place / height) * step, y });
    found.height = Math.max(found.height, y + CARD_HEIGHT);
  });
}

/** @param {Row[]} rows @param {Layout} found @returns {Edge[]} */
function edges(rows, found) {
  return rows.flatMap((row) =>
    row.dependencies.flatMap((/** @type {string} */ id) => {
      const from = streamKey(row.workspace, id);
      const start = found.places.get(from);
      const end = found.places.get(keyOf(row));
      return start && end ? [{ from, to: keyOf(row), path: curve(start, end, found.card) }] : [];
    }));
}

/** @param {Place} start @param {Place} end @param {number} card */
function curve(start, end, card) {
  const middle = CARD_HEIGHT / 2;
  const x1 = start.x + card;
  const y1 = start.y + middle;
  const y2 = end.y + middle;
  if (end.x > start.x) {
    if (end.x - x1 > GAP) return around(start, end, x1);
    const bend = GAP * 0.6;
    return `M${x1} ${y1}C${x1 + bend} ${y1} ${end.x - bend} ${y2} ${end.x} ${y2}`;
  }
  const x2 = end.x + card;
  const out = Math.max(x1, x2) + GAP * 0.6;
  return `M${x1} ${y1}C${out} ${y1} ${out} ${y2} ${x2} ${y2}`;
}

/** Past the columns in between, in the gap below the row, so that it touches no card. */
/** @param {Place} start @param {Place} end @param {number} x1 */
function around(start, end, x1) {
  const y1 = start.y + CARD_HEIGHT / 2;
  const y2 = end.y + CARD_HEIGHT / 2;
  const gap = start.y + CARD_HEIGHT + ROW_GAP / 2;
  const half = GAP / 2;
  const enter = end.x - GAP;
  return `M${x1} ${y1}C${x1 + half} ${y1} ${x1 + half / 2} ${gap} ${x1 + GAP} ${gap}`
    + `H${enter}C${enter + half} ${gap} ${enter + half} ${y2} ${end.x} ${y2}`;
}

/** @param {number} width @param {number} card @returns {Layout} */
function empty(width, card) {
  return { width, height: 0, card, places: new Map(), phases: [], edges: [] };
}

// --- what a stream waits for ---

/** @param {Row} row */
function isDone(row) {
  return row.totalTasks > 0 && row.completedTasks === row.totalTasks;
}

/** The streams that have to complete before `stream` can start. */
/** @param {Row} stream @param {Row[]} streams all of its workspace @returns {string[]} */
export function waitsFor(stream, streams) {
  if (stream.dependencies.length) {
    const done = new Set(streams.filter(isDone).map((row) => row.streamId));
    return stream.dependencies.filter((/** @type {string} */ id) => !done.has(id));
  }
  const before = PHASES.slice(0, PHASES.indexOf(stream.streamPhase));
  return streams
    .filter((row) => before.includes(row.streamPhase) && row.totalTasks > 0 && !isDone(row))
    .map((row) => row.streamId);
}
