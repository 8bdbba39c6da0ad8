// @ts-check
// Every node of the page is made here, and text only ever becomes text nodes: whatever an agent
// wrote can be read on the page and does nothing else.

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, any>} Props */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element. `on` holds listeners, `data` the data attributes; true and false set and
 * leave out an attribute.
 * @param {string} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {any}
 */
export function h(tag, props, ...children) {
  return filled(document.createElement(tag), props, children);
}

/**
 * The same for SVG.
 * @param {string} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {any}
 */
export function svg(tag, props, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

/** @param {any} node @param {Props | undefined} props @param {Child[]} children */
function filled(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name === "on") {
      for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    } else if (name === "data") {
      Object.assign(node.dataset, value);
    } else {
      attribute(node, name, value);
    }
  }
  node.append(...children.filter((child) => child || child === 0).map(child));
  return node;
}

/** @param {any} item @returns {Node | string} */
function child(item) {
  return item instanceof Node ? item : String(item);
}

/** Sets an attribute, or takes it away. @param {Element} node @param {string} name @param {any} value */
export function attribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

/** Sets the text of a node where it is another. @param {Node} node @param {string | number} text */
export function setText(node, text) {
  const value = String(text);
  if (node.textContent !== value) node.textContent = value;
}

/** @param {Element} node @param {...Child} children */
export function fill(node, ...children) {
  node.replaceChildren(...children.filter((item) => item || item === 0).map(child));
}

/** Shows or hides. @param {HTMLElement} node @param {boolean} shown */
export function show(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f]/g;
const DELETE = 0x7f;
const TURNING = /[\u202a-\u202e\u2066-\u2069]/g;
// Marks that turn text around, so that a name reads as another one. Scripts that run from right to
// left need none of them.

/** Text with control characters as signs that can be seen. @param {any} text */
export function visible(text) {
  return String(text ?? "").replace(CONTROL, picture).replace(TURNING, (sign) => `[U+${sign.charCodeAt(0).toString(16).toUpperCase()}]`);
}

/** @param {string} sign */
function picture(sign) {
  const code = sign.charCodeAt(0);
  return String.fromCharCode(code === DELETE ? 0x2421 : 0x2400 + code);
}

/**
 * What somebody else wrote: set apart, so that its direction marks reach nothing around it.
 * @param {any} text
 * @param {string} [className]
 * @returns {HTMLElement}
 */
export function said(text, className) {
  return h("bdi", { class: className ? `said ${className}` : "said" }, visible(text));
}

/** Changes what a `said` says. @param {Node} node @param {any} text */
export function say(node, text) {
  setText(node, visible(text));
}

/** @type {WeakMap<Element, Map<any, {node: any, item: any}>>} */
const lists = new WeakMap();

/**
 * Keeps the children of `parent` in step with `items`: what is new is made, what has changed is
 * updated, the rest is left alone. Items are compared by identity.
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => any} key
 * @param {(item: T) => any} make the node of an item
 * @param {(node: any, item: T) => void} [update]
 */
export function keyed(parent, items, key, make, update) {
  const before = lists.get(parent) ?? new Map();
  const after = new Map();
  for (const item of items) {
    const name = key(item);
    let entry = before.get(name);
    if (!entry) {
      entry = { node: make(item), item };
      update?.(entry.node, item);
    } else if (entry.item !== item) {
      update?.(entry.node, item);
      entry.item = item;
    }
    after.set(name, entry);
  }
  const focused = document.activeElement;
  for (const [name, entry] of before) if (!after.has(name)) entry.node.remove();
  arrange(parent, after);
  lists.set(parent, after);
  // Moving a node takes the focus from it.
  if (focused instanceof HTMLElement && focused !== document.activeElement && parent.contains(focused)) {
    focused.focus({ preventScroll: true });
  }
}

/** @param {Element} parent @param {Map<any, {node: any}>} entries */
function arrange(parent, entries) {
  let place = parent.firstChild;
  for (const { node } of entries.values()) {
    if (place && node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
}
