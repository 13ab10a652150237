"""Alerts are a function of the events; one for each episode; live they do not wait for windows to be final."""

from __future__ import annotations

import itertools
import pickle
import random
from collections.abc import Iterable, Sequence

import bytewax.operators as op
import msgspec
import pytest
from bytewax.dataflow import Dataflow, Stream
from bytewax.testing import TestingSink, TestingSource, cluster_main, run_main

from events.alerts import Alert
from events.feedback import Point
from events.kpis import Fact, FactChange, FactValue, Frontier, KpiValue, series_of
from operators.feedback.detect import KEYS, Rules, Spread, Watched, Watchers, detect, key_of
from operators.feedback.rules import AlertRule, Limits

MINUTE = 60_000
LIMITS = Limits(lateness=MINUTE, horizon=60 * MINUTE)


def rule(**settings: object) -> AlertRule:
    chosen = {"name": "r", "detector": "threshold", "kpi": "bad", "window": "1m", "by": ["topic"], "above": 0.5}
    return msgspec.convert({**chosen, "cooldown": 0, "over_after": 1, **settings}, AlertRule)


def value(minute: int, share: float | None, count: int = 20, topic: str = "fares", late: int = 0) -> KpiValue:
    start = minute * MINUTE
    return KpiValue("bad", "1m", start, start + MINUTE, (("topic", topic),), share, count, late)


def front(minute: float) -> Frontier:
    return Frontier(round(minute * MINUTE), -1)


def point(time: int, number: float, *, watermark: int | None = None, host: str = "a") -> FactChange:
    made = Point(f"{host}{time}", time, "load", number, {"host": host})
    fields: dict[str, FactValue] = {"name": "load", "series": made.series, "value": number, "host": host}
    return FactChange(None, Fact("points", made.id, time, fields), time if watermark is None else watermark)


def watchers(*rules: AlertRule, live: bool, limits: Limits = LIMITS) -> Watchers:
    return Watchers(Rules(rules, limits), limits, live=live)


def told(alerts: Iterable[Alert]) -> list[tuple[str, int, int]]:
    """Return state, since and event time, in minutes."""
    return [(alert.state, alert.since // MINUTE, alert.event_time // MINUTE) for alert in alerts]


def test_live_an_abnormal_window_raises_at_once_and_once() -> None:
    watching = watchers(rule(), live=True)
    (alert,) = watching.take([value(5, 0.9, 12)])
    assert watching.take([value(5, 0.95, 14), front(7), value(6, 0.9)]) == []
    assert (alert.state, alert.since, alert.actual, alert.expected) == ("raised", 5 * MINUTE, 0.9, "at most 0.5")
    assert alert.group == {"topic": "fares"}
    assert alert.subject == series_of("bad", "1m", (("topic", "fares"),))
    assert alert.text.startswith("bad of topic 'fares' is 0.9, expected at most 0.5, since 1970-01-01 00:05 UTC")


def test_live_too_few_facts_are_not_judged_until_there_are_more() -> None:
    watching = watchers(rule(), live=True)
    assert watching.take([value(5, 1.0, 9)]) == []
    assert told(watching.take([value(5, 1.0, 10)])) == [("raised", 5, 5)]


def test_an_alert_is_over_after_as_many_final_normal_windows_as_it_takes() -> None:
    watching = watchers(rule(over_after=2), live=True)
    watching.take([value(5, 0.9), value(6, 0.1), value(7, 0.2)])
    assert watching.take([front(8)]) == []
    (alert,) = watching.take([front(9)])
    assert (alert.state, alert.since, alert.event_time) == ("over", 5 * MINUTE, 8 * MINUTE)
    assert alert.actual == 0.9
    assert "over after 3 min (was 0.9, expected at most 0.5, 1970-01-01 00:05 to 00:08 UTC)" in alert.text
    assert "; it is 0.2 again" in alert.text


def test_both_states_of_an_episode_have_one_id_and_the_next_episode_another() -> None:
    watching = watchers(rule(), live=True)
    values = [value(minute, share) for minute, share in enumerate([0.9, 0.1, 0.9, 0.1])]
    alerts = [alert for item in values for alert in watching.take([item, front(item.end // MINUTE + 1)])]
    assert [alert.state for alert in alerts] == ["raised", "over", "raised", "over"]
    assert alerts[0].id == alerts[1].id
    assert alerts[2].id == alerts[3].id
    assert alerts[0].id != alerts[2].id


def test_within_the_cool_down_nothing_is_raised_again() -> None:
    watching = watchers(rule(cooldown=3 * MINUTE), live=True)
    shares = [0.9, 0.1, 0.9, 0.9, 0.1, 0.9]
    alerts = [
        alert
        for minute, share in enumerate(shares)
        for alert in watching.take([value(minute, share), front(minute + 2)])
    ]
    assert told(alerts) == [("raised", 0, 0), ("over", 0, 2), ("raised", 5, 5)]


@pytest.mark.parametrize("live", [True, False])
def test_as_many_in_a_row_as_the_rule_says_raise_an_alert(live: bool) -> None:
    watching = watchers(rule(raise_after=3), live=live)
    shares = [0.9, 0.9, 0.1, 0.9, 0.9, 0.9]
    alerts = [alert for minute, share in enumerate(shares) for alert in watching.take([value(minute, share)])]
    assert told(alerts + watching.take([front(8)]) + watching.end()) == [("raised", 3, 5)]


def test_a_window_that_becomes_abnormal_after_it_was_final_is_raised_live() -> None:
    watching = watchers(rule(), live=True)
    assert watching.take([value(1, 0.1), value(2, 0.1), front(5)]) == []
    assert told(watching.take([value(1, 0.8, 40, late=20)])) == [("raised", 1, 1)]


def test_learning_takes_final_windows_only_each_once() -> None:
    learning = rule(detector="anomaly", probation=5, direction="up", sensitivity=4)
    watching = watchers(learning, live=True)
    for minute in range(5):
        assert watching.take([value(minute, 0.9), value(minute, 0.05, 100), front(minute + 2)]) == []
    assert told(watching.take([value(5, 0.8, 100)])) == [("raised", 5, 5)]


def test_what_is_missing_is_told_when_the_frontier_has_passed_its_patience() -> None:
    absent = rule(detector="missing", patience=5 * MINUTE, probation=3)
    watching = watchers(absent, live=True)
    watching.take([value(minute, 0.1, 1) for minute in range(4)])
    assert watching.take([front(9)]) == []
    assert told(watching.take([front(9.2)])) == [("raised", 4, 9)]
    watching.take([value(20, 0.1, 1)])
    assert told(watching.take([front(22)])) == [("over", 4, 21)]


def test_a_gap_in_a_replay_is_the_alert_that_it_would_have_been_live() -> None:
    absent = rule(detector="missing", patience=5 * MINUTE, probation=3)
    watching = watchers(absent, live=False)
    minutes = [0, 1, 2, 3, 20, 21]
    watching.take([value(minute, 0.1, 1) for minute in minutes] + [front(40)])
    assert told(watching.end()) == [("raised", 4, 9), ("over", 4, 21), ("raised", 22, 27)]


def test_a_series_of_which_nothing_comes_any_more_is_forgotten_and_its_alert_is_over() -> None:
    watching = watchers(rule(), live=True)
    watching.take([value(1, 0.9), front(3)])
    assert told(watching.take([front(1 + 4 * 60 + 2)])) == [("over", 1, 243)]
    assert watching.state()[2] == {}


def test_points_are_judged_as_they_come_and_learnt_in_the_order_of_time() -> None:
    moved = rule(name="m", detector="flat", metric="load", kpi="", window="", by=[], patience=3 * MINUTE, probation=2)
    watching = watchers(moved, live=True)
    times = [0, 2, 1, 3, 4, 5, 6, 7]
    numbers = {0: 1.0, 1: 2.0, 2: 3.0}
    watching.take([point(time * MINUTE, numbers.get(time, 3.0)) for time in times])
    alerts = watching.take([front(10)])
    assert told(alerts) == [("raised", 2, 5)]
    assert alerts[0].group == {"host": "a"}
    loud = rule(name="t", metric="load", kpi="", window="", by=[], above=10)
    assert told(watchers(loud, live=True).take([point(MINUTE, 11.0)])) == [("raised", 1, 1)]


def test_a_point_that_comes_after_its_time_was_final_or_is_amended_does_not_count() -> None:
    loud = rule(name="t", metric="load", kpi="", window="", by=[], above=10)
    watching = watchers(loud, live=True)
    amended = point(MINUTE, 99.0)
    assert watching.take([point(MINUTE, 99.0, watermark=2 * MINUTE + 1)]) == []
    assert watching.take([FactChange(amended.after, amended.after, MINUTE)]) == []


def test_objectives_are_by_the_first_field_of_the_grouping() -> None:
    bounded = rule(objectives={"slow": 0.95})
    watching = watchers(bounded, live=True)
    alerts = watching.take([value(1, 0.9, topic="slow"), value(1, 0.9, topic="quick")])
    assert [alert.group["topic"] for alert in alerts] == ["quick"]


def test_a_text_is_one_line_whatever_the_group_is_called() -> None:
    (alert,) = watchers(rule(), live=True).take([value(1, 0.9, topic="a\n\x1b[2J" + "x" * 1_000)])
    assert alert.text.isprintable()
    assert len(alert.text) < 400


def test_state_is_plain_and_what_comes_after_it_the_same() -> None:
    rules = [rule(), rule(name="a", detector="anomaly", probation=3), rule(name="c", detector="change", probation=3)]
    draw = random.Random(3)
    items: list[Watched] = []
    for minute in range(60):
        items += [value(minute, draw.choice([0.1, 0.2, 0.9])), front(minute + 1)]
    whole = watchers(*rules, live=True)
    expected = [whole.take([item]) for item in items]
    resumed = watchers(*rules, live=True)
    found = []
    for item in items:
        state = pickle.loads(pickle.dumps(resumed.state()))  # noqa: S301  # as the engine keeps it
        resumed = Watchers(Rules(rules, LIMITS), LIMITS, live=True, state=state)
        found.append(resumed.take([item]))
    assert found == expected
    assert any(found)


def test_state_of_a_rule_that_is_gone_is_dropped_and_of_another_detector_begun_anew() -> None:
    watching = watchers(rule(), rule(name="gone"), live=True)
    watching.take([value(1, 0.9)])
    changed = [rule(detector="anomaly")]
    resumed = Watchers(Rules(changed, LIMITS), LIMITS, live=True, state=watching.state())
    resumed.take([front(9)])
    assert [place[0] for place in resumed.state()[2]] == ["r"]


def test_a_series_has_the_same_key_for_ever() -> None:
    # Written down once: a change of these would lose the state of everybody who upgrades.
    assert [key_of(series) for series in ("", "a", '["bad","1m",["topic","ü"]]')] == ["00", "03", "24"]
    assert len({key_of(str(number)) for number in range(10_000)}) == KEYS


def test_what_no_rule_looks_at_goes_nowhere_and_frontiers_go_to_all_keys() -> None:
    spread = Spread(Rules([rule()], LIMITS), live=True)
    other = msgspec.structs.replace(value(1, 0.9), window="1h")
    groups = dict(spread([other, point(1, 1.0), value(1, 0.9), front(1), front(1.01), front(2)]))
    assert len(groups) == KEYS
    assert sorted(map(len, groups.values())) == [2] * (KEYS - 1) + [3]


def journey(seed: int) -> tuple[list[KpiValue], int]:
    """Return what windows are in the end: an hour of two topics, some bad."""
    draw = random.Random(seed)
    values = []
    for minute, topic in itertools.product(range(90), ("fares", "rooms")):
        bad = 0.9 if topic == "rooms" and 40 <= minute < 50 else draw.uniform(0.0, 0.2)
        values.append(value(minute, bad, 30, topic))
    return values, 92


def run(items: Sequence[Watched], rules: Sequence[AlertRule], workers: int, batch: int) -> list[Alert]:
    out: list[Alert] = []
    flow = Dataflow("detecting")
    source: Stream[Watched] = op.input("in", flow, TestingSource(list(items), batch_size=batch))
    op.output("out", detect("detect", source, rules, LIMITS, live=False), TestingSink(out))
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    return sorted(out, key=lambda alert: (alert.id, alert.state))


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (1, 1000), (2, 7), (3, 13)])
def test_a_replay_ends_in_the_same_alerts_whatever_the_order_and_the_workers(workers: int, batch: int) -> None:
    rules = [
        rule(detector="anomaly", probation=10, direction="up", sensitivity=6),
        rule(name="flat", detector="flat", patience=10 * MINUTE),
        rule(name="fixed"),
    ]
    values, end = journey(1)
    in_order: list[Watched] = [*values, front(end)]
    expected = run(in_order, rules, 1, 1000)
    assert [(alert.rule, alert.group["topic"], alert.state) for alert in expected] == [
        ("fixed", "rooms", "over"), ("fixed", "rooms", "raised"), ("r", "rooms", "over"), ("r", "rooms", "raised"),
    ]  # fmt: skip
    draw = random.Random(workers * 1000 + batch)
    shuffled: list[Watched] = []
    for final in values:
        # Before a window is what it is in the end, it was something else; nothing of that may be left.
        shuffled += [msgspec.structs.replace(final, value=draw.random(), count=draw.randint(1, 30))]
    draw.shuffle(shuffled)
    last = list(values)
    draw.shuffle(last)
    assert run([*shuffled, *last, front(end)], rules, workers, batch) == expected
