// The two forms that say who asks: the application by its key, and the person.

import { el, said, setText } from "./dom.js";
import { session } from "./session.js";
import { RequestError, send } from "./wire.js";

/** The form that stands in place of everything while there is no key. */
export function keyForm() {
  const trouble = el("p", { class: "trouble", role: "alert", hidden: true, dataset: { testid: "key-trouble" } });
  const box = el("input", {
    id: "key",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "key-hint",
    dataset: { testid: "key" },
  });
  const node = el(
    "section",
    { class: "gate", "aria-labelledby": "gate-title" },
    el("h1", { id: "gate-title", text: "Which application asks?" }),
    el(
      "p",
      { id: "key-hint" },
      "This page asks the server with an application's key. Open it by the address that ",
      el("code", { text: "headrace serve" }),
      " prints, or make a key with ",
      el("code", { text: "headrace keys create NAME" }),
      " and put it in here. It is kept for this tab only.",
    ),
    el(
      "form",
      { onsubmit: submit },
      el("label", { for: "key", text: "Key" }),
      el(
        "div",
        { class: "row" },
        box,
        el("button", { type: "submit", class: "main", text: "Open", dataset: { testid: "use-key" } }),
      ),
      trouble,
    ),
  );
  return { node, focus: () => box.focus(), tell };

  async function submit(event) {
    event.preventDefault();
    const key = box.value.trim();
    if (!/^[\x21-\x7e]+$/.test(key)) {
      tell("This is not a key: it begins with hr_ and has no spaces.");
      return;
    }
    try {
      await send("GET", "freshness", { key });
    } catch (error) {
      // Whatever else is refused: the key itself is known.
      if (error.status === 0 || error.status === 401) {
        tell([error.detail, error.hint].filter(Boolean).join(" "));
        box.select();
        return;
      }
    }
    box.value = "";
    tell("");
    session.setKey(key);
  }

  function tell(text) {
    trouble.hidden = !text;
    setText(trouble, text);
  }
}

/** The dialog that asks for the person, and the button that shows who it is. */
export function whoAsks(button) {
  const trouble = el("p", { class: "trouble", role: "alert", hidden: true, dataset: { testid: "who-trouble" } });
  const person = el("input", {
    id: "person",
    type: "text",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    dataset: { testid: "person" },
  });
  const token = el("input", {
    id: "token",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    dataset: { testid: "token" },
  });
  const byToken = el(
    "details",
    {},
    el("summary", { text: "By a token that the application has signed" }),
    el(
      "form",
      { onsubmit: (event) => attempt(event, () => session.useToken(token.value.trim())) },
      el("label", { for: "token", text: "Token" }),
      el(
        "div",
        { class: "row" },
        token,
        el("button", { type: "submit", text: "Use it", dataset: { testid: "use-token" } }),
      ),
    ),
  );
  const nobody = el("button", {
    type: "button",
    text: "Nobody",
    dataset: { testid: "nobody" },
    onclick: (event) => attempt(event, async () => session.signOut()),
  });
  const node = el(
    "dialog",
    { "aria-labelledby": "who-title", dataset: { testid: "who-dialog" } },
    el("h2", { id: "who-title", text: "Who asks?" }),
    el("p", {
      class: "faint",
      text: "Answers then know this person's profile, bookings and conversations, and nobody else's. Another person begins a new conversation.",
    }),
    el(
      "form",
      { onsubmit: (event) => attempt(event, () => session.signIn(person.value.trim())) },
      el("label", { for: "person", text: "E-mail, phone number or id" }),
      el(
        "div",
        { class: "row" },
        person,
        el("button", { type: "submit", class: "main", text: "Ask as this person", dataset: { testid: "sign" } }),
      ),
    ),
    byToken,
    trouble,
    el(
      "div",
      { class: "actions" },
      nobody,
      el("button", { type: "button", text: "Cancel", onclick: () => node.close() }),
      el("button", {
        type: "button",
        class: "quiet",
        text: "Forget the key",
        dataset: { testid: "forget-key" },
        onclick: () => {
          node.close();
          session.setKey("");
        },
      }),
    ),
  );
  button.addEventListener("click", open);
  session.addEventListener("person", show);
  session.addEventListener("expired", ({ detail }) => {
    open();
    tell(`The time for ${detail} is over. Say again who asks.`);
  });
  return { node, open };

  function open() {
    tell("");
    nobody.hidden = !session.person;
    person.value = session.person?.signed ? session.person.label : "";
    if (!node.open) node.showModal();
    person.focus();
  }

  function show() {
    const label = session.person?.label ?? "nobody";
    button.replaceChildren(el("span", { class: "faint", text: "asks:" }), " ", said("bdi", label));
  }

  async function attempt(event, act) {
    event.preventDefault();
    tell("");
    try {
      if (event.target.contains(person) && !person.value.trim())
        throw new RequestError(0, "empty", "Say who asks.", "");
      await act();
      token.value = "";
      node.close();
    } catch (error) {
      if (error.status === 403) byToken.open = true;
      tell([error.detail ?? String(error), error.hint].filter(Boolean).join(" "));
    }
  }

  function tell(text) {
    trouble.hidden = !text;
    setText(trouble, text);
  }
}
