"""Feedback in Headrace's own JSON: one object, a list of them, or a whole conversation.

README.md beside this module says what each field means. Where an event has no id it gets one that is made of what it
says, so that an event that is sent twice counts once. All other formats are translated into this one: what can be
wrong with an event is found here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import msgspec

from events.errors import RejectedError
from events.feedback import Comment, FeedbackEvent, Point, ShownContext, Turn, kind_of
from operators.changes.duplicate_keys import MAX_DEPTH, written_members
from operators.feedback.misfits import misfit, unknown_type
from operators.feedback.own_events import said_events
from operators.feedback.own_shapes import ConversationSaid, Said, refusal
from operators.feedback.reading import Origin, has_control, is_suspect, read_json, seen

MOST_EVENTS = 10_000
"""In one record."""
_FOREVER = 2**62

_decode: Callable[[bytes], Said | list[Said]] = msgspec.json.Decoder(Said | list[Said]).decode
_encode = msgspec.json.Encoder().encode
_convert: Callable[[Any], Said] = functools.partial(msgspec.convert, type=Said)
_NAMES: dict[str, tuple[str, ...]] = {
    "turn": ("conversation", "id", "application", "model", "topic", "person", "context"),
    "rating": ("conversation", "id", "turn", "person"),
    "comment": ("conversation", "id", "turn", "person"),
    "context": ("conversation", "id", "person"),
    "point": ("id", "name"),
}
"""Fields that are compared with others."""
_plain = msgspec.json.Encoder(order="deterministic").encode


def to_json(event: FeedbackEvent) -> bytes:
    """Write an event as `from_json` reads it; what is as it would be without saying so is left out."""
    written: dict[str, Any] = {"type": kind_of(event)}
    for field in msgspec.structs.fields(event):
        value = getattr(event, field.name)
        if field.required or value != field.default:
            written[field.name] = value
    return _plain(written)


def from_json(raw: bytes, origin: Origin | None = None) -> tuple[FeedbackEvent, ...]:
    """Read a record's value.

    :raises RejectedError: With what is wrong and the remedy.
    """
    found = read_said(raw)
    return events_of(read_json(raw) if found is None else found, origin or Origin(0, _FOREVER), suspect=is_suspect(raw))


def read_said(raw: bytes) -> Said | list[Said] | None:
    """Read JSON that is as it should be, fast; None for any other, whatever is wrong with it."""
    try:
        found = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(found, ConversationSaid) or (isinstance(found, list) and ConversationSaid in map(type, found)):
        # Its parts are written with a `type` that need not have been there.
        read_json(raw)
        return found
    # Written again it has each key once: where that gives as many members, none was there twice.
    members = written_members(raw)
    if members is None or members != written_members(_encode(found)) or raw.count(b"{") + raw.count(b"[") > MAX_DEPTH:
        read_json(raw)
    return found


def events_of(value: Any, origin: Origin, *, suspect: bool = True) -> tuple[FeedbackEvent, ...]:
    """Return the events that `value` says: one of our shapes, the object of one, or a list of either.

    :arg suspect: Whether there may be control characters.
    :raises RejectedError: With what is wrong and the remedy.
    """
    if type(value) is list:
        if len(value) > MOST_EVENTS:
            message = f"{len(value)} events in one record"
            raise RejectedError(message, f"send at most {MOST_EVENTS} at once")
        found = tuple(event for said in value for event in _one(said, origin))
    else:
        found = _one(value, origin)
    return tuple(map(_clean, found)) if suspect else found


def _one(value: Any, origin: Origin) -> tuple[FeedbackEvent, ...]:
    return said_events(value if isinstance(value, Said) else _shaped(value), origin)


def _shaped(value: Any) -> Said:
    if type(value) is not dict:
        message = "the event is not a JSON object"
        raise RejectedError(message, "send one JSON object per event, or a list of them")
    try:
        return _convert(value)
    except msgspec.ValidationError as error:
        raise unknown_type(value.get("type")) or misfit(error, value) or refusal(error, value) from None


def _clean(event: FeedbackEvent) -> FeedbackEvent:
    """Drop control characters from texts.

    :raises RejectedError: When a name or an id has one: those are compared with others.
    """
    for field in _NAMES[kind_of(event)]:
        value = getattr(event, field)
        if isinstance(value, str) and has_control(value):
            message = f"`{field}` has a control character: {value[:40]!r}"
            raise RejectedError(message, "send names and ids without them")
    if isinstance(event, Point) and any(map(has_control, (*event.labels, *event.labels.values()))):
        message = "a label has a control character"
        raise RejectedError(message, "send names and ids without them")
    if isinstance(event, (Turn, Comment)):
        text = seen(event.text)
        return event if text is event.text else msgspec.structs.replace(event, text=text)
    if isinstance(event, ShownContext):
        items = tuple(msgspec.structs.replace(item, text=seen(item.text)) for item in event.items)
        return msgspec.structs.replace(event, items=items)
    return event
