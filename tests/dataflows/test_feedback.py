"""The feedback flow over the recorded streams: the same content whatever the workers and batches, and the right one."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fixtures import customers, record
from fixtures.conversations_days import MISTAKE, Days
from fixtures.conversations_days import record as record_days
from fixtures.conversations_facts import facts, standing
from fixtures.conversations_world import DAY, HOUR
from stores.kpis.reader import KpiReader
from tests.dataflows.feedback_content import STREAMS, content, replay, settings_of, values_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of what one worker has made of the recorded stream."""
    folder = tmp_path_factory.mktemp("plain")
    replay(STREAMS, folder)
    return folder


@pytest.fixture(scope="module")
def plain(data: Path) -> dict[str, Any]:
    """Return what is in it."""
    return content(data)


@pytest.fixture(scope="module")
def days() -> Days:
    people = customers.record(record.SEED).people
    return record_days(record.SEED, [f"email:{person.email}" for person in people])


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, Any]]]:
    """Return the facts as the files alone tell them."""
    files = sorted((STREAMS / "feedback").iterdir())
    return facts(standing(path.read_text(encoding="utf-8").splitlines() for path in files))


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_content_depends_neither_on_workers_nor_on_batches(
    tmp_path: Path, plain: dict[str, Any], workers: int, batch: int
) -> None:
    found = replay(STREAMS, tmp_path, workers=workers, batch=batch)
    for part, expected in plain.items():
        assert found[part] == expected, part


def test_the_kpis_are_what_the_files_say(plain: dict[str, Any]) -> None:
    final = json.loads((STREAMS / "feedback.final.json").read_bytes())
    expected: dict[tuple[str, str], dict[Any, Any]] = {}
    for value in final:
        place = (value["start"], tuple(value["group"].items()))
        expected.setdefault((value["kpi"], value["window"]), {})[place] = (
            pytest.approx(value["value"], rel=1e-12), value["count"],
        )  # fmt: skip
    assert len(expected) > 25
    for (kpi, window), values in expected.items():
        groups = {tuple(name for name, _ in group) for _, group in values}
        found = values_of(plain, kpi, window)
        if window == "1d":
            assert {place for place in found if tuple(name for name, _ in place[1]) in groups} == set(values), kpi
        assert {place: found.get(place) for place in values} == values, (kpi, window)


@pytest.mark.parametrize(("kpi", "quantile"), [("latency_p50", 0.5), ("latency_p95", 0.95)])
def test_quantiles_are_within_one_percent_of_those_of_the_files(
    plain: dict[str, Any], rows: dict[str, list[dict[str, Any]]], kpi: str, quantile: float
) -> None:
    days = values_of(plain, kpi, "1d")
    checked = 0
    for (start, group), (value, count) in days.items():
        latencies = sorted(
            row["latency"]
            for row in rows["answers"]
            if start <= row["time"] < start + DAY and all(row[field] == of for field, of in group)
        )
        assert count == len(latencies)
        place = quantile * (count - 1)
        assert 0.99 * latencies[math.floor(place)] <= value <= 1.01 * latencies[math.ceil(place)]
        checked += 1
    assert checked > 30


def test_visits_are_sessions_of_one_person(plain: dict[str, Any], rows: dict[str, list[dict[str, Any]]]) -> None:
    gap = 30 * 60_000
    expected = []
    persons = {row["person"] for row in rows["questions"] if row["person"]}
    for person in persons:
        times = sorted(row["time"] for row in rows["questions"] if row["person"] == person)
        begins = [0, *(place for place in range(1, len(times)) if times[place] - times[place - 1] > gap), len(times)]
        visits = [times[first:after] for first, after in pairwise(begins)]
        expected += [(person, visit[0], visit[-1] + 1, len(visit)) for visit in visits]
    found = [
        (dict(group)["person"], start, end, count)
        for (kpi, _, start, group), (end, _, count, *_) in plain["kpis"].items()
        if kpi == "visits"
    ]
    assert sorted(found) == sorted(expected)


def test_a_kpi_in_sql_is_what_the_query_says_of_each_window(plain: dict[str, Any], days: Days) -> None:
    expected: dict[tuple[int, str], int] = {}
    for event in days.events:
        tokens = getattr(event, "tokens_out", None)
        if tokens is not None:
            place = (event.time // DAY * DAY, getattr(event, "topic", ""))
            expected[place] = max(expected.get(place, 0), tokens)
    found = values_of(plain, "longest_answer", "1d")
    assert {(start, dict(group)["topic"]): value for (start, group), (value, _) in found.items()} == expected


def test_the_mistake_raises_one_alert_and_it_names_the_topic_and_the_page(data: Path) -> None:
    reader = KpiReader(settings_of(data).kpis_path)
    critical = [stored.alert for stored in reader.alerts() if stored.alert.rule == "answers_turned_bad"]
    (alert,) = critical
    assert alert.group == {"topic": "baggage"}
    assert alert.documents[0] == "documents/policies/baggage.md"
    assert MISTAKE.begin - 2 * HOUR < alert.since < MISTAKE.end
    assert (alert.actual or 0) > 0.5
    assert alert.state == "over"
    assert "baggage" in alert.text
    assert reader.sql(alert.rows).rows


def test_the_lag_of_the_database_is_raised_too(data: Path) -> None:
    reader = KpiReader(settings_of(data).kpis_path)
    stale = [stored.alert for stored in reader.alerts() if stored.alert.rule == "context_stale"]
    assert {"source": "operations"} in [alert.group for alert in stale]


def test_what_came_after_the_horizon_is_counted_and_kept_as_dead_letters(plain: dict[str, Any], days: Days) -> None:
    assert sum(count for _, _, count in plain["late"]) == len(days.lost) == len(plain["dead"])


def test_a_second_replay_changes_nothing(tmp_path: Path, plain: dict[str, Any]) -> None:
    def updated_at() -> dict[tuple[Any, ...], int]:
        values = KpiReader(settings_of(tmp_path).kpis_path).values(window="1d")
        return {(value.kpi, value.start, value.group): value.updated_at for value in values}

    assert replay(STREAMS, tmp_path) == plain
    before = updated_at()
    assert replay(STREAMS, tmp_path) == plain
    assert set(updated_at()) == set(before)
