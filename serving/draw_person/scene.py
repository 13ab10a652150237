"""What a picture is made of: boxes, lines, texts and a legend, in pixels, for whoever draws them."""

from __future__ import annotations

import unicodedata
from typing import Literal, NamedTuple

from serving.person_graph import State
from serving.printable import printable

Point = tuple[float, float]

TEXT_ROOM = 235.0
_NARROW, _WIDE = frozenset("iljtfrI.,:;'|!()[]/ -"), frozenset("mwMW@%")


class Text(NamedTuple):
    """One line of text: its left end and base line."""

    x: float
    y: float
    text: str
    size: float
    strong: bool = False


class Box(NamedTuple):
    """A record, or an identifier that several carry.

    :arg colour: Number of the table or of the type of identifier.
    :arg about: What there is to know of it, beside what stands in it.
    :arg marked: Whether it is one of those that were asked for, or on the path between them.
    """

    x: float
    y: float
    width: float
    height: float
    kind: Literal["record", "identifier"]
    colour: int
    texts: tuple[Text, ...]
    about: str
    state: State = "links"
    marked: bool = False


class Line(NamedTuple):
    """That a record carries an identifier."""

    start: Point
    end: Point
    colour: int
    state: State
    marked: bool


class Key(NamedTuple):
    """One entry of the legend."""

    x: float
    y: float
    kind: Literal["record", "identifier", "held", "shared", "marked"]
    colour: int
    text: Text


class Scene(NamedTuple):
    """The whole picture."""

    width: float
    height: float
    title: Text
    subtitle: Text
    lines: tuple[Line, ...]
    boxes: tuple[Box, ...]
    legend: tuple[Key, ...]


def text_width(text: str, size: float, *, strong: bool = False) -> float:
    """Return how wide a text is at most in a common sans-serif face, in pixels."""
    ems = 0.0
    for letter in text:
        if letter in _NARROW:
            ems += 0.41
        elif letter in _WIDE:
            ems += 1.0
        elif unicodedata.east_asian_width(letter) in {"W", "F"}:
            ems += 1.05
        elif letter.isupper() or letter.isdigit():
            ems += 0.7
        else:
            ems += 0.64
    return ems * size * (1.12 if strong else 1.0)


def shortened(text: str, size: float, *, strong: bool = False, room: float = TEXT_ROOM) -> str:
    """Return as much of a text as there is room for; what is left out is in its middle, where keys differ least."""
    text = printable(text)
    if text_width(text, size, strong=strong) <= room:
        return text
    kept = len(text)
    while kept > 2:  # noqa: PLR2004  # one letter at each end
        kept -= 1
        short = f"{text[: (kept + 1) * 2 // 3]}…{text[len(text) - kept // 3 :]}"
        if text_width(short, size, strong=strong) <= room:
            return short
    return "…"
