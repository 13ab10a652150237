"""KPIs in windows of event time, as absolute values: one for each window that a batch has changed.

What is shown of a window in the end is a function of the set of changes: nothing waits, nothing depends on timers, on
batches or on the number of workers. What can never change any more is forgotten when the frontier says so, and never
begins anew: a part of a window must not stand for the whole.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import bytewax.operators as op
from bytewax.dataflow import Stream, operator
from bytewax.operators import KeyedStream, StatefulBatchLogic
from typing_extensions import override

from events.kpis import FactChange, Frontier, KpiValue
from operators.buckets import BUCKETS, Bucket, Snapshot
from operators.feedback.combine import Combiner, Delta
from operators.feedback.lanes import Lane, Plan, Tally
from operators.feedback.rules import KpiRule, Limits
from operators.feedback.sessions import Sessions

SLICES = 64
"""A frontier is told to so many slices of the buckets, one after the other."""

logger = logging.getLogger(__name__)

Sent: TypeAlias = "Delta | Frontier"


class _Touched:
    """What a batch has done to one entry.

    :arg changed: By KPI. Of a window: what was told of it before; of sessions: changes by moment.
    """

    __slots__ = ("changed", "delta", "watermark")

    def __init__(self, delta: Delta) -> None:
        self.delta = delta
        self.watermark = delta.watermark
        self.changed: dict[str, Any] = {}


class WindowBucket(Bucket[Sent, KpiValue]):
    """Keeps what was counted in windows, and tells what a window is when it has changed.

    Entry of a window: its end, tallies by KPI, 0. Entry of all sessions of one group: None, sessions by KPI, the gap.
    The watermark is the frontier's.

    :arg dropped: Told how many changes of windows came when those were forgotten.
    """

    def __init__(self, plan: Plan, limits: Limits, dropped: Callable[[int], None]) -> None:
        super().__init__()
        self._lanes = plan.lanes
        self._kpis = {name: kpi for lane in plan.lanes for name, kpi in lane.kpis.items()}
        self._still = limits.horizon
        self._dropped = dropped
        self._touched: dict[str, _Touched] = {}

    @override
    def event_time(self, value: Sent) -> int | None:
        return value.time if isinstance(value, Frontier) else None

    @override
    def take(self, items: Iterable[tuple[str, Sent]]) -> list[KpiValue]:
        super().take(items)
        out: list[KpiValue] = []
        for id_, touched in self._touched.items():
            lane = self._lanes[touched.delta.lane]
            out += (self._changed_window if lane.window.size else self._changed_sessions)(id_, lane, touched)
        self._touched.clear()
        return out

    @override
    def step(self, id_: str, value: Sent) -> Iterable[KpiValue]:
        if isinstance(value, Frontier):
            self._forget(value.time - self._still)
            return ()
        index, _, start, watermark, tallies = value
        lane = self._lanes[index]
        end = lane.end_of(start)
        if self.watermark is not None and end <= self.watermark - self._still:
            self._dropped(1)
            return ()
        touched = self._touched.get(id_)
        if touched is None:
            touched = self._touched[id_] = _Touched(value)
        elif watermark > touched.watermark:
            touched.watermark = watermark
        if lane.window.size:
            self._count(id_, lane, end, tallies, touched.changed)
        else:
            for name, tally in tallies.items():
                moments = touched.changed.setdefault(name, {})
                moments[start] = lane.kpis[name].merge(moments.get(start), tally)
        return ()

    def _count(self, id_: str, lane: Lane, end: int, tallies: dict[str, Tally], before: dict[str, Any]) -> None:
        entry = self.entries.get(id_)
        if entry is None:
            entry = self.entries[id_] = (end, {}, 0)
        known = entry[1]
        for name, tally in tallies.items():
            kpi = lane.kpis[name]
            counted = known.get(name)
            if name not in before:
                # A tally of plain numbers stays as it is, so that its outcome can wait until it is asked for.
                before[name] = counted if kpi.aggregate.plain else kpi.outcome(counted, lane.window.size)
            known[name] = kpi.merge(counted, tally)

    def _changed_window(self, id_: str, lane: Lane, touched: _Touched) -> Iterable[KpiValue]:
        end, known, _ = self.entries[id_]
        _, group, start, _, _ = touched.delta
        window, length, watermark, pairs = lane.window.name, lane.window.size, touched.watermark, lane.named(group)
        found: list[KpiValue] = []
        for name, before in touched.changed.items():
            kpi = lane.kpis[name]
            tally = known[name]
            outcome = kpi.outcome(tally, length)
            if kpi.aggregate.plain and (before is None or before[:2] != tally[:2]):
                differs = outcome[1] > 0 or (before is not None and before[0] > 0)
            else:
                old = kpi.outcome(before, length) if kpi.aggregate.plain else before
                differs = outcome != old and (outcome[1] > 0 or old[1] > 0)
            if differs:
                value, count, late, examples = outcome
                found.append(KpiValue(kpi.name, window, start, end, pairs, value, count, late, examples, watermark))
            if tally[0] <= 0 and kpi.blank(tally):
                del known[name]
        if not known:
            del self.entries[id_]
        return found

    def _changed_sessions(self, id_: str, lane: Lane, touched: _Touched) -> Iterable[KpiValue]:
        gap, window, watermark = lane.window.gap, lane.window.name, touched.watermark
        _, known, _ = self.entries.setdefault(id_, (None, {}, gap))
        pairs = lane.named(touched.delta.group)
        for name, moments in touched.changed.items():
            kpi = lane.kpis[name]
            sessions = Sessions(kpi, gap, known.get(name))
            for start, end, (value, count, late, examples) in sessions.apply(moments):
                yield KpiValue(kpi.name, window, start, end, pairs, value, count, late, examples, watermark)
            known[name] = sessions.state
            if sessions.is_empty():
                del known[name]
        if not known:
            del self.entries[id_]

    def _forget(self, limit: int) -> None:
        """Forget what nothing that may still come can change."""
        for id_, (end, known, gap) in list(self.entries.items()):
            if end is None:
                self._forget_sessions(known, gap, limit)
            if not known or (end is not None and end <= limit):
                del self.entries[id_]

    def _forget_sessions(self, known: dict[str, Any], gap: int, limit: int) -> None:
        for name in list(known):
            kpi = self._kpis.get(name)
            if kpi is None:
                # The settings have no such KPI any more.
                del known[name]
                continue
            sessions = Sessions(kpi, gap, known[name])
            sessions.forget(limit)
            if sessions.is_empty():
                del known[name]


class Dropped:
    """Counts what came too late to change a window, and logs the count each time it has doubled.

    :arg count: So far, on this worker.
    """

    def __init__(self) -> None:
        self.count = 0
        self._next = 1

    def __call__(self, count: int) -> None:
        """Count `count` changes of windows more."""
        self.count += count
        if self.count >= self._next:
            logger.info("%d changes of windows came when those had ended longer ago than the horizon", self.count)
            while self._next <= self.count:
                self._next *= 2


class _WindowLogic(StatefulBatchLogic[list[tuple[str, Sent]], KpiValue, Snapshot]):
    def __init__(self, bucket: WindowBucket) -> None:
        self._bucket = bucket

    @override
    def on_batch(self, values: list[list[tuple[str, Sent]]]) -> tuple[Iterable[KpiValue], bool]:
        return self._bucket.take(item for items in values for item in items), StatefulBatchLogic.RETAIN

    @override
    def snapshot(self) -> Snapshot:
        return self._bucket.snapshot()


def to_buckets(combiner: Combiner, items: Iterable[FactChange | Frontier]) -> list[tuple[str, list[tuple[str, Sent]]]]:
    """Combine the changes among `items`, and address all to buckets: a frontier to its slice, after the rest."""
    lanes = combiner.plan.lanes
    groups: dict[str, list[tuple[str, Sent]]] = {}
    changes: list[FactChange] = []
    frontiers: list[Frontier] = []
    for item in items:
        if isinstance(item, Frontier):
            frontiers.append(item)
        else:
            changes.append(item)
    for delta in combiner.combine(changes):
        lane = lanes[delta.lane]
        id_ = lane.id_of(delta.group, delta.start)
        groups.setdefault(lane.bucket_of(id_, delta.start), []).append((id_, delta))
    for frontier in frontiers:
        numbers = range(frontier.turn, BUCKETS, SLICES) if frontier.turn >= 0 else range(BUCKETS)
        for number in numbers:
            groups.setdefault(f"{number:04d}", []).append(("", frontier))
    return list(groups.items())


@operator
def windows(
    step_id: str,
    up: Stream[FactChange | Frontier],
    rules: Sequence[KpiRule],
    limits: Limits,
    dropped: Callable[[int], None] | None = None,
) -> Stream[KpiValue]:
    """Keep KPIs in windows of event time.

    :arg step_id: Unique ID; part of the state's schema.
    :arg up: Changes of facts, those of one fact from one worker in their order; and frontiers, each for one slice of
        the buckets (`turn`; negative: for all), so that what can never change any more is forgotten.
    :arg rules: The KPIs.
    :arg limits: When a change is late for a window, and when it does not count any more.
    :arg dropped: Told how many changes of windows came too late to count; default: the log says so, ever more rarely.
    :returns: What KPIs are in the windows that a batch has changed: values that stand for themselves, to be upserted
        by KPI, window, begin and group; with a count of 0, the window is gone.
    """
    told = dropped or Dropped()
    combiner = Combiner(rules, limits, told)

    def shim_combine(items: list[FactChange | Frontier]) -> Iterable[tuple[str, list[tuple[str, Sent]]]]:
        return to_buckets(combiner, items)

    def shim_builder(state: Snapshot | None) -> _WindowLogic:
        bucket = WindowBucket(combiner.plan, limits, told)
        if state is not None:
            bucket.resume(state)
        return _WindowLogic(bucket)

    # Each batch has been combined before it crosses workers, and crosses in one list for each bucket.
    combined: KeyedStream[list[tuple[str, Sent]]] = op.flat_map_batch("combine", up, shim_combine)
    stepped = op.stateful_batch("step", combined, shim_builder)
    return op.key_rm("unkey", stepped)
