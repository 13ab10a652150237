// Parts of a profile: what it is made of, each with the record it comes from.

import { el, said } from "./dom.js";
import { ago, at, full, since } from "./times.js";
import { called, counted, some, written } from "./values.js";

export function collection(name, one) {
  const sums = Object.entries(one.sums ?? {}).map(([column, sum]) => `${called(column)} ${written(sum)} in all`);
  const seen = new Set();
  const activities = [...(one.open ?? []), ...(one.last ?? [])].filter(
    (activity) => !seen.has(activity.record) && seen.add(activity.record),
  );
  const told = [
    one.count ? `${counted(one.count)}, ${counted(one.open_count)} open` : "none",
    one.latest ? `the latest of ${at(one.latest)}` : "",
    ...sums,
  ]
    .filter(Boolean)
    .join("; ");
  const columns = [...new Set(activities.flatMap((activity) => Object.keys(activity.row ?? {})))];
  if (!activities.length) return section(name, called(name), told);
  const rows = activities.map((activity) =>
    el(
      "tr",
      { class: activity.open ? "open" : "closed", dataset: { testid: `activity-${name}` } },
      el(
        "th",
        { scope: "row" },
        el("span", { class: `state ${activity.open ? "good" : "open"}`, text: activity.open ? "open" : "over" }),
        el("time", { datetime: activity.at, title: full(activity.at), text: at(activity.at) }),
      ),
      ...columns.map((column) => said("td", written(activity.row?.[column]), { dataset: { label: called(column) } })),
      el("td", { dataset: { label: "From" } }, origin(activity)),
      el("td", { dataset: { label: "Age" } }, aged(activity.as_of)),
    ),
  );
  const head = el(
    "thead",
    {},
    el(
      "tr",
      {},
      ...["When", ...columns.map(called), "From record", "Age"].map((text) => el("th", { scope: "col", text })),
    ),
  );
  const table = el("table", { class: "stacked" }, head, el("tbody", {}, ...rows));
  return section(
    name,
    called(name),
    told,
    el("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": called(name) }, table),
  );
}

export function identifiers(profile) {
  const list = el("dl", { class: "identifiers" });
  for (const [type, values] of Object.entries(profile.identifiers ?? {})) {
    list.append(
      el("div", {}, said("dt", type), el("dd", {}, ...[values].flat().map((value) => said("code", written(value))))),
    );
  }
  const records = el(
    "ul",
    { class: "records" },
    ...(profile.records ?? []).map((record) =>
      el(
        "li",
        {},
        said("span", `${record.table} ${record.key}`),
        " ",
        said("small", record.source, { class: "faint" }),
      ),
    ),
  );
  const held = (profile.held ?? []).length
    ? el("p", { class: "warned", text: `Held apart for now: ${written(profile.held)}` })
    : null;
  return section(
    "identifiers",
    "Identifiers and records",
    some((profile.records ?? []).length, "record"),
    el("div", { class: "two" }, list, records),
    held,
  );
}

export function section(name, title, told, ...content) {
  const id = `section-${name}`;
  return el(
    "section",
    { class: "panel", "aria-labelledby": id },
    el(
      "div",
      { class: "panel-head" },
      el("h2", { id, text: title.charAt(0).toUpperCase() + title.slice(1) }),
      said("p", told, { class: "faint summary" }),
    ),
    ...content,
  );
}

export function others(name, values) {
  if (!values.length) return null;
  const list = el(
    "ul",
    {},
    ...values.map((value) =>
      el("li", {}, said("span", written(value.value)), " ", origin(value, "small"), " ", aged(value.as_of)),
    ),
  );
  return el("details", { dataset: { name } }, el("summary", { text: some(values.length, "other value") }), list);
}

export function origin(value, tag = "div") {
  if (!value.table) return el(tag, { text: "–" });
  return el(
    tag,
    { class: "from", title: value.position ? `position ${value.position}` : null },
    said("span", `${value.table} ${value.key}`),
    " ",
    said("span", value.source, { class: "faint" }),
  );
}

export function aged(iso) {
  const node = ago("", {});
  since(node, iso ? Date.parse(iso) : null, "–");
  return node;
}
