"""What one batch of the log holds on its way to facts: whole batches cross between workers, not single events."""

from __future__ import annotations

import msgspec

from events.dead_letters import DeadLetter
from events.erasure import Erasure
from events.feedback import FeedbackEvent, Timed
from events.kpis import TooLate
from events.log import LogRecord, Mark


class FeedbackBatch(msgspec.Struct, frozen=True):
    """A decoded batch of one partition.

    :arg events: In the log's order, each with the record that it was decoded from.
    :arg mark: How far the partition has been read with them.
    :arg dead: What could not be decoded.
    :arg erasures: Persons who are to be forgotten.
    """

    events: list[tuple[FeedbackEvent, LogRecord]]
    mark: Mark
    dead: list[DeadLetter]
    erasures: list[Erasure] = []


class JudgedBatch(msgspec.Struct, frozen=True):
    """A batch of one partition, of which it is known what came too late.

    :arg timed: Events that still count, in the log's order.
    :arg late: How many do not, as one count; empty if there are none.
    :arg dead: What could not be decoded, and what came too late.
    :arg watermark: Newest event time of the partition so far; None before its first event, and where it has none.
    """

    timed: list[Timed]
    late: list[TooLate]
    dead: list[DeadLetter]
    mark: Mark
    watermark: int | None
