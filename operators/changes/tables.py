"""What the rules of a stream and the schema of an event make of a row: decoded columns, a key, an initiator.

Rules by table are compiled once. What the user says of a column goes before what the event's schema says.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from events.changes import Row
from events.errors import RejectedError
from events.log import LogRecord, refuse_broken
from operators.changes.connect import BEGIN, NO_SHAPE, Opener, Shape, is_bare_row, row_shape
from operators.changes.duplicate_keys import read_json
from operators.changes.rules import StreamRules, TableRules
from operators.changes.values import read_columns, readers_of

KEY_REMEDY = "name the columns of the primary key as `key` in [[tables.live]]"

END_OF_TIME = 253_402_300_800_000
"""First millisecond of the year 10000: no time is as late."""

MAX_TABLES = 10_000
MAX_SHAPES = 256
"""Bounds of what is remembered; a stream that has more of them begins anew."""

_read_exact = msgspec.json.Decoder(float_hook=Decimal).decode


class TablePlan:
    """How rows of one table are read."""

    def __init__(self, table: str, rules: TableRules) -> None:
        self.table = table
        self.key = rules.key
        self._key_set = frozenset(rules.key)
        self.initiator = rules.initiator
        self.own = readers_of(rules)
        self._decimals = frozenset(name for name, encoding in rules.columns.items() if encoding == "decimal")
        self._shapes: dict[Shape, Shape] = {}

    def shape(self, shape: Shape) -> Shape:
        """Return how rows are read whose event says that they have `shape`."""
        made = self._shapes.get(shape)
        if made is None:
            if len(self._shapes) >= MAX_SHAPES:
                self._shapes.clear()
            decimals = (shape.decimals - self.own.keys()) | self._decimals
            made = self._shapes[shape] = Shape(shape.reads | self.own, decimals)
        return made

    def read(self, row: Row, shape: Shape, raw: bytes, image: str = "") -> None:
        """Decode the columns of `row` in place.

        :arg raw: The event that `row` is of, to read its numbers again where each digit counts.
        :arg image: Name of the row in the event; empty: the event is the row.
        :raises RejectedError: When a value does not fit; names the column.
        """
        if self.own:
            shape = self.shape(shape)
        if not shape.reads:
            return
        if any(type(row.get(column)) is float for column in shape.decimals):
            digits = _exact(raw, image, row)
            for column in shape.decimals & row.keys():
                row[column] = digits[column]
        read_columns(row, shape.reads)

    def key_of(self, named: Row | None, row: Row) -> Row:
        """Return the columns of the primary key.

        :arg named: The record's key, if it names columns.
        :arg row: What is known of the row for sure.
        :raises RejectedError: When the key is not to be told.
        """
        if not self.key:
            if named is None:
                message = f"{self.table}: neither the record's key nor a setting says which columns are the primary key"
                raise RejectedError(message, KEY_REMEDY)
            return named
        if named is not None and named.keys() == self._key_set:
            return named
        missing = [column for column in self.key if column not in row]
        if missing:
            message = f"{self.table}: the event does not say the key column {missing[0]!r}"
            raise RejectedError(message, "correct `key` in [[tables.live]], or let the source send the column")
        return {column: row[column] for column in self.key}

    def initiator_of(self, row: Row | None, said: Any = None) -> str:
        """Return who changed the row: the column that the rules name, else what the event said."""
        if self.initiator and row is not None:
            value = row.get(self.initiator)
            if value is not None:
                return str(value)
        return said if type(said) is str else ""


class Tables:
    """The plans of a stream's tables, and the keys of its records."""

    def __init__(self, rules: StreamRules) -> None:
        self._rules = rules
        self._plans: dict[str, TablePlan] = {}
        self._open_key = Opener(row_shape, NO_SHAPE, is_bare_row).open
        for own in rules.tables.values():
            readers_of(own)

    def of(self, table: str) -> TablePlan:
        """Return the plan of `table`, by the name that the event gives it."""
        plan = self._plans.get(table)
        if plan is None:
            if len(self._plans) >= MAX_TABLES:
                self._plans.clear()
            plan = self._plans[table] = TablePlan(table, self._rules.of(table))
        return plan

    def record_key(self, record: LogRecord, plan: TablePlan) -> Row | None:
        """Return the columns that the record's key names, decoded; None if it is no object of columns.

        :raises RejectedError: When it begins as an object and is none.
        """
        raw = record.key
        if not raw or not raw.startswith(b"{"):
            return None
        columns, shape = (None, NO_SHAPE) if raw.startswith(BEGIN) else (read_json(raw), NO_SHAPE)
        if columns is None or "payload" in columns:
            columns, shape = self._open_key(raw)
        if type(columns) is not dict or not columns:
            return None
        if shape.reads or plan.own:
            plan.read(columns, shape, raw)
        return columns


def _exact(raw: bytes, image: str, row: Row) -> Row:
    """Read the row once more, with every number that has a point as a Decimal."""
    event = _read_exact(raw)
    inner = event if (image in event if image else row.keys() <= event.keys()) else event["payload"]
    found: Row = inner[image] if image else inner
    return found


def checked_value(record: LogRecord, rules: StreamRules) -> bytes | None:
    """Return the value of a record, if it can be looked at.

    :raises RejectedError: When it was no event when it was written to the log, or is too long.
    """
    refuse_broken(record)
    value = record.value
    if value is not None and len(value) > rules.max_bytes:
        message = f"an event of {len(value)} bytes, over the limit of {rules.max_bytes}"
        raise RejectedError(message, "raise tables.max_event_bytes")
    return value


def event_time(record: LogRecord, *candidates: Any) -> int:
    """Return the first of the times (ms since epoch) that is one, else the log's; 0 and null are none.

    :raises RejectedError: When one is no time at all.
    """
    for millis in candidates:
        if type(millis) is int and 0 < millis < END_OF_TIME:
            return millis
        if millis is not None and millis != 0:
            message = f"the event's time is {str(millis)[:40]!r}, not milliseconds since 1970-01-01"
            raise RejectedError(message, "let the connector write it again, and leave its fields as they are")
    return record.event_time


def table_of(source: Row) -> str:
    """Return the table that a source block names, with its schema, where the database has them, or its database.

    :returns: Empty if none is named.
    :raises RejectedError: When the name is no text.
    """
    table = source.get("table") or source.get("collection")
    if not table:
        return ""
    room = source.get("schema") or source.get("db") or ""
    if type(table) is not str or type(room) is not str:
        message = "the source's table or schema is no text"
        raise RejectedError(message, "let the connector write it again, and leave its fields as they are")
    return f"{room}.{table}" if room else table


def tableless() -> str:
    """Raise the error of an event whose table nobody names."""
    message = "the event names no table"
    raise RejectedError(message, "name it as `table` in [[tables.streams]]")
