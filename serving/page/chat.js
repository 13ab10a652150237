// The conversation, and beside it the context of the question that is looked at.

import { ContextPanel } from "./context.js";
import { el, setText } from "./dom.js";
import { session } from "./session.js";
import { Turn } from "./turn.js";
import { isAbort, RequestError } from "./wire.js";

const REMEMBERED = 12;
const LONGEST = 4000;
const NEAR = 120;

export class Chat {
  title = "Chat";
  #conversation = crypto.randomUUID();
  #turns = [];
  #asking = null;

  constructor() {
    this.panel = new ContextPanel();
    this.list = el("ol", { class: "turns", "aria-label": "Conversation", dataset: { testid: "turns" } });
    this.intro = el(
      "div",
      { class: "intro" },
      el("h1", { id: "chat-title", text: "Ask, and see how fresh the answer is" }),
      el("p", {
        text: "Beside each answer stands what it was made of. Ages tick; a value that changes at its source changes here, with what it was before.",
      }),
    );
    this.scroll = el("div", { class: "scroll", tabindex: "-1" }, this.intro, this.list);
    this.box = el("textarea", {
      id: "question",
      rows: "1",
      placeholder: "Ask a question",
      "aria-label": "Question",
      enterkeyhint: "send",
      autocomplete: "off",
      dataset: { testid: "question" },
      onkeydown: (event) => this.#key(event),
      oninput: () => this.#grow(),
    });
    this.send = el("button", { type: "submit", class: "main", text: "Ask", dataset: { testid: "send" } });
    this.fresh = el("button", {
      type: "button",
      class: "quiet",
      text: "New conversation",
      hidden: true,
      dataset: { testid: "new-conversation" },
      onclick: () => this.begin(),
    });
    this.form = el(
      "form",
      { class: "composer", onsubmit: (event) => this.#submit(event) },
      this.box,
      this.send,
      el(
        "p",
        { class: "faint keys" },
        el(
          "span",
          {},
          el("kbd", { text: "Enter" }),
          " asks, ",
          el("kbd", { text: "Shift" }),
          "+",
          el("kbd", { text: "Enter" }),
          " begins a line",
        ),
        this.fresh,
      ),
    );
    this.node = el(
      "section",
      { class: "chat", "aria-labelledby": "chat-title" },
      el("div", { class: "talk" }, this.scroll, this.form),
      this.panel.node,
    );
    this.node.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#asking && !document.querySelector("dialog[open]")) this.#asking.abort();
    });
    // What one person was told is not for the next one to see.
    session.addEventListener("person", () => this.begin());
    session.addEventListener("key", () => this.begin());
  }

  enter() {
    this.panel.seen(true);
  }

  leave() {
    this.panel.seen(false);
  }

  focus() {
    this.box.focus();
  }

  begin() {
    this.#asking?.abort();
    this.#asking = null;
    this.#conversation = crypto.randomUUID();
    this.#turns = [];
    this.list.replaceChildren();
    this.intro.hidden = false;
    this.fresh.hidden = true;
    this.#busy(false);
    this.panel.turnTo(null);
    if (this.node.isConnected) this.box.focus();
  }

  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.form.requestSubmit();
  }

  #submit(event) {
    event.preventDefault();
    if (this.#asking) {
      if (event.submitter) this.#asking.abort();
      return;
    }
    const question = this.box.value.trim();
    if (!question) {
      this.box.focus();
      return;
    }
    this.box.value = "";
    this.#grow();
    const turn = new Turn(
      { question, conversation: this.#conversation, history: this.#history() },
      {
        point: (of, number) => this.panel.point(of, number),
        again: (of) => this.#again(of),
      },
    );
    this.#turns.push(turn);
    this.list.append(turn.node);
    this.intro.hidden = true;
    this.fresh.hidden = false;
    this.#ask(turn);
  }

  #again(turn) {
    if (this.#asking) return;
    const { question } = turn.request;
    turn.node.remove();
    this.#turns = this.#turns.filter((one) => one !== turn);
    const draft = this.box.value;
    this.box.value = question;
    this.form.requestSubmit();
    this.box.value = draft;
    this.box.focus();
  }

  async #ask(turn) {
    const abort = new AbortController();
    this.#asking = abort;
    this.#busy(true);
    this.panel.turnTo(turn);
    turn.ondraw = () => this.#follow();
    this.#follow(true);
    try {
      for await (const { name, data } of session.stream("answer", turn.request, abort.signal)) {
        if (abort.signal.aborted) throw new DOMException("stopped", "AbortError");
        if (name === "context") {
          this.panel.given(turn, data);
          turn.read();
        } else if (name === "token") turn.add(data.text);
        else if (name === "answer") {
          turn.finish(data);
          this.#follow();
        } else if (name === "error") {
          const { kind, detail, hint } = data.error ?? data;
          throw new RequestError(0, kind, detail ?? "The answer broke off.", hint ?? "");
        }
      }
      if (turn.state === "open")
        throw new RequestError(0, "broken", "The answer broke off.", "What came so far is above.");
    } catch (error) {
      if (isAbort(error)) turn.stopped();
      else {
        turn.fail(error);
        if (!(error instanceof RequestError)) reportError(error);
      }
      this.#follow();
    } finally {
      if (this.#asking === abort) {
        this.#asking = null;
        this.#busy(false);
      }
    }
  }

  #history() {
    const said = this.#turns
      .filter((turn) => turn.state === "done")
      .flatMap((turn) => [
        { role: "user", text: cut(turn.request.question) },
        { role: "assistant", text: cut(turn.text) },
      ]);
    return said.slice(-REMEMBERED);
  }

  #busy(is) {
    setText(this.send, is ? "Stop" : "Ask");
    this.send.classList.toggle("stop", is);
  }

  #grow() {
    this.box.style.height = "auto";
    if (this.box.value) this.box.style.height = `${Math.min(this.box.scrollHeight + 2, 200)}px`;
    else this.box.style.removeProperty("height");
  }

  /** Keep the end in sight while it grows, unless whoever reads has gone back up. */
  #follow(always = false) {
    const box = this.scroll;
    if (always || box.scrollHeight - box.scrollTop - box.clientHeight < NEAR) box.scrollTop = box.scrollHeight;
  }
}

function cut(text) {
  // Half a character at the end would be refused.
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1).replace(/[\uD800-\uDBFF]$/, "")}…` : text;
}
