// Times and ages, by the server's clock: this machine's may be wrong, and an age must not be.

import { el, setText } from "./dom.js";

const UNITS = [
  [86_400_000, "d"],
  [3_600_000, "h"],
];
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const dayAndClock = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const whole = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });
let ahead = 0;

/** Take in what the server's clock says, as an answer of it arrives: a time, or ms. */
export function observe(at) {
  const server = typeof at === "number" ? at : Date.parse(at);
  if (!Number.isNaN(server)) ahead = server - Date.now();
}

/** The server's time, in ms. */
export function now() {
  return Date.now() + ahead;
}

/** A span in its largest unit: `0.4 s`, `14 s`, `3 min`, `2.5 h`, `31 d`. */
export function span(ms) {
  const length = Math.max(0, ms);
  for (const [size, unit] of UNITS) if (length >= size) return `${short(length / size).replace(".0", "")} ${unit}`;
  return length >= 60_000 ? `${Math.floor(length / 60_000)} min` : `${short(length / 1000)} s`;
}

/** A short span: `340 ms`, else as `span`. */
export function quick(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : span(ms);
}

/** A time of day; with the day if it is not today, with the year if it is not this one's. */
export function at(iso) {
  const then = new Date(iso);
  if (Number.isNaN(then.getTime())) return String(iso);
  const today = new Date(now());
  if (then.toDateString() === today.toDateString()) return clock.format(then);
  return then.getFullYear() === today.getFullYear()
    ? dayAndClock.format(then)
    : `${day.format(then)}, ${clock.format(then)}`;
}

/** A time in full. */
export function full(iso) {
  const then = new Date(iso);
  return Number.isNaN(then.getTime()) ? String(iso) : whole.format(then);
}

/** An element that says how long ago something was, and goes on saying it: `changed 3 min ago`. */
export function ago(label, given = {}) {
  return el("time", { ...given, class: `ago ${given.class ?? ""}`.trim(), dataset: { ...given.dataset, label } });
}

/** Set since when such an element counts; null: it cannot be told, which `unknown` says in words. */
export function since(node, ms, unknown = "") {
  if (ms === null || Number.isNaN(ms)) {
    delete node.dataset.since;
    node.removeAttribute("datetime");
    node.removeAttribute("title");
    setText(node, unknown);
    return;
  }
  if (node.dataset.since !== String(ms)) {
    const iso = new Date(ms).toISOString();
    node.dataset.since = ms;
    node.setAttribute("datetime", iso);
    node.title = full(iso);
  }
  tell(node);
}

/** Let all ages on the page go on. */
export function tick() {
  for (const node of document.querySelectorAll("[data-since]")) tell(node);
}

function tell(node) {
  setText(
    node,
    `${node.dataset.label} ${span(now() - Number(node.dataset.since))}${node.dataset.bare ? "" : " ago"}`.trim(),
  );
}

function short(value) {
  return value < 9.95 ? value.toFixed(1) : String(Math.floor(value));
}
