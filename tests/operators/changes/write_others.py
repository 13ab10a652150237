"""Histories as AWS DMS, DynamoDB and Maxwell write them, after their documentation, and in our own format."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from events.changes import Row
from events.clock import to_iso
from events.log import LogRecord
from tests.operators.changes.history import Event, record_of

_DMS_OPS = {"create": "insert", "update": "update", "delete": "delete", "read": "load"}


def _iso(millis: int) -> str:
    return to_iso(millis).replace("Z", "000Z")


def dms(event: Event) -> Iterable[LogRecord]:
    metadata: Row = {
        "timestamp": _iso(event.time + 20),
        "record-type": "data",
        "operation": _DMS_OPS[event.op],
        "partition-key-type": "primary-key",
        "partition-key-value": f"public.{event.table}." + ".".join(map(str, event.key.values())),
        "schema-name": "public",
        "table-name": event.table,
    }
    if event.op != "read":
        place = f"{event.seq >> 32:08X}/{event.seq & 0xFFFFFFFF:08X}"
        metadata |= {
            "commit-timestamp": _iso(event.time),
            "transaction-id": 1000 + event.seq,
            "transaction-record-id": 1,
            "stream-position": f"{place}.2.{place}",
        }
    value: Row = {"data": event.after, "metadata": metadata}
    if event.op == "delete":
        value["data"] = {**dict.fromkeys(event.before or {}), **event.key}
    if event.op == "update":
        value["before-image"] = event.before or {}
    elif event.before:
        value["before-image"] = event.before
    yield record_of(event, None, value)


def _attribute(value: Any) -> Row:
    """Give a value its DynamoDB type; numbers lose trailing zeros, as DynamoDB normalises them."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, int | float | Decimal):
        text = format(Decimal(str(value)), "f")
        return {"N": text.rstrip("0").rstrip(".") if "." in text else text}
    if isinstance(value, list):
        return {"L": [_attribute(item) for item in value]}
    if isinstance(value, dict):
        return {"M": {name: _attribute(item) for name, item in value.items()}}
    return {"S": value}


def _image(row: Row) -> Row:
    return {column: _attribute(value) for column, value in row.items()}


_DYNAMODB_OPS = {"create": "INSERT", "update": "MODIFY", "delete": "REMOVE"}


def _dynamodb_events(event: Event, arrival: Row) -> Iterable[Row]:
    """DynamoDB cannot change a key: whoever wants to deletes one item and puts another."""
    steps: list[tuple[str, Row, Row | None, Row | None]] = [(event.op, event.key, event.before, event.after)]
    if event.op == "update" and event.old_key != event.key:
        steps = [("delete", event.old_key, event.before, None), ("create", event.key, None, event.after)]
    for op, key, before, after in steps:
        change: Row = {**arrival, "Keys": _image(key)}
        if after is not None:
            change["NewImage"] = _image(after)
        if before is not None:
            change["OldImage"] = _image(before)
        yield {
            "eventID": f"{event.seq:032x}",
            "eventName": _DYNAMODB_OPS[op],
            "awsRegion": "eu-central-1",
            "eventSource": "aws:dynamodb",
            "dynamodb": {**change, "SizeBytes": 99},
        }


def dynamodb(event: Event) -> Iterable[LogRecord]:
    arrival = {
        "ApproximateCreationDateTime": event.time // 1000,
        "SequenceNumber": str(1_405_400_000_000_002_063_282_832 + event.seq),
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    arn = f"arn:aws:dynamodb:eu-central-1:123456789012:table/{event.table}/stream/2026-01-01T00:00:00.000"
    for value in _dynamodb_events(event, arrival):
        yield record_of(event, None, {**value, "eventVersion": "1.1", "eventSourceARN": arn})


_KINESIS_BEGIN = 1_767_225_600_000_000
"""2026-01-01 in microseconds: the variant's only order is its clock, which here ticks once for each event."""


def kinesis(event: Event) -> Iterable[LogRecord]:
    arrival = {
        "ApproximateCreationDateTime": _KINESIS_BEGIN + event.seq,
        "ApproximateCreationDateTimePrecision": "MICROSECOND",
    }
    for value in _dynamodb_events(event, arrival):
        extra = {"userIdentity": None, "recordFormat": "application/json", "tableName": event.table}
        yield record_of(event, None, {**value, **extra})


def maxwell(event: Event) -> Iterable[LogRecord]:
    """Write with `output_binlog_position`, `output_xoffset` and `output_primary_key_columns`.

    Two events at a time are one transaction; its last row has `commit` in the place of `xoffset`.
    """
    value: Row = {
        "database": "public",
        "table": event.table,
        "type": {"create": "insert"}.get(event.op, event.op),
        "ts": event.time // 1000,
        "xid": 9000 + event.seq // 2,
        "position": f"mysql-bin.{event.seq // 2 // 5 + 999_998:06d}:{event.seq // 2 % 5 * 50 + 4}",
        "primary_key_columns": list(event.key),
        "data": event.after if event.after is not None else {**(event.before or {}), **event.key},
    }
    value |= {"commit": True} if event.seq % 2 else {"xoffset": 0}
    if event.op == "update" and event.before is not None:
        after = event.after or {}
        changed = {column: old for column, old in event.before.items() if after.get(column) != old}
        value["old"] = changed
    yield record_of(event, {"database": "public", "table": event.table, **_pk(event.key)}, value)


def _pk(key: Row) -> Row:
    return {f"pk.{column}": value for column, value in key.items()}


def plain(event: Event) -> Iterable[LogRecord]:
    """Write events with their positions; the record's key is of no use to them."""
    for record in plain_by_offset(event, {"position": [event.seq]}):
        yield msgspec.structs.replace(record, key=None)


def plain_by_offset(event: Event, place: Row | None = None) -> Iterable[LogRecord]:
    """Write one object for each event, but for a changed key, which is a delete and a create."""
    place = {"time": event.time, **(place or {})}
    if event.op == "truncate":
        yield record_of(event, None, {"table": event.table, "op": "truncate", **place})
        return
    if event.op == "update" and event.old_key != event.key:
        gone = {"table": event.table, "key": event.old_key, "op": "delete", "before": event.before, **place}
        yield record_of(event, event.old_key, gone)
        after = {"table": event.table, "key": event.key, "op": "create", "after": event.after, **place}
        yield record_of(event, event.key, after)
        return
    value: Row = {"table": event.table, "key": event.key, "op": event.op, **place}
    for name in ("before", "after"):
        if getattr(event, name) is not None:
            value[name] = getattr(event, name)
    if event.unavailable:
        value["unavailable"] = list(event.unavailable)
    yield record_of(event, event.key, value)
