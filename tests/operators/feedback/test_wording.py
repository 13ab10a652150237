"""Alerts as people read them."""

from __future__ import annotations

import pytest

from operators.feedback.rules import AlertRule
from operators.feedback.watch import Event
from operators.feedback.wording import alert_of, text_of

HOUR = 3_600_000
NOON = 1_793_534_400_000
"""2026-11-01T12:00:00Z"""
SHARE = AlertRule("slow_answers", "threshold", kpi="slow_share", window="1h", above=0.4, is_share=True)
LAG = AlertRule("context_stale", "threshold", kpi="context_lag", window="1m", by=("source",), above=2_000, unit="ms")


@pytest.mark.parametrize(
    ("rule", "actual", "most", "text"),
    [
        (SHARE, 0.4839, 0.2, "slow_share is 48.4 %, expected at most 20 %,"),
        (SHARE, 0.4762, 0.4758, "slow_share is 47.62 %, expected at most 47.58 %,"),
        (LAG, 4_727.0, 2_000.0, "context_lag is 4,727 ms, expected at most 2,000 ms,"),
        (LAG, 2_000.04, 2_000.0, "context_lag is 2,000.04 ms, expected at most 2,000 ms,"),
        (LAG, 1_234_567.8, 812.53, "context_lag is 1,234,568 ms, expected at most 812.5 ms,"),
    ],
)
def test_values_have_their_unit_and_as_many_digits_as_tell_them_apart(
    rule: AlertRule, actual: float, most: float, text: str
) -> None:
    said = text_of(rule, {}, Event("raised", NOON, NOON, (None, most), actual, actual))
    assert said.startswith(f"{text} since 2026-11-01 12:00 UTC")


def test_what_is_expected_of_a_share_is_a_share() -> None:
    alert = alert_of(SHARE, "s", {}, Event("raised", NOON, NOON, (-0.03, 0.12), 0.5, 0.5))
    assert (alert.expected, alert.actual) == ("0 % to 12 %", 0.5)


def test_an_alert_that_is_over_says_what_it_was_what_was_expected_and_from_when_to_when() -> None:
    event = Event("over", NOON, NOON + 6 * HOUR, (None, 0.4), 0.926, 0.0)
    assert text_of(SHARE, {"topic": "fares"}, event) == (
        "slow_share of topic 'fares': over after 6 h (was 92.6 %, expected at most 40 %, "
        "2026-11-01 12:00 to 18:00 UTC); it is 0 % again (slow_answers)"
    )


def test_an_alert_that_is_over_on_another_day_says_which() -> None:
    said = text_of(LAG, {}, Event("over", NOON, NOON + 60 * HOUR, (None, 2_000.0), 5_000.0, None))
    assert "(was 5,000 ms, expected at most 2,000 ms, 2026-11-01 12:00 to 2026-11-04 00:00 UTC) (context_stale)" in said


def test_nothing_is_said_of_values_where_there_were_none() -> None:
    rule = AlertRule("quiet", "missing", metric="load", patience=HOUR)
    said = text_of(rule, {}, Event("over", NOON, NOON + 2 * HOUR, now=3.0))
    assert said == "load: over after 2 h (nothing came, 2026-11-01 12:00 to 14:00 UTC) (quiet)"
