"""How records of the log go to what they are delivered to: each once, in the order of its partition.

Invariant: that a record has been taken is noted after its delivery, in the same commit as what a deliverer holds of it.
Replays of the last epochs are passed over; only a crash between a delivery elsewhere and the note of it repeats some.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from typing_extensions import override

from events.clock import Clock
from events.dead_letters import DeadLetter
from events.erasure import ERASED
from events.errors import RejectedError
from events.log import LogRecord, Mark, original_of, refuse_broken
from stores.delivery.base import Deliverer, Refused
from stores.delivery.outbox import Outbox, Taken
from stores.rows.change_intake import applied_after
from stores.sink import EpochWriter

_MOST_REASON = 500
_logger = logging.getLogger(__name__)

Records = tuple[LogRecord, ...]


class DeliveryIntake(EpochWriter[Records]):
    """Drives one deliverer from a dataflow.

    :arg flow: Name under which its dead letters are kept, and replayed.
    :arg step: Name of the step in them.
    :arg bury: Keeps dead letters.
    :arg ends: Returns the offset behind the newest record of a stream's partition.
    :arg batch_size: Records that are delivered at once, at most.
    :arg finish: Whether to deliver at the end what a deliverer still holds: the streams do not go on.
    """

    def __init__(
        self,
        flow: str,
        step: str,
        outbox: Outbox,
        deliverer: Deliverer,
        *,
        bury: Callable[[Sequence[DeadLetter]], None],
        ends: Callable[[str, int], int],
        clock: Clock,
        batch_size: int,
        finish: bool = False,
    ) -> None:
        self._flow = flow
        self._step = step
        self._outbox = outbox
        self._deliverer = deliverer
        self._bury = bury
        self._clock = clock
        self._batch_size = batch_size
        self._finish = finish
        self._applied = {(mark.source, mark.partition): mark for mark in outbox.applied()}
        self._taken = self._agreed(outbox.taken(), ends)
        self._closed = False

    @override
    def write(self, items: Sequence[Records]) -> None:
        fresh = [record for records in items for record in records if self._is_fresh(record)]
        for begin in range(0, len(fresh), self._batch_size):
            self._take(fresh[begin : begin + self._batch_size])
            self._deliverer.settle()

    @override
    def close_epoch(self, marks: Sequence[Mark]) -> None:
        noted = []
        now = self._clock()
        for mark in marks:
            key = mark.source, mark.partition
            before = self._applied.get(key)
            after = self._applied[key] = applied_after(before, mark, now)
            if after is not before:
                noted.append(after)
        if noted:
            self._outbox.note(noted)
        self._deliverer.settle()

    @override
    def identity(self) -> str:
        return self._outbox.identity

    @override
    def progress(self) -> int:
        return self._outbox.progress

    @override
    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            if self._finish:
                self._deliverer.finish()
        finally:
            self._deliverer.close()
            self._outbox.close()

    def _is_fresh(self, record: LogRecord) -> bool:
        key = record.stream, record.partition
        known = self._taken.get(key)
        if known is not None and record.offset <= known:
            return False
        self._taken[key] = record.offset
        return True

    def _take(self, records: Sequence[LogRecord]) -> None:
        taken: Taken = {(record.stream, record.partition): record.offset for record in records}
        dead = [Refused(record, fault) for record in records if (fault := _fault(record))]
        whole = [record for record in records if _fault(record) is None and ERASED not in record.headers]
        with self._outbox.transaction():
            refused = self._deliverer.deliver([original_of(record, self._flow) for record in whole])
            # Before the commit: what it says is taken is either delivered or kept as a dead letter.
            self._bury_all([*dead, *refused])
            self._outbox.take(taken)

    def _bury_all(self, refused: Iterable[Refused]) -> None:
        letters = [
            DeadLetter(
                self._flow, self._step, " ".join(str(error).split())[:_MOST_REASON], original_of(record, self._flow)
            )
            for record, error in refused
        ]
        if letters:
            self._bury(letters)

    def _agreed(self, taken: Taken, ends: Callable[[str, int], int]) -> Taken:
        """Return what was taken of the log that there is; a partition that ends before was made anew."""
        agreed: Taken = {}
        for (stream, partition), offset in taken.items():
            if offset < ends(stream, partition):
                agreed[stream, partition] = offset
                continue
            _logger.warning("%s/%d ends before what was taken of it: it is read as another one", stream, partition)
            self._outbox.forget(stream, partition)
        return agreed


def _fault(record: LogRecord) -> RejectedError | None:
    try:
        refuse_broken(record)
    except RejectedError as fault:
        return fault
    return None
