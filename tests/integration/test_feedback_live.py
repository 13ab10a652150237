"""A day with the feedback flow: fed by events, asked, alarmed, given bad events, started again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.live import Home, Running, wait_until

SETTINGS = """
[feedback]
windows = ["1m", "1d"]
by = [[], ["topic"]]

[[feedback.streams]]
name = "feedback"
application = "assistant"

[[feedback.kpis]]
name = "longest"
aggregate = "sql"
sql = "SELECT topic, max(tokens_out) AS value FROM facts GROUP BY topic"
by = [["topic"]]
windows = ["1d"]

[[feedback.alerts]]
name = "thumbs_fell"
kpi = "thumbs_up_rate"
window = "1d"
by = ["topic"]
detector = "threshold"
below = 0.5
least_count = 3
severity = "critical"
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "headrace.toml").write_text(SETTINGS)
    return Home(tmp_path)


def append(home: Home, *events: dict[str, Any]) -> None:
    lines = "".join(json.dumps(event) + "\n" for event in events)
    done = home.headrace("log", "append", "feedback", stdin=lines)
    assert done.returncode == 0, done.stderr


def now() -> int:
    return time.time_ns() // 1_000_000


def talk(number: int, topic: str = "refund", **more: Any) -> list[dict[str, Any]]:
    """A question and its answer."""
    begin = now()
    said = {"conversation": f"c{number}", "time": begin}
    question = {
        **said,
        "type": "turn",
        "id": "q",
        "role": "user",
        "text": "why?",
        "topic": topic,
        "person": f"p{number}",
    }
    answer = {
        **said,
        "time": begin + 1,
        "type": "turn",
        "id": "a",
        "role": "assistant",
        "text": "because",
        "model": "m1",
        **more,
    }
    return [question, answer]


def thumb(number: int, up: bool, id_: str = "r") -> dict[str, Any]:
    rating = {"type": "rating", "conversation": f"c{number}", "id": id_, "turn": "a", "scale": "thumbs"}
    return {**rating, "value": int(up), "time": now()}


def kpi(home: Home, name: str, topic: str | None = None) -> dict[str, Any] | None:
    """Return the newest day of a KPI: of a topic, or its total."""
    query = f"SELECT value, count, late, stage, topic FROM kpis WHERE kpi = '{name}' AND windows = '1d' ORDER BY start"  # noqa: S608  # ours
    answer = home.headrace("sql", "--kpis", query, "--json")
    if answer.returncode:
        # Before the flow has made the store.
        return None
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    found = [row for row in rows if row["topic"] == topic]
    return found[-1] if found else None


def value(home: Home, name: str, topic: str | None = None) -> float | None:
    found = kpi(home, name, topic)
    return None if found is None else found["value"]


def test_feedback_is_a_kpi_within_moments_and_an_amended_rating_counts_once(home: Home) -> None:
    with Running(home, "feedback"):
        append(home, *talk(1, latency=120, tokens_out=10), *talk(2, latency=80, tokens_out=30), thumb(1, True))
        wait_until(lambda: value(home, "answers") == 2, "both answers")
        wait_until(lambda: value(home, "thumbs_up_rate", topic="refund") == 1, "the thumb")
        append(home, thumb(1, False), thumb(2, False))
        wait_until(lambda: value(home, "thumbs_up_rate", topic="refund") == 0, "the amended thumb")
        found = kpi(home, "thumbs_up_rate", topic="refund")
        assert found is not None
        assert found["count"] == 2
        wait_until(lambda: value(home, "longest", topic="refund") == 30, "the KPI by SQL")
        shown = home.headrace("kpi")
        assert shown.returncode == 0, shown.stderr
        assert "thumbs_up_rate" in shown.stdout


def test_what_turns_bad_is_an_alert_that_names_its_topic_and_comes_once(home: Home) -> None:
    with Running(home, "feedback"):
        append(home, *(event for number in range(5) for event in [*talk(number, "baggage"), thumb(number, False)]))
        wait_until(lambda: "baggage" in home.headrace("alerts").stdout, "the alert")
    with Running(home, "feedback"):
        append(home, *talk(9, "baggage"), thumb(9, False))
        wait_until(lambda: value(home, "answers", topic="baggage") == 6, "the sixth answer")
    answer = home.headrace("log", "show", "alerts")
    told = [line for line in answer.stdout.splitlines() if "thumbs_fell" in line]
    assert len(told) == 1, answer.stdout + answer.stderr


def test_a_flow_without_its_recovery_folder_ends_in_the_same_values(home: Home) -> None:
    with Running(home, "feedback"):
        append(home, *talk(1), *talk(2), thumb(1, True), thumb(2, False))
        wait_until(lambda: value(home, "thumbs_up_rate") == 0.5, "both thumbs")
    with Running(home, "feedback", "--no-recovery"):
        append(home, *talk(3), thumb(3, True))
        wait_until(lambda: value(home, "answers") == 3, "the third answer")
        found = kpi(home, "thumbs_up_rate")
        assert found is not None
        assert (found["count"], round(found["value"], 6)) == (3, round(2 / 3, 6))


def test_bad_events_become_dead_letters_and_harm_no_kpi(home: Home) -> None:
    bad = [
        {**thumb(1, True, "too-much"), "scale": "stars", "value": 7},
        {**thumb(1, True, "long-ago"), "time": 0},
        {**thumb(1, True, "far"), "time": "2199-01-01T00:00:00Z"},
        {"type": "comment", "conversation": "c1", "id": "big", "text": "x" * 1_100_000, "time": now()},
        {"type": "rating", "key": "k", "value": 1},
        {"kind": "mystery", "key": "k"},
    ]
    with Running(home, "feedback"):
        append(home, *talk(1), thumb(1, True), *bad, thumb(99, False))
        append(
            home,
            {"type": "comment", "conversation": "c1", "id": "rtl", "turn": "a", "text": "شكرا 🙏 جزيلا", "time": now()},
        )
        wait_until(lambda: value(home, "thumbs_up_rate") == 0.5, "the good ones; one of an unknown conversation")
        status = json.loads(home.headrace("status", "--json").stdout)
        assert status["dead_letters"] == {"feedback": len(bad)}
        assert kpi(home, "thumbs_up_rate", topic="refund") is not None
        found = kpi(home, "thumbs_up_rate", topic="refund")
        assert found is not None
        assert found["count"] == 1
