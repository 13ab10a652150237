"""Changes put together from what a format has said: all changes of one event share when and where it happened.

An update of the primary key is always a delete of the old row and a create of the new one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from events.changes import Change, Op, Position, Row, Truncation
from events.log import LogRecord
from operators.changes.keys import canonical_key


class Occurrence(msgspec.Struct, frozen=True):
    """When and where something happened: what all changes of one event share."""

    record: LogRecord
    source: str
    table: str
    event_time: int
    position: Position = ()
    transaction: str = ""


def change_of(
    at: Occurrence,
    op: Op,
    key: Row,
    before: Row | None,
    after: Row | None,
    *,
    initiator: str = "",
    unavailable: tuple[str, ...] = (),
) -> Change:
    """Put a change together."""
    return Change(
        source=at.source,
        table=at.table,
        key=canonical_key(key),
        op=op,
        before=before,
        after=after,
        event_time=at.event_time,
        position=at.position,
        transaction=at.transaction,
        initiator=initiator,
        unavailable=unavailable,
        stream=at.record.stream,
        partition=at.record.partition,
        offset=at.record.offset,
    )


def update_of(
    at: Occurrence,
    key: Row,
    before: Row | None,
    after: Row,
    *,
    initiator: str = "",
    unavailable: tuple[str, ...] = (),
) -> Sequence[Change]:
    """Put an update together; where the row had another key before, it is a delete and a create."""
    known = before or {}
    old_key = {column: known.get(column, value) for column, value in key.items()}
    if old_key == key:
        return (change_of(at, "update", key, before, after, initiator=initiator, unavailable=unavailable),)
    gone = change_of(at, "delete", old_key, {**old_key, **known}, None, initiator=initiator)
    made = change_of(at, "create", key, None, after, initiator=initiator, unavailable=unavailable)
    return (gone, made)


def truncation_of(at: Occurrence, initiator: str = "") -> Truncation:
    """Put together that all rows of a table were removed."""
    return Truncation(
        source=at.source,
        table=at.table,
        event_time=at.event_time,
        position=at.position,
        transaction=at.transaction,
        initiator=initiator,
        stream=at.record.stream,
        partition=at.record.partition,
        offset=at.record.offset,
    )
