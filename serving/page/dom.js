// Elements made of data. Text is only ever set as text: there is no way here to make markup of it.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an element.
 * @param {string} tag
 * @param {object} given attributes by name; `class`, `text`, `dataset`, `onEVENT` functions; null and false are left out
 * @param {...(Node|string|null)} children strings become text
 */
export function el(tag, given = {}, ...children) {
  return filled(document.createElement(tag), given, children);
}

/** Make an element of a drawing. */
export function svg(tag, given = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), given, children);
}

/** Make an element that holds what others wrote: its direction is its own, whatever the characters in it say. */
export function said(tag, text, given = {}) {
  return el(tag, { ...given, dir: "auto", text });
}

/** Set a text only if it is another one, so that what is selected or read out stays undisturbed. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Bring a parent's children into this order, touching only those that are elsewhere. */
export function place(parent, nodes) {
  nodes.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
  while (parent.children.length > nodes.length) parent.lastElementChild.remove();
}

/** Tell whoever listens to the page rather than looks at it. */
export function announce(text) {
  const announcer = document.querySelector("[data-testid=announcer]");
  announcer.textContent = "";
  requestAnimationFrame(() => {
    announcer.textContent = text;
  });
}

function filled(node, given, children) {
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
