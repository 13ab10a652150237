"""Notifications of S3 and of storage that is compatible with it: what they say, in whichever wrapping they come.

They come straight from S3 (`Records`), through SNS (a text in `Message`), or from EventBridge (`detail`); each of them
as the body of a message. Formats: Amazon S3 User Guide, "Event message structure" and "EventBridge event message
structure"; Amazon SNS Developer Guide, "Parsing message formats".
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal
from urllib.parse import unquote_plus

import msgspec

from events.clock import to_millis
from events.errors import RejectedError
from events.objects import ObjectEvent

_HINT = "let only notifications of S3 into the queue: direct ones, through SNS, or from EventBridge"
_MOST_WRAPPINGS = 3
_SEQUENCER = re.compile(r"[0-9A-Fa-f]{1,64}")
_AWS = ("aws:s3", "aws.s3")
"""Sources whose sequencers order events. Compatible storage gives clocks of its nodes, which do not."""

_OPS: dict[str, Literal["written", "removed"]] = {
    "ObjectCreated": "written",
    "ObjectRestore:Completed": "written",
    "ObjectRemoved": "removed",
    "LifecycleExpiration": "removed",
    "Object Created": "written",
    "Object Restore Completed": "written",
    "Object Deleted": "removed",
}


class _Bucket(msgspec.Struct):
    name: str


class _Object(msgspec.Struct):
    key: str
    sequencer: str | None = None


class _Place(msgspec.Struct):
    bucket: _Bucket
    object: _Object


class _Record(msgspec.Struct, rename="camel"):
    event_name: str
    event_source: str = ""
    event_time: str = ""
    s3: _Place | None = None


class _Message(msgspec.Struct):
    records: list[_Record] | None = msgspec.field(default=None, name="Records")
    test: str = msgspec.field(default="", name="Event")
    kind: str = msgspec.field(default="", name="Type")
    wrapped: str | None = msgspec.field(default=None, name="Message")
    source: str = ""
    what: str = msgspec.field(default="", name="detail-type")
    time: str = ""
    detail: msgspec.Raw = msgspec.Raw()


_decoder = msgspec.json.Decoder(_Message)
_detail = msgspec.json.Decoder(_Place)


def read_notification(body: str) -> tuple[ObjectEvent, ...]:
    """Return what a notification says, in its order; nothing for a test, and for what leaves objects as they are.

    :raises RejectedError: When it is no notification, or one that does not name its object.
    """
    try:
        for _ in range(_MOST_WRAPPINGS):
            message = _decoder.decode(body)
            if message.wrapped is None:
                return _events(message)
            if message.kind not in ("", "Notification"):
                return ()  # SNS asks for confirmation, or says goodbye
            body = message.wrapped
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        msg = f"not a notification of S3: {error}"
        raise RejectedError(msg, _HINT) from None
    msg = "not a notification of S3: wrapped too often"
    raise RejectedError(msg, _HINT)


def is_older(sequencer: str, known: str) -> bool:
    """Return whether an event surely came before, or is, another one of the same key, by their sequencers.

    Numbers of different length are compared with the shorter one padded by zeros on its left. The documentation has
    said on its right as well, over the years: where the two disagree, nothing is sure.
    """
    if not sequencer or not known:
        return False
    length = max(len(sequencer), len(known))
    left = sequencer.rjust(length, "0").upper() <= known.rjust(length, "0").upper()
    return left and sequencer.ljust(length, "0").upper() <= known.ljust(length, "0").upper()


def _events(message: _Message) -> tuple[ObjectEvent, ...]:
    if message.records is not None:
        found = (_of_record(record) for record in message.records)
        return tuple(event for event in found if event is not None)
    if message.test == "s3:TestEvent":
        return ()
    if message.source and message.what:
        return _of_bridge(message)
    msg = "not a notification of S3: neither Records nor a detail in it"
    raise RejectedError(msg, _HINT)


def _of_record(record: _Record) -> ObjectEvent | None:
    name = record.event_name.removeprefix("s3:")
    op = _OPS.get(name) or _OPS.get(name.partition(":")[0])
    if op is None:
        return None
    if record.s3 is None:
        msg = f"a notification of {name!r} that names no object"
        raise RejectedError(msg, _HINT)
    key = unquote_plus(record.s3.object.key, errors="strict")
    return _event(record.s3, key, op, record.event_time, record.event_source)


def _of_bridge(message: _Message) -> tuple[ObjectEvent, ...]:
    op = _OPS.get(message.what)
    if op is None:
        return ()
    place = _detail.decode(message.detail)
    # Keys are as they are here: EventBridge does not encode them.
    return (_event(place, place.object.key, op, message.time, message.source),)


def _event(place: _Place, key: str, op: Literal["written", "removed"], time: str, source: str) -> ObjectEvent:
    if not key or not place.bucket.name:
        msg = "a notification that names no object"
        raise RejectedError(msg, _HINT)
    sequencer = place.object.sequencer or ""
    reliable = source in _AWS and _SEQUENCER.fullmatch(sequencer)
    return ObjectEvent(place.bucket.name, key, op, _millis(time), sequencer if reliable else "")


def _millis(time: str) -> int | None:
    try:
        return to_millis(msgspec.convert(time, datetime))
    except (msgspec.ValidationError, ValueError, OverflowError):
        return None
