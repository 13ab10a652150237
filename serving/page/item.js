// One item of a context: what it says, where that is from, and how old it is. It is built once and then kept true.

import { el, place, said, setText } from "./dom.js";
import { ago, at, full, since } from "./times.js";
import { called, written } from "./values.js";

const KINDS = { profile: "profile", activity: "activity", row: "row", chunk: "document", turn: "said" };
const LONG = 420;
const FLASH = 4000;

export class ItemView {
  /** @param {object} item @param {boolean} cited whether it was in the context that was answered from */
  constructor(item, cited) {
    this.key = keyOf(item);
    this.cited = cited;
    this.gone = false;
    this.values = new Map();
    this.ended = new Map();
    this.number = el("span", { class: "number", text: cited ? String(item.number) : "new" });
    this.title = said("h3", "");
    this.place = said("p", "", { class: "place" });
    this.badge = el("span", { class: "badge stale", dataset: { testid: "stale" }, hidden: true });
    this.warning = said("p", "", { class: "warning", dataset: { testid: "warning" }, hidden: true });
    this.left = el("span", { class: "badge", hidden: true, text: "not in the context any more" });
    this.list = el("dl", { class: "values" });
    this.text = said("p", "", { class: "text" });
    this.more = el("button", {
      type: "button",
      class: "link",
      hidden: true,
      text: "show all",
      onclick: () => this.#unfold(),
    });
    this.changed = ago("changed", { dataset: { testid: "age" } });
    this.checked = ago("checked", { dataset: { testid: "checked" } });
    this.facts = el("dl", { class: "facts" });
    this.node = el(
      "li",
      { class: "item", tabindex: "-1", dataset: { testid: `item-${item.kind}`, kind: item.kind, id: item.id } },
      el(
        "div",
        { class: "item-head" },
        this.number,
        this.title,
        el("span", { class: "kind", text: KINDS[item.kind] ?? item.kind }),
      ),
      this.place,
      this.warning,
      this.list,
      this.text,
      this.more,
      el("p", { class: "clocks" }, this.changed, this.checked, this.badge, this.left),
      el("details", { class: "origin" }, el("summary", { text: "Position" }), this.facts),
    );
    this.update(item, null);
  }

  /**
   * Take in the item as it is by a later look.
   * @param {object} item
   * @param {number|null} seen when it was looked at, in ms; null: the first time, nothing is a change then
   * @returns {string[]} what has changed, in words
   */
  update(item, seen) {
    const changes = seen === null || !this.item ? [] : this.#compare(item);
    const textChanged = this.item && this.item.text !== item.text;
    this.item = item;
    this.gone = false;
    this.left.hidden = true;
    this.node.classList.remove("gone");
    setText(this.title, item.title || item.place || item.id);
    setText(this.place, [item.source, item.place].filter(Boolean).join(" · "));
    this.#fill();
    if (textChanged && !changes.length && seen !== null && !this.list.childElementCount) {
      flash(this.text);
      changes.push("its text has changed");
    }
    since(this.changed, Date.parse(item.as_of));
    this.#check(item);
    place(this.facts, this.#facts(item));
    return changes;
  }

  /** Say that a later look has not found it any more. */
  leave() {
    this.gone = true;
    this.left.hidden = false;
    this.node.classList.add("gone");
    for (const clock of [this.changed, this.checked]) delete clock.dataset.since;
    setText(this.changed, `changed ${at(this.item.as_of)}`);
    setText(this.checked, "");
  }

  /** Show which item an answer means. */
  point() {
    this.node.scrollIntoView({ block: "nearest", behavior: calm() ? "auto" : "smooth" });
    this.node.focus({ preventScroll: true });
    this.node.classList.remove("pointed");
    requestAnimationFrame(() => this.node.classList.add("pointed"));
  }

  #compare(item) {
    const changes = [];
    for (const [column, value] of Object.entries(item.data ?? {})) {
      const before = written(this.item.data?.[column]);
      if (before === written(value)) continue;
      this.ended.set(column, { column, was: this.item.data?.[column], until: item.as_of });
      changes.push(`${called(column)} ${written(value)} was ${before}`);
    }
    return changes;
  }

  #check(item) {
    const known = item.lag_ms !== null && item.lag_ms !== undefined;
    since(this.checked, known ? Date.parse(item.read_at) - item.lag_ms : null, "not known when it was checked");
    setText(this.warning, item.warning ?? "");
    this.warning.hidden = !item.warning;
    this.badge.hidden = !item.stale;
    setText(this.badge, known ? "may be out of date" : "may be out of date: its source is not heard");
    this.node.classList.toggle("is-stale", Boolean(item.stale || item.warning));
  }

  #fill() {
    const { item } = this;
    const ended = new Map(this.ended);
    for (const one of item.superseded ?? [])
      if (!ended.has(one.column) || newer(one, ended.get(one.column))) ended.set(one.column, one);
    const data = ["row", "activity", "profile"].includes(item.kind) ? Object.entries(item.data ?? {}) : [];
    for (const column of ended.keys())
      if (!data.some(([name]) => name === column)) data.push([column, ended.get(column).now]);
    place(
      this.list,
      data.map(([column, value]) => this.#value(column, value, ended.get(column))),
    );
    this.list.hidden = !data.length;
    this.text.hidden = data.length > 0;
    setText(this.text, data.length ? "" : item.text);
    const long = !data.length && (item.text.length > LONG || item.text.split("\n").length > 7);
    this.more.hidden = !long;
    this.text.classList.toggle("folded", long && this.more.textContent === "show all");
  }

  #value(column, value, ended) {
    let view = this.values.get(column);
    if (!view) {
      view = { now: said("span", ""), was: el("span", { class: "was", hidden: true }), node: null };
      view.node = el(
        "div",
        { class: "value", dataset: { column } },
        said("dt", called(column)),
        el("dd", {}, view.now, " ", view.was),
      );
      this.values.set(column, view);
    }
    const text = written(value);
    const before = view.now.textContent;
    setText(view.now, text);
    if (this.node && before && before !== text) flash(view.node);
    view.was.hidden = !ended;
    if (ended) {
      const told = `${written(ended.was)} until ${at(ended.until)}`;
      if (view.was.dataset.told !== told) {
        view.was.dataset.told = told;
        view.was.title = `until ${full(ended.until)}`;
        view.was.replaceChildren(
          el("span", { class: "unseen", text: "was " }),
          said("del", written(ended.was), { dataset: { testid: "superseded" } }),
          ` until ${at(ended.until)}`,
        );
      }
    }
    return view.node;
  }

  #unfold() {
    const folded = this.text.classList.toggle("folded");
    setText(this.more, folded ? "show all" : "show less");
  }

  #facts(item) {
    const facts = [
      ["position", item.position],
      ["changed", full(item.as_of)],
      ...(item.since && item.since !== item.as_of ? [["so since", full(item.since)]] : []),
      ["taken in", full(item.applied_at)],
      ["score", item.score?.toFixed?.(2)],
      ["tokens", item.tokens],
      ["id", item.id],
    ];
    const text = JSON.stringify(facts);
    if (this.told === text) return [...this.facts.children];
    this.told = text;
    return facts.map(([name, value]) => el("div", {}, el("dt", { text: name }), said("dd", written(value))));
  }
}

/** By what the same item is found in a later context. */
export function keyOf(item) {
  return `${item.kind}\n${item.id}`;
}

function newer(one, other) {
  return Date.parse(one.until) >= Date.parse(other.until);
}

function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

function flash(node) {
  node.classList.remove("flash");
  requestAnimationFrame(() => node.classList.add("flash"));
  setTimeout(() => node.classList.remove("flash"), FLASH);
}
