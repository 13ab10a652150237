"""Tells what came too late, by the event times of its own partition alone.

Whether an event still counts depends on what its partition brought before its record, never on how that was cut into
batches, on other partitions or on the clock. What is too late is counted, and kept as a dead letter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import bytewax.operators as op
from bytewax.dataflow import Stream, operator
from bytewax.operators import StatefulBatchLogic
from typing_extensions import override

from events.clock import to_iso
from events.dead_letters import DeadLetter
from events.feedback import FeedbackEvent, Timed, kind_of
from events.kpis import TooLate
from operators.feedback.batches import FeedbackBatch, JudgedBatch
from operators.feedback.rules import Limits

STEP = "lateness"
VERSION = 1
_HOUR = 3_600_000
_LONGEST = 100

Counted: TypeAlias = "tuple[int, int, int]"
"""Of what came too late last: the hour of event time in which it came, the offset of the first, how many."""

State: TypeAlias = "tuple[int, int | None, Counted | None]"
"""Version of the layout, newest event time, what is counted."""


class Lateness:
    """Judges the batches of one partition, in their order.

    What comes too late is counted by hour of the partition's own time and named by the offset of the hour's first: the
    same count however the partition is cut into batches, and not doubled when some of it is read again.
    """

    def __init__(self, flow: str, limits: Limits, exempt: frozenset[str], state: State | None = None) -> None:
        self._flow = flow
        self._horizon = limits.horizon
        self._exempt = exempt
        self._newest: int | None = None
        self._counted: Counted | None = None
        if state is not None:
            version, self._newest, self._counted = state
            if version != VERSION:
                message = f"lateness: state of layout {version} cannot be read by layout {VERSION}"
                raise ValueError(message)

    def judge(self, batch: FeedbackBatch) -> JudgedBatch:
        """Give each event the watermark at its place, and sort out what came too late.

        The events of a record, as of a whole conversation, do not make each other late.
        """
        if batch.mark.source in self._exempt:
            timed = [Timed(event, event.time) for event, _ in batch.events]
            return JudgedBatch(timed, [], batch.dead, batch.mark, None)
        timed, late, dead = [], {}, list(batch.dead)
        before = newest = self._newest
        offset: int | None = None
        last_dead: int | None = None
        for event, record in batch.events:
            if record.offset != offset:
                before, offset = newest, record.offset
            time = event.time
            if before is not None and time < before - self._horizon:
                count = self._count(batch, before, offset)
                late[count.id] = count
                # A record of several events is one dead letter.
                if offset != last_dead:
                    dead.append(DeadLetter(self._flow, STEP, self._reason(event, before), record))
                    last_dead = offset
                continue
            timed.append(Timed(event, time if before is None or time > before else before))
            if newest is None or time > newest:
                newest = time
        self._newest = newest
        return JudgedBatch(timed, list(late.values()), dead, batch.mark, newest)

    def snapshot(self) -> State:
        """Return the state as plain values."""
        return VERSION, self._newest, self._counted

    def _count(self, batch: FeedbackBatch, newest: int, offset: int) -> TooLate:
        hour = newest // _HOUR
        if self._counted is None or self._counted[0] != hour:
            self._counted = (hour, offset, 0)
        _, first, count = self._counted
        self._counted = (hour, first, count + 1)
        mark = batch.mark
        id_ = f"{mark.source}/{mark.partition}/{first}"
        return TooLate(id_, mark.source, mark.partition, hour * _HOUR, count + 1)

    def _reason(self, event: FeedbackEvent, newest: int) -> str:
        what = f"the {kind_of(event)} {event.id[:_LONGEST]!r} of {_moment(event.time)}"
        return (
            f"{what} came when its partition was at {_moment(newest)}: KPIs change for {self._horizon / _HOUR:g} hours "
            "(to count such events, raise feedback.horizon_hours and read the stream again from before them; "
            "a replay alone does not count them)"
        )


def _moment(time: int) -> str:
    try:
        return to_iso(time)
    except (OverflowError, ValueError, OSError):
        return f"{time} ms"


class _LatenessLogic(StatefulBatchLogic[FeedbackBatch, JudgedBatch, State]):
    def __init__(self, lateness: Lateness) -> None:
        self._lateness = lateness

    @override
    def on_batch(self, values: list[FeedbackBatch]) -> tuple[Iterable[JudgedBatch], bool]:
        return [self._lateness.judge(batch) for batch in values], StatefulBatchLogic.RETAIN

    @override
    def snapshot(self) -> State:
        return self._lateness.snapshot()


@operator
def lateness(
    step_id: str, up: Stream[FeedbackBatch], flow: str, limits: Limits, exempt: frozenset[str]
) -> Stream[JudgedBatch]:
    """Sort out what came too late to change anything.

    :arg step_id: Unique ID; part of the state's schema.
    :arg up: Batches of the log; those of one partition in their order.
    :arg flow: Name of the flow, for dead letters.
    :arg limits: How late is too late.
    :arg exempt: Streams that have no order of their own: nothing of them is too late here, and each event has its own
        time as watermark. What the join does not remember any more, it refuses.
    :returns: The batches, judged.
    """

    def shim_key(batch: FeedbackBatch) -> str:
        return f"{batch.mark.source}/{batch.mark.partition}"

    def shim_builder(state: State | None) -> _LatenessLogic:
        return _LatenessLogic(Lateness(flow, limits, exempt, state))

    keyed = op.key_on("partition", up, shim_key)
    judged = op.stateful_batch("judge", keyed, shim_builder)
    return op.key_rm("unkey", judged)
