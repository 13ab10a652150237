"""Events of Maxwell's daemon, which reads the binlog of MySQL and MariaDB.

Read with "Data format" and "Config" of its documentation. A row's place is the binlog's file and position, with
`output_binlog_position`; without it the log's offsets order. Rows of one statement share that place: `output_xoffset`
counts the rows of a transaction, except on its last row, which has `commit` instead and is therefore the highest. Two
rows of one place without either are ordered by the log.

The key is told by `output_primary_key_columns`, else by `key` of the live table; `data` is the whole row, `old` what an
update changed of it. Rows of a bootstrap are reads. DDL and the marks of a bootstrap say nothing of rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from events.changes import Change, Position, Row
from events.errors import RejectedError
from events.log import LogRecord
from operators.changes.occurrence import Occurrence, change_of, update_of
from operators.changes.reading import Reading, checked_time, key_json, read_json, shaped, tombstone_of
from operators.changes.rules import Decode, StreamRules

_SILENT = frozenset(
    {
        "bootstrap-start",
        "bootstrap-complete",
        "table-create",
        "table-alter",
        "table-drop",
        "database-create",
        "database-alter",
        "database-drop",
    }
)
_ROWS = frozenset({"insert", "update", "delete", "bootstrap-insert"})
_PLACE = re.compile(r"[^:]*\.(\d{1,20}):(\d{1,20})")
_LAST = 2**64
"""Stands for the xoffset of a transaction's last row: higher than any other."""


class _Event(msgspec.Struct):
    type: str
    database: str | None = None
    table: str | None = None
    ts: int | None = None
    xid: int | None = None
    xoffset: int | None = None
    commit: bool = False
    position: str | None = None
    primary_key_columns: tuple[str, ...] = ()
    data: Row | None = None
    old: Row | None = None


class _Kind(msgspec.Struct):
    type: str


def maxwell(rules: StreamRules) -> Decode:
    """Return the decoder of a stream that Maxwell writes.

    :raises SettingsError: When the rules name an encoding that does not exist.
    """
    reading = Reading(rules)

    def decode(record: LogRecord) -> Sequence[Change]:
        if record.value is None:
            return (_tombstone(record, reading),) if rules.tombstones == "delete" else ()
        value = read_json(record.value, exact=reading.exact)
        # Structure changes have members of the same names, but of other shapes.
        kind = shaped(value, _Kind, "an event of Maxwell").type
        if kind in _SILENT:
            return ()
        if kind not in _ROWS:
            message = f"the type {kind[:40]!r} is none that Maxwell has"
            raise RejectedError(message, "set `format` of [[tables.streams]] to what the stream holds")
        return _changes(record, shaped(value, _Event, "an event of Maxwell"), reading)

    return decode


def _changes(record: LogRecord, event: _Event, reading: Reading) -> Sequence[Change]:
    table = reading.table(f"{event.database}.{event.table}" if event.database and event.table else event.table or "")
    if not event.data:
        message = f"{table}: the event has no data"
        raise RejectedError(message, "send the events as Maxwell writes them")
    at = Occurrence(
        record,
        reading.source(record),
        table,
        record.event_time if event.ts is None else checked_time(event.ts * 1000, "ts, which is in seconds,"),
        _position(event, reading),
        "" if event.xid is None else str(event.xid),
    )
    row = reading.columns(table, event.data)
    key = reading.key_row(table, row, event.primary_key_columns)
    initiator = reading.initiator(table, row)
    if event.type == "delete":
        return (change_of(at, "delete", key, row, None, initiator=initiator),)
    if event.type == "update":
        before = {**row, **reading.columns(table, event.old or {})}
        return update_of(at, key, before, row, initiator=initiator)
    return (change_of(at, "create" if event.type == "insert" else "read", key, None, row, initiator=initiator),)


def _position(event: _Event, reading: Reading) -> Position:
    if event.position is None:
        return ()
    found = _PLACE.fullmatch(event.position)
    if found is None:
        message = (
            f"the position {event.position[:80]!r} is not a binlog's file and place, such as mysql-bin.000003:1234"
        )
        raise RejectedError(message, "turn off output_binlog_position if the source has none")
    place = (int(found[1]), int(found[2]))
    if event.commit:
        return reading.position(*place, _LAST)
    return reading.position(*place) if event.xoffset is None else reading.position(*place, event.xoffset)


def _tombstone(record: LogRecord, reading: Reading) -> Change:
    """Read the key that Maxwell gives its records: database, table, and the key's columns behind `pk.`."""
    key = key_json(record, reading)
    if type(key) is not dict or not any(name.startswith("pk.") for name in key):
        return tombstone_of(record, reading, "", key)
    named = f"{key.get('database')}.{key.get('table')}" if key.get("database") and key.get("table") else ""
    # Maxwell writes the names of the columns in lower case there.
    names = {column.lower(): column for column in reading.rules.of(reading.table(named)).key}
    columns = {names.get(name[3:], name[3:]): value for name, value in key.items() if name.startswith("pk.")}
    return tombstone_of(record, reading, named, columns)
