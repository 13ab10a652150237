"""Changes of each row in the order of their source: of every row only what is newer than all that was passed on.

A change is dropped only if a store that joins by `supersedes` would ignore it as well. What is remembered may thus be
bounded: forgetting costs a few changes passed on in vain, never a wrong row. Rows whose events have no position must
come in the order of their log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Literal

from bytewax.dataflow import Stream, operator
from typing_extensions import override

from events.changes import Change, Position, Standing, Truncation, merged_position, supersedes
from events.erasure import Erased
from operators.buckets import Bucket, Entry, Snapshot, bucketed

DAY = 86_400_000
KEEP = 16
"""Records remembered per bucket where a store joins: enough for what is redelivered or overtaken within seconds."""

Verdict = Literal["accepted", "late", "duplicate", "older"]
"""`late` is older than the newest state of its row, yet passed on: that state lacks columns which it may bring, or the
store keeps what rows were before."""
Observe = Callable[["Change | Truncation", Verdict], None]

DELETED, GAPS, TRUNCATION = 1, 2, 4
"""Flags of an entry."""
_TIME = itemgetter(4)


class Counts:
    """How many events of each table were passed on or dropped; handed to buckets as their `observe`."""

    def __init__(self) -> None:
        self.tables: dict[tuple[str, str], Counter[Verdict]] = {}

    def __call__(self, event: Change | Truncation, verdict: Verdict) -> None:
        """Count one event."""
        self.tables.setdefault((event.source, event.table), Counter())[verdict] += 1

    def total(self, verdict: Verdict) -> int:
        """Return how many events of all tables got this verdict."""
        return sum(counter[verdict] for counter in self.tables.values())


class OrderBucket(Bucket["Change | Truncation | Erased", "Change | Truncation"]):
    """Passes on what is newer than the newest remembered state of its row; remembers the rows that changed last.

    Entry of a record: position, stream, partition and offset of its newest event, event time, flags. A truncation has
    one too, under its source and table: a tombstone, kept for ever, for all records that have no entry of their own.

    :arg keep: Records remembered at most. The ones with the oldest event time are forgotten, a quarter at a time.
    :arg horizon: Milliseconds of event time that deletes are remembered.
    :arg observe: Told of every event and what became of it.
    :arg late: Pass on everything but duplicates of a row's newest event.
    """

    def __init__(
        self, keep: int = KEEP, horizon: int = 7 * DAY, observe: Observe | None = None, *, late: bool = False
    ) -> None:
        super().__init__()
        self._late = late
        self.horizon = horizon
        self._keep = keep
        self._observe = observe
        self._truncations: set[str] = set()

    @override
    def step(self, id_: str, value: Change | Truncation | Erased) -> Iterable[Change | Truncation]:
        if isinstance(value, Truncation):
            return self._truncate(id_, value)
        if isinstance(value, Erased):
            self.entries.pop(id_, None)
            return ()
        known = self.entries.get(id_)
        if known is None and self._truncations:
            known = self.entries.get(table_id(value))
        if known is None or newer(value, known):
            return self._accept(id_, value, known)
        if not repeats(value, known) if self._late else known[5] & GAPS and not is_same(value, known):
            if self._observe is not None:
                self._observe(value, "late")
            return (value,)
        if self._observe is not None:
            self._observe(value, "duplicate" if repeats(value, known) else "older")
        return ()

    @override
    def event_time(self, value: Change | Truncation | Erased) -> int | None:
        return None if isinstance(value, Erased) else value.event_time

    @override
    def expired(self, entry: Entry, before: int) -> bool:
        return entry[5] == DELETED and bool(entry[4] < before)

    @override
    def resume(self, state: Snapshot) -> None:
        super().resume(state)
        self._truncations = {id_ for id_, entry in self.entries.items() if entry[5] & TRUNCATION}

    def _accept(self, id_: str, change: Change, known: Entry | None) -> Iterable[Change | Truncation]:
        position = change.position if known is None else merged_position(change.position, known[0])
        flags = GAPS if change.unavailable else 0
        if change.op == "delete":
            # Should the delete be discarded, the row's gaps are open again.
            flags = DELETED | (known[5] & GAPS if known is not None else 0)
        self.entries[id_] = (position, change.stream, change.partition, change.offset, change.event_time, flags)
        if len(self.entries) > self._keep + len(self._truncations):
            self._forget()
        if self._observe is not None:
            self._observe(change, "accepted")
        return (change,)

    def _truncate(self, id_: str, truncation: Truncation) -> Iterable[Change | Truncation]:
        # Every bucket gets a truncation, its home alone under an id: there it is counted and passed on.
        table = table_id(truncation)
        last = self.entries.get(table)
        fresh = last is None or newer(truncation, last)
        if id_ and self._observe is not None:
            dropped: Verdict = "duplicate" if last is not None and repeats(truncation, last) else "older"
            self._observe(truncation, "accepted" if fresh else dropped)
        if not fresh:
            return ()
        position = truncation.position if last is None else merged_position(truncation.position, last[0])
        for record, known in self.entries.items():
            # A key begins with a brace: what else begins like this is of a table with a longer name.
            if record.startswith(table + "{") and newer(truncation, known):
                self.entries[record] = tombstone(truncation, merged_position(truncation.position, known[0]))
        self.entries[table] = tombstone(truncation, position, TRUNCATION)
        self._truncations.add(table)
        return (truncation,) if id_ else ()

    def _forget(self) -> None:
        # Within a step and not after a batch: what is forgotten depends on the events, not on how they are cut.
        aged = sorted(zip(map(_TIME, self.entries.values()), self.entries, strict=True))
        if self._truncations:
            aged = [(time, id_) for time, id_ in aged if id_ not in self._truncations]
        for _, id_ in aged[: len(aged) - self._keep + self._keep // 4]:
            del self.entries[id_]


def newer(event: Change | Truncation, entry: Entry) -> bool:
    """Tell whether `event` is to replace what an entry, or any tuple that begins like one, stands for."""
    old = entry[0]
    if event.position and old and event.position != old:
        # What `supersedes` says first, without making two standings for it.
        return bool(event.position > old)
    standing = Standing(event.position, event.stream, event.partition, event.offset)
    return supersedes(standing, Standing(old, entry[1], entry[2], entry[3]))


def is_same(event: Change | Truncation, entry: Entry) -> bool:
    """Tell whether `event` is the very event of the log that `entry` was made of."""
    return (event.position, event.stream, event.partition, event.offset) == entry[:4]


def repeats(event: Change | Truncation, entry: Entry) -> bool:
    """Tell whether an event that is not newer than `entry` has the same place at its source."""
    return is_same(event, entry) or event.position == entry[0] != ()


def table_id(event: Change | Truncation) -> str:
    """Name the table of `event`: what the record keys of all its rows begin with."""
    return f"{event.source}/{event.table}/"


def tombstone(truncation: Truncation, position: Position, flags: int = 0) -> Entry:
    """Return the entry of a row, or a table, that `truncation` has emptied."""
    place = (position, truncation.stream, truncation.partition, truncation.offset)
    return (*place, truncation.event_time, DELETED | flags)


def record_of(event: Change | Truncation | Erased) -> str:
    """Return the record key of a change or an erased record, or the table's part of it."""
    return table_id(event) if isinstance(event, Truncation) else event.record


def concerns_all(event: Change | Truncation | Erased) -> bool:
    """Tell whether `event` may concern records of any bucket."""
    return isinstance(event, Truncation)


@operator
def order(
    step_id: str,
    up: Stream[Change | Truncation | Erased],
    *,
    keep: int = KEEP,
    horizon: int = 7 * DAY,
    observe: Observe | None = None,
    late: bool = False,
) -> Stream[Change | Truncation]:
    """Drop changes that are older than what has been passed on of their row, as far as that is remembered.

    :arg step_id: Unique ID; part of the state's schema.
    :arg up: Changes, truncations and erased records, of which nothing is remembered any more. Changes of one row keep
        their order if they come from one worker.
    :arg keep: Records remembered in each bucket.
    :arg horizon: Milliseconds of event time that deletes are remembered.
    :arg observe: Told of every event and what became of it, on the worker where it happens.
    :arg late: Pass on older changes as well, but for duplicates of a row's newest event: for a store that keeps what
        rows were before.
    :returns: Changes of which a store that joins makes the newest state of each row.
    """
    return bucketed("rows", up, record_of, lambda: OrderBucket(keep, horizon, observe, late=late), concerns_all)
