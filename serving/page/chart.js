// Lines over windows, as SVG: a gap where there is no value, never a line across it.

import { el, svg } from "./dom.js";

const WIDTH = 300;
const PAD = 3;

/**
 * @param {(number|null)[]} values oldest first
 * @param {{height?: number, zero?: boolean, label: string, about?: string}} given
 */
export function line(values, { height = 72, zero = true, label, about = "" }) {
  const [low, high] = range(values, zero);
  const x = (index) => (values.length < 2 ? WIDTH / 2 : PAD + (index * (WIDTH - 2 * PAD)) / (values.length - 1));
  const y = (value) => height - PAD - ((value - low) / (high - low)) * (height - 2 * PAD);
  const strokes = [];
  const areas = [];
  const dots = [];
  for (const [first, last] of runs(values)) {
    const points = values.slice(first, last + 1).map((value, n) => `${x(first + n).toFixed(1)} ${y(value).toFixed(1)}`);
    // A line from a point to itself is drawn as a dot by its round caps.
    if (first === last) dots.push(`M${points[0]}L${points[0]}`);
    else strokes.push(`M${points.join("L")}`);
    if (last > first)
      areas.push(`M${x(first).toFixed(1)} ${height}L${points.join("L")}L${x(last).toFixed(1)} ${height}Z`);
  }
  return svg(
    "svg",
    {
      class: "chart",
      viewBox: `0 0 ${WIDTH} ${height}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": label,
    },
    svg("title", { text: label }),
    about && svg("desc", { text: about }),
    svg("path", { class: "area", d: areas.join("") }),
    svg("path", { class: "stroke", d: strokes.join("") }),
    svg("path", { class: "stroke dots", d: dots.join("") }),
    svg("line", { class: "cursor", y1: 0, y2: height, x1: -9, x2: -9 }),
  );
}

/** What the line lies between. */
export function range(values, zero = true) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (!known.length) return [0, 1];
  let low = Math.min(...known);
  let high = Math.max(...known);
  if (zero && low > 0) low = 0;
  if (low === high) [low, high] = low === 0 ? [0, 1] : [Math.min(low, 0), Math.max(high, 0)];
  return [low, high];
}

/** Let a pointer over the line read the value under it. */
export function readable(node, values, tell) {
  const cursor = node.querySelector(".cursor");
  const move = (event) => {
    const box = node.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    const index = Math.min(values.length - 1, Math.max(0, Math.round(share * (values.length - 1))));
    const at = values.length < 2 ? WIDTH / 2 : PAD + (index * (WIDTH - 2 * PAD)) / (values.length - 1);
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    tell(index);
  };
  node.addEventListener("pointermove", move);
  node.addEventListener("pointerleave", () => {
    cursor.setAttribute("x1", -9);
    cursor.setAttribute("x2", -9);
    tell(null);
  });
  return node;
}

/** The same values as a table, made when it is asked for. */
export function tableOf(head, rows) {
  const body = el("tbody");
  const table = el(
    "table",
    {},
    el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col", text })))),
    body,
  );
  body.append(
    ...rows.map((row) =>
      el("tr", {}, ...row.map((text, n) => el(n ? "td" : "th", n ? { text } : { scope: "row", text }))),
    ),
  );
  return el("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": "Values" }, table);
}

function runs(values) {
  const found = [];
  values.forEach((value, index) => {
    if (value === null || value === undefined) return;
    const last = found.at(-1);
    if (last && last[1] === index - 1) last[1] = index;
    else found.push([index, index]);
  });
  return found;
}
