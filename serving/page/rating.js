// Thumbs and a comment under an answer. What is chosen is shown, and can be changed: the last rating counts.

import { el, said, setText } from "./dom.js";
import { session } from "./session.js";

/** @param {{conversation: string, turn: string}} of the answer that is rated */
export function rating(of) {
  const told = el("p", { class: "told faint", role: "status", dataset: { testid: "feedback-told" } });
  const thumbs = [thumb("up", "Good answer", 1), thumb("down", "Bad answer", 0)];
  const box = el("textarea", {
    rows: "2",
    "aria-label": "Comment on this answer",
    placeholder: "What was good, what was wrong?",
    dataset: { testid: "comment" },
  });
  const form = el(
    "form",
    { class: "comment", hidden: true, onsubmit: comment },
    box,
    el(
      "div",
      { class: "actions" },
      el("button", { type: "button", class: "quiet", text: "Cancel", onclick: () => unfold(false) }),
      el("button", { type: "submit", text: "Send comment", dataset: { testid: "send-comment" } }),
    ),
  );
  const opener = el("button", {
    type: "button",
    class: "quiet",
    text: "Comment",
    "aria-expanded": "false",
    dataset: { testid: "open-comment" },
    onclick: () => unfold(form.hidden),
  });
  let chosen = null;
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      unfold(false);
    }
  });

  return el(
    "div",
    { class: "rating" },
    el("div", { class: "thumbs", role: "group", "aria-label": "Rate this answer" }, ...thumbs, opener, told),
    form,
  );

  function thumb(way, label, value) {
    return el("button", {
      type: "button",
      class: `thumb ${way}`,
      "aria-pressed": "false",
      "aria-label": label,
      title: label,
      dataset: { testid: `thumb-${way}` },
      onclick: () => rate(value),
    });
  }

  async function rate(value) {
    const before = chosen;
    press(value);
    try {
      await session.json("POST", "feedback", { ...of, rating: { scale: "thumbs", value } });
      if (chosen === value)
        tell(before === null || before === value ? "Thank you. It counts from the next window on." : "Changed.");
    } catch (error) {
      if (chosen === value) press(before);
      tell(refusal(error));
    }
  }

  function press(value) {
    chosen = value;
    thumbs[0].setAttribute("aria-pressed", String(value === 1));
    thumbs[1].setAttribute("aria-pressed", String(value === 0));
  }

  async function comment(event) {
    event.preventDefault();
    const text = box.value.trim();
    if (!text) {
      box.focus();
      return;
    }
    try {
      await session.json("POST", "feedback", { ...of, comment: text });
      box.value = "";
      unfold(false);
      form.before(said("p", `“${text}”`, { class: "given" }));
      tell("Comment sent.");
    } catch (error) {
      tell(refusal(error));
    }
  }

  function unfold(open) {
    form.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
    (open ? box : opener).focus();
  }

  function tell(text) {
    setText(told, text);
  }

  function refusal(error) {
    return [error.detail ?? String(error), error.hint].filter(Boolean).join(" ");
  }
}
