"""The scorer gives what the definition says, computed by hand; detectors see the past alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.nab import (
    FEW_FALSE,
    FEW_MISSED,
    STANDARD,
    Series,
    anomaly,
    cooled,
    fixed_threshold,
    probation,
    read,
    scaled_sigmoid,
    score,
    window_gaussian,
)  # fmt: skip

EARLIEST = 2 / (1 + math.exp(-5)) - 1
"""What a detection at the very begin of a window is worth before it is scaled to 1."""


def series(rows: int = 200, windows: list[tuple[int, int]] | None = None) -> Series:
    return Series("s", [row * 300_000 for row in range(rows)], [0.0] * rows, windows if windows is not None else [])


def scores(rows: int, *detections: int) -> list[float]:
    return [1.0 if row in detections else 0.0 for row in range(rows)]


def test_a_detector_that_says_nothing_has_0_and_one_that_finds_each_window_at_once_100() -> None:
    one = series(windows=[(100, 119), (150, 169)])
    nothing = score([(one, scores(200))], STANDARD)
    assert (nothing.value, nothing.found, nothing.threshold) == (0.0, 0, math.inf)
    perfect = score([(one, scores(200, 100, 150))], STANDARD)
    assert perfect.value == pytest.approx(100.0)
    assert (perfect.found, perfect.windows, perfect.false) == (2, 2, 0)


def test_a_later_detection_is_worth_less_by_the_sigmoid() -> None:
    one = series(windows=[(100, 119)])
    middle = (2 / (1 + math.exp(-2.5)) - 1) / EARLIEST
    found = score([(one, scores(200, 110))], STANDARD)
    # From -1 for the missing one to what it is worth, of the way from -1 to 1.
    assert found.value == pytest.approx(100 * (middle + 1) / 2)
    assert score([(one, scores(200, 110, 111, 119))], STANDARD).value == pytest.approx(found.value)


def test_a_false_alarm_before_any_window_costs_its_full_weight() -> None:
    one = series(windows=[(100, 119)])
    found = score([(one, scores(200, 50, 100))], STANDARD)
    assert found.value == pytest.approx(100 * (1 - 0.11 + 1) / 2)
    assert score([(one, scores(200, 50, 100))], FEW_FALSE).value == pytest.approx(100 * (1 - 0.22 + 1) / 2)


def test_a_false_alarm_costs_the_less_the_nearer_it_is_behind_a_window() -> None:
    one = series(windows=[(100, 119)])
    near = 2 / (1 + math.exp(5 * 1 / 19)) - 1
    assert score([(one, scores(200, 100, 120))], STANDARD).value == pytest.approx(100 * (2 + 0.11 * near) / 2)
    assert score([(one, scores(200, 100, 190))], STANDARD).value == pytest.approx(100 * (2 - 0.11) / 2)


def test_what_is_missed_weighs_twice_where_that_is_worse() -> None:
    one = series(windows=[(100, 119), (150, 169)])
    found = scores(200, 100)
    assert score([(one, found)], STANDARD).value == pytest.approx(50.0)
    assert score([(one, found)], FEW_MISSED).value == pytest.approx(100 * (1 - 2 + 4) / (2 + 4))


def test_the_probation_is_15_percent_of_at_most_5000_rows_and_nothing_in_it_counts() -> None:
    assert [probation(rows) for rows in (100, 4_032, 5_000, 20_000)] == [15, 604, 750, 750]
    one = series(windows=[(100, 119)])
    assert score([(one, scores(200, 0, 29, 100))], STANDARD).value == pytest.approx(100.0)


def test_one_threshold_is_chosen_for_all_series_the_best_one() -> None:
    first, second = series(windows=[(100, 119)]), series(windows=[(100, 119)])
    loud, soft = scores(200), scores(200)
    loud[100], loud[50] = 0.9, 0.3
    soft[100] = 0.5
    found = score([(first, loud), (second, soft)], STANDARD)
    assert (found.threshold, found.found, found.false) == (0.5, 2, 0)
    assert found.value == pytest.approx(100.0)


def test_the_sigmoid_is_0_at_the_end_of_a_window_and_ends_three_lengths_behind_it() -> None:
    assert scaled_sigmoid(0.0) == 0.0
    assert scaled_sigmoid(-1.0) == pytest.approx(0.98661, abs=1e-5)
    assert scaled_sigmoid(3.1) == -1.0


def test_the_window_gaussian_is_the_tail_of_its_window() -> None:
    one = Series("s", list(range(5)), [1.0, 3.0, 2.0, 4.0, 2.0], [])
    found = list(window_gaussian(one))
    # Before the fourth value: 1, 3, 2, with mean 2 and variance 2/3; three deviations of the population's.
    assert found[0] == 0.0
    assert found[3] == pytest.approx(1 - 0.5 * math.erfc(2 / math.sqrt(2 / 3) / math.sqrt(2)))


def test_of_an_episode_only_the_first_and_higher_ones_are_kept() -> None:
    assert list(cooled([1, 5, 4, 6, 6, 2, 2, 7], rows=2)) == [1, 5, 0, 6, 0, 0, 0, 7]
    assert list(cooled([5, 1, 1, 4], rows=2)) == [5, 0, 0, 4]


@pytest.mark.parametrize("detector", [anomaly, window_gaussian, fixed_threshold])
def test_a_detector_does_not_know_what_comes(detector: object) -> None:
    assert callable(detector)
    values = [float(row * 7919 % 13) for row in range(400)]
    whole = Series("s", [row * 300_000 for row in range(400)], values, [])
    other = Series("s", whole.times, values[:300] + [1e6] * 100, [])
    assert list(detector(whole))[:300] == list(detector(other))[:300]


@pytest.mark.realdata("nab")
def test_the_series_are_read_with_their_windows(real_data: Path) -> None:
    found = {one.name: one for one in read(real_data)}
    assert len(found) == 21
    assert found["artificialWithAnomaly/art_daily_flatmiddle"].windows == [(2679, 3081)]
    assert len(found["realTweets/Twitter_volume_AAPL"].values) == 15_902
