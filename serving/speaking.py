"""What is said here goes to the log, as from any other application: questions, answers, ratings, shown contexts.

Events are our own JSON, and are read once as the flows will read them before they are written: what a flow would give
up is refused here, to whoever said it. What has been served is told as far as it can be: it stays served in any case.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from events.clock import Clock, to_iso
from events.context import Context
from events.errors import HeadraceError, RejectedError
from events.feedback import FeedbackEvent
from events.log import LogRecord
from operators.feedback.decode import Decoder
from stores.log.base import Log
from stores.settings import Settings

_encode = msgspec.json.Encoder().encode
_PIECES = 200
"""Items of a context that are told at most."""
_CUT = "…"
"""Stands at the end of a text that was shortened."""
logger = logging.getLogger(__name__)


class Sayable(NamedTuple):
    """What can be said: events as the flows will read them, and the records that they will read them from."""

    events: tuple[FeedbackEvent, ...]
    records: list[LogRecord]


class Speaking:
    """Writes to the stream of feedback. Threads may share it.

    :arg settings: Name the stream, and how much of an event is taken.
    """

    def __init__(self, settings: Settings, log: Log, clock: Clock) -> None:
        feedback = settings.feedback
        names = [stream.name for stream in feedback.streams]
        self._log = log
        self._clock = clock
        self._application = settings.serving.application
        self._most_bytes = feedback.max_event_bytes
        self.stream = settings.serving.feedback_stream or (names[0] if names else "")
        ahead = round(feedback.ahead_seconds * 1000)
        self._decoder = Decoder("headrace", self._application, feedback.max_event_bytes, ahead, clock)
        # What was recorded stays as it was recorded.
        self._read = self.stream in names and settings.mode == "live"
        self._turn = threading.Lock()

    def prepare(self, conversation: str, events: list[dict[str, Any]]) -> Sayable:
        """Make events of a conversation ready to be said.

        :raises RejectedError: When an event says nothing that can be used, with the reason.
        :raises HeadraceError: When no flow reads what is said.
        """
        if not self._read:
            detail = "there is no stream of feedback that a live flow reads"
            raise HeadraceError(detail, "add [[feedback.streams]] to headrace.toml, or correct serving.feedback_stream")
        now = self._clock()
        common = {"conversation": conversation, "time": to_iso(now)}
        values = [_encoded(common | event) for event in events]
        records = [LogRecord(self.stream, 0, 0, now, conversation.encode(), value) for value in values]
        with self._turn:
            return Sayable(tuple(event for record in records for event in self._decoder.decode(record)), records)

    def say(self, sayable: Sayable) -> None:
        """Write what was made ready."""
        with self._turn:
            self._log.append(self.stream, sayable.records)

    def tell(self, conversation: str, event: dict[str, Any]) -> None:
        """Write an event of what has been served, with shorter texts where it is too large.

        What cannot be told is missing in the log, and no fault of whoever asked.
        """
        if not self._read:
            return
        try:
            self.say(self.prepare(conversation, [self._fitting(conversation, event)]))
        except HeadraceError as error:
            # Without its words: they may quote what was said.
            logger.warning("the %s %s was not told to the log: %s", event["type"], event["id"], type(error).__name__)

    def _fitting(self, conversation: str, event: dict[str, Any]) -> dict[str, Any]:
        """Return the event with the longest of its texts shortened until it is no larger than is taken."""
        event = {"conversation": conversation, **event}
        longest, fitting = max(map(len, _texts(event)), default=0), event
        while longest and len(_encoded(fitting)) > self._most_bytes:
            longest //= 2
            fitting = _shortened(event, longest)
        return fitting

    def turn(self, role: str, text: str, **beside: Any) -> dict[str, Any]:
        """Return the event of a turn; what is None or empty is left out."""
        given = {"application": self._application, **beside}
        return {"type": "turn", "role": role, "text": text, **{k: v for k, v in given.items() if v not in {None, ""}}}

    def shown(self, context: Context) -> dict[str, Any]:
        """Return the event of a context that was shown, with the person whose data it may hold."""
        items = [
            {
                "source": item.source,
                "document": item.place,
                "chunk": item.id,
                "as_of": to_iso(item.as_of),
                "lag": item.lag,
                "stale": item.stale,
                "text": "\n".join(filter(None, (item.text, item.warning))),
            }
            for item in context.items[:_PIECES]
        ]
        event = {"type": "context", "id": context.id, "time": to_iso(context.at), "items": items}
        return event | ({"person": context.person} if context.person else {})


def _encoded(event: dict[str, Any]) -> bytes:
    try:
        return _encode(event)
    except UnicodeEncodeError:
        detail = "a text holds half a character"
        raise RejectedError(detail, "send whole characters: no lone surrogates") from None


def _texts(event: dict[str, Any]) -> Iterator[str]:
    yield from (part["text"] for part in (event, *event.get("items", ())) if "text" in part)


def _shortened(event: dict[str, Any], longest: int) -> dict[str, Any]:
    """Return an event of which no text is longer than so many characters."""
    whole = dict(event)
    if "items" in event:
        whole["items"] = [_shortened(item, longest) for item in event["items"]]
    if len(event.get("text", "")) > longest:
        whole["text"] = event["text"][: longest - 1] + _CUT if longest else ""
    return whole
