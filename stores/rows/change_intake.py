"""What intakes of change events have in common: one commit a batch, and what is applied noted when its epoch closes.

What an intake remembers agrees with its store after each commit. After one that failed it does not, and all of it is
loaded again before anything else.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

import msgspec
from typing_extensions import override

from events.clock import Clock
from events.log import Applied, Mark
from stores.rows.base import APPLIED, RowWriter, applied_fact, applied_of
from stores.sink import EpochWriter

X = TypeVar("X")
Reached: TypeAlias = "dict[tuple[str, str], Applied]"


class ChangeIntake(EpochWriter[X]):
    """Drives a row store from a dataflow.

    :arg writer: The store; closed if what it holds cannot be loaded.
    :arg streams: Names of the streams that changes come from.
    :arg clock: Tells `applied_at`.
    :raises StoreError: When the store cannot be used.
    """

    def __init__(self, writer: RowWriter, streams: Collection[str], clock: Clock) -> None:
        self._store = writer
        self._streams = frozenset(streams)
        self._clock = clock
        self._applied: Reached = {}
        self._torn = False
        try:
            self._reload()
        except BaseException:
            writer.close()
            raise

    @abstractmethod
    def _load(self) -> None:
        """Take from the store what is to be remembered of it; `_applied` has been taken already."""

    @override
    def progress(self) -> int:
        return max((mark.applied_at for mark in self._applied.values()), default=0)

    @override
    def identity(self) -> str:
        return self._store.identity()

    @override
    def close(self) -> None:
        self._store.close()

    def _mend(self) -> None:
        if self._torn:
            self._reload()
            self._torn = False

    def _reload(self) -> None:
        self._applied = {(mark.source, mark.partition): mark for mark in applied_of(self._store.facts(APPLIED))}
        self._load()

    @contextmanager
    def _commit(self) -> Iterator[None]:
        try:
            with self._store.transaction():
                yield
        except BaseException:
            # What is in memory has gone on without the store.
            self._torn = True
            raise

    def _reached(self, marks: Sequence[Mark]) -> tuple[Reached, Mapping[str, bytes]]:
        """Return how far all partitions are when `marks` have been reached, and the facts that say what is new."""
        applied, now = dict(self._applied), self._clock()
        for mark in marks:
            key = mark.source, mark.partition
            applied[key] = applied_after(applied.get(key), mark, now)
        return applied, dict(applied_fact(mark) for key, mark in applied.items() if mark is not self._applied.get(key))

    def _behind(self, applied: Reached) -> int | None:
        """Return the event time of the slowest partition that is still catching up; None: there is none."""
        behind = (mark for mark in applied.values() if not mark.caught_up and mark.source in self._streams)
        return min((mark.event_time for mark in behind if mark.event_time is not None), default=None)


def applied_after(before: Applied | None, mark: Mark, now: int) -> Applied:
    """Return how far a partition is applied when `mark` has been reached: `before` itself if that adds nothing.

    What was read again from an earlier offset has been applied before, unless the log itself ends earlier by now.
    """
    if before is None:
        before = Applied(mark.source, mark.partition, -1, None, mark.read_at, caught_up=False, applied_at=now)
    positions, reached = dict(before.positions), dict(before.reached)
    for source, position in mark.positions.items():
        if source not in positions or position > positions[source]:
            positions[source], reached[source] = position, mark.seen_at
    after = msgspec.structs.replace(before, positions=positions, reached=reached)
    if mark.offset >= before.offset or mark.caught_up:
        times = [time for time in (before.event_time, mark.event_time) if time is not None]
        after = msgspec.structs.replace(
            after,
            offset=mark.offset,
            event_time=max(times, default=None),
            read_at=max(before.read_at, mark.read_at),
            caught_up=mark.caught_up,
        )
    return before if after == before else msgspec.structs.replace(after, applied_at=now)
