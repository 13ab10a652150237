"""From a record of the log to the changes that it says, whatever the format.

What is wrong with an event in every format is found here, once: too large, unreadable in the log, nested too deeply.
`auto` tells the format of each event by members that it must have and no other has; what fits none is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from events.changes import Change, Truncation
from events.errors import RejectedError, SettingsError
from events.log import LogRecord, refuse_broken
from operators.changes.debezium import debezium
from operators.changes.debezium_flat import debezium_flat
from operators.changes.dms import dms
from operators.changes.dynamodb import dynamodb
from operators.changes.maxwell import maxwell
from operators.changes.plain import plain
from operators.changes.reading import read_json, too_deep
from operators.changes.rules import FORMATS, Decode, Format, StreamRules

_DECODERS: Mapping[Format, Callable[[StreamRules], Decode]] = {
    "debezium": debezium,
    "debezium-flat": debezium_flat,
    "dms": dms,
    "dynamodb": dynamodb,
    "maxwell": maxwell,
    "headrace": plain,
}


def decoder(rules: StreamRules) -> Decode:
    """Return what decodes the events of a stream.

    :raises SettingsError: When the rules name a format or an encoding that does not exist.
    """
    if rules.format == "auto":
        return _guarded(_auto(rules), rules)
    make = _DECODERS.get(rules.format)
    if make is None:
        message = f"the stream {rules.stream!r} has the unknown format {rules.format!r}"
        raise SettingsError(message, f"set it to one of {', '.join(FORMATS)}")
    return _guarded(make(rules), rules)


def _guarded(decode: Decode, rules: StreamRules) -> Decode:
    max_bytes = rules.max_bytes

    def guarded(record: LogRecord) -> Sequence[Change | Truncation]:
        refuse_broken(record)
        size = len(record.value or b"") + len(record.key or b"")
        if size > max_bytes:
            message = f"the event has {size} bytes, over the limit of {max_bytes}"
            raise RejectedError(message, "raise tables.max_event_bytes")
        try:
            return decode(record)
        except RecursionError:
            raise too_deep() from None

    return guarded


def _auto(rules: StreamRules) -> Decode:
    decoders = {name: make(rules) for name, make in _DECODERS.items()}

    def decode(record: LogRecord) -> Sequence[Change | Truncation]:
        if record.value is None:
            # Its format cannot be told: for Debezium it is a delete only if the rules say so, and say whose.
            return decoders["debezium"](record)
        return decoders[format_of(record.value)](record)

    return decode


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

_FLAT = frozenset({"__deleted", "__op"})
_DYNAMODB = frozenset({"Records", "kinesis"})
_OURS = frozenset(
    {
        "table",
        "key",
        "op",
        "after",
        "before",
        "unavailable",
        "position",
        "time",
        "transaction",
        "initiator",
        "source",
    }
)
_HEARTBEAT = frozenset({"ts_ms", "ts_us", "ts_ns"})


def format_of(raw: bytes) -> Format:
    """Tell the format of an event by the names of its members; what they hold stays unread.

    :raises RejectedError: When it is no JSON object, or has the members of no format.
    """
    members = _members_of(raw)
    if "payload" in members and members.keys() <= {"schema", "payload"}:
        members = _members_of(bytes(members["payload"]))
    names = members.keys()
    if not names.isdisjoint(_FLAT):
        return "debezium-flat"
    if not names.isdisjoint(_DYNAMODB) or ("eventName" in names and "dynamodb" in names):
        return "dynamodb"
    if "metadata" in names and ("data" in names or "control" in names):
        return "dms"
    if _is_debezium(members):
        return "debezium"
    if "database" in names and "type" in names:
        return "maxwell"
    if names <= _OURS and ("op" in names or "after" in names):
        return "headrace"
    read_json(raw)  # What is not even JSON has another reason than its format.
    message = "the event has an unknown format"
    raise RejectedError(message, f"set `format` of [[tables.streams]] to one of {', '.join(_DECODERS)}")


def _is_debezium(members: Mapping[str, msgspec.Raw]) -> bool:
    names = members.keys()
    if "source" in names and bytes(members["source"]).startswith(b"{"):
        return not names.isdisjoint({"op", "ddl", "tableChanges"})
    # A transaction's begin or end, and a sign of life.
    return ("status" in names and "event_count" in names) or ("ts_ms" in names and names <= _HEARTBEAT)


def _members_of(raw: bytes) -> Mapping[str, msgspec.Raw]:
    try:
        return _members(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        read_json(raw)
        message = "the event is not a JSON object"
        raise RejectedError(message, "send one JSON object per event") from None
