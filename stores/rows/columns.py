"""Which columns a live table has had, of which kinds and when: a join over sightings, whatever their order and number.

The kind of a column is the least one that holds all values seen in it, so that it only ever widens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from events.changes import Kind, Sighting

COLUMNS = "columns"
"""Kind of facts that hold `Seen` as JSON, by live table."""

MOST_KINDS = 4_000
"""Columns of a table that are remembered, each kind of values counted: rows that are really maps have no end of them.
What is not remembered is stored all the same; it has no column in SQL."""
LONGEST_NAME = 1_000

AnyKind = Kind | Literal["mixed"]

_WIDENS: dict[frozenset[str], AnyKind] = {
    frozenset({"int", "decimal"}): "decimal",
    frozenset({"int", "float"}): "float",
}


class SeenKind(msgspec.Struct, frozen=True, array_like=True):
    """Values of one kind in one column: the oldest and the newest event time (ms since epoch)."""

    column: str
    kind: Kind
    first: int
    last: int


class Seen(msgspec.Struct, frozen=True):
    """All that was seen of a table; `first` and `last` are the event times of its oldest and newest event."""

    kinds: tuple[SeenKind, ...]
    first: int
    last: int


class ColumnHistory(msgspec.Struct, frozen=True):
    """One column for people. Times are event times (ms since epoch).

    :arg kind: The kind that holds all its values.
    :arg seen: Each kind by itself, in the order of appearance.
    :arg absent_since: When it was seen last, if newer events of the table have come without it; None otherwise.
    """

    column: str
    kind: AnyKind
    seen: tuple[SeenKind, ...]
    first: int
    last: int
    absent_since: int | None


def widest(kinds: Iterable[str]) -> AnyKind:
    """Return the least kind that holds values of all `kinds`: `mixed` if that takes more than one sort of them.

    Everything holds null; decimals hold whole numbers, and so do floats, but a float holds no decimal exactly.
    """
    sorts = frozenset(kinds) - {"null"}
    if len(sorts) > 1:
        return _WIDENS.get(sorts, "mixed")
    kind: AnyKind = msgspec.convert(next(iter(sorts), "null"), AnyKind)
    return kind


def joined(seen: Seen | None, sighting: Sighting) -> Seen:
    """Return what has been seen, `sighting` included: the same object if that adds nothing."""
    spans = {(kind.column, kind.kind): (kind.first, kind.last) for kind in seen.kinds} if seen else {}
    first, last = (seen.first, seen.last) if seen else (sighting.first, sighting.last)
    for key, (begin, end) in sighting.columns.items():
        if key not in spans and (len(spans) >= MOST_KINDS or len(key[0]) > LONGEST_NAME):
            continue
        known = spans.get(key, (begin, end))
        spans[key] = min(begin, known[0]), max(end, known[1])
    kinds = tuple(SeenKind(column, kind, *span) for (column, kind), span in spans.items())
    together = Seen(tuple(sorted(kinds, key=_by_appearance)), min(first, sighting.first), max(last, sighting.last))
    return seen if seen is not None and together == seen else together


def history(seen: Seen | None) -> list[ColumnHistory]:
    """Return the columns in order of first appearance; those that appeared together by name.

    A column is as absent when its value was not sent because it had not changed as when it was dropped.
    """
    columns: dict[str, list[SeenKind]] = {}
    for kind in seen.kinds if seen else ():
        columns.setdefault(kind.column, []).append(kind)
    return [
        ColumnHistory(
            column,
            widest(kind.kind for kind in kinds),
            tuple(kinds),
            kinds[0].first,
            last,
            last if seen is not None and last < seen.last else None,
        )
        for column, kinds in columns.items()
        for last in [max(kind.last for kind in kinds)]
    ]


def kinds_of(seen: Seen | None) -> dict[str, str]:
    """Return the columns in order of first appearance, each with the kind that holds all its values."""
    return {column.column: column.kind for column in history(seen)}


def seen_of(fact: bytes | None) -> Seen | None:
    """Read a fact of kind COLUMNS."""
    return None if fact is None else msgspec.json.decode(fact, type=Seen)


def _by_appearance(seen: SeenKind) -> tuple[int, str, str]:
    return seen.first, seen.column, seen.kind
