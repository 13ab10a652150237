"""Random events of two rows, and the messy ways by which they reach a store."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from events.changes import Change, Op, Truncation
from stores.rows.base import Former, RowId
from stores.settings import GuardSettings, LiveTableSettings, TablesSettings
from tests.property.former_oracle import formers

LIVE_TABLES = TablesSettings(live=(LiveTableSettings(name="flights", table="flights"),), guard=GuardSettings(share=1))
KEYS = '{"id":1}', '{"id":2}'
IDS: list[RowId] = [("travel", key) for key in KEYS]
NOW = 1_900_000_000_000
KINDS: tuple[Op, ...] = ("update",) * 8 + ("read", "delete")

Event = tuple[Op | None, int, dict[str, object], frozenset[str]]
"""What was done, None for a truncation; to which of the rows; its columns; those of them that are not said."""


def made_of(drawn: Sequence[Event]) -> list[Change | Truncation]:
    """Return events at rising positions, all in one partition."""
    made: list[Change | Truncation] = []
    for at, (kind, number, row, silent) in enumerate(drawn, 1):
        time, position = NOW - 1000 + at, (0, at)
        if kind is None:
            made.append(Truncation("travel", "flights", time, position, stream="changes", offset=at))
            continue
        unsaid = tuple(sorted(silent)) if kind == "update" else ()
        after = None if kind == "delete" else {column: row[column] for column in row if column not in unsaid}
        change = Change("travel", "flights", KEYS[number], kind, None, after, time, position)
        made.append(msgspec.structs.replace(change, unavailable=unsaid, stream="changes", offset=at))
    return made


def some_events(rng: Random, count: int) -> list[Change | Truncation]:
    """Return events as they come from a random generator instead of Hypothesis."""
    drawn: list[Event] = []
    for _ in range(count):
        kind = rng.choice(KINDS) if rng.random() < 0.97 else None
        row: dict[str, object] = {column: rng.choice((1, 2, "x", None)) for column in "abc" if rng.random() < 0.8}
        silent = frozenset("ab") if rng.random() < 0.2 else frozenset()
        drawn.append((kind, rng.randrange(2), row, silent))
    return made_of(drawn)


def delivered(made: Sequence[Change | Truncation], rng: Random, mess: float) -> list[Change | Truncation]:
    """Return the events out of order, some of them again, with the same offset or a higher one."""
    again = [msgspec.structs.replace(event, offset=event.offset + rng.choice((0, 1000))) for event in made]
    placed = [(at + rng.random() * mess * len(made), event) for at, event in enumerate(made)]
    placed += [(rng.random() * 2 * len(made), event) for event in again if rng.random() < mess / 3]
    return [event for _, event in sorted(placed, key=lambda one: one[0])]


def expected(made: Sequence[Change | Truncation]) -> dict[RowId, list[Former]]:
    """Return what is to be told of the rows."""
    found: dict[RowId, list[Former]] = {}
    for id_ in IDS:
        former = formers(event for event in made if isinstance(event, Truncation) or event.key == id_[1])
        if former:
            found[id_] = former
    return found
