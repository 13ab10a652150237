// The profile of the person who is asked for: each value with the record it comes from, and its age.

import { announce, el, said, setText } from "./dom.js";
import { Poll } from "./poll.js";
import { aged, collection, identifiers, origin, others, section } from "./sections.js";
import { session } from "./session.js";
import { at, observe } from "./times.js";
import { called, some, written } from "./values.js";
import { isAbort } from "./wire.js";

const EVERY = 3000;

export class ProfileView {
  title = "Profile";
  #told = "";
  #values = new Map();
  #picture = "";

  /** @param {() => void} ask opens the form that asks who asks */
  constructor(ask) {
    this.hint = el(
      "div",
      { class: "empty sign-in", dataset: { testid: "sign-in" } },
      el("p", { text: "Nobody is asked for. A profile is shown to the person it is of only." }),
      el("button", { type: "button", class: "main", text: "Say who asks", onclick: ask }),
    );
    this.trouble = el("div", {
      class: "trouble",
      role: "status",
      hidden: true,
      dataset: { testid: "trouble-profile" },
    });
    this.name = said("h1", "Profile", { id: "profile-title" });
    this.head = el("p", { class: "faint" });
    this.body = el("div", { class: "profile-body", hidden: true });
    this.image = el("img", { alt: "", dataset: { testid: "graph" } });
    this.graph = el(
      "section",
      { class: "panel panel-graph", "aria-labelledby": "graph-title", hidden: true },
      el("div", { class: "panel-head" }, el("h2", { id: "graph-title", text: "Why these records are one person" })),
      el("div", { class: "scroller", tabindex: "0", role: "group", "aria-label": "Identity graph" }, this.image),
    );
    this.node = el(
      "section",
      { class: "profile", "aria-labelledby": "profile-title", dataset: { testid: "profile" } },
      el("header", {}, this.name, this.head),
      this.hint,
      this.trouble,
      this.body,
      this.graph,
    );
    this.poll = new Poll((signal) => this.#look(signal), EVERY);
    session.addEventListener("person", () => {
      this.#clear();
      if (this.node.isConnected) this.enter();
    });
  }

  enter() {
    this.hint.hidden = Boolean(session.person);
    if (session.person) this.poll.start();
    else this.poll.stop();
  }

  leave() {
    this.poll.stop();
  }

  #clear() {
    this.poll.stop();
    this.#told = "";
    this.#values.clear();
    this.body.hidden = this.graph.hidden = this.trouble.hidden = true;
    this.body.replaceChildren();
    this.#draw("");
    setText(this.name, "Profile");
    setText(this.head, "");
  }

  async #look(signal) {
    const { person } = session;
    try {
      const profile = await session.json("GET", "profiles/me", undefined, signal);
      if (person?.id !== session.person?.id) return;
      heard(profile);
      // Ages go on by themselves; a profile is drawn again only when something else of it is another.
      const told = JSON.stringify(profile, (name, value) => (name === "age_ms" ? undefined : value));
      if (told !== this.#told) {
        this.#told = told;
        this.#show(profile);
        const picture = await session.blob("profiles/me/graph.svg", signal, "image/svg+xml");
        if (person?.id === session.person?.id)
          this.#draw(URL.createObjectURL(new Blob([picture], { type: "image/svg+xml" })), profile);
      }
      this.trouble.hidden = true;
    } catch (error) {
      if (isAbort(error)) throw error;
      this.#told = error.status ? "" : this.#told;
      this.trouble.hidden = false;
      this.trouble.replaceChildren(
        said("p", error.detail ?? "This cannot be shown."),
        error.hint ? said("small", error.hint) : "",
      );
      throw error;
    }
  }

  #show(profile) {
    const opened = new Set([...this.body.querySelectorAll("details[open]")].map((node) => node.dataset.name));
    setText(this.name, written(profile.fields?.name ?? profile.person));
    this.head.replaceChildren(
      said("code", profile.person),
      ` in ${profile.realm}, known since ${at(profile.since)}`,
      profile.aliases?.length ? `, also called ${profile.aliases.join(", ")}` : "",
    );
    const changes = [];
    const parts = [
      this.#fields(profile.fields ?? {}, changes),
      ...Object.entries(profile.collections ?? {}).map(([name, one]) => collection(name, one)),
      identifiers(profile),
    ];
    this.body.replaceChildren(...parts);
    for (const node of this.body.querySelectorAll("details")) node.open = opened.has(node.dataset.name);
    this.body.hidden = false;
    if (changes.length) announce(changes.join("; "));
  }

  #fields(fields, changes) {
    const body = el("tbody");
    for (const [name, field] of Object.entries(fields)) {
      const text = written(field.value);
      const before = this.#values.get(name);
      const changed = before !== undefined && before !== text;
      if (changed) changes.push(`${called(name)} ${text} was ${before}`);
      this.#values.set(name, text);
      const values = field.of?.length ? field.of : [{ value: field.value }];
      body.append(
        el(
          "tr",
          { class: changed ? "flash" : null, dataset: { testid: `field-${name}` } },
          said("th", called(name), { scope: "row" }),
          el(
            "td",
            { class: "wide-cell", dataset: { label: "Value" } },
            ...values.map((value) => said("div", written(value.value))),
            changed ? said("del", before) : null,
            others(name, field.others ?? []),
          ),
          el("td", { dataset: { label: "From" } }, ...values.map((value) => origin(value))),
          el("td", { dataset: { label: "Age" } }, ...values.map((value) => el("div", {}, aged(value.as_of)))),
        ),
      );
    }
    const head = el(
      "thead",
      {},
      el("tr", {}, ...["Field", "Value", "From record", "Age"].map((text) => el("th", { scope: "col", text }))),
    );
    return section("fields", "Fields", "", el("table", { class: "fields-table stacked" }, head, body));
  }

  #draw(url, profile) {
    if (this.#picture) URL.revokeObjectURL(this.#picture);
    this.#picture = url;
    this.graph.hidden = !url;
    if (!url) {
      this.image.removeAttribute("src");
      return;
    }
    const types = Object.keys(profile.identifiers ?? {});
    this.image.src = url;
    this.image.alt = `Identity graph: ${some((profile.records ?? []).length, "record")} tied by ${types.join(", ") || "nothing"}; the records and identifiers are listed above.`;
  }
}

/** What the server's clock says follows from any value's age. */
function heard(profile) {
  const value = Object.values(profile.fields ?? {})
    .flatMap((field) => field.of ?? [])
    .find((one) => one.as_of);
  if (value) observe(Date.parse(value.as_of) + value.age_ms);
}
