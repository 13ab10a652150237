"""Changes of each row in order, with the whole row before and after: for flows that have no store which joins.

What was last passed on of a row is the newest state of it, as far as its events have come, whatever their order: each
column has the value of the newest event that says anything of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, TypeAlias

import msgspec
from bytewax.dataflow import Stream, operator
from typing_extensions import override

from events.changes import Change, Position, Row, Truncation, merged_position
from operators.buckets import Entry, bucketed
from operators.changes.order import (
    DAY,
    DELETED,
    GAPS,
    TRUNCATION,
    Observe,
    OrderBucket,
    Verdict,
    concerns_all,
    newer,
    record_of,
    repeats,
    table_id,
)

_Said: TypeAlias = "tuple[Position, str, int, int]"
_Gaps: TypeAlias = "dict[str, _Said | None]"
_COMMON = 6  # fields that entries of both buckets have


class ImageBucket(OrderBucket):
    """Remembers every record with its row, fills in what events do not say, and deletes row by row on a truncation.

    An entry goes on with the row (None: deleted or unknown), the gaps, and transaction and initiator of the newest
    event. Gaps are the columns that it did not bring, each with the standing of the newest event that said anything
    of it, if only that there was no such column or row; None: there is none.
    """

    VERSION: ClassVar[int] = 2
    OPEN: ClassVar[int] = GAPS | TRUNCATION

    def __init__(self, horizon: int = 7 * DAY, observe: Observe | None = None) -> None:
        super().__init__(0, horizon, observe)

    @override
    def _accept(self, id_: str, change: Change, known: Entry | None) -> Iterable[Change | Truncation]:
        last, gaps = _row(known)
        row, said, unknown = change.after, {}, change.unavailable
        if row is not None and unknown:
            told = last or {}
            row = row | {column: told[column] for column in unknown if column in told}
            said = {column: gaps.get(column, known and known[:4]) for column in unknown}
            unknown = tuple(column for column in unknown if column not in told)
        position = change.position if known is None else merged_position(change.position, known[0])
        flags = DELETED if row is None else GAPS if said else 0
        place = (position, change.stream, change.partition, change.offset, change.event_time, flags)
        self.entries[id_] = (*place, row, said, (change.transaction, change.initiator))
        repeated = known is not None and bool(change.position) and repeats(change, known) and row == last
        if self._observe is not None:
            self._observe(change, "duplicate" if repeated else "accepted")
        if repeated:
            return ()
        before = change.before if last is None else last | (change.before or {})
        return (msgspec.structs.replace(change, before=before, after=row, unavailable=unknown),)

    @override
    def _late(self, id_: str, change: Change, known: Entry) -> Iterable[Change | Truncation]:
        if known[5] & TRUNCATION:
            return self._gone(id_, change, known)
        filled = self._tell(id_, change, change.after or {}, change.unavailable, known)
        if self._observe is not None:
            dropped: Verdict = "duplicate" if repeats(change, known) else "older"
            self._observe(change, dropped if self.entries[id_] is known else "late")
        return filled

    def _gone(self, id_: str, change: Change, truncated: Entry) -> Iterable[Change]:
        # Before a crash the truncation may have come later than this change, which was then passed on: take it back.
        self.entries[id_] = (*truncated[:5], DELETED, None, {}, ("", ""))
        if self._observe is not None:
            self._observe(change, "late")
        return (_change(id_, change, self.entries[id_], None),)

    @override
    def _bury(self, id_: str, truncation: Truncation, known: Entry) -> Iterable[Change]:
        super()._bury(id_, truncation, known)
        self.entries[id_] += (None, {}, (truncation.transaction, truncation.initiator))
        last, _ = _row(known)
        return () if last is None else (_change(id_, truncation, self.entries[id_], last),)

    @override
    def _outlive(self, id_: str, truncation: Truncation, known: Entry) -> Iterable[Change]:
        return self._tell(id_, truncation, {}, (), known)

    def _tell(
        self, id_: str, event: Change | Truncation, told: Row, silent: tuple[str, ...], known: Entry
    ) -> Iterable[Change]:
        """Lay what an older event says of columns that the newest one did not bring over what even older ones said."""
        last, gaps = _row(known)
        fresh = [c for c, said in gaps.items() if c not in silent and (said is None or newer(event, said))]
        if last is None or not fresh:
            return ()
        row = {column: value for column, value in last.items() if column not in fresh}
        row |= {column: told[column] for column in fresh if column in told}
        standing: _Said = (event.position, event.stream, event.partition, event.offset)
        entry = (*known[:_COMMON], row, gaps | dict.fromkeys(fresh, standing), known[8])
        self.entries[id_] = entry
        return () if row == last else (_change(id_, event, entry, last),)


def _row(entry: Entry | None) -> tuple[Row | None, _Gaps]:
    """Return the row of an entry and its gaps; the entry of a truncated table has neither."""
    return (entry[6], entry[7]) if entry is not None and len(entry) > _COMMON else (None, {})


def _change(id_: str, event: Change | Truncation, entry: Entry, before: Row | None) -> Change:
    """Write the change from `before` to what `entry` holds, which `event` of the same table brought about."""
    position, stream, partition, offset, time, flags, row, gaps, (transaction, initiator) = entry
    return Change(
        event.source,
        event.table,
        id_.removeprefix(table_id(event)),
        "delete" if flags & DELETED else "update",
        before,
        row,
        time,
        position,
        transaction,
        initiator,
        tuple(column for column in gaps if column not in (row or {})),
        stream,
        partition,
        offset,
    )


@operator
def order_images(
    step_id: str,
    up: Stream[Change | Truncation],
    *,
    horizon: int = 7 * DAY,
    observe: Observe | None = None,
) -> Stream[Change | Truncation]:
    """Pass on of each row, in the order of its source, what is new, with the whole row before and after.

    :arg step_id: Unique ID; part of the state's schema.
    :arg up: Changes and truncations. Those of one row keep their order if they come from one worker.
    :arg horizon: Milliseconds of event time that deletes are remembered.
    :arg observe: Told of every event and what became of it, on the worker where it happens.
    :returns: Changes, the last of which for each row is its newest state; truncations, after the deletes they mean.
    """
    return bucketed("rows", up, record_of, lambda: ImageBucket(horizon, observe), concerns_all)
