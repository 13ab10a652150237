"""From a record of the log to the feedback that it says, whatever the format.

`auto` tells the format of each event by members that it must have and no other has. Whatever a record holds, it becomes
events or a rejection with the reason, whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

from events.clock import Clock
from events.erasure import ERASED
from events.errors import RejectedError
from events.feedback import FeedbackEvent
from events.log import LogRecord, refuse_broken
from operators.feedback.langfuse import is_langfuse, langfuse
from operators.feedback.misfits import unknown_type
from operators.feedback.otel import otel
from operators.feedback.otlp import is_otel
from operators.feedback.own import events_of, read_said
from operators.feedback.own_shapes import TYPES
from operators.feedback.reading import Origin, is_suspect, read_json

Format: TypeAlias = Literal["auto", "headrace", "otel", "langfuse"]
Translate: TypeAlias = Callable[[dict[str, Any]], Iterator[dict[str, Any]]]
_RECORD = {"key", "value", "time", "headers"}
"""What a line for `headrace log append --records` has."""


class Decoder:
    """Decodes the records of one stream.

    :arg format: How they are written; `auto` looks at each.
    :arg application: Application of events that name none.
    :arg max_bytes: Larger events are rejected unread.
    :arg ahead_millis: Events further ahead of the clock are rejected.
    """

    def __init__(self, format: Format, application: str, max_bytes: int, ahead_millis: int, clock: Clock) -> None:  # noqa: A002 - the settings' word
        self._format = format
        self._application = application
        self._max_bytes = max_bytes
        self._ahead = ahead_millis
        self._clock = clock
        self._own = format in {"auto", "headrace"}

    def decode(self, record: LogRecord) -> tuple[FeedbackEvent, ...]:
        """Return the events of a record; none if its content has been erased, or says nothing of what we count.

        :raises RejectedError: With what is wrong and the remedy.
        """
        if record.headers and ERASED in record.headers:
            return ()
        refuse_broken(record)
        raw = record.value
        if not raw:
            message = "the record has no value"
            raise RejectedError(message, "feedback is not taken back by an empty record: send it again, corrected")
        if len(raw) > self._max_bytes:
            message = f"the event has {len(raw)} bytes, over the limit of {self._max_bytes}"
            raise RejectedError(message, "shorten it at its source, or raise feedback.max_event_bytes")
        origin = Origin(record.event_time, self._clock() + self._ahead, self._application)
        said = read_said(raw) if self._own else None
        if said is not None:
            return events_of(said, origin, suspect=is_suspect(raw))
        value = read_json(raw)
        try:
            return events_of(list(self._translated(value)), origin)
        except RecursionError:
            message = "the event is nested too deeply to be read"
            raise RejectedError(message, "flatten it at its source") from None

    def _translated(self, value: Any) -> Iterator[dict[str, Any]]:
        for one in value if isinstance(value, list) else (value,):
            if not isinstance(one, dict):
                message = "the event is not a JSON object"
                raise RejectedError(message, "send one JSON object per event, or a list of them")
            translate = _TRANSLATE[_format_of(one) if self._format == "auto" else self._format]
            yield from translate(one)


def _format_of(value: dict[str, Any]) -> Format:
    if value.get("type") in TYPES:
        return "headrace"
    if is_otel(value):
        return "otel"
    if is_langfuse(value):
        return "langfuse"
    if "conversation" in value and "type" not in value:
        return "headrace"
    if value.keys() >= {"key", "value"} and value.keys() <= _RECORD:
        message = "the event is a whole record, with its key and value"
        raise RejectedError(message, "append lines with `key` and `value` by `headrace log append --records`")
    misspelt = unknown_type(value.get("type"))
    if misspelt is not None:
        raise misspelt
    message = "the event has an unknown format"
    raise RejectedError(message, "set `format` of [[feedback.streams]] to headrace, otel or langfuse")


def _itself(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield value


_TRANSLATE: dict[Format, Translate] = {"headrace": _itself, "otel": otel, "langfuse": langfuse}
