"""KPIs in windows of event time, as absolute values: one for each window that a batch has changed.

What is shown of a window in the end is a function of the set of changes: nothing waits, nothing depends on timers, on
batches or on the number of workers. What can never change any more is forgotten when the frontier says so, and never
begins anew: a part of a window must not stand for the whole.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import bytewax.operators as op
from bytewax.dataflow import Stream, operator
from bytewax.operators import KeyedStream
from typing_extensions import override

from events.kpis import FactChange, Frontier, KpiValue
from operators.buckets import Bucket, BucketLogic, Entry, Snapshot, buckets_of_slice
from operators.feedback.combine import Combiner, Delta, merged
from operators.feedback.lanes import Lane, Plan, Tally
from operators.feedback.rules import KpiRule, Limits
from operators.feedback.sessions import Sessions

logger = logging.getLogger(__name__)

Sent: TypeAlias = "Delta | Frontier"


class WindowBucket(Bucket[Sent, KpiValue]):
    """Keeps what was counted in windows, and tells what a window is when it has changed.

    Entry of a window: its end, names of KPIs, a tally of each. Entry of all sessions of one group: None, the gap, state
    of the sessions by KPI. The watermark is the frontier's.

    :arg dropped: Told how many changes of windows came when those were forgotten.
    """

    def __init__(self, plan: Plan, limits: Limits, dropped: Callable[[int], None]) -> None:
        super().__init__()
        self._lanes = plan.lanes
        self._kpis = {kpi.id: kpi for lane in plan.lanes for kpi in lane.kpis}
        self._still = limits.horizon
        self._dropped = dropped

    @override
    def step(self, id_: str, value: Sent) -> Iterable[KpiValue]:
        return self.take(((id_, value),))

    @override
    def take(self, items: Iterable[tuple[str, Sent]]) -> list[KpiValue]:
        """Take in changes and frontiers; return each window that is not as before, once."""
        out: list[KpiValue] = []
        frontier: Frontier | None = None
        windows: dict[str, Delta] = {}
        sessions: dict[str, dict[int, Delta]] = {}
        lanes, limit = self._lanes, -math.inf if self.watermark is None else self.watermark - self._still
        for id_, value in items:
            if isinstance(value, Frontier):
                frontier = value
                continue
            lane, start = lanes[value.lane], value.start
            if start + lane.span <= limit:
                self._dropped(1)
            elif lane.window.size:
                windows[id_] = merged(lane, windows[id_], value) if id_ in windows else value
            else:
                moments = sessions.setdefault(id_, {})
                moments[start] = merged(lane, moments[start], value) if start in moments else value
        for id_, delta in windows.items():
            self._count(id_, lanes[delta.lane], delta, out)
        for id_, moments in sessions.items():
            out += self._count_sessions(id_, lanes[next(iter(moments.values())).lane], moments)
        if frontier is not None and (self.watermark is None or frontier.time > self.watermark):
            self.watermark = frontier.time
            self._forget(frontier.time - self._still)
        return out

    def _count(self, id_: str, lane: Lane, delta: Delta, out: list[KpiValue]) -> None:
        _, group, start, watermark, changes = delta
        window, length = lane.window.name, lane.window.size
        end, pairs = start + length, lane.named(group)
        entry = self.entries.get(id_)
        kept: list[Any] = [end, lane.names]
        for kpi, known, change in zip(lane.kpis, _tallies(lane, entry), changes, strict=True):
            if change is None:
                kept.append(known)
                continue
            # Where the counts stay, a look at the outcome must tell whether anything changes, before it does.
            before = None if change[0] or change[1] else kpi.outcome(known, length)
            there = known is not None and known[0] > 0
            tally = kpi.merge(known, change)
            outcome = kpi.outcome(tally, length)
            if outcome != before and (there or tally[0] > 0):
                out.append(KpiValue(kpi.name, window, start, end, pairs, *outcome, watermark))
            kept.append(None if tally[0] <= 0 and kpi.blank(tally) else tally)
        if any(kept[2:]):
            self.entries[id_] = tuple(kept)
        else:
            self.entries.pop(id_, None)

    def _count_sessions(self, id_: str, lane: Lane, deltas: dict[int, Delta]) -> Iterable[KpiValue]:
        window = lane.window
        _, _, known = self.entries.setdefault(id_, (None, window.gap, {}))
        group = next(iter(deltas.values())).group
        pairs, watermark = lane.named(group), max(delta.watermark for delta in deltas.values())
        for number, kpi in enumerate(lane.kpis):
            changes = {start: tally for start, delta in deltas.items() if (tally := delta.tallies[number]) is not None}
            if not changes:
                continue
            sessions = Sessions(kpi, window.gap, known.get(kpi.id))
            for start, end, outcome in sessions.apply(changes):
                yield KpiValue(kpi.name, window.name, start, end, pairs, *outcome, watermark)
            known[kpi.id] = sessions.state
            if sessions.is_empty():
                del known[kpi.id]
        if not known:
            del self.entries[id_]

    def _forget(self, limit: int) -> None:
        """Forget what nothing that may still come can change."""
        for id_, entry in list(self.entries.items()):
            if entry[0] is not None:
                if entry[0] <= limit:
                    del self.entries[id_]
                continue
            _, gap, known = entry
            self._forget_sessions(known, gap, limit)
            if not known:
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


def _tallies(lane: Lane, entry: Entry | None) -> Sequence[Tally | None]:
    """Return what is known of each KPI of a lane."""
    if entry is None:
        return [None] * len(lane.kpis)
    if entry[1] == lane.names:
        return entry[2:]
    # The settings had other KPIs: those that are the same go on, the others are not there any more.
    known = dict(zip(entry[1], entry[2:], strict=True))
    return [known.get(name) for name in lane.names]


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
        bucket, id_ = lanes[delta.lane].place_of(delta.group, delta.start)
        if bucket in groups:
            groups[bucket].append((id_, delta))
        else:
            groups[bucket] = [(id_, delta)]
    for frontier in frontiers:
        for bucket in buckets_of_slice(frontier.turn):
            groups.setdefault(bucket, []).append(("", frontier))
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
        the buckets, so that what can never change any more is forgotten.
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

    def shim_builder(state: Snapshot | None) -> BucketLogic[Sent, KpiValue]:
        bucket = WindowBucket(combiner.plan, limits, told)
        if state is not None:
            bucket.resume(state)
        return BucketLogic(bucket)

    # Each batch has been combined before it crosses workers, and crosses in one list for each bucket.
    combined: KeyedStream[list[tuple[str, Sent]]] = op.flat_map_batch("combine", up, shim_combine)
    stepped = op.stateful_batch("step", combined, shim_builder)
    return op.key_rm("unkey", stepped)
