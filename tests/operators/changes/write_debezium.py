"""Histories as Debezium writes them, after its pages on PostgreSQL, MySQL and event flattening."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import msgspec

from events.changes import Row
from events.log import LogRecord
from tests.operators.changes.history import Event, record_of

_MARKER = "__debezium_unavailable_value"


def _texts(row: Row | None) -> Row | None:
    """Write decimals as texts, as `decimal.handling.mode=string` does."""
    if row is None:
        return None
    return {column: str(value) if isinstance(value, Decimal) else value for column, value in row.items()}


def postgres(event: Event) -> Row:
    return {
        "version": "3.6.3.Final",
        "connector": "postgresql",
        "name": "travel",
        "ts_ms": event.time,
        "ts_us": event.time * 1000,
        "ts_ns": event.time * 1_000_000,
        "snapshot": "true" if event.op == "read" else "false",
        "db": "travel",
        "sequence": f'["{event.seq * 100 - 50}","{event.seq * 100}"]',
        "schema": "public",
        "table": event.table,
        "txId": 500 + event.seq,
        "lsn": event.seq * 100,
        "xmin": None,
    }


def mysql(event: Event) -> Row:
    return {
        "version": "3.6.3.Final",
        "connector": "mysql",
        "name": "travel",
        "ts_ms": event.time,
        "snapshot": "false",
        "db": "public",
        "sequence": None,
        "table": event.table,
        "server_id": 223344,
        "gtid": None,
        # Files end between events, and two events at a time come in one block of rows.
        "file": f"mysql-bin.{event.seq // 7 + 999_998:06d}",
        "pos": event.seq // 2 * 10 + 4,
        "row": event.seq % 2,
        "thread": 7,
        "query": None,
    }


class _Step(msgspec.Struct, frozen=True):
    """One envelope: what a connector makes of an event is one, or two for a changed key."""

    op: str
    key: Row
    before: Row | None
    after: Row | None


_OPS = {"create": "c", "update": "u", "delete": "d", "read": "r", "truncate": "t"}


def _steps(event: Event) -> list[_Step]:
    after = event.after
    if after is not None and event.unavailable:
        after = {**after, **dict.fromkeys(event.unavailable, _MARKER)}
    if event.op == "update" and event.old_key != event.key:
        return [_Step("d", event.old_key, event.before, None), _Step("c", event.key, None, after)]
    return [_Step(_OPS[event.op], event.key, event.before, after)]


def _envelope(event: Event, step: _Step, source: Callable[[Event], Row]) -> Row:
    before = step.before
    if step.op == "d" and before is None and step.after is None:
        before = step.key
    return {
        "before": _texts(before),
        "after": _texts(step.after),
        "source": source(event),
        "transaction": None,
        "op": step.op,
        "ts_ms": event.time + 20,
        "ts_us": (event.time + 20) * 1000,
        "ts_ns": (event.time + 20) * 1_000_000,
    }


def debezium(source: Callable[[Event], Row]) -> Callable[[Event], Iterable[LogRecord]]:
    def encode(event: Event) -> Iterable[LogRecord]:
        for step in _steps(event):
            yield record_of(event, step.key or None, _envelope(event, step, source))
            if step.op == "d":
                yield record_of(event, step.key, None)

    return encode


def _field(column: str, value: Any, *, optional: bool = True) -> Row:
    """Describe a column as Kafka Connect's JSON converter does, by a value that it has."""
    kind: Row = {"type": "string"}
    if isinstance(value, bool):
        kind = {"type": "boolean"}
    elif isinstance(value, int):
        kind = {"type": "int64"}
    elif isinstance(value, float):
        kind = {"type": "double"}
    elif isinstance(value, Decimal):
        scale = -int(value.as_tuple().exponent)
        kind = {
            "type": "bytes",
            "name": "org.apache.kafka.connect.data.Decimal",
            "version": 1,
            "parameters": {"scale": str(scale), "connect.decimal.precision": "20"},
        }
    return {**kind, "optional": optional, "field": column}


def _unscaled(value: Any) -> Any:
    """Write a decimal as Kafka Connect does: the unscaled number, big-endian in two's complement, as base64."""
    if not isinstance(value, Decimal):
        return value
    sign, digits, _ = value.as_tuple()
    number = int("".join(map(str, digits))) * (-1 if sign else 1)
    return base64.b64encode(number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)).decode()


def _struct(name: str, row: Row) -> Row:
    fields = [_field(column, value) for column, value in row.items()]
    return {"type": "struct", "fields": fields, "optional": True, "name": f"travel.public.{name}"}


def debezium_schema(event: Event) -> Iterable[LogRecord]:
    for step in _steps(event):
        envelope = _envelope(event, step, postgres)
        for side, row in (("before", step.before), ("after", step.after)):
            if row is not None:
                envelope[side] = {column: _unscaled(value) for column, value in row.items()}
        fields = [
            {**_struct(f"{event.table}.Value", step.before or step.key), "field": "before"},
            {**_struct(f"{event.table}.Value", step.after or step.before or step.key), "field": "after"},
            {**_struct("Source", envelope["source"]), "name": "io.debezium.connector.postgresql.Source",
             "optional": False, "field": "source"},
            {"type": "string", "optional": False, "field": "op"},
            {"type": "int64", "optional": True, "field": "ts_ms"},
        ]  # fmt: skip
        schema = {
            "type": "struct",
            "fields": fields,
            "optional": False,
            "name": f"travel.public.{event.table}.Envelope",
            "version": 2,
        }
        key = None
        if step.key:
            columns = [_field(column, value, optional=False) for column, value in step.key.items()]
            key_schema = {"type": "struct", "fields": columns, "optional": False, "name": f"{event.table}.Key"}
            key = {"schema": key_schema, "payload": step.key}
        yield record_of(event, key, {"schema": schema, "payload": envelope})
        if step.op == "d":
            yield record_of(event, key, None)


def flat(event: Event) -> Iterable[LogRecord]:
    """Write `delete.tombstone.handling.mode=rewrite`, `add.fields=op,table,lsn,source.schema,source.ts_ms`."""
    for step in _steps(event):
        row = step.after if step.op != "d" else {**(step.before or {}), **step.key}
        metadata = {
            "__deleted": "true" if step.op == "d" else "false",
            "__op": step.op,
            "__table": event.table,
            "__lsn": event.seq * 100,
            "__source_schema": "public",
            "__source_ts_ms": event.time,
        }
        yield record_of(event, step.key, {**(_texts(row) or {}), **metadata})
