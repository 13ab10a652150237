// Alerts, and events that could not be processed.

import { el, place, said, setText } from "./dom.js";
import { Panel } from "./panel.js";
import { ago, at, full, since } from "./times.js";
import { called, counted } from "./values.js";

export function alerts() {
  const views = new Map();
  const list = el("ul", { class: "alerts" });
  const past = el("ul", { class: "alerts" });
  const summary = el("summary");
  const ended = el("details", { class: "past", hidden: true }, summary, past);
  const empty = el("p", { class: "empty", text: "No alert has been raised." });
  const panel = new Panel(
    { id: "alerts", title: "Alerts", every: 2500, path: () => "alerts?limit=50", show },
    list,
    ended,
    empty,
  );
  return panel;

  function show({ alerts: found }) {
    const standing = found.filter((alert) => alert.state !== "over");
    const over = found.filter((alert) => alert.state === "over");
    const view = (alert) => {
      const told = JSON.stringify(alert);
      const there = views.get(alert.id);
      if (there?.told === told) return there.node;
      const node = drawn(alert);
      views.set(alert.id, { told, node });
      return node;
    };
    place(list, standing.map(view));
    place(past, over.map(view));
    ended.hidden = !over.length;
    setText(summary, `${counted(over.length)} over`);
    empty.hidden = found.length > 0;
    panel.sum(found.length ? (standing.length ? `${counted(standing.length)} standing` : "none stands") : "");
  }
}

export function letters() {
  const views = new Map();
  const body = el("tbody");
  const table = el(
    "table",
    { class: "letters-table stacked" },
    el("caption", { class: "unseen", text: "Events that could not be processed" }),
    el(
      "thead",
      {},
      el("tr", {}, ...["Flow", "Step", "Reason", "Where", "Failed"].map((text) => el("th", { scope: "col", text }))),
    ),
    body,
  );
  const empty = el("p", { class: "empty", text: "None: everything that came could be processed." });
  const panel = new Panel(
    { id: "letters", title: "Dead letters", every: 3000, path: () => "dead-letters?limit=50", show },
    el("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": "Dead letters" }, table),
    empty,
  );
  return panel;

  function show({ letters: found }) {
    place(
      body,
      found.map((letter) => {
        const there = views.get(letter.id);
        if (there?.told === letter.failed_at) return there.node;
        const failed = ago("", {});
        since(failed, Date.parse(letter.failed_at));
        const cells = [
          said("td", letter.flow),
          said("td", letter.step),
          said("td", letter.reason, { class: "reason wide-cell" }),
          el("td", {}, said("code", `${letter.stream}/${letter.partition}`), ` at ${counted(letter.offset)}`),
          el("td", {}, failed),
        ];
        ["Flow", "Step", "Reason", "Where", "Failed"].forEach((label, n) => {
          cells[n].dataset.label = label;
        });
        const node = el("tr", { dataset: { testid: "letter" } }, ...cells);
        views.set(letter.id, { told: letter.failed_at, node });
        return node;
      }),
    );
    table.hidden = !found.length;
    empty.hidden = found.length > 0;
    panel.sum(found.length ? "kept whole; `headrace dead-letters replay` tries them again" : "");
  }
}

/** What an alert is about: of a series the list of its parts, which is written as JSON. */
function subject({ subject: text, kind }) {
  try {
    const parts = JSON.parse(text);
    if (Array.isArray(parts)) return parts.flat(3).map(String).join(" ");
  } catch {
    // It is a name.
  }
  return text || kind;
}

function drawn(alert) {
  const over = alert.state === "over";
  const begun = ago("for", { dataset: { bare: "yes" } });
  since(begun, Date.parse(alert.since));
  const group = Object.entries(alert.group ?? {})
    .map(([name, value]) => `${called(name)} ${value}`)
    .join(", ");
  const facts = [alert.rule && `rule ${alert.rule}`, group, alert.expected && `expected ${alert.expected}`]
    .filter(Boolean)
    .join(" · ");
  const node = el(
    "li",
    { class: `alert ${over ? "over" : alert.severity}`, dataset: { testid: "alert", severity: alert.severity } },
    el(
      "p",
      { class: "alert-head" },
      el("span", { class: `severity ${over ? "" : alert.severity}`, text: over ? "over" : alert.severity }),
      said("strong", subject(alert)),
      " ",
      over
        ? el("time", {
            class: "faint",
            datetime: alert.since,
            title: full(alert.since),
            text: `began ${at(alert.since)}`,
          })
        : begun,
    ),
    said("p", alert.text),
    facts ? said("p", facts, { class: "faint" }) : null,
  );
  if (alert.documents?.length)
    node.append(
      el(
        "p",
        { class: "faint" },
        "Documents behind it: ",
        ...alert.documents.flatMap((one, n) => [n ? ", " : "", said("span", one, { class: "document" })]),
      ),
    );
  return node;
}
