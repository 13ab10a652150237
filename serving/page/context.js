// The context beside the conversation: what the question that is looked at was answered from, kept true while it is
// looked at. Items stay where they are; what is found later comes below them.

import { announce, el, place, said, setText } from "./dom.js";
import { ItemView, keyOf } from "./item.js";
import { Poll } from "./poll.js";
import { session } from "./session.js";
import { ago, observe, since, span } from "./times.js";
import { counted, some } from "./values.js";
import { isAbort } from "./wire.js";

const EVERY = 2000;

export class ContextPanel {
  #turn = null;
  #poll = new Poll((signal) => this.#look(signal), EVERY);
  #seen = false;

  constructor() {
    this.about = el("p", { class: "about", text: "" });
    this.count = el("p", { class: "count", dataset: { testid: "context-count" } });
    this.meter = el("meter", { min: "0", value: "0", "aria-label": "Tokens of the budget that are used" });
    this.read = ago("read", { dataset: { testid: "read" } });
    this.trouble = el("p", { class: "trouble", role: "alert", hidden: true, dataset: { testid: "context-trouble" } });
    this.items = el("ol", { class: "items", dataset: { testid: "items" } });
    this.notes = el("ul", { class: "notes", hidden: true });
    this.cuts = el("p", { class: "faint cuts" });
    this.live = el("button", {
      type: "button",
      class: "switch",
      role: "switch",
      "aria-checked": "true",
      text: "live",
      dataset: { testid: "live" },
      hidden: true,
      title: "Ask for the context anew every two seconds",
      onclick: () => this.#toggle(),
    });
    this.block = blockDialog();
    this.show = el("button", {
      type: "button",
      class: "quiet",
      text: "What the model reads",
      hidden: true,
      dataset: { testid: "show-block" },
      "aria-haspopup": "dialog",
      onclick: () => this.block.open(this.#turn.context),
    });
    this.empty = el("p", {
      class: "empty",
      text: "What an answer is made of appears here: rows, documents and the person it is for, each with where it comes from and how old it is.",
    });
    this.node = el(
      "section",
      { class: "context", "aria-labelledby": "context-title", tabindex: "-1" },
      el("div", { class: "panel-head" }, el("h2", { id: "context-title", text: "Context" }), this.live, this.show),
      this.about,
      el("div", { class: "budget" }, this.count, this.meter, this.read),
      this.trouble,
      this.empty,
      this.items,
      this.notes,
      this.cuts,
      this.block.node,
    );
    this.#describe();
  }

  /** Look at the context of a turn; null: of none. */
  turnTo(turn) {
    if (turn === this.#turn) return;
    this.#turn = turn;
    this.#trouble("");
    this.#describe();
    this.#go();
  }

  /** Take in the context that a turn is answered from. */
  given(turn, context) {
    turn.context = context;
    turn.views = new Map();
    observe(context.at);
    for (const item of context.items) turn.views.set(keyOf(item), new ItemView(read(item, context), true));
    if (turn === this.#turn) {
      this.#describe();
      this.#go();
    }
  }

  /** Show the item that an answer of this turn cites. */
  point(turn, number) {
    this.turnTo(turn);
    for (const view of turn.views?.values() ?? []) if (view.cited && view.item.number === number) view.point();
  }

  /** The panel is seen (or not): only then is it kept true. */
  seen(is) {
    this.#seen = is;
    this.#go();
  }

  #go() {
    const wanted = this.#seen && this.#turn?.context && this.live.getAttribute("aria-checked") === "true";
    if (wanted) this.#poll.start(EVERY);
    else this.#poll.stop();
  }

  #toggle() {
    const on = this.live.getAttribute("aria-checked") !== "true";
    this.live.setAttribute("aria-checked", String(on));
    this.#go();
  }

  async #look(signal) {
    const turn = this.#turn;
    let context;
    try {
      context = await session.json("POST", "context", { ...turn.request, peek: true }, signal);
    } catch (error) {
      if (!isAbort(error))
        this.#trouble(
          error.status === 0
            ? "The server cannot be reached; this is as it was last read."
            : `Not read anew: ${error.detail}`,
        );
      throw error;
    }
    this.#trouble("");
    observe(context.at);
    const changes = merge(turn, context);
    turn.looked = context;
    if (turn === this.#turn) this.#describe();
    if (changes.length) announce(changes.join("; "));
  }

  #describe() {
    const turn = this.#turn;
    const context = turn?.looked ?? turn?.context;
    const views = [...(turn?.views?.values() ?? [])];
    this.empty.hidden = Boolean(context);
    this.live.hidden = this.show.hidden = this.meter.hidden = !context;
    this.about.replaceChildren();
    if (context) this.about.append("for ", said("q", turn.context.question));
    setText(
      this.count,
      context
        ? `${some(context.items.length, "item")}, ${counted(context.tokens)} of ${counted(context.budget)} tokens`
        : "",
    );
    if (context) {
      this.meter.max = context.budget;
      this.meter.value = context.tokens;
      this.meter.title = `counted with ${context.tokenizer}`;
    }
    since(this.read, context ? Date.parse(context.at) : null);
    place(
      this.items,
      views.map((view) => view.node),
    );
    const notes = [...(context?.notes ?? []), ...leftOut(context?.left_out ?? {})];
    if (context && !context.items.length) notes.unshift("Nothing was found that bears on this question.");
    if (JSON.stringify(notes) !== this.notes.dataset.told) {
      this.notes.dataset.told = JSON.stringify(notes);
      this.notes.replaceChildren(...notes.map((note) => said("li", note)));
    }
    this.notes.hidden = !notes.length;
    const cuts = (context?.cuts ?? []).map(
      (cut) => `${cut.store} ${cut.age_ms === null ? "of unknown age" : `at most ${span(cut.age_ms)} old`}`,
    );
    setText(this.cuts, cuts.length ? `Read from ${cuts.join(", ")}.` : "");
  }

  #trouble(text) {
    this.trouble.hidden = !text;
    setText(this.trouble, text);
  }
}

/** Bring the views of a turn up to a later context of the same question; what has changed, in words. */
function merge(turn, context) {
  const seen = Date.parse(context.at);
  const changes = [];
  const found = new Set();
  for (const item of context.items) {
    const key = keyOf(item);
    found.add(key);
    const view = turn.views.get(key);
    if (!view) turn.views.set(key, new ItemView(read(item, context), false));
    else
      changes.push(
        ...view
          .update({ ...read(item, context), number: view.item.number }, seen)
          .map((change) => `${item.title}: ${change}`),
      );
  }
  for (const [key, view] of turn.views) {
    if (found.has(key)) continue;
    if (!view.cited) turn.views.delete(key);
    else if (!view.gone) view.leave();
  }
  return changes;
}

function read(item, context) {
  return { ...item, read_at: context.at };
}

function leftOut(kinds) {
  const words = { chunk: "piece of documents", row: "row", turn: "turn", activity: "activity", profile: "profile" };
  const many = { chunk: "pieces of documents", activity: "activities" };
  const told = Object.entries(kinds)
    .filter(([, n]) => n > 0)
    .map(([kind, n]) => some(n, words[kind] ?? kind, many[kind]));
  return told.length ? [`No room for ${told.join(", ")} more.`] : [];
}

function blockDialog() {
  const pre = said("pre", "", { tabindex: "0", dataset: { testid: "block" } });
  const about = el("p", { class: "faint" });
  const copied = el("span", { class: "faint", role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(pre.textContent);
      setText(copied, "copied");
    } catch {
      getSelection().selectAllChildren(pre);
      setText(copied, "selected: copy it with the keyboard");
    }
  };
  const node = el(
    "dialog",
    { class: "wide", "aria-labelledby": "block-title" },
    el("h2", { id: "block-title", text: "What the model reads" }),
    about,
    pre,
    el(
      "div",
      { class: "actions" },
      copied,
      el("button", { type: "button", text: "Copy", onclick: copy, dataset: { testid: "copy-block" } }),
      el("button", { type: "button", class: "main", text: "Close", onclick: () => node.close() }),
    ),
  );
  const open = (context) => {
    setText(copied, "");
    setText(about, `${counted(context.tokens)} tokens by ${context.tokenizer}; kept as ${context.id}.`);
    setText(pre, context.block);
    node.showModal();
  };
  return { node, open };
}
