"""How answers look on a terminal: ages in words that people use, items ranked, numbers plain."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from events.clock import to_iso
from events.context import FoundChunk

SNIPPET = 320  # characters

_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))


def span(millis: int) -> str:
    """Write a time span in its largest unit, with one decimal below ten: `340 ms`, `2.5 s`, `14 min`, `3.1 d`."""
    for size, unit in _UNITS:
        if millis >= size:
            value = millis / size
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"  # noqa: PLR2004  # see docstring
    return f"{millis} ms"


def place(item: FoundChunk) -> str:
    """Write where in its document an item stands, the title said once."""
    parts = [item.title, *(heading for heading in item.heading if heading != item.title)]
    return " > ".join(part for part in parts if part)


def snippet(text: str) -> str:
    """Shorten a text to what fits a few lines, white space folded."""
    return textwrap.shorten(text, SNIPPET, placeholder=" …")


def ranked(items: Sequence[FoundChunk], now: int) -> RenderableType:
    """Draw items best first, each with score, place, source and age."""
    lines: list[RenderableType] = []
    for rank, item in enumerate(items, 1):
        head = f"[bold]{rank}[/] [green]{item.score:.3f}[/]  [bold]{escape(place(item))}[/]"
        origin = f"   [cyan]{escape(item.source)}/{escape(item.uri)}[/]  changed [yellow]{span(item.age(now))}[/] ago"
        body = Text(textwrap.indent(textwrap.fill(snippet(item.text), 92), "   "))
        lines += [Text.from_markup(head), Text.from_markup(origin), body, Text("")]
    return Group(*lines)


def as_json(item: FoundChunk, now: int) -> dict[str, Any]:
    """Return an item as plain data for other programs: times in ISO 8601, age in milliseconds."""
    return {
        "id": item.id,
        "score": item.score,
        "title": item.title,
        "heading": list(item.heading),
        "text": item.text,
        "source": item.source,
        "uri": item.uri,
        "position": item.position,
        "ordinal": item.ordinal,
        "as_of": to_iso(item.as_of),
        "since": to_iso(item.since),
        "applied_at": to_iso(item.applied_at),
        "age_ms": item.age(now),
    }
