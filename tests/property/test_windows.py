"""KPIs in windows equal one query over all changes of facts, however those come: in any batches, on any workers."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.kpis import Fact, FactChange, FactValue, Frontier, KpiValue
from operators.buckets import SLICES
from operators.feedback.combine import Combiner
from operators.feedback.rules import KpiRule, Limits, WindowRule
from operators.feedback.sketches import ERROR
from operators.feedback.windows import WindowBucket, to_buckets
from tests.property.kpi_oracle import CONDITIONS, Key, Oracle, Row

X = TypeVar("X")
SECOND = 1000
WINDOWS = (
    WindowRule("10s", 10 * SECOND, 10 * SECOND),
    WindowRule("30s/10s", 30 * SECOND, 10 * SECOND),
    WindowRule("session:7s", 0, 0, 7 * SECOND),
)
GROUPINGS: tuple[tuple[str, ...], ...] = ((), ("topic",), ("documents",), ("topic", "bad"))
OF = {"count": "", "rate": "", "share": "", "distinct": "person"}
FOREVER = 10**12
# No two of them fall into the same bin of a quantile: what is negative, for a moment, is so by itself.
LATENCIES = (None, -40.5, 0.0, 0.125, 3.000000001, 180.0, 200.0, 201.0, 7_777.77, 1e9)


class Step(NamedTuple):
    """A fact becomes another one, or goes, by an event of some partition.

    :arg advance: By how much this is the newest event of its partition.
    :arg lag: How far the fact is behind that.
    """

    fact: int
    partition: int
    advance: int
    lag: int
    fields: dict[str, FactValue] | None


class Way(NamedTuple):
    """How changes reach the windows: cut into epochs and batches, on so many workers, with restarts."""

    workers: int
    epochs: Sequence[int]
    batches: Sequence[int]
    restarts: Sequence[bool]


fields = st.fixed_dictionaries(
    {
        "topic": st.sampled_from((None, "fares", "refunds", "a\"b'")),
        "documents": st.sampled_from((None, (), ("d1",), ("d1", "d2"), ("d2", "d2"))),
        "latency": st.sampled_from(LATENCIES),
        "person": st.sampled_from((None, "p1", "p2", "p3")),
        "bad": st.sampled_from((None, True, False)),
    }
)


def seconds(most: int) -> st.SearchStrategy[int]:
    return st.integers(0, most).map(lambda number: number * SECOND)


steps = st.lists(
    st.builds(
        Step,
        fact=st.integers(0, 15),
        partition=st.integers(0, 1),
        advance=seconds(6),
        lag=st.one_of(seconds(5), seconds(60)),
        fields=st.one_of(fields, fields, fields, st.none()),
    ),
    min_size=1,
    max_size=60,
)
rules = st.lists(
    st.builds(
        KpiRule,
        name=st.just("kpi"),
        facts=st.just("answers"),
        aggregate=st.sampled_from(
            ("count", "rate", "sum", "mean", "share", "min", "max", "distinct", "quantile", "top")
        ),
        windows=st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=2, unique=True).map(tuple),
        of=st.sampled_from(("latency", "documents")),
        where=st.lists(st.sampled_from(CONDITIONS), max_size=2).map(lambda all_: tuple(one.condition for one in all_)),
        hits=st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=2).map(
            lambda all_: tuple(one.condition for one in all_)
        ),
        quantile=st.sampled_from((0.05, 0.5, 0.95)),
        by=st.lists(st.sampled_from(GROUPINGS), min_size=1, max_size=2, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=3,
).map(lambda found: [_sensible(number, rule) for number, rule in enumerate(found)])
limits = st.builds(
    Limits, lateness=st.sampled_from((0, 15 * SECOND)), horizon=st.sampled_from((20 * SECOND, 45 * SECOND, FOREVER))
)
cuts = st.lists(st.integers(1, 12), min_size=1, max_size=6)
ways = st.builds(
    Way, workers=st.integers(1, 3), epochs=cuts, batches=cuts, restarts=st.lists(st.booleans(), min_size=1, max_size=4)
)


def _sensible(number: int, rule: KpiRule) -> KpiRule:
    of = OF.get(rule.aggregate, "latency")
    if rule.aggregate == "distinct" and rule.of == "documents":
        of = "documents"
    hits = rule.hits if rule.aggregate == "share" else ()
    return KpiRule(
        f"kpi{number}", rule.facts, rule.aggregate, rule.windows, of, rule.where, hits, rule.quantile, rule.by
    )


def changes_of(history: Sequence[Step], *, keep_times: bool) -> list[FactChange]:
    """Return the changes of facts that a history comes down to."""
    facts: dict[int, Fact] = {}
    watermarks: dict[int, int] = {}
    found = []
    for step in history:
        newest = watermarks[step.partition] = watermarks.get(step.partition, 0) + step.advance
        before = facts.get(step.fact)
        moment = before.time if keep_times and before is not None else max(0, newest - step.lag)
        after = None if step.fields is None else Fact("answers", f"f{step.fact}", moment, dict(step.fields))
        if before is None and after is None:
            continue
        facts.pop(step.fact, None)
        if after is not None:
            facts[step.fact] = after
        found.append(FactChange(before, after, newest))
    return found


def take_turns(sizes: Sequence[int]) -> Iterator[int]:
    while True:
        yield from sizes


class Cluster:
    """Workers with buckets, and a store that takes what they tell; a fact is always on the same worker."""

    def __init__(self, kpis: Sequence[KpiRule], limits: Limits, way: Way) -> None:
        self.stored: dict[Key, Row] = {}
        self.dropped = 0
        self._limits = limits
        self._combiners = [Combiner(kpis, limits, self._drop) for _ in range(way.workers)]
        self._buckets: dict[str, WindowBucket] = {}
        self._way = way

    def run(self, changes: Sequence[FactChange]) -> None:
        """Take in all changes, epoch by epoch; each epoch is told the frontier at the end of the one before."""
        sizes, batches, restarts = (
            take_turns(cut) for cut in (self._way.epochs, self._way.batches, self._way.restarts)
        )
        watermark: int | None = None
        at = 0
        while at < len(changes):
            epoch = changes[at : at + next(sizes)]
            self._epoch(epoch, batches)
            at += len(epoch)
            if next(restarts):
                self._restart()
            # No change that is still to come has an older watermark: this is what a frontier says.
            watermark = min((change.watermark for change in changes[at:]), default=None)
            if watermark is not None:
                self._send(0, [Frontier(watermark, turn) for turn in range(SLICES)])

    def _epoch(self, changes: Sequence[FactChange], batches: Iterator[int]) -> None:
        count = self._way.workers
        waiting = [[change for change in changes if _worker(change, count) == worker] for worker in range(count)]
        while any(waiting):
            for worker in range(count):
                size = next(batches)
                batch, waiting[worker] = waiting[worker][:size], waiting[worker][size:]
                self._send(worker, batch)

    def _send(self, worker: int, items: Sequence[Any]) -> None:
        for bucket, sent in to_buckets(self._combiners[worker], items):
            if bucket not in self._buckets:
                self._buckets[bucket] = WindowBucket(self._combiners[0].plan, self._limits, self._drop)
            # What crosses to another worker is pickled.
            self._store(self._buckets[bucket].take(copied(sent) if worker else sent))

    def _store(self, values: Sequence[KpiValue]) -> None:
        assert len({(value.series, value.start) for value in values}) == len(values), "a window was told twice at once"
        for value in values:
            key = (value.kpi, value.window, value.start, value.group)
            row = (value.value, value.count, value.late, value.examples, value.end)
            if value.count:
                assert self.stored.get(key) != row, "a window was told that had not changed"
                self.stored[key] = row
            else:
                del self.stored[key]

    def _restart(self) -> None:
        for key, bucket in self._buckets.items():
            state = copied(bucket.snapshot())
            self._buckets[key] = WindowBucket(self._combiners[0].plan, self._limits, self._drop)
            self._buckets[key].resume(state)

    def _drop(self, count: int) -> None:
        self.dropped += count


def copied(value: X) -> X:
    """Return `value` as another process has it."""
    there: X = pickle.loads(pickle.dumps(value))  # noqa: S301  # written by the test itself
    return there


def _worker(change: FactChange, count: int) -> int:
    fact = change.after or change.before
    assert fact is not None
    return int(fact.id[1:]) % count


def assert_equal(stored: dict[Key, Row], expected: dict[Key, Row], kpis: Sequence[KpiRule]) -> None:
    aggregates = {rule.name: rule.aggregate for rule in kpis}
    assert stored.keys() == expected.keys()
    for key, (value, *rest) in expected.items():
        found, *others = stored[key]
        assert others == rest, key
        if aggregates[key[0]] == "quantile" and value is not None:
            assert found == pytest.approx(value, rel=ERROR), key
        else:
            # Ours is correctly rounded; the query divides and rounds in its own way.
            assert found == (None if value is None else pytest.approx(value, rel=1e-12, abs=1e-12)), key


ORACLE = Oracle()
EXAMPLES = 5_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 300


@settings(max_examples=EXAMPLES)
@given(history=steps, kpis=rules, limit=limits, way=ways, keep_times=st.booleans())
def test_kpis_equal_one_query_over_all_changes(
    history: list[Step],
    kpis: list[KpiRule],
    limit: Limits,
    way: Way,
    keep_times: bool,
) -> None:
    changes = changes_of(history, keep_times=keep_times)
    cluster = Cluster(kpis, limit, way)
    cluster.run(changes)
    assert_equal(cluster.stored, ORACLE.values(changes, kpis, limit), kpis)
    if limit.horizon == FOREVER:
        assert not cluster.dropped
