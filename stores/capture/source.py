"""The Bytewax source that draws from a tap, and the intake that appends to the log what was drawn.

Invariant: a place is written only after everything before it has been appended, and confirmed to the source only after
it has been written. So a crash at any moment repeats some records, and loses none. What the log refuses is kept as a
dead letter, before the place as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import msgspec
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from typing_extensions import override

from events.clock import Clock
from events.dead_letters import DeadLetter
from events.errors import RejectedError
from events.log import LogRecord, Mark
from stores.capture.base import Drawn
from stores.capture.kept import KeptTap, OpenTap
from stores.capture.places import Place, Places, with_history
from stores.log.base import Log
from stores.sink import EpochWriter

CONFIRM_MILLIS = 500
"""Shortest time between two looks whether a place has been written, which is then confirmed to the source."""

_FIRST_NAP_MILLIS = 2
_LONGEST_NAP_MILLIS = 20
_MOST_REASON = 500
_FLOW, _STEP = "capture", "append"

Bury = Callable[[Sequence[DeadLetter]], None]
"""Keeps dead letters; they have reached the disk on return."""


class Batch(NamedTuple):
    """Records on their way to the log, from one tap.

    :arg drawn: The records, and the place behind them.
    :arg looked_at: When the look at the tap began (ms).
    :arg anew: Whether they are the first since the tap was opened at its beginning.
    """

    tap: str
    drawn: Drawn
    looked_at: int
    anew: bool = False


class TapSource(FixedPartitionedSource[Batch, None]):
    """Draws from one tap, by one worker of the cluster.

    Where to go on from stands in `places`, not in the engine's recovery state: it is there without one as well, and
    never behind it.

    :arg alone: See `KeptTap`.
    """

    def __init__(
        self, name: str, open_tap: OpenTap, places: Places, *, batch_size: int, clock: Clock, alone: bool = True
    ) -> None:
        self._name = name
        self._open = open_tap
        self._places = places
        self._batch_size = batch_size
        self._clock = clock
        self._alone = alone

    @override
    def list_parts(self) -> list[str]:
        return [self._name]

    @override
    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _TapPartition:
        tap = KeptTap(self._name, self._open, self._places, self._clock, alone=self._alone)
        return _TapPartition(self._name, tap, self._places, self._batch_size, self._clock)


class _TapPartition(StatefulSourcePartition[Batch, None]):
    def __init__(self, name: str, tap: KeptTap, places: Places, batch_size: int, clock: Clock) -> None:
        self._name = name
        self._tap = tap
        self._places = places
        self._batch_size = batch_size
        self._clock = clock
        self._confirmed: Any = None
        self._looked_at = clock()
        self._nap_millis = 0
        self._awake: datetime | None = None

    @override
    def next_batch(self) -> Iterable[Batch]:
        now = self._clock()
        if not 0 <= now - self._looked_at < CONFIRM_MILLIS:
            self._looked_at = now
            self._confirm()
        found = self._tap.draw(self._batch_size)
        if found is None:
            self._plan_nap(None)
            return []
        drawn, anew = found
        self._plan_nap(drawn)
        return [Batch(self._name, drawn, now, anew)]

    @override
    def next_awake(self) -> datetime | None:
        return self._awake

    @override
    def snapshot(self) -> None:
        return None

    @override
    def close(self) -> None:
        self._confirm()
        self._tap.close()

    def _confirm(self) -> None:
        written = self._places.read().get(self._name)
        if written is not None and written.place != self._confirmed:
            self._confirmed = written.place
            self._tap.confirm(written.place)

    def _plan_nap(self, drawn: Drawn | None) -> None:
        if drawn is not None and drawn.records:
            self._nap_millis, self._awake = 0, None
            return
        self._nap_millis = min(max(2 * self._nap_millis, _FIRST_NAP_MILLIS), _LONGEST_NAP_MILLIS)
        # The engine compares with the machine's own time.
        self._awake = datetime.now(timezone.utc) + timedelta(milliseconds=self._nap_millis)


class LogIntake(EpochWriter[Batch]):
    """Appends to the log what taps have drawn, and writes their places when the epoch closes.

    :arg log: All appends have reached it on their return.
    :arg bury: Keeps what the log refuses: asked again, it would refuse again, and nothing behind it would ever come.
    """

    def __init__(self, log: Log, places: Places, clock: Clock, bury: Bury) -> None:
        self._log = log
        self._places = places
        self._clock = clock
        self._bury = bury
        self._known = places.read()
        self._pending: dict[str, Place] = {}

    @override
    def write(self, items: Sequence[Batch]) -> None:
        by_stream: dict[str, list[LogRecord]] = {}
        for batch in items:
            for record in batch.drawn.records:
                by_stream.setdefault(record.stream, []).append(record)
        for stream, records in by_stream.items():
            self._append(stream, records)
        for batch in items:
            self._note(batch)

    @override
    def close_epoch(self, marks: Sequence[Mark]) -> None:
        del marks
        now = self._clock()
        for tap, place in self._pending.items():
            self._pending[tap] = with_history(place, self._known.get(tap), now)
        self._places.write(self._pending)
        self._known.update(self._pending)
        self._pending.clear()

    @override
    def identity(self) -> str:
        return "log"

    @override
    def close(self) -> None:
        """Nothing: the log is whole after each append."""

    def _append(self, stream: str, records: Sequence[LogRecord]) -> None:
        try:
            self._log.append(stream, records)
        except RejectedError as error:
            if len(records) == 1:
                self._bury([_letter(records[0], error)])
                return
            # By halves, in their order: few appends find one among thousands.
            middle = len(records) // 2
            self._append(stream, records[:middle])
            self._append(stream, records[middle:])

    def _note(self, batch: Batch) -> None:
        tap, drawn = batch.tap, batch.drawn
        if batch.anew:
            # What the log was known to hold says nothing of a source that is read from its beginning.
            self._pending.pop(tap, None)
            self._known.pop(tap, None)
        pending = self._pending.get(tap)
        before = pending or self._known.get(tap)
        count = len(drawn.records) + (before.records if before else 0)
        claims = [claim for claim in (pending.whole_at if pending else None, _claim(batch)) if claim is not None]
        self._pending[tap] = Place(
            drawn.place, drawn.event_time, drawn.caught_up, batch.looked_at, count, whole_at=max(claims, default=None)
        )


def _claim(batch: Batch) -> int | None:
    """Return as of when all that the source had is in this batch and those before it."""
    said = batch.drawn.true_at
    if said is None:
        return batch.looked_at if batch.drawn.caught_up else None
    return min(said, batch.looked_at)


def _letter(record: LogRecord, error: RejectedError) -> DeadLetter:
    reason = " ".join(str(error).split())[:_MOST_REASON]
    # It has no place on the log: what it says tells it from others of its key.
    digest = hashlib.blake2b(msgspec.msgpack.encode((record.event_time, record.value, record.headers)), digest_size=7)
    offset = int.from_bytes(digest.digest(), "big")
    return DeadLetter(_FLOW, _STEP, reason, msgspec.structs.replace(record, partition=0, offset=offset))
