"""Which items of the context an answer names: `[1]`, `[1, 3]`, `[1][3]`, `[1-3]`, `[^1]`, `【1】`, `【1†source】`.

Invariant: what is cited is in the context; what an answer made up is told apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from events.context import ContextItem
from serving.answer.parts import Citation

_NUMBER = r"\^?\d{1,4}"
_LIST = rf"{_NUMBER}(?:\s?(?:[,;\u2013-]|and|und)\s?{_NUMBER}){{0,30}}"
_MARK = re.compile(rf"\[({_LIST})\]|【({_LIST})(?:†[^】\n]{{0,100}})?】", re.ASCII)
_PART = re.compile(r"(\d+)(?:\s?[\u2013-]\s?\^?(\d+))?", re.ASCII)
_LONGEST_RANGE = 50


def numbers(text: str) -> list[int]:
    """Return the numbers that a text cites, in order, each once."""
    return list(dict.fromkeys(number for mark in _MARK.finditer(text) for number in _in_mark(mark[1] or mark[2])))


def cited(text: str, items: Iterable[ContextItem]) -> tuple[tuple[Citation, ...], tuple[int, ...]]:
    """Return the items that a text cites, in order, each once, and the numbers of none."""
    by_number = {item.number: item for item in items}
    found = numbers(text)
    there = tuple(citation(by_number[number]) for number in found if number in by_number)
    return there, tuple(number for number in found if number not in by_number)


def citation(item: ContextItem) -> Citation:
    """Name an item."""
    return Citation(item.number, item.kind, item.id, item.source, item.place, item.title)


def unmarked(text: str) -> str:
    """Return the text with round brackets where it has what looks like a citation, and is none of ours."""
    return _MARK.sub(lambda mark: f"({mark[1] or mark[2]})", text)


def _in_mark(inside: str) -> Iterator[int]:
    for part in _PART.finditer(inside):
        first, last = int(part[1]), int(part[2] or part[1])
        yield from range(first, last + 1) if first <= last <= first + _LONGEST_RANGE else (first, last)
