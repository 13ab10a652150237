"""Tells up to which event time everything has come, as far as is known, and been through all steps.

It is the least watermark of all partitions that still bring something, as of the last closed epoch: what was read in it
has arrived everywhere. It never goes back. Nothing here waits or wakes up: without progress marks nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import bytewax.operators as op
from bytewax.dataflow import Stream, operator
from bytewax.operators import StatefulBatchLogic
from typing_extensions import override

from events.kpis import Frontier
from events.log import Mark
from operators.buckets import SLICES
from operators.feedback.batches import JudgedBatch
from operators.feedback.rules import Limits
from operators.feedback.slices import LANE

VERSION = 1
GONE = 10
"""A partition of which nothing is heard for so many times the idle time, not even that it is idle, is gone."""
STEPS = 16
"""A slice of the buckets is told of a frontier when that has moved on by this part of the horizon."""

Progress: TypeAlias = "tuple[Mark, int | None]"
"""A mark, and the watermark of its partition there."""

Partition: TypeAlias = "tuple[int | None, bool, int, int]"
"""Watermark, whether caught up, when it was read last, when its watermark moved last (both ms since epoch)."""

State: TypeAlias = "tuple[int, dict[str, Partition], int | None, list[int], int]"
"""Version of the layout, the partitions, the time told last, that told to each slice, which slice is next."""


class Frontiers:
    """Follows the partitions, and says how far they are when an epoch has closed.

    A partition that has not had an event yet holds everybody up until it is caught up: nobody knows where it begins. In
    live mode, one that is idle holds nobody up: caught up, and without a newer event for `idle_millis`; while all are,
    time goes on by their clock. In replay mode, neither does one that has been read to its end.

    :arg horizon: Milliseconds; paces what the buckets are told.
    """

    def __init__(self, *, horizon: int, idle_millis: int, live: bool, state: State | None = None) -> None:
        self._step = max(1, horizon // STEPS)
        self._idle_millis = idle_millis
        self._live = live
        self._partitions: dict[str, Partition] = {}
        self._told: int | None = None
        self._slices: list[int] = []
        self._turn = 0
        self._closed: tuple[int, int] | None = None
        self._began_at: int | None = None
        if state is not None:
            version, self._partitions, self._told, self._slices, self._turn = state
            if version != VERSION:
                message = f"frontier: state of layout {version} cannot be read by layout {VERSION}"
                raise ValueError(message)
            self._closed = self._reached()

    def take(self, marks: Iterable[Progress]) -> list[Frontier]:
        """Take in progress; return what follows from the epoch that closed before it."""
        told = self._tell()
        for mark, watermark in marks:
            self._follow(mark, watermark)
        return told

    def end(self) -> list[Frontier]:
        """Return what follows from all that was taken in, there being no more to come."""
        self._closed = self._reached(ended=True)
        return self._tell()

    def close_epoch(self) -> State:
        """Note that an epoch has closed; return the state."""
        self._closed = self._reached()
        return VERSION, self._partitions, self._told, self._slices, self._turn

    def _follow(self, mark: Mark, watermark: int | None) -> None:
        if self._began_at is None:
            self._began_at = mark.read_at
        name = f"{mark.source}/{mark.partition}"
        before = self._partitions.get(name)
        if watermark is None and before is not None:
            watermark = before[0]
        moved = before is None or before[0] != watermark
        advanced_at = mark.read_at if before is None or moved else before[3]
        self._partitions[name] = (watermark, mark.caught_up, mark.read_at, advanced_at)

    def _reached(self, *, ended: bool = False) -> tuple[int, int] | None:
        """Return how far everything is, and the newest event time: state is not forgotten by the clock alone."""
        known = {name: partition[0] for name, partition in self._partitions.items() if partition[0] is not None}
        if not known:
            return None
        now = max(read_at for _, _, read_at, _ in self._partitions.values())
        if not ended and any(self._is_unread(partition, now) for partition in self._partitions.values()):
            return None
        newest = max(known.values())
        holding = [watermark for name, watermark in known.items() if not self._is_over(self._partitions[name], now)]
        if holding:
            return min(holding), newest
        if not self._live:
            return newest, newest
        read = [self._partitions[name][2] for name in known]
        clock = min((read_at for read_at in read if not self._is_gone(read_at, now)), default=now)
        return max(newest, clock - self._idle_millis), newest

    def _is_unread(self, partition: Partition, now: int) -> bool:
        watermark, caught_up, read_at, _ = partition
        return watermark is None and not caught_up and not (self._live and self._is_gone(read_at, now))

    def _is_over(self, partition: Partition, now: int) -> bool:
        _, caught_up, read_at, advanced_at = partition
        if not self._live:
            return caught_up
        return (caught_up and read_at - advanced_at >= self._idle_millis) or self._is_gone(read_at, now)

    def _is_gone(self, read_at: int, now: int) -> bool:
        # After a pause, every partition has time to be heard of again.
        heard_at = read_at if self._began_at is None else max(read_at, self._began_at)
        return now - heard_at > GONE * self._idle_millis

    def _tell(self) -> list[Frontier]:
        if self._closed is None:
            return []
        (reached, newest), self._closed = self._closed, None
        time = reached if self._told is None else max(reached, self._told)
        out = [] if time == self._told else [Frontier(time, LANE)]
        self._told = time
        time = min(time, newest)
        if not self._slices:
            # There is nothing to forget yet.
            self._slices = [time] * SLICES
        for turn in range(self._turn, self._turn + SLICES):
            if time - self._slices[turn % SLICES] >= self._step:
                self._slices[turn % SLICES] = time
                self._turn = (turn + 1) % SLICES
                return [*out, Frontier(time, turn % SLICES)]
        return out


class _FrontierLogic(StatefulBatchLogic[Progress, Frontier, State]):
    def __init__(self, frontiers: Frontiers) -> None:
        self._frontiers = frontiers

    @override
    def on_batch(self, values: list[Progress]) -> tuple[Iterable[Frontier], bool]:
        return self._frontiers.take(values), StatefulBatchLogic.RETAIN

    @override
    def on_eof(self) -> tuple[Iterable[Frontier], bool]:
        return self._frontiers.end(), StatefulBatchLogic.RETAIN

    @override
    def snapshot(self) -> State:
        return self._frontiers.close_epoch()


@operator
def frontier(
    step_id: str, up: Stream[JudgedBatch], *, idle_millis: int, live: bool, horizon: int = Limits().horizon
) -> Stream[Frontier]:
    """Tell how far everything is.

    :arg step_id: Unique ID; part of the state's schema.
    :arg up: Batches of all partitions, those of each in their order.
    :arg idle_millis: In live mode, a partition that is quiet for so long holds nobody up.
    :arg live: Whether more is to be waited for at the end of a partition.
    :arg horizon: Milliseconds that state is kept; how often the buckets are told goes by it.
    :returns: For whoever sees everything in one place, each frontier with the turn `LANE`, when it has moved on; for
        the buckets one slice after the other, one in an epoch at most. When a replay has been read to its end the last
        frontier follows at once: whoever minds that it may overtake the last data waits for the epoch to close.
    """

    def shim_progress(batches: Sequence[JudgedBatch]) -> Iterable[tuple[str, Progress]]:
        # Events without a watermark are of a stream that has no order: no partition of those is waited for.
        ordered = (batch for batch in batches if batch.watermark is not None or not batch.timed)
        return [("all", (batch.mark, batch.watermark)) for batch in ordered]

    def shim_builder(state: State | None) -> _FrontierLogic:
        return _FrontierLogic(Frontiers(horizon=horizon, idle_millis=idle_millis, live=live, state=state))

    progress = op.flat_map_batch("progress", up, shim_progress)
    told = op.stateful_batch("frontier", progress, shim_builder)
    return op.key_rm("unkey", told)
