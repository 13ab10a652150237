// KPIs over their last windows.

import { line, range, readable, tableOf } from "./chart.js";
import { el, place, said, setText } from "./dom.js";
import { Panel } from "./panel.js";
import { at } from "./times.js";
import { called, counted, measured, some } from "./values.js";

const TRENDS = { 1: "▲", "-1": "▼", 0: "" };
const GOODNESS = { 1: ["good", "better than before"], "-1": ["bad", "worse than before"], 0: ["", ""] };
const SPANS = { s: 1, m: 60, h: 3600, d: 86_400 };

export function kpis() {
  const cards = new Map();
  const grid = el("div", { class: "cards" });
  const empty = el("p", {
    class: "empty",
    hidden: true,
    text: "No KPI has a value yet. They come from conversations and ratings: headrace run feedback.",
  });
  const windows = new Set();
  const select = el(
    "select",
    { "aria-label": "Windows", dataset: { testid: "window" }, onchange: () => panel.poll.start() },
    el("option", { value: "", text: "shortest windows" }),
  );
  const panel = new Panel(
    {
      id: "kpis",
      title: "KPIs",
      every: 2500,
      path: () => `kpis?last=30${select.value ? `&window=${encodeURIComponent(select.value)}` : ""}`,
      show,
      tools: [select],
    },
    grid,
    empty,
  );
  return panel;

  function show({ kpis: found }) {
    const lines = found.map((kpi) => {
      for (const window of [kpi.window, ...(kpi.windows ?? [])]) if (window) windows.add(window);
      if (!cards.has(kpi.kpi)) cards.set(kpi.kpi, new Card(kpi));
      const card = cards.get(kpi.kpi);
      card.update(kpi);
      return [kpi.value === null || kpi.value === undefined, card.node];
    });
    // Those that have a value first, each half in the order of the settings.
    place(
      grid,
      [...lines.filter(([none]) => !none), ...lines.filter(([none]) => none)].map(([, node]) => node),
    );
    empty.hidden = lines.length > 0;
    const valued = lines.filter(([none]) => !none).length;
    panel.sum(valued === lines.length ? "" : `${valued} of ${some(lines.length, "KPI")} have a value`);
    options();
  }

  function options() {
    const sorted = [...windows].sort((a, b) => length(a) - length(b));
    if (select.options.length === sorted.length + 1) return;
    const { value } = select;
    select.replaceChildren(
      el("option", { value: "", text: "shortest windows" }),
      ...sorted.map((text) => el("option", { value: text, text: `windows of ${text}` })),
    );
    select.value = value;
  }
}

class Card {
  constructor(kpi) {
    this.value = el("strong", { class: "value", dataset: { testid: "kpi-value" } });
    this.trend = el("span", { class: "trend" });
    this.about = said("p", "", { class: "faint about" });
    this.top = el("span");
    this.bottom = el("span");
    this.chart = el("div", { class: "plot" });
    this.first = el("span");
    this.last = el("span");
    this.readout = el("output", { class: "readout" });
    this.table = el("div");
    this.details = el("details", { ontoggle: () => this.#tabulate() }, el("summary", { text: "Values" }), this.table);
    this.node = el(
      "article",
      { class: "card", dataset: { testid: `kpi-${kpi.kpi}` } },
      el("h3", { text: called(kpi.kpi) }),
      el("p", { class: "newest" }, this.value, " ", this.trend),
      this.about,
      el(
        "div",
        { class: "framed" },
        el("div", { class: "scale", "aria-hidden": "true" }, this.top, this.bottom),
        this.chart,
      ),
      el("div", { class: "span", "aria-hidden": "true" }, this.first, this.readout, this.last),
      this.details,
    );
  }

  update(kpi) {
    const told = JSON.stringify(kpi);
    if (told === this.told) return;
    this.told = told;
    this.kpi = kpi;
    const none = kpi.value === null || kpi.value === undefined;
    this.node.classList.toggle("none", none);
    setText(this.value, none ? "no value yet" : kpi.written || measured(kpi.value, kpi));
    const [goodness, words] = GOODNESS[kpi.goodness] ?? ["", ""];
    this.trend.className = `trend ${goodness}`;
    this.trend.replaceChildren(
      el("span", { "aria-hidden": "true", text: TRENDS[kpi.trend] ?? "" }),
      words ? ` ${words}` : "",
    );
    setText(this.about, about(kpi));
    const values = (kpi.values ?? []).map((one) => one.value ?? null);
    this.chart.parentElement.hidden =
      this.chart.parentElement.nextElementSibling.hidden =
      this.details.hidden =
        !values.length;
    if (!values.length) return;
    const [low, high] = range(values);
    setText(this.top, measured(high, kpi));
    setText(this.bottom, measured(low, kpi));
    setText(this.first, at(kpi.values[0].start));
    setText(this.last, at(kpi.values.at(-1).start));
    const label = `${called(kpi.kpi)}: ${kpi.written ?? ""}, over ${some(values.length, "window")} of ${kpi.window}`;
    const drawing = line(values, { label, about: described(values, kpi) });
    this.chart.replaceChildren(
      readable(drawing, values, (index) => {
        const one = index === null ? null : kpi.values[index];
        setText(this.readout, one ? `${at(one.start)}: ${measured(one.value, kpi)}` : "");
      }),
    );
    this.#tabulate();
  }

  #tabulate() {
    if (!this.details.open) return;
    const rows = this.kpi.values.map((one) => [at(one.start), measured(one.value, this.kpi)]).reverse();
    this.table.replaceChildren(tableOf(["From", "Value"], rows));
  }
}

function about(kpi) {
  const group = Object.entries(kpi.group ?? {}).map(([name, value]) => `${called(name)} ${value}`);
  const parts = [
    ...group,
    kpi.groups > 1 ? `the largest of ${counted(kpi.groups)} groups` : "",
    kpi.window ? `windows of ${kpi.window}` : "",
    kpi.stage === "early" ? "still counting" : kpi.stage === "corrected" ? "corrected by late events" : "",
    kpi.better === "low" ? "lower is better" : kpi.better === "high" ? "higher is better" : "",
  ];
  return parts.filter(Boolean).join(" · ");
}

function described(values, kpi) {
  const known = values.filter((value) => value !== null);
  if (!known.length) return "No window has a value.";
  const gaps = values.length - known.length;
  return `From ${measured(Math.min(...known), kpi)} to ${measured(Math.max(...known), kpi)}, ${gaps ? `${some(gaps, "window")} without a value, ` : ""}the newest of ${at(kpi.values.at(-1).start)}.`;
}

function length(window) {
  const found = /(\d+(?:\.\d+)?)([smhd])/.exec(window);
  const seconds = found ? Number(found[1]) * SPANS[found[2]] : 0;
  return window.startsWith("session") ? seconds + 1e9 : seconds;
}
