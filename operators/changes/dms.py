"""Events of AWS Database Migration Service, as it writes them to Kafka and Kinesis.

Read with "Using Amazon Kinesis Data Streams as a target" of its user guide. What the format does not say:

- The primary key: `key` of the live table names it. Without it, every event is rejected.
- What a deleted row was, unless a before-image is sent: its `data` mostly has the key and nulls. `before` has the rest.
- Where a loaded row stands: `load` has no position, so that the log's offsets order it. Let full load and changes of a
  row go to the same partition (the object mapping's partition key); between partitions, whatever comes later wins.
- That rows were left: a dropped or truncated table deletes nothing here. Control records say nothing of rows.

`data` is taken as the whole row. Columns that a transformation rule adds (`BI_…`) are columns like any others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from events.changes import Change, Position, Row
from events.errors import RejectedError
from events.log import LogRecord
from operators.changes.occurrence import Occurrence, change_of, update_of
from operators.changes.reading import KEY_REMEDY, Reading, key_json, millis_of, read_json, shaped, tombstone_of
from operators.changes.rules import Decode, StreamRules

_CONTROL = frozenset(
    {
        "create-table",
        "drop-table",
        "rename-table",
        "add-column",
        "drop-column",
        "rename-column",
        "change-columns",
        "column-type-change",
    }
)
_OWN_TABLES = "awsdms_"
"""How the names of the service's own tables begin, such as `awsdms_apply_exceptions`."""


class _Metadata(msgspec.Struct, rename="kebab"):
    operation: str
    timestamp: str = ""
    record_type: Literal["data", "control"] | None = None
    schema_name: str | None = None
    table_name: str | None = None
    commit_timestamp: str | None = None
    transaction_id: int | str | None = None
    transaction_record_id: int | None = None
    stream_position: str | None = None


class _Event(msgspec.Struct, rename="kebab"):
    metadata: _Metadata
    data: Row | None = None
    before_image: Row | None = None
    control: dict[str, Any] | None = None


_POSTGRES = re.compile(r"([0-9A-F]{1,8})/([0-9A-F]{1,8})\.(\d{1,20})\.([0-9A-F]{1,8})/([0-9A-F]{1,8})", re.IGNORECASE)
_MYSQL = re.compile(r"[^:]*\.(\d{1,20}):(\d{1,20})(?::.*)?", re.DOTALL)


def dms(rules: StreamRules) -> Decode:
    """Return the decoder of a stream that AWS DMS writes.

    :raises SettingsError: When the rules name an encoding that does not exist.
    """
    reading = Reading(rules)

    def decode(record: LogRecord) -> Sequence[Change]:
        if record.value is None:
            return (
                (tombstone_of(record, reading, "", key_json(record, reading)),) if rules.tombstones == "delete" else ()
            )
        event = shaped(read_json(record.value, exact=reading.exact), _Event, "an event of AWS DMS")
        if (event.metadata.table_name or "").startswith(_OWN_TABLES):
            return ()
        if event.metadata.record_type == "control" or event.control is not None:
            _check_control(event.metadata.operation)
            return ()
        return _changes(record, event, reading)

    return decode


def stream_position(text: str, record: int = 0) -> tuple[int, ...]:
    """Return the numbers of a `stream-position`, highest first; none where its source's way to write it is not known.

    PostgreSQL writes `LSN.number.LSN`, each LSN as two hexadecimal halves; MySQL and MariaDB the binlog's file and
    place, then more that does not order rows. What other sources write is not documented.

    :arg record: `transaction-record-id`, which tells apart the rows of one place in a binlog.
    """
    if found := _POSTGRES.fullmatch(text):
        high, low, number, commit_high, commit_low = found.groups()
        return (_lsn(high, low), int(number), _lsn(commit_high, commit_low))
    if found := _MYSQL.fullmatch(text):
        return (int(found[1]), int(found[2]), record)
    return ()


def _lsn(high: str, low: str) -> int:
    return (int(high, 16) << 32) + int(low, 16)


def _check_control(operation: str) -> None:
    if operation not in _CONTROL:
        message = f"a control record with the operation {operation[:40]!r}, which is not one of them"
        raise RejectedError(
            message, f"leave it out if it says nothing of rows; known are {', '.join(sorted(_CONTROL))}"
        )


def _changes(record: LogRecord, event: _Event, reading: Reading) -> Sequence[Change]:
    metadata = event.metadata
    name = metadata.table_name or ""
    table = reading.table(f"{metadata.schema_name}.{name}" if metadata.schema_name and name else name)
    at = Occurrence(
        record,
        reading.source(record),
        table,
        _event_time(record, metadata),
        _position(metadata, reading),
        "" if metadata.transaction_id is None else str(metadata.transaction_id),
    )
    operation = metadata.operation
    if operation not in {"load", "insert", "update", "delete"}:
        message = f"{table}: the operation {operation[:40]!r} is not load, insert, update or delete"
        raise RejectedError(
            message, "correct the event, or set `format` of [[tables.streams]] to what the stream holds"
        )
    if not event.data:
        message = f"{table}: the event has no data"
        raise RejectedError(message, "let the endpoint send whole rows")
    if not reading.rules.of(table).key:
        message = f"{table}: events of AWS DMS do not say which columns are the primary key"
        raise RejectedError(message, KEY_REMEDY)
    row = reading.columns(table, event.data)
    image = reading.columns(table, event.before_image) if event.before_image else None
    key = reading.key_row(table, row)
    if operation == "delete":
        # Null says that a value was not sent: it cannot be told from one that was null.
        sent = {column: value for column, value in row.items() if value is not None}
        before = {**sent, **key, **(image or {})}
        return (change_of(at, "delete", key, before, None, initiator=reading.initiator(table, before)),)
    initiator = reading.initiator(table, row)
    if operation == "update":
        return update_of(at, key, image, row, initiator=initiator)
    return (change_of(at, "read" if operation == "load" else "create", key, None, row, initiator=initiator),)


def _position(metadata: _Metadata, reading: Reading) -> Position:
    if metadata.operation == "load":
        return ()
    numbers = stream_position(metadata.stream_position or "", metadata.transaction_record_id or 0)
    return reading.position(*numbers) if numbers else ()


def _event_time(record: LogRecord, metadata: _Metadata) -> int:
    if metadata.commit_timestamp:
        return millis_of(metadata.commit_timestamp, "commit-timestamp")
    return millis_of(metadata.timestamp, "timestamp") if metadata.timestamp else record.event_time
