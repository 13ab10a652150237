"""Events of DynamoDB Streams, plain, through Kinesis Data Streams, or in the batches that AWS Lambda is called with.

Read with the API reference of DynamoDB Streams (`Record`, `StreamRecord`, `AttributeValue`). An event of the streams is
ordered by its SequenceNumber. Through Kinesis there is none: the order is ApproximateCreationDateTime, in microseconds,
and where that is equal the log's offsets. One source must not come both ways: the two orders do not compare; nor does a
time in milliseconds order as well as one in microseconds.

An event names the key with its values, so that nothing need be configured but, for some, the table.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from events.changes import Change, Op, Position, Row
from events.errors import RejectedError
from events.log import LogRecord
from operators.changes.attributes import item_of
from operators.changes.occurrence import Occurrence, change_of
from operators.changes.reading import TABLE_REMEDY, Reading, checked_time, key_json, read_json, shaped, tombstone_of
from operators.changes.rules import Decode, StreamRules

_OPS: dict[str, Op] = {"INSERT": "create", "MODIFY": "update", "REMOVE": "delete"}
_TABLE = re.compile(r"arn:[^:]*:dynamodb:[^:]*:[^:]*:table/([^/]+)(?:/.*)?")
_DIGITS = re.compile(r"\d{1,77}")
_MICROS = {"SECOND": 10**6, "MILLISECOND": 10**3, "MICROSECOND": 1}
_MAX_TIME = 10**17


class _StreamRecord(msgspec.Struct, rename="pascal"):
    keys: Row
    approximate_creation_date_time: int | float | None = None
    approximate_creation_date_time_precision: Literal["SECOND", "MILLISECOND", "MICROSECOND"] | None = None
    new_image: Row | None = None
    old_image: Row | None = None
    sequence_number: str | None = None
    stream_view_type: str | None = None


class _Identity(msgspec.Struct, rename="camel"):
    principal_id: str = ""


class _Event(msgspec.Struct, rename="camel"):
    event_name: str
    dynamodb: _StreamRecord
    event_source_arn: str | None = msgspec.field(default=None, name="eventSourceARN")
    table_name: str | None = None
    user_identity: _Identity | None = None


def dynamodb(rules: StreamRules) -> Decode:
    """Return the decoder of a stream that DynamoDB Streams, or Kinesis in its place, writes.

    :raises SettingsError: When the rules name an encoding that does not exist.
    """
    reading = Reading(rules, typed=True)

    def decode(record: LogRecord) -> Sequence[Change]:
        if record.value is None:
            return (
                (tombstone_of(record, reading, "", key_json(record, reading)),) if rules.tombstones == "delete" else ()
            )
        value = read_json(record.value)
        if type(value) is dict and "Records" in value:
            if type(value["Records"]) is not list:
                message = "`Records` is not a list"
                raise RejectedError(message, "send the batch as AWS Lambda gets it")
            return [_change(record, _unwrapped(item), reading) for item in value["Records"]]
        return (_change(record, _unwrapped(value), reading),)

    return decode


def _unwrapped(value: Any) -> Any:
    """Take the event out of a record of Kinesis, as AWS Lambda gets it; return any other value as it is."""
    if type(value) is not dict or "kinesis" not in value:
        return value
    wrapper = value["kinesis"]
    data = wrapper.get("data") if type(wrapper) is dict else None
    if type(data) is not str:
        message = "a record of Kinesis without data"
        raise RejectedError(message, "send the record as AWS Lambda gets it")
    try:
        return read_json(base64.b64decode(data, validate=True))
    except binascii.Error as error:
        message = f"the data of a record of Kinesis is not base64: {error}"
        raise RejectedError(message, "send the record as AWS Lambda gets it") from None
    except RejectedError as error:
        message = f"the data of a record of Kinesis is no event of DynamoDB: {error.detail}"
        raise RejectedError(message, "leave out what other producers put into the Kinesis stream") from None


def _change(record: LogRecord, value: Any, reading: Reading) -> Change:
    event = shaped(value, _Event, "an event of DynamoDB Streams")
    stream = event.dynamodb
    op = _OPS.get(event.event_name)
    if op is None:
        message = f"the event name {event.event_name[:40]!r} is not INSERT, MODIFY or REMOVE"
        raise RejectedError(
            message, "correct the event, or set `format` of [[tables.streams]] to what the stream holds"
        )
    table = _table(event, reading)
    at = Occurrence(record, reading.source(record), table, _event_time(record, stream), _position(stream, reading))
    said = event.user_identity.principal_id if event.user_identity is not None else ""
    keys = reading.columns(table, item_of(stream.keys))
    before = reading.columns(table, item_of(stream.old_image)) if stream.old_image is not None else None
    if op == "delete":
        row = {**keys, **(before or {})}
        key = reading.key_row(table, row, keys)
        return change_of(at, op, key, row, None, initiator=reading.initiator(table, row, said))
    if stream.new_image is None:
        message = f"{table}: the event does not have the item after the change"
        raise RejectedError(message, "set the stream's view type to NEW_IMAGE or NEW_AND_OLD_IMAGES")
    row = {**keys, **reading.columns(table, item_of(stream.new_image))}
    key = reading.key_row(table, row, keys)
    return change_of(at, op, key, before, row, initiator=reading.initiator(table, row, said))


def _table(event: _Event, reading: Reading) -> str:
    if event.table_name:
        return event.table_name
    if found := _TABLE.fullmatch(event.event_source_arn or ""):
        return found[1]
    if reading.rules.table:
        return reading.rules.table
    message = "the event names its table neither in tableName nor in eventSourceARN"
    raise RejectedError(message, TABLE_REMEDY)


def _micros(stream: _StreamRecord) -> tuple[int, bool] | None:
    """Return the time of the change in microseconds, and whether it was written finer than seconds."""
    time = stream.approximate_creation_date_time
    if time is None:
        return None
    if not 0 <= time < _MAX_TIME:
        message = f"the ApproximateCreationDateTime {time} is no time in seconds, milliseconds or microseconds"
        raise RejectedError(message, "send the events as DynamoDB Streams writes them")
    precision = stream.approximate_creation_date_time_precision
    if precision is None:
        # Of this age, they have 10, 13 and 16 digits.
        precision = "SECOND" if time < 10**11 else "MILLISECOND" if time < 10**14 else "MICROSECOND"
    return round(time * _MICROS[precision]), precision != "SECOND"


def _event_time(record: LogRecord, stream: _StreamRecord) -> int:
    micros = _micros(stream)
    return record.event_time if micros is None else checked_time(micros[0] // 1000, "ApproximateCreationDateTime")


def _position(stream: _StreamRecord, reading: Reading) -> Position:
    if stream.sequence_number is not None:
        if not _DIGITS.fullmatch(stream.sequence_number):
            message = f"the SequenceNumber {stream.sequence_number[:80]!r} is not a whole number"
            raise RejectedError(message, "send the events as DynamoDB Streams writes them")
        return reading.position(int(stream.sequence_number))
    micros = _micros(stream)
    # Seconds are too coarse to be an order: within one, an item changes often.
    return reading.position(micros[0]) if micros is not None and micros[1] else ()
