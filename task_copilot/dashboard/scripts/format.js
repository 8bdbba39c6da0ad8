// @ts-check
// Numbers, moments and durations as people read them.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const numbers = new Intl.NumberFormat("en");
const clockTime = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minuteTime = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
});
const fullTime = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const dayAndSecond = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const dayAndTime = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** @param {number} value */
export function count(value) {
  return numbers.format(value);
}

/** `1 task`, `2 tasks`. @param {number} value @param {string} noun */
export function several(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

/** @param {number} ms */
export function duration(ms) {
  if (!(ms >= SECOND)) return "0s";
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)}s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)}m`;
  if (ms < DAY) return pair(ms, HOUR, "h", MINUTE, "m");
  return pair(ms, DAY, "d", HOUR, "h");
}

/** The largest unit alone: `2h`. @param {number} ms */
export function shortDuration(ms) {
  return duration(ms).split(" ")[0];
}

/** @param {number} ms @param {number} large @param {string} a @param {number} small @param {string} b */
function pair(ms, large, a, small, b) {
  const rest = Math.floor((ms % large) / small);
  return `${Math.floor(ms / large)}${a}${rest ? ` ${rest}${b}` : ""}`;
}

/** @param {string | number} moment */
export function timeOfDay(moment) {
  return clockTime.format(new Date(moment));
}

/** @param {string | number} moment */
export function fullMoment(moment) {
  return fullTime.format(new Date(moment));
}

/** @param {string | number} moment */
export function minuteMoment(moment) {
  return minuteTime.format(new Date(moment));
}

/** @param {string | number} moment */
export function shortMoment(moment) {
  return dayAndTime.format(new Date(moment));
}

/** @param {string | number} moment */
export function exactMoment(moment) {
  return dayAndSecond.format(new Date(moment)).replace(",", "");
}

/** The whole percent that is done: 100 only where all is. @param {number} done @param {number} total */
export function percent(done, total) {
  return total ? Math.floor((100 * done) / total) : 0;
}

/** @param {number} bytes */
export function size(bytes) {
  return bytes < 1024 ? `${bytes} bytes` : `${count(Math.round(bytes / 1024))} KiB`;
}

/** @param {string} name `in_progress` */
export function words(name) {
  return name.replaceAll("_", " ");
}

/** A number of a task or a checkpoint, to sort by: `TASK-12` is 12. @param {string} id */
export function numberOf(id) {
  return Number(id.slice(id.lastIndexOf("-") + 1));
}
