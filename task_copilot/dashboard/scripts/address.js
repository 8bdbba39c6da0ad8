// @ts-check
// What is shown is in the address, behind the #: a view, what it is of, and its filters. A copy of
// the address opens the same view; the server never sees it.

/** @typedef {"overview" | "stream" | "tasks" | "task" | "events" | "nowhere"} ViewName */
/** @typedef {{view: ViewName, path: string[], query: Record<string, string>}} Address */

/** @type {Record<string, ViewName>} */
const NAMES = { "": "overview", streams: "stream", tasks: "tasks", events: "events" };
/** @type {Record<ViewName, string>} */
const FOLDERS = { overview: "", stream: "streams", tasks: "tasks", task: "tasks", events: "events", nowhere: "" };
/** @type {Record<ViewName, number>} */
const LENGTHS = { overview: 0, stream: 2, tasks: 0, task: 1, events: 0, nowhere: 0 };

/** @param {string} hash @returns {Address} */
export function parse(hash) {
  const [path, query = ""] = split(hash.replace(/^#\/?/, ""), "?");
  const parts = path.split("/").filter(Boolean).map(decoded);
  let view = NAMES[parts[0] ?? ""] ?? "nowhere";
  if (view === "tasks" && parts.length > 1) view = "task";
  const rest = parts.slice(1);
  if (rest.length !== LENGTHS[view]) view = "nowhere";
  return { view, path: rest, query: Object.fromEntries(new URLSearchParams(query)) };
}

/** @param {string} text @param {string} sign */
function split(text, sign) {
  const at = text.indexOf(sign);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a % that stands for itself
  }
}

/**
 * The fragment of a view; what is empty in the query is left out.
 * @param {ViewName} view
 * @param {string[]} [path]
 * @param {Record<string, string | number | null | undefined>} [query]
 */
export function fragment(view, path = [], query = {}) {
  const parts = [FOLDERS[view], ...path].filter(Boolean).map(encodeURIComponent);
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return `#/${parts.join("/")}${search ? `?${search}` : ""}`;
}

/** @param {Address} a @param {Address} b */
export function isSamePlace(a, b) {
  return a.view === b.view && a.path.join("\n") === b.path.join("\n");
}

export class Router {
  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    this.current = parse(location.hash);
    window.addEventListener("hashchange", () => this.#look());
  }

  #look() {
    this.current = parse(location.hash);
    this.changed();
  }

  /** The address of another view in the same workspace. */
  /** @param {ViewName} view @param {string[]} [path] @param {Record<string, any>} [query] */
  to(view, path, query) {
    return fragment(view, path, { workspace: this.current.query.workspace, ...query });
  }

  /** @param {string} hash */
  go(hash) {
    location.hash = hash;
  }

  /** Other filters of the same view, in place of the present ones in the history. */
  /** @param {Record<string, any>} changes */
  filter(changes) {
    const { view, path, query } = this.current;
    history.replaceState(null, "", fragment(view, path, { ...query, ...changes }));
    this.#look();
  }
}
