// A part of the dashboard that asks for its own data: what goes wrong in one leaves the others as they are.

import { el, said, setText } from "./dom.js";
import { Poll } from "./poll.js";
import { session } from "./session.js";
import { span } from "./times.js";
import { isAbort } from "./wire.js";

export class Panel {
  /**
   * @param {{id: string, title: string, every: number, path: () => string, show: (data: object) => void, tools?: Node[]}} given
   * @param {...Node} content
   */
  constructor({ id, title, every, path, show, tools = [] }, ...content) {
    this.path = path;
    this.show = show;
    this.good = 0;
    this.summary = el("p", { class: "faint summary" });
    this.trouble = el("p", { class: "trouble", role: "status", hidden: true, dataset: { testid: `trouble-${id}` } });
    this.node = el(
      "section",
      { class: `panel panel-${id}`, "aria-labelledby": `${id}-title`, dataset: { testid: `panel-${id}` } },
      el("div", { class: "panel-head" }, el("h2", { id: `${id}-title`, text: title }), this.summary, ...tools),
      this.trouble,
      ...content,
    );
    this.poll = new Poll((signal) => this.#look(signal), every);
  }

  async #look(signal) {
    try {
      const data = await session.json("GET", this.path(), undefined, signal);
      this.show(data);
      this.good = Date.now();
      this.trouble.hidden = true;
      this.node.classList.remove("old");
    } catch (error) {
      if (isAbort(error)) throw error;
      this.trouble.hidden = false;
      this.node.classList.toggle("old", this.good > 0);
      const shown = this.good ? ` Shown is what was known ${span(Date.now() - this.good)} ago.` : "";
      this.trouble.replaceChildren(
        said("span", `${error.detail ?? "This cannot be shown."}${shown}`),
        error.hint && error.status ? said("small", error.hint) : "",
      );
      throw error;
    }
  }

  /** Say in a few words what there is. */
  sum(text) {
    setText(this.summary, text);
  }
}
