"""What a journal notes of its epochs: where each ended, and how far the graph had come by then.

An epoch stays noted as long as one may go back to it: until the next one was closed `keep_seconds` ago, since until
then its end was the present state.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from itertools import pairwise, takewhile

import msgspec

from events.log import Applied

_PRUNED_EPOCHS = 100
_PRUNED_ROWS = 5_000
"""What closing an epoch removes at most, lest it takes long; more only where the epoch has brought more."""


class State(msgspec.Struct):
    """What is known of a journal while it is open.

    :arg sequence: The last one that has ended.
    :arg retired: The highest one that has been given up in a roll-back.
    :arg last_place: Highest place of a former generation when the last epoch was closed.
    :arg applied: By source and partition.
    :arg changed: Whether anything was put since then.
    """

    identity: str
    sequence: int
    retired: int
    last_place: int
    applied: dict[tuple[str, str], Applied]
    changed: bool

    @property
    def under_way(self) -> int:
        """Number of the sequence that is under way."""
        return max(self.sequence, self.retired) + 1


class Outdated(msgspec.Struct, frozen=True):
    """What can go: epochs before the sequence `floor`, former generations up to `place`."""

    floor: int
    place: int


def read_state(db: sqlite3.Connection) -> State:
    """Return what the journal knows of itself."""
    identity, retired = db.execute("SELECT identity, retired FROM journal").fetchone()
    newest = "SELECT sequence, last_id, last_place, applied FROM epochs ORDER BY sequence DESC LIMIT 1"
    sequence, last_id, last_place, applied = db.execute(newest).fetchone()
    since = "SELECT EXISTS (SELECT 1 FROM entries WHERE id > ?) OR EXISTS (SELECT 1 FROM former WHERE place > ?)"
    changed = bool(db.execute(since, (last_id, last_place)).fetchone()[0])
    known = {(one.source, one.partition): one for one in unpacked(applied)}
    return State(str(identity), int(sequence), int(retired), int(last_place), known, changed)


def outdated(db: sqlite3.Connection, state: State, horizon: int) -> Outdated | None:
    """Return what has been no state since `horizon` (ms since epoch), or some of it; None if there is nothing."""
    query = "SELECT sequence, closed_at, last_place FROM epochs ORDER BY sequence LIMIT ?"
    epochs = db.execute(query, (_PRUNED_EPOCHS + 1,)).fetchall()
    gone = sum(1 for _ in takewhile(lambda pair: pair[1][1] <= horizon, pairwise(epochs)))
    floor, _, last_place = epochs[gone]
    first = db.execute("SELECT min(place) FROM former").fetchone()[0]
    if first is None or first > last_place:
        return Outdated(floor, 0) if gone else None
    brought = last_numbers(db)[1] - state.last_place
    return Outdated(floor, min(last_place, first + max(_PRUNED_ROWS, 2 * brought) - 1))


def last_numbers(db: sqlite3.Connection) -> tuple[int, int]:
    """Return the highest id of an entry and the highest place of a former generation that there ever were."""
    last = dict(db.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    return int(last.get("entries", 0)), int(last.get("former", 0))


def packed(applied: Iterable[Applied]) -> bytes:
    """Write down how far sources are applied."""
    return msgspec.json.encode(list(applied))


def unpacked(applied: bytes) -> list[Applied]:
    """Read back what `packed` wrote."""
    return msgspec.json.decode(applied, type=list[Applied])
