// An answer's text as paragraphs, lists and strong words, made of elements: whatever else stands in it stays text.

import { el } from "./dom.js";

const INLINE = /\*\*(?=\S)([^*\n]{1,400}?)\*\*|(?:\[\^?|【)(\d{1,4}(?:\s*,\s*\d{1,4})*)(?:\]|】)/g;
const BULLET = /^\s{0,3}[-*•]\s+/;

/**
 * @param {string} text
 * @param {(number: number) => Node|null} cite returns what shows a citation, or null where there is no such item
 * @returns {Node[]}
 */
export function prose(text, cite) {
  const blocks = [];
  for (const part of text.trim().split(/\n[ \t]*\n/)) {
    let list = null;
    let lines = [];
    const flush = () => {
      if (lines.length) blocks.push(el("p", { dir: "auto" }, ...inline(lines.join("\n"), cite)));
      lines = [];
    };
    for (const line of part.split("\n")) {
      if (BULLET.test(line)) {
        flush();
        if (!list) blocks.push((list = el("ul")));
        list.append(el("li", { dir: "auto" }, ...inline(line.replace(BULLET, ""), cite)));
      } else {
        list = null;
        lines.push(line);
      }
    }
    flush();
  }
  return blocks;
}

function inline(text, cite) {
  const parts = [];
  let from = 0;
  for (const match of text.matchAll(INLINE)) {
    const shown = match[1] === undefined ? cited(match[2], cite) : [el("strong", { text: match[1] })];
    if (!shown) continue;
    parts.push(text.slice(from, match.index), ...shown);
    from = match.index + match[0].length;
  }
  parts.push(text.slice(from));
  return parts;
}

function cited(numbers, cite) {
  const shown = numbers.split(",").map((number) => cite(Number(number)));
  return shown.every(Boolean) ? shown : null;
}
