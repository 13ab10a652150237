"""The Bytewax source that draws from a tap, and the intake that appends to the log what was drawn.

Invariant: a place is written only after everything before it has been appended, and confirmed to the source only after
it has been written. So a crash at any moment repeats some records, and loses none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from typing_extensions import override

from events.clock import Clock
from events.log import LogRecord, Mark
from stores.capture.base import Drawn, Tap
from stores.capture.places import Place, Places, with_history
from stores.log.base import Log
from stores.sink import EpochWriter

CONFIRM_MILLIS = 500
"""Shortest time between two looks whether a place has been written, which is then confirmed to the source."""

_FIRST_NAP_MILLIS = 2
_LONGEST_NAP_MILLIS = 20
_logger = logging.getLogger(__name__)


class Batch(NamedTuple):
    """Records on their way to the log, from one tap, its place behind them, and when the look at it began (ms)."""

    tap: str
    drawn: Drawn
    looked_at: int


OpenTap = Callable[[Any], Tap]
"""Opens a tap at a place; None: at its beginning."""


class TapSource(FixedPartitionedSource[Batch, None]):
    """Draws from one tap, by one worker of the cluster.

    Where to go on from stands in `places`, not in the engine's recovery state: it is there without one as well, and
    never behind it.
    """

    def __init__(self, name: str, open_tap: OpenTap, places: Places, *, batch_size: int, clock: Clock) -> None:
        self._name = name
        self._open = open_tap
        self._places = places
        self._batch_size = batch_size
        self._clock = clock

    @override
    def list_parts(self) -> list[str]:
        return [self._name]

    @override
    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _TapPartition:
        known = self._places.read().get(self._name)
        tap = self._open(None if known is None else known.place)
        return _TapPartition(self._name, tap, self._places, self._batch_size, self._clock)


class _TapPartition(StatefulSourcePartition[Batch, None]):
    def __init__(self, name: str, tap: Tap, places: Places, batch_size: int, clock: Clock) -> None:
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
        drawn = self._tap.draw(self._batch_size)
        self._plan_nap(drawn)
        return [] if drawn is None else [Batch(self._name, drawn, now)]

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
    """

    def __init__(self, log: Log, places: Places, clock: Clock) -> None:
        self._log = log
        self._places = places
        self._clock = clock
        self._known = places.read()
        self._pending: dict[str, Place] = {}

    @override
    def write(self, items: Sequence[Batch]) -> None:
        by_stream: dict[str, list[LogRecord]] = {}
        for _, drawn, _ in items:
            for record in drawn.records:
                by_stream.setdefault(record.stream, []).append(record)
        for stream, records in by_stream.items():
            self._log.append(stream, records)
        for tap, drawn, looked_at in items:
            before = self._pending.get(tap) or self._known.get(tap)
            count = len(drawn.records) + (before.records if before else 0)
            self._pending[tap] = Place(drawn.place, drawn.event_time, drawn.caught_up, looked_at, count)

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
