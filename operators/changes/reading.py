"""What all formats do alike with an event: read its JSON, check its shape, decode its columns, name its row.

Nothing is guessed: what is not there, or says two things, is rejected with the remedy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from events.changes import Change, Position, Row
from events.clock import to_millis
from events.errors import RejectedError
from events.log import LogRecord
from operators.changes import duplicate_keys
from operators.changes.occurrence import Occurrence, change_of
from operators.changes.rules import StreamRules
from operators.changes.values import Read, read_columns, readers_of

T = TypeVar("T")

END_OF_TIME = 253_402_300_800_000
"""First millisecond that no database can write as a date: the year 10000."""
MAX_NUMBER = 2**256
"""Numbers of a position are less than this."""

KEY_REMEDY = "name the columns of the primary key as `key` in [[tables.live]]"
TOMBSTONE_REMEDY = "write the key's columns as a JSON object, or set `tombstones` of [[tables.streams]] to 'ignore'"
TABLE_REMEDY = "name it as `table` in [[tables.streams]]"

_read_exact = msgspec.json.Decoder(float_hook=Decimal).decode


def read_json(raw: bytes, *, exact: bool = False) -> Any:
    """Read JSON of any shape.

    :arg exact: Make numbers with a point or an exponent a Decimal, so that no digit is lost.
    :raises RejectedError: When it is not JSON, not UTF-8, nested too deeply, or says one key of an object twice.
    """
    value = duplicate_keys.read_json(raw)
    # Each level opens once: few openings are no depth.
    if raw.count(b"{") + raw.count(b"[") > duplicate_keys.MAX_DEPTH:
        duplicate_keys.reject_depth(value)
    # Twice the parser is still less than once the check, which is fast for floats only.
    return _read_exact(raw) if exact else value


def too_deep() -> RejectedError:
    """Return the error of an event in which too many lists and objects are within each other."""
    return RejectedError("the event is nested too deeply to be read", "flatten it at its source")


def shaped(value: Any, shape: type[T], what: str) -> T:
    """Return `value` as a `shape`.

    :arg what: What it should have been, such as "an event of AWS DMS".
    :raises RejectedError: Naming the member that does not fit.
    """
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        message = f"not {what}: {error}"
        raise RejectedError(message, "set `format` of [[tables.streams]] to what the stream holds") from None


def millis_of(value: str, what: str) -> int:
    """Return an ISO 8601 time in milliseconds; one without a zone is in UTC.

    :raises RejectedError: When it is none; `what` says which.
    """
    try:
        return checked_time(to_millis(msgspec.convert(value, datetime)), what)
    except msgspec.ValidationError:
        message = f"{what} is not an ISO 8601 time: {value[:40]!r}"
        raise RejectedError(message, "write it as 2026-01-31T12:00:00Z") from None


def checked_time(millis: int, what: str) -> int:
    """Return `millis` if it is a time that a database can hold.

    :raises RejectedError: When it is not; `what` says which.
    """
    if 0 <= millis < END_OF_TIME:
        return millis
    message = f"{what} is not between 1970 and 9999"
    raise RejectedError(message, "correct its unit: milliseconds since 1970-01-01 UTC, where the format says no other")


class Reading:
    """What the rules of one stream make of tables, columns and keys.

    :arg typed: Whether the format tells decimals from other numbers; if not, numbers with a point are floats unless the
        rules name a column's encoding.
    :raises SettingsError: When the rules name an encoding that does not exist.
    """

    def __init__(self, rules: StreamRules, *, typed: bool = False) -> None:
        self.rules = rules
        self._readers = {table: readers_of(own) for table, own in rules.tables.items()}
        self._decimals = {
            table: frozenset(column for column, name in own.columns.items() if name.startswith("decimal"))
            for table, own in rules.tables.items()
        }
        self.exact = not typed and any(self._decimals.values())
        """Whether numbers must be read exactly, as some column of some table is a decimal."""

    def source(self, record: LogRecord, named: str = "") -> str:
        """Return the source of the rules, else the one that the event names, else the stream."""
        return self.rules.source or named or record.stream

    def table(self, named: str) -> str:
        """Return the table that the event names, else that of the rules.

        :raises RejectedError: When there is none.
        """
        table = named or self.rules.table
        if not table:
            message = "the event names no table"
            raise RejectedError(message, TABLE_REMEDY)
        return table

    def columns(self, table: str, row: Row) -> Row:
        """Decode the columns of `row` in place as the rules say; return it.

        :raises RejectedError: When a value does not fit its encoding.
        """
        # The same look-up as that of the rules: the full name, else the last part of it.
        known = table if table in self._readers else table.rpartition(".")[2]
        if self.exact:
            _inexact(row, self._decimals.get(known, frozenset()))
        readers: Mapping[str, Read] | None = self._readers.get(known)
        if readers:
            read_columns(row, readers)
        return row

    def key_row(self, table: str, row: Row, named: Iterable[str] = ()) -> Row:
        """Return the key's columns of `row`, decoded already: those of the rules, else those that the event names.

        :raises RejectedError: When nobody names them, or one is not there.
        """
        columns = self.rules.of(table).key or tuple(named)
        if not columns:
            message = f"{table}: the event does not say which columns are the primary key"
            raise RejectedError(message, KEY_REMEDY)
        missing = [column for column in columns if column not in row]
        if missing:
            message = f"{table}: the key column {missing[0]!r} is not in the event"
            raise RejectedError(message, "correct `key` in [[tables.live]], or let the source send the column")
        return {column: row[column] for column in columns}

    def initiator(self, table: str, row: Row | None, said: str = "") -> str:
        """Return who changed the row: the column that the rules name, else what the event said."""
        column = self.rules.of(table).initiator
        value = row.get(column) if row is not None and column else None
        return said if value is None else str(value)

    def position(self, *numbers: int) -> Position:
        """Return the place in the source's order, the generation first.

        :raises RejectedError: When a number is negative or too long.
        """
        if all(0 <= number < MAX_NUMBER for number in numbers):
            return (self.rules.generation, *numbers)
        message = "a number of the event's position is negative or has more than 77 digits"
        raise RejectedError(message, "let the source number its events from 0 up")


def _inexact(row: Row, decimals: frozenset[str]) -> None:
    """Make floats of the exact numbers in columns that are not decimals."""
    for column, value in row.items():
        kind = type(value)
        if (kind is Decimal or kind is list or kind is dict) and column not in decimals:
            row[column] = _as_float(value)


def _as_float(value: Any) -> Any:
    if type(value) is Decimal:
        number = float(value)
        if number in {float("inf"), float("-inf")}:
            message = f"the number {value} is too large"
            raise RejectedError(message, "name the column's encoding in [[tables.live]]: `decimal`")
        return number
    if type(value) is list:
        return [_as_float(item) for item in value]
    if type(value) is dict:
        return {name: _as_float(item) for name, item in value.items()}
    return value


def key_json(record: LogRecord, reading: Reading) -> Any:
    """Read the key of a record without a value.

    :raises RejectedError: When it is not JSON.
    """
    try:
        return read_json(record.key or b"null", exact=reading.exact)
    except RejectedError as error:
        message = f"the key of a record without a value cannot be read: {error.detail}"
        raise RejectedError(message, TOMBSTONE_REMEDY) from None


def tombstone_of(record: LogRecord, reading: Reading, table: str, columns: Any, source: str = "") -> Change:
    """Return the delete of the row that the key of a record without a value names.

    :arg columns: What the key says of the row: an object of columns and values.
    :raises RejectedError: When it is none, or the table is not known.
    """
    if type(columns) is not dict:
        message = "a record without a value, whose key is not a JSON object of the key's columns"
        raise RejectedError(message, TOMBSTONE_REMEDY)
    table = reading.table(table)
    row = reading.columns(table, columns)
    key = reading.key_row(table, row, row)
    at = Occurrence(record, reading.source(record, source), table, record.event_time)
    return change_of(at, "delete", key, dict(key), None, initiator=reading.initiator(table, row))
