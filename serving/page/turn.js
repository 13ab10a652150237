// One question and its answer, as they come.

import { announce, el, said, setText } from "./dom.js";
import { prose } from "./prose.js";
import { rating } from "./rating.js";
import { quick } from "./times.js";
import { counted } from "./values.js";

export class Turn {
  /**
   * @param {object} request what is asked, as it is sent
   * @param {{point: (turn: Turn, number: number) => void, again: (turn: Turn) => void}} acts
   */
  constructor(request, acts) {
    this.request = request;
    this.acts = acts;
    this.context = null;
    this.text = "";
    this.state = "open";
    this.words = el("div", { class: "words" });
    this.foot = el("div", { class: "foot" });
    this.answer = el(
      "article",
      { class: "answer", "aria-label": "Answer", "aria-busy": "true", dataset: { testid: "answer", state: "open" } },
      (this.waiting = el("p", { class: "waiting", text: "Reading what is known" })),
      this.words,
      this.foot,
    );
    this.node = el(
      "li",
      { class: "turn" },
      said("p", request.question, { class: "question", dataset: { testid: "asked" } }),
      this.answer,
    );
  }

  /** The context is there; the words come next. */
  read() {
    setText(this.waiting, "Answering");
  }

  add(text) {
    this.text += text;
    this.waiting.hidden = true;
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => this.#draw());
  }

  finish(answer) {
    this.text = answer.text;
    this.#end("done");
    const degraded = degradedText(answer);
    const items = new Map(this.context?.items.map((item) => [item.number, item]) ?? []);
    const sources = (answer.citations ?? []).filter((one) => items.has(one.number));
    this.foot.append(
      ...[
        degraded && el("p", { class: "degraded", dataset: { testid: "degraded" }, dir: "auto", text: degraded }),
      ].filter(Boolean),
      ...(sources.length
        ? [
            el(
              "ul",
              { class: "sources", "aria-label": "Sources" },
              ...sources.map((one) => this.#source(one, items.get(one.number))),
            ),
          ]
        : []),
      el("p", { class: "faint measures", text: measures(answer) }),
      rating({ conversation: answer.conversation, turn: answer.turn }),
    );
    announce(`Answer: ${this.text}`);
  }

  /** Nothing more comes: the error's words, and a way to ask once more. */
  fail(error) {
    this.#end("failed");
    this.foot.append(
      el(
        "div",
        { class: "error", role: "alert", dataset: { testid: "error" } },
        el("p", {}, el("strong", { text: error.detail ?? "Something went wrong on this page." })),
        error.hint ? said("p", error.hint) : null,
        this.#again(),
      ),
    );
  }

  stopped() {
    this.#end("stopped");
    this.foot.append(el("p", { class: "faint", text: "Stopped. " }, this.#again()));
  }

  #again() {
    return el("button", {
      type: "button",
      text: "Try again",
      dataset: { testid: "again" },
      onclick: () => this.acts.again(this),
    });
  }

  #end(state) {
    this.state = state;
    cancelAnimationFrame(this.drawing);
    this.#draw();
    this.waiting.hidden = true;
    this.answer.setAttribute("aria-busy", "false");
    this.answer.dataset.state = state;
    this.foot.replaceChildren();
  }

  #draw() {
    this.drawing = 0;
    this.words.replaceChildren(...prose(this.text, (number) => this.#cite(number)));
    this.ondraw?.();
  }

  #cite(number) {
    const item = this.context?.items.find((one) => one.number === number);
    if (!item) return null;
    return el("button", {
      type: "button",
      class: "cite",
      text: String(number),
      title: `${item.title} · ${item.source}`,
      "aria-label": `Source ${number}: ${item.title}`,
      dataset: { testid: `cite-${number}` },
      onclick: () => this.acts.point(this, number),
    });
  }

  #source(one, item) {
    return el(
      "li",
      {},
      el(
        "button",
        { type: "button", class: "source", onclick: () => this.acts.point(this, one.number) },
        el("span", { class: "number", text: String(one.number) }),
        said("span", one.title || item.title),
      ),
    );
  }
}

function degradedText(answer) {
  if (!answer.degraded) return "";
  return typeof answer.degraded === "string"
    ? answer.degraded
    : "The model did not answer as it should; this is what could be had.";
}

function measures(answer) {
  const byModel = answer.model && answer.model !== "extractive";
  const parts = [byModel ? `by ${answer.model}` : "put together from the context, without a model"];
  if (answer.first_token_ms !== null && answer.first_token_ms !== undefined && byModel)
    parts.push(`first word after ${quick(answer.first_token_ms)}`);
  if (answer.latency_ms !== null && answer.latency_ms !== undefined)
    parts.push(`whole after ${quick(answer.latency_ms)}`);
  if (answer.tokens_in) parts.push(`${counted(answer.tokens_in)} tokens in, ${counted(answer.tokens_out)} out`);
  return parts.join(" · ");
}
