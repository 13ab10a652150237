"""Sums to the last unit, quantiles and counts of what is different within their errors, whatever the order."""

from __future__ import annotations

import math
import random
from collections import Counter
from decimal import ROUND_HALF_EVEN, Decimal

import datasketches
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.feedback.sketches import (
    ERROR,
    EXACT,
    LARGEST,
    SAMPLED,
    bin_of,
    hash_of,
    how_many,
    middle_of,
    number_of,
    quantile_of,
    sampled,
    units_of,
)

counting = st.one_of(st.floats(-LARGEST, LARGEST), st.integers(-LARGEST, LARGEST), st.floats(-3e-9, 3e-9))


@given(number=counting)
def test_units_are_the_decimal_number_of_billionths(number: float) -> None:
    exact = Decimal(number) * 10**9
    assert units_of(number) == int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))


def test_ties_go_to_the_even_unit() -> None:
    # Quarters of a power of two below 1e-9 are no ties; 0.5**k times 1e9 is one for k = 10: 976562.5.
    assert [units_of(number) for number in (0.5**10, 3 * 0.5**10, -(0.5**10))] == [976_562, 2_929_688, -976_562]


def test_what_no_sum_can_hold_does_not_count() -> None:
    assert [number_of(value) for value in (math.nan, math.inf, -math.inf, 1e15 + 1, 10**400, "1", None, (1,))] == [
        None
    ] * 8
    assert [number_of(value) for value in (1e15, -(10**15), True, 0)] == [1e15, -(10**15), True, 0]


@given(number=st.one_of(st.floats(1e-9, LARGEST), st.floats(-LARGEST, -1e-9)))
def test_the_middle_of_a_bin_is_near_to_all_that_is_in_it(number: float) -> None:
    assert middle_of(bin_of(number)) == pytest.approx(number, rel=ERROR, abs=0)


@given(one=counting, other=counting)
def test_bins_are_in_the_order_of_numbers(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert bin_of(low) <= bin_of(high)


@pytest.mark.parametrize("quantile", [0.01, 0.07, 0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("count", [1, 2, 99, 100, 5000])
def test_a_quantile_is_that_of_the_sorted_values_to_half_a_percent(quantile: float, count: int) -> None:
    draw = random.Random(count)
    values = [draw.lognormvariate(6, 1.5) * draw.choice((1, 1, 1, -1, 0)) for _ in range(count)]
    # Rank in whole thousandths, so that no float decides.
    rank = max(1, -(-round(quantile * 1000) * count // 1000))
    assert quantile_of(Counter(map(bin_of, values)), quantile) == pytest.approx(
        sorted(values)[rank - 1], rel=ERROR, abs=1e-9
    )


def test_ours_depends_on_the_values_alone_where_kll_depends_on_order_and_chance() -> None:
    draw = random.Random(7)
    values = [draw.lognormvariate(6, 1) for _ in range(20_000)]
    exact = sorted(values)[18_999]
    ours, theirs = set(), set()
    for _ in range(5):
        draw.shuffle(values)
        ours.add(quantile_of(Counter(map(bin_of, values)), 0.95))
        kll = datasketches.kll_doubles_sketch(200)
        for value in values:
            kll.update(value)
        theirs.add(kll.get_quantile(0.95))
    assert len(ours) == 1
    assert len(theirs) > 1
    assert ours.pop() == pytest.approx(exact, rel=ERROR)
    # KLL promises a rank, not a value: what it says is right for its own promise of 1.65 % of the rank.
    ranks = [sum(value <= quantile for value in values) / len(values) for quantile in theirs]
    assert ranks == pytest.approx([0.95] * len(ranks), abs=0.02)


def test_nothing_has_no_quantile() -> None:
    assert quantile_of({}, 0.5) is None
    assert quantile_of({bin_of(5.0): -1}, 0.5) is None


def test_equal_values_have_one_hash_and_others_have_others() -> None:
    assert hash_of(1) == hash_of(1.0) == hash_of(10**0)
    assert hash_of(0.0) == hash_of(-0.0)
    different: list[str | float] = ["1", 1, True, "true", "s1", "n1", 1.5, False, 0, "", "\ud800", 10**20, math.inf]
    assert len({hash_of(value) for value in different}) == len(different)
    # Written down once: another hash would count everybody twice after an upgrade.
    assert hash_of("person") == 0x1D6B418EC4FD6E2B


@pytest.mark.parametrize("count", [0, 1, EXACT])
def test_few_different_values_are_counted_exactly(count: int) -> None:
    hashes = {hash_of(f"p{number}"): 1 for number in range(count)}
    assert how_many(hashes, sampled(hashes, 0)) == count


def test_many_different_values_are_counted_within_the_stated_error() -> None:
    errors, theirs = [], []
    for run, count in enumerate((EXACT + 1, 5_000, 20_000, 50_000, 200_000)):
        hashes: dict[int, int] = {}
        level, hll = 0, datasketches.hll_sketch(12)
        for number in range(count):
            hash_ = hash_of(f"{run}/{number}")
            hll.update(f"{run}/{number}")
            if not hash_ >> (64 - level):
                hashes[hash_] = 1
            if len(hashes) > SAMPLED:
                level = sampled(hashes, level)
        assert len(hashes) <= SAMPLED
        errors.append(how_many(hashes, level) / count - 1)
        theirs.append(hll.get_estimate() / count - 1)
    # A standard error of 3.1 % at most: none of five is out by three of them, and their mean is nearer still.
    assert max(map(abs, errors)) < 3 / math.sqrt(EXACT / 2)
    assert math.sqrt(sum(error**2 for error in errors) / len(errors)) < 1.5 / math.sqrt(EXACT / 2)
    assert max(map(abs, theirs)) < 3 / math.sqrt(EXACT / 2)


def test_a_count_follows_from_the_values_that_are_there_though_more_had_been() -> None:
    lasting = {hash_of(f"stays {number}"): 1 for number in range(EXACT + 500)}
    hashes = lasting | {hash_of(f"goes {number}"): 1 for number in range(5_000)}
    level = sampled(hashes, 0)
    for number in range(5_000):
        hashes.pop(hash_of(f"goes {number}"), None)
    assert how_many(hashes, level) == how_many(lasting, sampled(lasting, 0))
