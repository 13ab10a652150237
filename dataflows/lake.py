"""lake: conversations with their feedback and the context that was shown, one row each, for fine-tuning and analysis.

    conversations, ratings, comments, contexts → decode → lake
                                                   └→ dead letters

One writer joins them: an event may come in any order, twice or late, and the row is what all of them make of it. The
lake's working state is the truth about what has been taken in, so that the flow may start with or without its recovery
state and end in the same content.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import bytewax.operators as op
import msgspec
from bytewax.dataflow import Dataflow

from dataflows.barred import Barred
from dataflows.module import flow_of
from dataflows.outputs import keep_dead, write_to_store
from dataflows.told import erasures
from events.clock import system_clock
from events.dead_letters import DeadLetter
from events.erasure import Erasure
from events.errors import RejectedError
from events.feedback import FeedbackEvent, Point
from events.log import LogRecord, Mark, control_stream, original_of, replay_stream
from operators.attempt import try_each
from operators.feedback.configure import objectives
from operators.feedback.decode import Decoder
from stores.lake.choose import open_lake
from stores.lake.intake import LakeIntake
from stores.lake.rows import check_event
from stores.lake.working_size import read_working
from stores.log.choose import open_log
from stores.log.source import LogBatch, LogSource
from stores.settings import Settings

FLOW = "lake"


class Said(msgspec.Struct):
    """What one batch of the log holds of conversations; its mark is last."""

    arriving: list[FeedbackEvent | Erasure | Mark]
    dead: list[DeadLetter]


class Decoding:
    """Decodes batches of all streams of feedback. Metric points are passed over: they belong to no conversation.

    Marks tell the newest time of the events themselves: that of a record may be when it was recorded.

    :arg barred: Tells which events are of somebody who has been erased: they are passed over.
    """

    def __init__(self, settings: Settings, barred: Barred) -> None:
        self._barred = barred
        self._newest: dict[tuple[str, str], int] = {}
        feedback = settings.feedback
        ahead = round(feedback.ahead_seconds * 1000)
        self._decoders = {
            stream.name: Decoder(stream.format, stream.application, feedback.max_event_bytes, ahead, system_clock)
            for stream in feedback.streams
        }

    def batches(self, batches: Iterable[LogBatch]) -> list[Said]:
        """Decode batches one by one."""
        return [self._batch(batch) for batch in batches]

    def _batch(self, batch: LogBatch) -> Said:
        if batch.mark.source == control_stream(FLOW):
            gone, dead = erasures(FLOW, batch.records)
            return Said([*gone, batch.mark], dead)
        found = try_each(FLOW, "decode", batch.records, self._decode, _original)
        dead = [item for item in found if isinstance(item, DeadLetter)]
        records = [item for item in found if not isinstance(item, DeadLetter)]
        said = [event for events in records for event in self._barred.feedback(events)]
        mark = self._marked(batch.mark, (event.time for events in records for event in events))
        return Said([*(event for event in said if not isinstance(event, Point)), mark], dead)

    def _marked(self, mark: Mark, times: Iterable[int]) -> Mark:
        key = mark.source, mark.partition
        known = self._newest.get(key)
        newest = max(times if known is None else (known, *times), default=None)
        if newest is not None:
            self._newest[key] = newest
        return msgspec.structs.replace(mark, event_time=newest)

    def _decode(self, record: LogRecord) -> Sequence[tuple[FeedbackEvent, ...]]:
        original = _original(record)
        decoder = self._decoders.get(original.stream)
        if decoder is None:
            msg = f"the event comes from the stream {original.stream!r}, which is not configured"
            raise RejectedError(msg, "add it to [[feedback.streams]] in headrace.toml, or discard the dead letter")
        events = decoder.decode(original)
        for event in events:
            check_event(event)
        return [events]


def build(settings: Settings) -> Dataflow:
    """Wire the flow. Opens nothing: sources and stores open on the workers that use them."""
    objective = objectives(settings.feedback).of
    barred = Barred(settings)

    @functools.cache
    def applied() -> dict[tuple[str, str], int]:
        marks = read_working(settings.conversations_path).applied
        return {(mark.source, mark.partition): mark.offset for mark in marks}

    log = open_log(settings)
    streams = [*(stream.name for stream in settings.feedback.streams), replay_stream(FLOW)]

    def open_intake() -> LakeIntake:
        awaited = [(stream, str(partition)) for stream in streams for partition in log.partitions(stream)]
        return open_lake(settings, system_clock, objective, barred.said, awaited)

    flow = Dataflow(FLOW)
    source = LogSource(
        log,
        [*streams, control_stream(FLOW)],
        batch_size=settings.lake.batch_size,
        tail=settings.mode == "live",
        heartbeat_seconds=settings.feedback.heartbeat_seconds,
        clock=system_clock,
        start=lambda stream, partition: applied().get((stream, str(partition))),
        on_expired=settings.log.on_expired,
        reader=FLOW,
    )
    records = op.input("log", flow, source)
    decoded = op.flat_map_batch("decode", records, Decoding(settings, barred).batches)
    arriving: Any = op.flat_map("arriving", decoded, lambda batch: batch.arriving)
    dead = op.flat_map("dead", decoded, lambda batch: batch.dead)
    write_to_store(arriving, open_intake)
    keep_dead(dead, settings)
    return flow


def _original(record: LogRecord) -> LogRecord:
    return original_of(record, FLOW)


__getattr__ = flow_of(build)
