// @ts-check
// Requests to the hub that served this page.

const PATIENCE_MS = 15_000;
const OFFLINE = 0;

export class ApiError extends Error {
  /** @param {number} status 0 where nobody answered @param {any} body */
  constructor(status, body) {
    super(body?.error ?? `The server answered ${status} and did not say why.`);
    this.status = status;
    /** @type {string | null} the argument that was wrong */
    this.field = body?.field ?? null;
    /** @type {string | null} */
    this.code = body?.code ?? null;
    /** @type {any} */
    this.body = body ?? {};
  }
}

/** @typedef {Record<string, string | number | boolean | null | undefined>} Query */

/** @param {string} path @param {Query} [query] */
function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  return search ? `${path}?${search}` : path;
}

/**
 * Reads. Raises ApiError.
 * @param {string} path
 * @param {Query} [query]
 * @param {{patience?: number, signal?: AbortSignal}} [options] patience in ms
 * @returns {Promise<any>}
 */
export function get(path, query, options) {
  return request(address(path, query), { cache: "no-cache" }, options);
}

/**
 * Writes. Raises ApiError.
 * @param {"POST" | "PATCH"} method
 * @param {string} path
 * @param {Query} query
 * @param {Record<string, any>} body
 * @returns {Promise<any>}
 */
export function send(method, path, query, body) {
  const headers = { "Content-Type": "application/json" };
  return request(address(path, query), { method, headers, body: JSON.stringify(body) });
}

/** @param {string} url @param {RequestInit} init @param {{patience?: number, signal?: AbortSignal}} [options] */
async function request(url, init, { patience = PATIENCE_MS, signal } = {}) {
  const limit = new AbortController();
  const stop = () => limit.abort();
  const timer = setTimeout(stop, patience);
  signal?.addEventListener("abort", stop);
  try {
    const answer = await fetch(url, { ...init, signal: limit.signal });
    const body = await answer.json().catch(() => null);
    if (!answer.ok) throw new ApiError(answer.status, body);
    return body;
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(OFFLINE, { error: "The server does not answer. Is task-copilot still running?" });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/** An id under which a request that is sent again is carried out once. */
export function requestId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `page-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
