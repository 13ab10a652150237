"""The windows operator in the engine: the same KPIs on any number of workers, forgetting, late changes, restarts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow, Stream
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, cluster_main, run_main

from events.kpis import Fact, FactChange, FactValue, Frontier, KpiValue
from operators.feedback.combine import Combiner
from operators.feedback.rules import Condition, KpiRule, Limits, WindowRule
from operators.feedback.windows import Dropped, Sent, WindowBucket, to_buckets, windows

MINUTE = 60_000
TUMBLING = WindowRule("1m", MINUTE, MINUTE)
SLIDING = WindowRule("3m/1m", 3 * MINUTE, MINUTE)
SESSIONS = WindowRule("session:2m", 0, 0, 2 * MINUTE)
ALL = (TUMBLING, SLIDING, SESSIONS)
LIMITS = Limits(lateness=MINUTE, horizon=60 * MINUTE)
BY: tuple[tuple[str, ...], ...] = ((), ("topic",))
KPIS = [
    KpiRule("answers", "answers", "count", ALL, by=BY),
    KpiRule("tokens", "answers", "sum", ALL, "tokens", by=BY),
    KpiRule("p95", "answers", "quantile", ALL, "tokens", quantile=0.95, by=BY),
    KpiRule("users", "answers", "distinct", ALL, "person", by=BY),
    KpiRule("bad", "answers", "share", ALL, where=(Condition("topic", "known", (True,)),),
            hits=(Condition("bad", "is", (True,)),), by=BY),
    KpiRule("ratings", "ratings", "count", (TUMBLING,)),
]  # fmt: skip

Stored = dict[tuple[str, int], tuple[float | None, int, int, tuple[str, ...], int]]


def answer(number: int, time: int, **fields: FactValue) -> Fact:
    return Fact("answers", f"a{number}", time, fields)


def history(count: int) -> list[FactChange | Frontier]:
    """Return answers of 20 minutes, half of them amended soon or late."""
    draw = random.Random(11)
    changes: list[tuple[int, FactChange]] = []
    for number in range(count):
        time = number * 20 * MINUTE // count
        first = answer(
            number, time, topic=draw.choice(("fares", "refunds", None)), tokens=draw.randrange(500),
            person=f"p{draw.randrange(40)}",
        )  # fmt: skip
        changes.append((time, FactChange(None, first, time)))
        if draw.random() < 0.5:
            later = time + draw.randrange(10 * MINUTE)
            second = Fact("answers", first.id, time, {**first.fields, "bad": draw.random() < 0.3})
            changes.append((later, FactChange(first, second, later)))
    return [change for _, change in sorted(changes, key=lambda found: found[0])]


def stored(values: Sequence[KpiValue]) -> Stored:
    found: Stored = {}
    for value in values:
        if value.count:
            found[value.series, value.start] = (value.value, value.count, value.late, value.examples, value.end)
        else:
            found.pop((value.series, value.start), None)
    return found


def flow_of(items: list[FactChange | Frontier], batch_size: int, out: list[KpiValue], workers: int = 1) -> Dataflow:
    flow = Dataflow("feedback")
    up: Stream[FactChange | Frontier] = op.input("in", flow, TestingSource(items, batch_size))
    if workers > 1:
        # Facts come from the workers that have joined them: those of one fact from one.
        keyed = op.key_on("key", up, fact_of)
        up = op.key_rm("unkey", op.stateful_map("spread", keyed, lambda state, change: (0, change)))
    op.output("out", windows("windows", up, KPIS, LIMITS), TestingSink(out))
    return flow


def fact_of(change: FactChange | Frontier) -> str:
    assert isinstance(change, FactChange)
    assert change.after is not None
    return change.after.id


def told_at_once(items: list[FactChange | Frontier]) -> Stored:
    out: list[KpiValue] = []
    run_main(flow_of(items, len(items), out))
    return stored(out)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_kpis_are_the_same_on_any_number_of_workers_in_any_batches(workers: int, batch_size: int) -> None:
    items = history(200)
    out: list[KpiValue] = []
    cluster_main(flow_of(items, batch_size, out, workers), [], 0, worker_count_per_proc=workers)
    expected = told_at_once(items)
    assert len(expected) > 300
    assert stored(out) == expected


def test_a_flow_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    items = history(200)
    init_db_dir(tmp_path, 1)
    recovery = RecoveryConfig(str(tmp_path))
    out: list[KpiValue] = []
    inputs: list[FactChange | Frontier | TestingSource.EOF] = [*items[:150], TestingSource.EOF(), *items[150:]]
    flow = flow_of(inputs, 10, out)  # type: ignore[arg-type]  # the end of a run is no item
    run_main(flow, recovery_config=recovery)
    partly = len(stored(out))
    run_main(flow, recovery_config=recovery)
    assert 0 < partly < len(stored(out))
    assert stored(out) == told_at_once(items)


class Alone:
    """Windows without an engine: every bucket in one place."""

    def __init__(self, rules: Sequence[KpiRule], limits: Limits = LIMITS) -> None:
        self.dropped = Dropped()
        self._limits = limits
        self._combiner = Combiner(rules, limits, self.dropped)
        self.buckets: dict[str, WindowBucket] = {}

    def take(self, *items: FactChange | Frontier) -> list[KpiValue]:
        out = []
        for bucket, sent in to_buckets(self._combiner, items):
            logic = self.buckets.setdefault(bucket, WindowBucket(self._combiner.plan, self._limits, self.dropped))
            out += logic.take(sent)
        return out

    def forget(self, time: int) -> None:
        for turn in range(64):
            self.take(Frontier(time, turn))

    def entries(self) -> int:
        return sum(len(bucket.entries) for bucket in self.buckets.values())


def test_a_window_is_told_once_for_a_batch_however_many_facts_are_in_it() -> None:
    alone = Alone([KPIS[0]])
    facts = [FactChange(None, answer(number, 0), 0) for number in range(50)]
    tumbling = [value for value in alone.take(*facts) if value.window == "1m" and not value.group]
    assert [(value.count, value.start, value.end) for value in tumbling] == [(50, 0, MINUTE)]


def test_what_does_not_change_a_kpi_is_not_told() -> None:
    alone = Alone([KPIS[0]])
    before = answer(1, 0, topic="fares")
    alone.take(FactChange(None, before, 0))
    assert alone.take(FactChange(before, answer(1, 0, topic="fares", bad=True), 0)) == []
    assert alone.take(FactChange(None, answer(2, 0), 0), FactChange(answer(2, 0), None, 0)) == []


def test_an_answer_whose_topic_becomes_known_moves_to_its_group() -> None:
    alone = Alone([KpiRule("answers", "answers", "count", (TUMBLING,), by=(("topic",),))])
    before = answer(1, 0)
    alone.take(FactChange(None, before, 0))
    told = {value.group: value.count for value in alone.take(FactChange(before, answer(1, 0, topic="fares"), 0))}
    assert told == {(("topic", ""),): 0, (("topic", "fares"),): 1}


def test_a_change_is_late_when_the_window_was_final_by_its_own_watermark() -> None:
    alone = Alone([KpiRule("answers", "answers", "count", (TUMBLING,))])
    lates = []
    for number, watermark in enumerate((0, 2 * MINUTE - 1, 2 * MINUTE, 5 * MINUTE)):
        (value,) = alone.take(FactChange(None, answer(number, 0), watermark))
        lates.append((value.count, value.late))
    assert lates == [(1, 0), (2, 0), (3, 1), (4, 2)]


def test_a_change_counts_in_those_windows_only_that_have_not_ended_before_the_horizon() -> None:
    alone = Alone([KpiRule("answers", "answers", "count", (SLIDING,))], Limits(0, 2 * MINUTE))
    told = alone.take(FactChange(None, answer(1, 0), 4 * MINUTE))
    # The windows that the answer is in end after one, two and three minutes; what ended after two is out.
    assert [(value.start, value.end) for value in told] == [(0, 3 * MINUTE)]
    assert alone.dropped.count == 2


def test_a_forgotten_window_never_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    alone = Alone(KPIS)
    alone.take(*(FactChange(None, answer(number, 0, topic="fares", tokens=1), 0) for number in range(3)))
    assert alone.entries()
    alone.forget(LIMITS.horizon + 10 * MINUTE)
    assert not alone.entries()
    with caplog.at_level("INFO"):
        # Its own partition is behind: by its own watermark this is not too late.
        assert alone.take(FactChange(None, answer(9, 0), 0)) == []
    assert alone.dropped.count
    assert "ended longer ago than the horizon" in caplog.text


def test_what_can_still_change_is_not_forgotten() -> None:
    alone = Alone([KPIS[0]])
    alone.take(FactChange(None, answer(1, 0), 0))
    alone.forget(LIMITS.horizon)
    (value,) = [
        value
        for value in alone.take(FactChange(None, answer(2, 1), LIMITS.horizon))
        if value.window == "1m" and not value.group
    ]
    assert (value.count, value.late) == (2, 1)


def test_another_definition_of_a_kpi_does_not_go_on_with_what_the_first_has_counted() -> None:
    first = Alone([KpiRule("kpi", "answers", "sum", (TUMBLING,), "tokens")])
    first.take(FactChange(None, answer(1, 0, tokens=5, cost=2), 0))
    ((key, bucket),) = first.buckets.items()
    other = Alone(
        [KpiRule("kpi", "answers", "sum", (TUMBLING,), "cost"), KpiRule("n", "answers", "count", (TUMBLING,))]
    )
    other.take(FactChange(None, answer(1, 0), 0))
    other.buckets[key].resume(bucket.snapshot())
    told = {value.kpi: value.value for value in other.take(FactChange(None, answer(2, 0, cost=3), 0))}
    assert told == {"kpi": 3, "n": 1}


def test_snapshots_are_of_plain_values() -> None:
    alone = Alone(KPIS)
    alone.take(*history(50))
    plain = (int, float, str, type(None))

    def check(value: object) -> None:
        if isinstance(value, dict):
            assert type(value) is dict
            check(list(value.items()))
        elif isinstance(value, (list, tuple)):
            assert type(value) in {list, tuple}
            for part in value:
                check(part)
        else:
            assert type(value) in plain

    for bucket in alone.buckets.values():
        check(bucket.snapshot())


def test_windows_that_are_open_together_lie_in_few_buckets() -> None:
    rules = [KpiRule("answers", "answers", "count", (TUMBLING,), by=(("topic",),))]
    changes = [FactChange(None, answer(number, 0, topic=f"t{number}"), 0) for number in range(1000)]
    sent: list[tuple[str, list[tuple[str, Sent]]]] = to_buckets(Combiner(rules, LIMITS, Dropped()), changes)
    assert len(sent) <= 16
    assert sum(len(items) for _, items in sent) == 1000
