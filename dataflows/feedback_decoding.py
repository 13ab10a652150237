"""From batches of the log to feedback events: each stream read as its settings say, replayed ones as they first came.

What cannot be read becomes a dead letter, at the price of nothing else in its batch.
"""

from __future__ import annotations

from collections.abc import Iterable

from dataflows.barred import Barred
from dataflows.told import erasures
from events.clock import Clock
from events.dead_letters import DeadLetter
from events.erasure import ERASED
from events.errors import RejectedError
from events.feedback import FeedbackEvent
from events.log import LogRecord, control_stream, original_of, replay_stream
from operators.attempt import try_each
from operators.feedback.batches import FeedbackBatch
from operators.feedback.decode import Decoder
from stores.feedback_settings import FeedbackSettings
from stores.log.source import LogBatch


class FeedbackDecoding:
    """Decodes batches of all streams of a flow that reads feedback.

    :arg flow: Name of the flow; its replay and control streams are read as such.
    :arg clock: Tells which events are ahead of their time.
    :arg barred: Tells which events are of somebody who has been erased: they are passed over.
    """

    def __init__(self, flow: str, settings: FeedbackSettings, clock: Clock, barred: Barred) -> None:
        self._flow = flow
        self._barred = barred
        ahead = round(settings.ahead_seconds * 1000)
        self._decoders = {
            stream.name: Decoder(stream.format, stream.application, settings.max_event_bytes, ahead, clock)
            for stream in settings.streams
        }

    @property
    def streams(self) -> list[str]:
        """Names of the streams to read."""
        return [*self._decoders, replay_stream(self._flow), control_stream(self._flow)]

    def batches(self, batches: Iterable[LogBatch]) -> list[FeedbackBatch]:
        """Decode batches one by one."""
        return [self._batch(batch) for batch in batches]

    def _batch(self, batch: LogBatch) -> FeedbackBatch:
        if batch.mark.source == control_stream(self._flow):
            gone, not_read = erasures(self._flow, batch.records)
            return FeedbackBatch([], batch.mark, not_read, gone)
        events: list[tuple[FeedbackEvent, LogRecord]] = []
        dead: list[DeadLetter] = []
        for item in try_each(self._flow, "decode", batch.records, self._decoded, self._original):
            if isinstance(item, DeadLetter):
                dead.append(item)
            else:
                said, record = item
                events += [(event, record) for event in self._barred.feedback(said)]
        return FeedbackBatch(events, batch.mark, dead)

    def _original(self, record: LogRecord) -> LogRecord:
        return original_of(record, self._flow)

    def _decoded(self, record: LogRecord) -> Iterable[tuple[tuple[FeedbackEvent, ...], LogRecord]]:
        if ERASED in record.headers:
            return ()
        record = self._original(record)
        decoder = self._decoders.get(record.stream)
        if decoder is None:
            msg = f"the event comes from the stream {record.stream!r}, which is not configured"
            raise RejectedError(msg, "add it to the streams in headrace.toml, or discard the dead letter")
        return [(decoder.decode(record), record)]
