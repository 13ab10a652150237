"""Rules as they follow from settings."""

from __future__ import annotations

from typing import Any

import pytest

from events.errors import SettingsError
from operators.feedback.configure import alert_rules, conditions, kpi_rules, limits, objectives
from operators.feedback.rules import Condition, WindowRule
from stores.feedback_settings import FeedbackSettings
from stores.kpi_settings import KPIS, window_of


def _settings(**said: Any) -> FeedbackSettings:
    return FeedbackSettings.model_validate(said)


def test_a_kpi_without_windows_and_groupings_takes_the_common_ones_that_its_facts_have() -> None:
    settings = _settings(windows=["5m"], by=[[], ["model"], ["topic"]])
    rules = {rule.name: rule for rule in kpi_rules(settings, window_of)}
    assert set(rules) == {kpi.name for kpi in KPIS}
    assert rules["answers"].windows == (WindowRule("5m", 300_000, 300_000),)
    assert rules["answers"].by == ((), ("model",), ("topic",))
    assert rules["users"].by == ((), ("topic",)), "questions have no model"
    assert rules["context_lag"].by == (("source",),), "its own"


def test_conditions_are_read_in_all_their_forms() -> None:
    where: dict[str, Any] = {
        "topic": "refund",
        "model": ("a", "b"),
        "latency": {"above": 100, "known": True},
        "bad": False,
    }
    assert conditions(where, "here") == (
        Condition("topic", "is", ("refund",)),
        Condition("model", "is", ("a", "b")),
        Condition("latency", "above", (100,)),
        Condition("latency", "known", (True,)),
        Condition("bad", "is", (False,)),
    )


@pytest.mark.parametrize(
    "where", [{"latency": {"over": 5}}, {"latency": {"above": "5"}}, {"latency": {"above": True}},
              {"latency": {"below": (1, 2)}}, {"latency": {"known": "yes"}}]
)  # fmt: skip
def test_a_condition_that_cannot_be_understood_names_its_place(where: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"feedback\.kpis, slow, where"):
        conditions(where, "feedback.kpis, slow, where")


def test_alerts_that_come_with_headrace_are_there_as_far_as_what_they_look_at_is() -> None:
    assert [rule.name for rule in alert_rules(_settings(), window_of)] == [
        "context_stale", "answers_turned_bad", "complaints_rose", "answers_slow",
    ]  # fmt: skip
    without = alert_rules(_settings(by=[[]], windows=["5m"]), window_of)
    assert [(rule.name, rule.window) for rule in without] == [("context_stale", "5m"), ("answers_slow", "5m")]


def test_an_alert_of_ones_own_on_what_is_not_there_says_what_is() -> None:
    settings = _settings(alerts=[{"name": "mine", "kpi": "csat", "by": ["person"]}])
    with pytest.raises(SettingsError, match=r"by \[\], \['topic'\], \['model'\] in windows of 1m, 1h, 1d"):
        alert_rules(settings, window_of)


def test_an_alert_of_ones_own_on_a_kpi_in_sql_is_refused_and_others_do_without() -> None:
    in_sql = {"facts": "contexts", "aggregate": "sql", "sql": "SELECT 1 AS value"}
    mine = {"name": "late", "kpi": "mine", "detector": "threshold", "above": 0.5}
    with pytest.raises(SettingsError, match=r"the alert 'late' looks at 'mine', a KPI in SQL, which has no alerts"):
        alert_rules(_settings(kpis=[{"name": "mine", **in_sql}], alerts=[mine]), window_of)
    instead = _settings(kpis=[{"name": "context_lag", **in_sql}, {"name": "latency_p95", **in_sql}])
    assert [rule.name for rule in alert_rules(instead, window_of)] == ["answers_turned_bad", "complaints_rose"]


def test_stale_contexts_are_held_against_the_objectives_of_their_sources() -> None:
    settings = _settings(objectives={"fares": 2}, objective_seconds=30)
    rule = alert_rules(settings, window_of)[0]
    assert (rule.above, rule.objectives) == (30_000, {"fares": 2_000})
    assert objectives(settings).of("fares") == 2_000
    assert objectives(settings).of("policies") == 30_000


def test_limits_are_in_milliseconds() -> None:
    found = limits(_settings(lateness_seconds=1.5, horizon_hours=2))
    assert (found.lateness, found.horizon) == (1_500, 7_200_000)


def test_an_alert_knows_how_the_values_that_it_looks_at_are_written() -> None:
    costs = {"name": "dear", "kpi": "cost", "detector": "threshold", "above": 9.0}
    rules = {rule.name: rule for rule in alert_rules(_settings(alerts=[costs], currency="GBP"), window_of)}
    assert {name: (rule.unit, rule.is_share) for name, rule in rules.items()} == {
        "context_stale": ("ms", False),
        "answers_turned_bad": ("", True),
        "complaints_rose": ("", True),
        "answers_slow": ("ms", False),
        "dear": ("GBP", False),
    }
