"""How fresh a store is, by what it has noted as applied, and reads that insist on it.

Freshness is a frontier: the oldest of all partitions counts, and one that is behind counts with the newest event that
it has brought. Nothing here is guessed: what has never been read has no age.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from events.changes import Position, position_text
from events.clock import Clock
from events.errors import HeadraceError
from events.log import Applied
from serving.captured import is_capture

POLL_SECONDS = 0.02

Partitions = Mapping[str, Sequence[int]]
"""Streams with the partitions that the log has of them."""


class StaleError(HeadraceError):
    """The store is not as fresh as a read demands.

    :arg age: How old it is (ms); None where it has not been read at all.
    """

    def __init__(self, detail: str, hint: str, age: int | None) -> None:
        super().__init__(detail, hint)
        self.age = age


class Demand(NamedTuple):
    """How fresh an answer must be.

    :arg max_age: In milliseconds; None: any age will do.
    :arg source: The database that `position` is of.
    :arg position: Everything up to it must be in; empty: no demand.
    :arg seconds: How long to wait for the store to catch up.
    """

    max_age: int | None = None
    source: str = ""
    position: Position = ()
    seconds: float = 5.0


def age(applied: Iterable[Applied], partitions: Partitions, now: int) -> int | None:
    """Return how old (ms) what the store holds of these streams is at most; None if it cannot be told.

    A partition that was read to its end is as old as that look at it; one that is behind, as the newest event read.
    """
    marks = {(mark.source, mark.partition): mark for mark in applied}
    oldest = 0
    for stream, numbers in partitions.items():
        if not numbers:
            return None
        for number in numbers:
            mark = marks.get((stream, str(number)))
            if mark is None or (mark.event_time is None and not mark.caught_up):
                return None
            # An event's own time may lie in the future: what was read is no fresher than the look at it.
            true_at = mark.read_at if mark.caught_up else min(mark.read_at, mark.event_time or 0)
            oldest = max(oldest, now - true_at)
    return oldest


def remedy(applied: Iterable[Applied], partitions: Partitions, now: int) -> str:
    """Return what to do about an age that is too high or cannot be told: whose it is, the flow's or the capture's."""
    marks = list(applied)
    own = age(marks, {stream: numbers for stream, numbers in partitions.items() if not is_capture(stream)}, now)
    whole = age(marks, partitions, now)
    if own is not None and (whole is None or whole > own):
        return "is the capture running? see `headrace capture status`"
    return "is the flow running? see `headrace status`"


def has_reached(applied: Iterable[Applied], partitions: Partitions, source: str, position: Position) -> bool:
    """Tell whether everything that `source` changed up to `position` is in the store.

    Somewhere an event at or after `position` must have been read. As a source's events reach the log in order, no
    earlier one can come into another partition after that moment, if that was read to its end since.
    """
    partitions = {stream: numbers for stream, numbers in partitions.items() if not is_capture(stream)}
    marks = [mark for mark in applied if mark.source in partitions]
    if not _all(partitions) <= {(mark.source, mark.partition) for mark in marks}:
        return False
    behind = [mark for mark in marks if mark.positions.get(source, ()) < position]
    seen = [mark.reached[source] for mark in marks if mark.positions.get(source, ()) >= position]
    return bool(seen) and all(mark.caught_up and mark.read_at > min(seen) for mark in behind)


def await_fresh(
    demand: Demand,
    applied: Callable[[], list[Applied]],
    partitions: Callable[[], Partitions],
    clock: Clock,
    sleep: Callable[[float], None] = time.sleep,
) -> int | None:
    """Wait until the store is as fresh as demanded; return its age (ms).

    :raises StaleError: When it is not, after the time that the demand gives it, with the age that it has then.
    """
    deadline = clock() + round(demand.seconds * 1000)
    while True:
        now, marks, there = clock(), applied(), partitions()
        oldest = age(marks, there, now)
        young = demand.max_age is None or (oldest is not None and oldest <= demand.max_age)
        reached = not demand.position or has_reached(marks, there, demand.source, demand.position)
        if young and reached:
            return oldest
        if now >= deadline:
            raise _stale(demand, oldest, young, marks, remedy(marks, there, now))
        sleep(POLL_SECONDS)


def only_source(applied: Callable[[], list[Applied]], seconds: float, clock: Clock) -> str:
    """Return the source that a position is of where the user has named none: the only one there is.

    :arg seconds: How long to wait for a first one.
    :raises HeadraceError: When there are several, or none.
    """
    deadline = clock() + round(seconds * 1000)
    while not (sources := sorted({source for mark in applied() for source in mark.positions})):
        if clock() >= deadline:
            break
        time.sleep(POLL_SECONDS)
    if len(sources) != 1:
        detail = "it is not clear of which source the position is"
        raise HeadraceError(detail, f"give --source, one of: {', '.join(sources) or 'none seen yet'}")
    return sources[0]


def _stale(demand: Demand, oldest: int | None, young: bool, marks: Sequence[Applied], hint: str) -> StaleError:
    if not young:
        if oldest is None:
            return StaleError("the store's age cannot be told: not all of the streams have been read", hint, None)
        detail = f"the store is {oldest / 1000:.1f} s old, older than the {(demand.max_age or 0) / 1000:g} s asked for"
        return StaleError(detail, hint, oldest)
    newest = max((mark.positions.get(demand.source, ()) for mark in marks), default=())
    if newest >= demand.position:
        detail = f"{position_text(demand.position)} of {demand.source!r} is in, but not all partitions were read since"
        return StaleError(detail, hint, oldest)
    at = f"at {position_text(newest)}" if newest else "not known yet"
    detail = f"the source {demand.source!r} is {at}, {position_text(demand.position)} has not been reached"
    return StaleError(detail, hint, oldest)


def _all(partitions: Partitions) -> set[tuple[str, str]]:
    return {(stream, str(number)) for stream, numbers in partitions.items() for number in numbers}
