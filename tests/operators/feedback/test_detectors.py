"""Each detector finds what it is for, early and once, and is silent about everything else."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence

import msgspec
import pytest

from operators.feedback.anomaly import SETTLED, Anomaly
from operators.feedback.detectors import Detector, Finding, Flat, Sample, Threshold, floor_of
from operators.feedback.levels import Change
from operators.feedback.rules import AlertRule
from operators.feedback.watch import detector_of

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def rule(**settings: object) -> AlertRule:
    return msgspec.convert({"name": "r", "detector": "anomaly", **settings}, AlertRule)


def samples(values: Iterable[float], step: int = MINUTE, count: int = 0) -> list[Sample]:
    return [Sample(place * step, (place + 1) * step, value, count) for place, value in enumerate(values)]


def findings(detector: Detector, past: Sequence[Sample]) -> list[Finding]:
    memory: tuple[object, ...] = ()
    out = []
    for sample in past:
        out.append(detector.look(memory, sample))
        memory = detector.learn(memory, sample)
    return out


def abnormal(detector: Detector, past: Sequence[Sample], after: int = 30) -> list[int]:
    return [place for place, found in enumerate(findings(detector, past)) if found.abnormal and place >= after]


def noise(count: int, level: float = 100.0, deviation: float = 5.0, seed: int = 1) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(level, deviation) for _ in range(count)]


def test_a_threshold_is_crossed_not_touched_and_objectives_go_first() -> None:
    bounded = rule(detector="threshold", above=10, below=1, objectives={"slow": 100})
    found = [Threshold(bounded).look((), sample).abnormal for sample in samples([1, 10, 10.5, 0.5])]
    assert found == [False, False, True, True]
    assert not Threshold(bounded, "slow").look((), Sample(0, 1, 99)).abnormal
    assert Threshold(bounded, "slow").look((), Sample(0, 1, 101)).high == 100


def test_noise_alone_is_hardly_ever_abnormal_and_a_spike_always() -> None:
    values = noise(2_000)
    values[1_500] = 160.0
    places = abnormal(Anomaly(rule()), samples(values))
    assert 1_500 in places
    # Four standard deviations are passed by 1 of 15,787 normal values; the running mean adds a few.
    assert len(places) <= 4


def test_the_expected_range_is_that_of_the_noise() -> None:
    found = findings(Anomaly(rule(sensitivity=4)), samples(noise(3_000)))[-1]
    assert found.low == pytest.approx(80, abs=4)
    assert found.high == pytest.approx(120, abs=4)


@pytest.mark.parametrize(("direction", "value", "expected"), [("up", 50, []), ("down", 50, [400]), ("up", 150, [400])])
def test_only_deviations_to_the_named_side_count(direction: str, value: float, expected: list[int]) -> None:
    values = noise(420)
    values[400] = value
    places = abnormal(Anomaly(rule(direction=direction, sensitivity=6)), samples(values))
    assert places == expected


def test_a_small_deviation_that_lasts_is_found() -> None:
    values = noise(1_000) + noise(30, level=112.0, seed=2)
    places = abnormal(Anomaly(rule(sensitivity=6)), samples(values))
    assert places
    assert 1_000 <= places[0] < 1_015


def test_what_is_usual_at_this_hour_is_not_abnormal_and_its_absence_is() -> None:
    def load(place: int) -> float:
        return 80.0 if 9 <= place % 24 < 18 else 20.0

    jitter = noise(24 * 14, level=0.0, deviation=1.0)
    values = [load(place) + jitter[place] for place in range(24 * 14)]
    quiet = 24 * 13 + 12
    values[quiet] = 20.0
    seasonal = rule(season=DAY, sensitivity=6)
    assert abnormal(Anomaly(seasonal), samples(values, HOUR), after=24 * 5) == [quiet]
    assert quiet not in abnormal(Anomaly(rule(sensitivity=6)), samples(values, HOUR), after=24 * 5)


def test_a_season_that_is_none_does_no_harm() -> None:
    values = noise(24 * 20)
    values[-1] = 150.0
    places = abnormal(Anomaly(rule(season=DAY, sensitivity=6)), samples(values, HOUR), after=100)
    assert places == [len(values) - 1]


def test_a_share_of_few_facts_may_vary_more_than_one_of_many() -> None:
    past = samples([0.05, 0.04, 0.06, 0.05] * 10, count=1_000)
    memory: tuple[object, ...] = ()
    detector = Anomaly(rule())
    for sample in past:
        memory = detector.learn(memory, sample)
    end = past[-1].end
    assert not detector.look(memory, Sample(end, end + 1, 0.25, 8)).abnormal
    assert detector.look(memory, Sample(end, end + 1, 0.25, 500)).abnormal
    assert detector.look(memory, Sample(end, end + 1, 0.9, 8)).abnormal


def test_after_a_past_without_any_bad_answer_one_of_five_is_no_alarm_and_five_of_five_are() -> None:
    detector = Anomaly(rule(direction="up"))
    past = samples([0.0] * 12, count=5)
    learnt: tuple[object, ...] = ()
    for sample in past:
        learnt = detector.learn(learnt, sample)
    assert not detector.look(learnt, Sample(720_000, 780_000, 0.2, 5)).abnormal
    found = detector.look(learnt, Sample(720_000, 780_000, 1.0, 5))
    assert found.abnormal
    assert found.low is None
    assert found.high is not None
    assert found.high < 1.0


def test_the_floor_of_a_share_is_its_standard_error_and_that_of_a_number_its_root() -> None:
    assert floor_of(0.5, Sample(0, 1, 0.4, 100)) == pytest.approx(math.sqrt(0.25 / 100), rel=0.01)
    assert floor_of(100.0, Sample(0, 1, 90.0, 90)) == pytest.approx(10.0)
    assert floor_of(1_000.0, Sample(0, 1, 900.0)) == pytest.approx(10.0)


def test_a_flat_past_does_not_make_a_hair_abnormal() -> None:
    assert abnormal(Anomaly(rule()), samples([50.0] * 100 + [50.5])) == []
    assert abnormal(Anomaly(rule()), samples([50.0] * 100 + [60.0])) == [100]


def test_a_series_with_bursts_of_its_own_is_given_more_room() -> None:
    values = noise(1_500, deviation=1.0)
    for place in range(50, 1_500, 50):
        values[place] = 150.0
    late = abnormal(Anomaly(rule()), samples(values), after=700)
    # Sixteen bursts, of which one falls together with what the noise alone has left of the running mean.
    assert len(late) <= 1
    values[-1] = 400.0
    assert abnormal(Anomaly(rule()), samples(values), after=700) == [*late, 1_499]


def test_as_many_in_a_row_as_raise_an_alert_are_abnormal() -> None:
    detector = Anomaly(rule(probation=10, direction="up", raise_after=3))
    found = findings(detector, samples(noise(40, level=0.1, deviation=0.02) + [0.9] * 3, count=50))
    assert [finding.abnormal for finding in found[39:]] == [False, True, True, True]


def test_what_lasts_is_not_learnt_within_a_few_values_but_is_the_new_level_in_the_end() -> None:
    detector = Anomaly(rule(probation=10, direction="up"))
    values = noise(40, level=0.1, deviation=0.02) + [0.9] * (3 * SETTLED)
    found = findings(detector, samples(values, count=50))
    assert found[40].abnormal
    assert not any(finding.calm for finding in found[40:60])
    assert found[-1].calm


def test_a_shift_for_good_is_found_once_and_the_new_level_is_learnt() -> None:
    values = noise(200) + noise(200, level=120.0, seed=3)
    places = abnormal(Change(rule(detector="change", sensitivity=8)), samples(values), after=0)
    assert len(places) == 1
    assert 200 < places[0] < 215


def test_the_alert_of_a_shift_says_since_when() -> None:
    values = noise(200) + noise(20, level=130.0, seed=3)
    found = findings(Change(rule(detector="change", sensitivity=8)), samples(values))
    first = next(finding for finding in found if finding.abnormal)
    assert first.since is not None
    assert 185 * MINUTE <= first.since <= 201 * MINUTE
    assert first.high is not None
    assert first.high < 110


def test_one_outlier_however_far_is_no_shift() -> None:
    values = noise(400)
    values[300] = 1e9
    assert abnormal(Change(rule(detector="change", sensitivity=8)), samples(values), after=0) == []


def test_flat_is_what_does_not_move_any_more_for_longer_than_its_patience() -> None:
    flat = Flat(rule(detector="flat", patience=5 * MINUTE))
    found = findings(flat, samples([1, 2, 3, 3, 3, 3, 3, 3, 3, 4]))
    assert [finding.abnormal for finding in found] == [False] * 7 + [True, True, False]
    assert found[7].since == 2 * MINUTE


def test_what_has_never_moved_is_not_flat() -> None:
    assert abnormal(Flat(rule(detector="flat", patience=MINUTE)), samples([7.0] * 100), after=0) == []


@pytest.mark.parametrize("detector", ["anomaly", "change", "flat", "threshold"])
@pytest.mark.parametrize("value", [0.0, -0.0, 1e-300, 1e300, -1e300])
def test_no_number_breaks_a_detector(detector: str, value: float) -> None:
    built = detector_of(rule(detector=detector, above=1.0, season=DAY, probation=3))
    for sample in samples([value, 0.0, 1.0, value, -value, value, value], count=3):
        built.look((), sample)
    found = findings(built, samples([value, 0.0, 1.0, value, -value, value, value] * 20, HOUR, count=3))
    assert not any(math.isnan(finding.deviation) for finding in found)
