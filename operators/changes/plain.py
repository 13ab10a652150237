"""Changes of rows in our own documented JSON, for producers that have no other format.

The value of a record is an object:

    table        the table, such as "flights"; else `table` of the stream
    key          the primary key, such as {"id": 7}; else the columns that `key` of the live table names
    op           "create", "update", "delete", "read" (a row of a snapshot) or "truncate" (all rows are gone);
                 by default "update" where `after` is there
    after        the whole row; not for a delete or a truncate
    before       the row before, whole or in part; with another key than `after`, an update deletes the row of that key
    unavailable  columns of the row that are not in `after` because their value has not changed
    position     a whole number, or a list of them, that orders the changes of the source; higher is newer
    time         when it was committed: milliseconds since 1970-01-01 UTC, or ISO 8601 text; else the record's time
    transaction, initiator, source      texts; `transaction` may be a number

Without a position the record's offset orders, and then the record must have a key: only the records of one key are in
order, so that all events of a row must have the same. A changed primary key and a truncate concern several rows, and
need a position.

A record without a value (a tombstone) deletes the row that its key names: the object `key` itself, of the stream's
table and source, or {"table": …, "key": {…}, "source": …}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from events.changes import Change, Position, Row, Truncation
from events.errors import RejectedError
from events.log import LogRecord
from operators.changes.occurrence import Occurrence, change_of, truncation_of, update_of
from operators.changes.reading import Reading, checked_time, key_json, millis_of, read_json, shaped, tombstone_of
from operators.changes.rules import Decode, StreamRules

_MAX_NUMBERS = 16


class _Event(msgspec.Struct, forbid_unknown_fields=True):
    table: str = ""
    key: Row | None = None
    op: Literal["create", "update", "delete", "read", "truncate"] | None = None
    after: Row | None = None
    before: Row | None = None
    unavailable: tuple[str, ...] = ()
    position: int | list[int] | None = None
    time: int | str | None = None
    transaction: str | int = ""
    initiator: str = ""
    source: str = ""


def plain(rules: StreamRules) -> Decode:
    """Return the decoder of a stream in our own format.

    :raises SettingsError: When the rules name an encoding that does not exist.
    """
    reading = Reading(rules)

    def decode(record: LogRecord) -> Sequence[Change | Truncation]:
        if record.value is None:
            return () if rules.tombstones == "ignore" else (_tombstone(record, reading),)
        event = shaped(read_json(record.value, exact=reading.exact), _Event, "a change event of Headrace")
        return _changes(record, event, reading)

    return decode


class _Key(msgspec.Struct, forbid_unknown_fields=True):
    table: str
    key: Row
    source: str = ""


def _tombstone(record: LogRecord, reading: Reading) -> Change:
    key = key_json(record, reading)
    # No column of a key holds an object: this cannot be the key of a table that has a column `key`.
    if type(key) is dict and type(key.get("key")) is dict:
        named = shaped(key, _Key, "the key of a change event of Headrace")
        return tombstone_of(record, reading, named.table, named.key, named.source)
    return tombstone_of(record, reading, "", key)


def _changes(record: LogRecord, event: _Event, reading: Reading) -> Sequence[Change | Truncation]:
    table = reading.table(event.table)
    position = _position(table, record, event, reading)
    source = reading.source(record, event.source)
    at = Occurrence(record, source, table, _event_time(record, event), position, str(event.transaction))
    op = _checked_op(table, event)
    if op == "truncate":
        if not position:
            message = f"{table}: a truncate without a position, so that it cannot be told which rows were before it"
            raise RejectedError(message, "give the event a position, or delete the rows one by one")
        return (truncation_of(at, event.initiator),)
    before = reading.columns(table, event.before) if event.before is not None else None
    after = reading.columns(table, event.after) if event.after is not None else None
    named = reading.columns(table, event.key or {})
    row = _joined(table, named, (before if after is None else after) or {})
    key = reading.key_row(table, row, named)
    initiator = reading.initiator(table, row, event.initiator)
    if op == "delete":
        return (change_of(at, "delete", key, row, None, initiator=initiator),)
    if op == "update":
        changes = update_of(at, key, before, row, initiator=initiator, unavailable=event.unavailable)
        if len(changes) > 1 and not position:
            message = f"{table}: a changed primary key without a position, so that its two rows are in no order"
            raise RejectedError(message, "give the event a position, or send a delete and a create")
        return changes
    return (change_of(at, op, key, before, row, initiator=initiator, unavailable=event.unavailable),)


def _checked_op(table: str, event: _Event) -> Literal["create", "update", "delete", "read", "truncate"]:
    op = event.op or ("update" if event.after is not None else None)
    if op is None:
        message = f"{table}: the event has neither `op` nor `after`"
        raise RejectedError(message, 'give the row as `after`, or "op": "delete"')
    if (event.after is None) != (op in {"delete", "truncate"}):
        message = f"{table}: the op {op!r} {'needs' if event.after is None else 'has'} the row as `after`"
        raise RejectedError(message, "give `after` with a create, update or read, and with no other")
    twice = [column for column in event.unavailable if column in (event.after or {})]
    if twice:
        message = f"{table}: the column {twice[0]!r} is unavailable and has a value"
        raise RejectedError(message, "leave it out of one of them")
    return op


def _joined(table: str, key: Row, row: Row) -> Row:
    """Return the row with its key's columns, which may be left out of it but not be other ones."""
    for column, value in key.items():
        if column in row and row[column] != value:
            message = f"{table}: the column {column!r} of `key` is another in the row"
            raise RejectedError(message, "let both say the same, and give the old key in `before`")
    return {**key, **row}


def _position(table: str, record: LogRecord, event: _Event, reading: Reading) -> Position:
    if event.position is None:
        if not record.key:
            message = f"{table}: neither a position nor a record's key, so that the row's changes are in no order"
            raise RejectedError(message, "give the event a position, or give all records of a row the same key")
        return ()
    numbers: list[Any] = [event.position] if isinstance(event.position, int) else event.position
    if not 1 <= len(numbers) <= _MAX_NUMBERS:
        message = f"{table}: a position of {len(numbers)} numbers"
        raise RejectedError(message, f"give 1 to {_MAX_NUMBERS}, the most significant first")
    return reading.position(*numbers)


def _event_time(record: LogRecord, event: _Event) -> int:
    if event.time is None:
        return record.event_time
    return millis_of(event.time, "time") if isinstance(event.time, str) else checked_time(event.time, "time")
