"""Conditions on the fields of facts: what passes, what cannot, what is not known."""

from __future__ import annotations

import math

import pytest

from events.kpis import Fact, FactValue
from operators.feedback.conditions import needed, passes
from operators.feedback.rules import Comparison, Condition, Scalar

ALWAYS = Condition("present", "known", (True,))


def holds(value: FactValue, comparison: Comparison, *values: Scalar) -> bool:
    fact = Fact("answers", "a1", 0, {"field": value, "present": 1})
    condition = Condition("field", comparison, values)
    alone = passes([condition])(fact)
    assert passes([ALWAYS, condition])(fact) == alone, "a condition means something else beside another one"
    return alone


def test_without_conditions_every_fact_passes() -> None:
    assert passes([])(Fact("answers", "a1", 0, {}))


@pytest.mark.parametrize("comparison", ["is", "not", "above", "below", "at_least", "at_most"])
def test_what_is_not_known_passes_no_comparison(comparison: Comparison) -> None:
    assert not holds(None, comparison, 1)
    assert not passes([Condition("missing", comparison, (1,))])(Fact("answers", "a1", 0, {}))


def test_what_is_not_known_is_known_to_be_so() -> None:
    assert [holds(None, "known", True), holds(None, "known", False)] == [False, True]
    assert [holds("", "known", True), holds(0, "known", False), holds((), "known", True)] == [True, False, True]


def test_one_of_several_values_is_enough() -> None:
    assert [holds(value, "is", "a", "b") for value in ("a", "b", "c")] == [True, True, False]
    assert [holds(value, "not", "a", "b") for value in ("a", "b", "c")] == [False, False, True]


def test_a_field_of_several_values_is_what_any_of_them_is() -> None:
    assert [holds(value, "is", "a") for value in (("a", "b"), ("b",), ())] == [True, False, False]
    assert [holds(value, "not", "a") for value in (("a", "b"), ("b",), ())] == [False, True, True]


def test_numbers_are_compared_as_numbers() -> None:
    assert [holds(value, "above", 2) for value in (1, 2, 2.5)] == [False, False, True]
    assert [holds(value, "below", 2) for value in (1.5, 2.0, 3)] == [True, False, False]
    assert [holds(value, "at_least", 2.0) for value in (1, 2, 3)] == [False, True, True]
    assert [holds(value, "at_most", 2) for value in (1, 2, 3)] == [True, True, False]


@pytest.mark.parametrize("value", ["3", True, (3, 4), math.nan])
def test_what_is_no_number_is_neither_above_nor_below_one(value: FactValue) -> None:
    assert not any(holds(value, comparison, 0) for comparison in ("above", "below", "at_least", "at_most"))


def test_texts_are_compared_with_texts() -> None:
    assert [holds(value, "at_least", "b") for value in ("a", "b", 3)] == [False, True, False]


def test_truth_values_are_no_numbers() -> None:
    assert [holds(True, "is", True), holds(True, "is", 1), holds(1, "is", True), holds(1, "is", 1.0)] == [
        True, False, False, True,
    ]  # fmt: skip
    assert [holds(False, "not", 0), holds(0, "not", 0)] == [True, False]


def test_all_conditions_must_hold() -> None:
    both = passes([Condition("a", "is", ("x",)), Condition("b", "above", (1,))])
    assert both(Fact("answers", "1", 0, {"a": "x", "b": 2}))
    assert not both(Fact("answers", "1", 0, {"a": "x", "b": 1}))
    assert not both(Fact("answers", "1", 0, {"b": 2}))


def test_asking_whether_a_field_is_known_does_not_need_it() -> None:
    conditions = [Condition("a", "is", ("x",)), Condition("b", "known", (False,)), Condition("a", "not", ("y",))]
    assert needed(conditions) == ("a",)
