// How far behind each source its store is, and whether that is as it was promised.

import { line } from "./chart.js";
import { el, place, said, setText } from "./dom.js";
import { Panel } from "./panel.js";
import { ago, observe, since, span } from "./times.js";
import { counted, some } from "./values.js";

const REMEMBERED = 180;
const COLUMNS = ["Source", "State", "Lag", "Backlog", "Rate", "Newest change", "Position", "Dead letters"];

export function sources() {
  const rows = new Map();
  const body = el("tbody");
  const strip = el("dl", { class: "strip", dataset: { testid: "stores" } });
  const table = el(
    "table",
    { class: "sources-table stacked" },
    el("caption", { class: "unseen", text: "Freshness of every source" }),
    el("thead", {}, el("tr", {}, ...COLUMNS.map((text) => el("th", { scope: "col", text })))),
    body,
  );
  const empty = el("p", {
    class: "empty",
    hidden: true,
    text: "No source is configured yet. Name folders and streams in headrace.toml, then start a flow: headrace run FLOW.",
  });
  const panel = new Panel(
    { id: "sources", title: "Sources", every: 1000, path: () => "freshness", show },
    el("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": "Sources" }, table),
    empty,
    strip,
  );
  return panel;

  function show(overview) {
    observe(overview.at);
    const seen = overview.sources.map((source) => {
      const key = `${source.flow}/${source.source}`;
      if (!rows.has(key)) rows.set(key, new SourceRow(source));
      const row = rows.get(key);
      row.update(source, Date.parse(overview.at), overview.dead_letters?.[source.flow] ?? 0);
      return row.node;
    });
    place(body, seen);
    table.hidden = !seen.length;
    empty.hidden = seen.length > 0;
    const behind = overview.sources.filter((source) => source.met === false).length;
    const idle = overview.sources.filter((source) => source.running === false).length;
    const told = [
      behind ? `${behind} of ${seen.length} behind` : seen.length ? "all as promised" : "",
      idle ? `${some(idle, "is", "are")} not running` : "",
    ];
    panel.sum(told.filter(Boolean).join(", "));
    place(strip, stores(overview.stores ?? {}, strip));
  }
}

class SourceRow {
  constructor(source) {
    this.rates = [];
    this.state = el("span", { class: "state" });
    this.promise = el("small", { class: "faint" });
    this.lag = ago("", { dataset: { bare: "yes", testid: "lag" } });
    this.backlog = el("span");
    this.rate = el("span");
    this.spark = el("span", { class: "spark" });
    this.newest = ago("", { dataset: { testid: "newest" } });
    this.positions = el("span", { class: "positions" });
    this.letters = el("span");
    const cells = [
      [this.state, this.promise],
      [this.lag],
      [this.backlog],
      [this.rate, this.spark],
      [this.newest],
      [this.positions],
      [this.letters],
    ].map((content, n) => el("td", { dataset: { label: COLUMNS[n + 1] } }, ...content));
    this.node = el(
      "tr",
      { dataset: { testid: `source-${source.source}`, flow: source.flow } },
      el("th", { scope: "row" }, said("span", source.source), said("small", source.flow, { class: "faint" })),
      ...cells,
    );
  }

  update(source, at, letters) {
    const [state, words] = stateOf(source);
    this.state.className = `state ${state}`;
    setText(this.state, words);
    setText(this.promise, source.objective_ms ? `at most ${span(source.objective_ms).replace(".0 ", " ")}` : "");
    since(this.lag, known(source.lag_ms) ? at - source.lag_ms : null, "not known");
    setText(this.backlog, known(source.backlog) ? (source.backlog === 0 ? "none" : counted(source.backlog)) : "–");
    this.#rate(source.rate);
    since(
      this.newest,
      known(source.age_ms) ? at - source.age_ms : source.newest ? Date.parse(source.newest) : null,
      "–",
    );
    const positions = Object.entries(source.positions ?? {});
    const text = JSON.stringify(positions);
    if (this.positions.dataset.told !== text) {
      this.positions.dataset.told = text;
      this.positions.replaceChildren(
        ...positions.map(([database, position]) =>
          el(
            "span",
            { class: "position" },
            positions.length > 1 ? said("small", `${database} `, { class: "faint" }) : "",
            said("code", position),
          ),
        ),
      );
      if (!positions.length) this.positions.textContent = "–";
    }
    setText(this.letters, letters ? `${counted(letters)} of the flow` : "none");
    this.letters.className = letters ? "warned" : "faint";
  }

  #rate(rate) {
    this.rates.push(known(rate) ? rate : null);
    if (this.rates.length > REMEMBERED) this.rates.shift();
    setText(this.rate, known(rate) ? `${rate >= 9.95 ? counted(Math.round(rate)) : rate.toFixed(1)} /s` : "–");
    this.spark.replaceChildren(
      line(this.rates, { height: 36, label: `Changes a second in the last ${span(this.rates.length * 1000)}` }),
    );
  }
}

function stateOf(source) {
  if (source.running === false) return ["bad", "not running"];
  if (source.met === false) return ["bad", "behind"];
  if (!known(source.met)) return ["open", source.caught_up ? "all in" : "not known"];
  return ["good", source.caught_up === false ? "on time, reading" : "on time"];
}

function stores(found, strip) {
  const counts = [];
  for (const [name, value] of Object.entries(found)) {
    if (name === "tables")
      for (const [table, of] of Object.entries(value ?? {}))
        counts.push([table, typeof of === "number" ? of : of?.rows, "rows"]);
    else if (typeof value === "number") counts.push([name, value, ""]);
    else if (name === "feedback")
      for (const [kind, n] of Object.entries(value ?? {})) if (typeof n === "number") counts.push([kind, n, ""]);
  }
  const there = new Map([...strip.children].map((node) => [node.dataset.name, node]));
  return counts.map(([name, n, what]) => {
    const node = there.get(name) ?? el("div", { dataset: { name } }, said("dt", name.replaceAll("_", " ")), el("dd"));
    setText(node.lastElementChild, counted(n));
    if (what) node.title = `${counted(n)} ${what}`;
    return node;
  });
}

function known(value) {
  return value !== null && value !== undefined;
}
