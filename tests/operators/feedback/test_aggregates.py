"""Aggregates: what counts, what comes out, and that what is taken out again leaves no trace."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from events.kpis import Fact, FactValue
from operators.feedback.lanes import aggregate_of
from operators.feedback.multisets import KEPT
from operators.feedback.rules import Aggregate as Name
from operators.feedback.rules import Condition, KpiRule

MINUTE = 60_000


def rule(aggregate: Name, of: str = "x", hits: tuple[Condition, ...] = ()) -> KpiRule:
    return KpiRule("kpi", "answers", aggregate, (), of, hits=hits)


def value(kpi: KpiRule, *values: FactValue) -> float | None:
    aggregate = aggregate_of(kpi)
    facts = [Fact("answers", f"f{number}", 0, {"x": value}) for number, value in enumerate(values)]
    parts = [part for fact in facts if (part := aggregate.part(fact)) is not None]
    return aggregate.value(len(parts), aggregate.state(parts, ()), MINUTE) if parts else None


def test_each_aggregate_has_its_value() -> None:
    assert value(rule("count", ""), 1, None, "a") == 3
    assert value(rule("rate", ""), *range(120)) == 2
    assert value(rule("sum"), 1, 2.5, None, -0.25) == 3.25
    assert value(rule("mean"), 1, 2, None) == 1.5
    assert value(rule("min"), 3, -1.5, None) == -1.5
    assert value(rule("max"), 3, -1.5, None) == 3
    assert value(rule("distinct"), "a", "b", "a", None) == 2
    assert value(rule("distinct"), ("a", "b"), ("b", "c"), (), "a") == 3
    assert value(rule("top"), 1, 2, None) == 2
    assert value(rule("quantile"), 100, 100, 100) == pytest.approx(100, rel=0.005)


def test_a_share_is_of_the_facts_that_say_anything_about_it() -> None:
    good = rule("share", "", (Condition("x", "is", (True,)),))
    assert value(good, True, False, None, True) == pytest.approx(2 / 3, rel=1e-15)
    assert value(good, None, None) is None
    missing = rule("share", "", (Condition("x", "known", (False,)),))
    assert value(missing, 1, None, 3, None) == 0.5


def test_what_is_no_number_does_not_count() -> None:
    for aggregate in ("sum", "mean", "min", "max", "quantile", "top"):
        assert value(rule(aggregate), "12", None, float("nan"), float("inf"), 1e16, ("1",)) is None


def test_sums_and_means_are_correctly_rounded_whatever_the_order() -> None:
    draw = random.Random(3)
    values = [draw.choice((1e15, -1e15, 0.1, 1e-9, 123.456, 1 / 3)) for _ in range(999)]
    exact = sum(Fraction(round(Fraction(number) * 10**9), 10**9) for number in values)
    for _ in range(3):
        draw.shuffle(values)
        assert value(rule("sum"), *values) == float(exact)
        assert value(rule("mean"), *values) == float(exact / 999)


@pytest.mark.parametrize("name", ["count", "sum", "min", "max", "distinct", "quantile", "top"])
def test_what_is_taken_out_again_leaves_no_trace(name: Name) -> None:
    aggregate = aggregate_of(rule(name))
    draw = random.Random(5)
    facts = [Fact("answers", f"f{number}", 0, {"x": float(draw.randrange(30))}) for number in range(30)]
    parts = [aggregate.part(fact) for fact in facts]
    kept, gone = parts[:15], parts[15:]
    state = aggregate.state(kept, ())
    changes = [aggregate.state([part], ()) for part in gone] + [aggregate.state((), [part]) for part in gone]
    draw.shuffle(changes)
    for change in changes:
        state = aggregate.merge(state, change)
    assert state == aggregate.state(kept, ())
    assert aggregate.blank(aggregate.merge(state, aggregate.state((), kept)))


def test_merging_leaves_what_is_merged_as_it_was() -> None:
    for name in ("min", "distinct", "quantile", "top"):
        aggregate = aggregate_of(rule(name))
        part = aggregate.part(Fact("answers", "f", 0, {"x": 1.0}))
        other = aggregate.state([part], ())
        before = repr(other)
        merged = aggregate.merge(aggregate.merge(aggregate.state((), ()), other), other)
        assert repr(other) == before != repr(merged)


def test_extremes_stay_exact_while_they_are_taken_back_one_by_one() -> None:
    aggregate = aggregate_of(rule("max"))
    parts = [aggregate.part(Fact("answers", "f", 0, {"x": float(number)})) for number in range(1000)]
    state = aggregate.state((), ())
    for number in range(1000):
        state = aggregate.merge(state, aggregate.state(parts[number : number + 1], ()))
    assert len(state[1]) <= 2 * KEPT
    for number in reversed(range(1000 - KEPT, 1000)):
        assert aggregate.value(number + 1, state, MINUTE) == number
        state = aggregate.merge(state, aggregate.state((), parts[number : number + 1]))


def test_beyond_what_is_kept_the_bound_stands_for_what_is_not_known() -> None:
    aggregate = aggregate_of(rule("min"))
    parts = [aggregate.part(Fact("answers", "f", 0, {"x": float(number)})) for number in range(100)]
    state = aggregate.state(parts, ())
    state = aggregate.merge(state, aggregate.state((), parts[:50]))
    assert aggregate.value(50, state, MINUTE) == KEPT
    state = aggregate.merge(state, aggregate.state([aggregate.part(Fact("answers", "f", 0, {"x": 7.0}))], ()))
    assert aggregate.value(51, state, MINUTE) == 7


def test_top_names_the_highest_and_the_smaller_id_first_where_they_are_equal() -> None:
    aggregate = aggregate_of(rule("top"))
    scores = {"c": 1.0, "b": 3.0, "a": 3.0, "d": 2.0, "e": 0.5, "f": 0.25}
    parts = [aggregate.part(Fact("answers", id_, 0, {"x": score})) for id_, score in scores.items()]
    assert aggregate.examples(aggregate.state(parts, ())) == ("a", "b", "d", "c", "e")
