"""What is said here goes to the log, as from any other application: questions, answers, ratings, shown contexts.

Events are our own JSON, and are read once as the flows will read them before they are written: what a flow would give
up is refused here, to whoever said it.
"""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from events.clock import Clock, to_iso
from events.context import Context
from events.errors import HeadraceError
from events.feedback import FeedbackEvent
from events.log import LogRecord
from operators.feedback.decode import Decoder
from stores.log.base import Log
from stores.settings import Settings

_encode = msgspec.json.Encoder().encode
_PIECES = 200
"""Items of a context that are told at most."""


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
        self.stream = settings.serving.feedback_stream or (names[0] if names else "")
        ahead = round(feedback.ahead_seconds * 1000)
        self._decoder = Decoder("headrace", self._application, feedback.max_event_bytes, ahead, clock)
        # What was recorded stays as it was recorded.
        self._read = self.stream in names and settings.mode == "live"
        self._turn = threading.Lock()

    @property
    def heard(self) -> bool:
        """Whether there is a stream that a flow reads."""
        return self._read

    def say(self, conversation: str, events: list[dict[str, Any]]) -> tuple[FeedbackEvent, ...]:
        """Write events of a conversation; return them as the flows will read them.

        :raises RejectedError: When an event says nothing that can be used, with the reason; then none is written.
        :raises HeadraceError: When no flow reads what is said.
        """
        if not self._read:
            detail = "there is no stream of feedback that a live flow reads"
            raise HeadraceError(detail, "add [[feedback.streams]] to headrace.toml, or correct serving.feedback_stream")
        now = self._clock()
        key = conversation.encode()
        whole = [{"conversation": conversation, "time": to_iso(now), **event} for event in events]
        records = [LogRecord(self.stream, 0, 0, now, key, _encode(event)) for event in whole]
        with self._turn:
            said = tuple(event for record in records for event in self._decoder.decode(record))
            self._log.append(self.stream, records)
        return said

    def turn(self, role: str, text: str, **beside: Any) -> dict[str, Any]:
        """Return the event of a turn; what is None or empty is left out."""
        given = {"application": self._application, **beside}
        return {"type": "turn", "role": role, "text": text, **{k: v for k, v in given.items() if v not in {None, ""}}}

    def shown(self, context: Context) -> dict[str, Any]:
        """Return the event of a context that was shown."""
        items = [
            {
                "source": item.source,
                "document": item.place,
                "chunk": item.id,
                "as_of": to_iso(item.as_of),
                "lag": item.lag,
                "stale": item.stale,
                "text": item.text,
            }
            for item in context.items[:_PIECES]
        ]
        return {"type": "context", "id": context.id, "time": to_iso(context.at), "items": items}
