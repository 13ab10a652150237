"""The items of a context taken apart into what can be said by itself: a sentence, an entry of a list, a row of a table.

Invariant: every passage is a part of its item in the item's own words; of tables the heads of the columns go with each
row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice

import msgspec

from events.context import ContextItem
from operators.documents.markdown import Block, blocks, item_content, list_items, quote_content
from operators.documents.sentences import sentence_spans

LONGEST = 400
"""Characters of a passage; of what is longer only the beginning is said."""
MOST_WEIGHED = 1_000
"""Passages of a context; the most useful items come first."""
_MOST_PASSAGES = 400
_MOST_ROWS = 12
_CELL = re.compile(r"(?<!\\)\|")
_RULE = re.compile(r"[ \t]*[|:-][-| \t:]*")
_LINK = re.compile(r"!?\[([^\]\n]{0,300})\]\([^()\s]{0,500}(?: \"[^\"\n]{0,200}\")?\)")
_STRESSED = re.compile(r"(?<!\w)(\*\*|__|\*|`)(?=\S)([^*_`\n]{1,300})(?<=\S)\1(?!\w)")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,200}>")
_SPACE = re.compile(r"\s+")
_LEANING = re.compile(r"(this|that|these|those|it|they|such|both|then|after (this|that|which)|otherwise|so)\b", re.I)
_LEAST_HEAD = 2
_LONGEST_VALUE = 100
# Columns without a value say nothing.
_UNSET = re.compile(r"(?:(?<=; )|^)[^:;]{1,80}: none(?:; |$)")


class Passage(msgspec.Struct, frozen=True):
    """Something that can be said by itself.

    :arg number: Of its item.
    :arg at: Its place in the item, from 0.
    :arg text: Plain, on one line.
    :arg about: What is above it: title, headings, what introduces it.
    :arg leans: Whether it speaks of what stands before it.
    :arg whole: Whether it is a table as a whole, whose rows are passages as well.
    :arg table: Place of the table that it is a row of; -1 for none.
    """

    number: int
    at: int
    text: str
    about: str = ""
    leans: bool = False
    whole: bool = False
    table: int = -1


def first_passages(items: Iterable[ContextItem]) -> list[Passage]:
    """Take items apart in their order, as far as there is time for."""
    return list(islice(chain.from_iterable(map(passages, items)), MOST_WEIGHED))


def passages(item: ContextItem) -> list[Passage]:
    """Take an item apart."""
    if item.kind != "chunk":
        return [Passage(item.number, at, part, item.title) for at, part in enumerate(_lines(item.text))]
    found: list[Passage] = []
    about, lead = item.title, ""
    for block in blocks(item.text):
        if len(found) >= _MOST_PASSAGES:
            break
        if block.kind == "heading":
            about, lead = f"{item.title}: {plain(block.text)}", ""
            continue
        told = list(_of_block(block, item.number, len(found), f"{about} {lead}".strip()))
        found += told
        lead = told[-1].text if told and block.kind == "paragraph" and told[-1].text.endswith(":") else ""
    return found[:_MOST_PASSAGES]


def plain(text: str) -> str:
    """Take the marks of Markdown out of a line."""
    text = _STRESSED.sub(r"\2", _LINK.sub(r"\1", _TAG.sub("", text)))
    return _SPACE.sub(" ", text).strip()


def shortened(text: str, longest: int = LONGEST) -> str:
    """Cut a text that is too long at a word."""
    if len(text) <= longest:
        return text
    beginning = text[:longest]
    return f"{beginning.rpartition(' ')[0] or beginning} …"


def _of_block(block: Block, number: int, at: int, about: str) -> Iterator[Passage]:
    if block.kind == "table":
        yield from _of_table(block.text, number, at, about)
        return
    if block.kind == "list":
        parts = [item_content(entry)[1] for entry in list_items(block.text)]
    elif block.kind == "quote":
        parts = [quote_content(block.text)]
    else:
        parts = [block.text]
    for part in parts:
        text = plain(part)
        for first, (start, end) in enumerate(sentence_spans(text)):
            said = text[start:end]
            leans = bool(first) and bool(_LEANING.match(said))
            yield Passage(number, at, said, about, leans)
            at += 1


def _of_table(text: str, number: int, at: int, about: str) -> Iterator[Passage]:
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) < _LEAST_HEAD or not _RULE.fullmatch(lines[1]):
        heads, rows = [], [_cells(line) for line in lines]
    else:
        heads, rows = _cells(lines[0]), [_cells(line) for line in lines[2:]]
    if len(rows) <= _MOST_ROWS:
        said = "; ".join(": ".join((cells[0], ", ".join(filter(None, cells[1:])))) for cells in rows if cells)
        head = ": ".join((heads[0], ", ".join(filter(None, heads[1:])))) if heads else ""
        yield Passage(number, at, f"({head}) {said}" if head else said, about, whole=True)
    for place, cells in enumerate(rows, 1):
        named = (
            f"{head}: {cell}" if head else cell
            for head, cell in zip([*heads, *[""] * len(cells)], cells, strict=False)
            if cell
        )
        yield Passage(number, at + place, "; ".join(named), about, table=at)


def _cells(line: str) -> list[str]:
    line = line.strip().removeprefix("|")
    line = line[:-1] if line.endswith("|") and not line.endswith("\\|") else line
    return [plain(cell.replace("\\|", "|")) for cell in _CELL.split(line)]


def _lines(text: str) -> list[str]:
    lines = (_UNSET.sub("", _SPACE.sub(" ", line)).strip(" ;") for line in text.splitlines())
    return [_in_short(line) for line in lines if line][:_MOST_PASSAGES]


def _in_short(line: str) -> str:
    """Cut the longest values of `column: value; …`, so that the others are not cut off."""
    if len(line) <= LONGEST:
        return line
    return "; ".join(shortened(part, _LONGEST_VALUE) for part in line.split("; "))
