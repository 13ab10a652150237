"""KPIs in SQL: an analyst's SELECT over the facts of a window, right after each commit, harmless whatever it says."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from pathlib import Path

import pytest

from events.errors import SettingsError
from events.kpis import FactChange
from stores.kpis import analyst
from stores.kpis.reader import StoredValue
from tests.stores.kpi_samples import BEGIN, MINUTE, Store, answer, fact, new

SLOW = {
    "name": "slow_share",
    "aggregate": "sql",
    "sql": "SELECT topic, avg((latency > 100)::INT) AS value FROM facts GROUP BY topic",
    "by": [["topic"]],
    "windows": ["1m", "2m/1m"],
    "where": {"fallback": False},
}


def mine(store: Store, window: str = "1m", name: str = "slow_share") -> list[StoredValue]:
    return store.reader.values(name, window=window)


def test_windows_of_changed_facts_are_what_the_statement_says_of_all_their_facts(tmp_path: Path) -> None:
    store = Store(tmp_path, kpis=[SLOW])
    wanted: dict[tuple[int, str], list[bool]] = defaultdict(list)
    for number in range(60):
        topic, latency = ("a", "b")[number % 2], 90.0 + number % 20
        time_ = BEGIN + number * 5_000
        counts = number % 7 != 0
        store_fact = answer(f"c{number}", time_, topic=topic, latency=latency, fallback=not counts)
        store.commit(new(store_fact), offset=number)
        if counts:
            wanted[time_ - time_ % MINUTE, topic].append(latency > 100)
    found = {(one.start, dict(one.group)["topic"]): (one.value, one.count) for one in mine(store)}
    assert {key: value for key, (value, _) in found.items()} == pytest.approx(
        {key: sum(hits) / len(hits) for key, hits in wanted.items()}
    )
    assert {key: count for key, (_, count) in found.items()} == {key: len(hits) for key, hits in wanted.items()}


def test_a_count_is_that_of_the_group_or_of_the_window_if_the_group_is_none_of_the_facts_themselves(
    tmp_path: Path,
) -> None:
    upper = SLOW | {"name": "upper", "sql": "SELECT upper(topic) AS topic, count(*) AS value FROM facts GROUP BY 1"}
    pages = {
        "name": "pages",
        "aggregate": "sql",
        "sql": "SELECT unnest(documents)[1:1] AS documents, 1 AS value FROM facts GROUP BY 1",
        "by": [["documents"]],
    }
    store = Store(tmp_path, kpis=[SLOW, upper, pages], windows=["1m"])
    topics = [None, "a", "b", "b"]
    made = [
        answer(f"c{number}", BEGIN + number, topic=topic, latency=1.0, fallback=False, documents=("x",))
        for number, topic in enumerate(topics)
    ]
    store.commit(*map(new, made))
    assert {dict(one.group)["topic"]: one.count for one in mine(store)} == {"": 1, "a": 1, "b": 2}
    assert {one.count for one in mine(store, name="upper") if dict(one.group)["topic"]} == {4}
    assert [one.count for one in mine(store, name="pages")] == [4]


def test_sliding_windows_overlap(tmp_path: Path) -> None:
    store = Store(tmp_path, kpis=[SLOW])
    store.commit(new(answer("c1", BEGIN, topic="a", latency=200.0, fallback=False)))
    assert [one.start for one in mine(store, "2m/1m")] == [BEGIN - MINUTE, BEGIN]


def test_groups_that_the_result_has_no_more_and_windows_without_facts_go(tmp_path: Path) -> None:
    store = Store(tmp_path, kpis=[SLOW])
    first = answer("c1", BEGIN, topic="a", latency=200.0, fallback=False)
    second = answer("c1", BEGIN, topic="b", latency=200.0, fallback=False)
    store.commit(new(first))
    store.commit(FactChange(first, second, BEGIN))
    assert [dict(one.group) for one in mine(store)] == [{"topic": "b"}]
    store.commit(FactChange(second, None, BEGIN))
    assert mine(store) == []


def test_a_window_that_ended_before_the_horizon_stays_as_it_is(tmp_path: Path) -> None:
    store = Store(tmp_path, kpis=[SLOW], horizon_hours=1)
    late = answer("c1", BEGIN, topic="a", latency=200.0, fallback=False)
    store.commit(new(late, BEGIN + MINUTE + 3_600_000))
    assert mine(store) == []
    store.commit(new(answer("c2", BEGIN, topic="a", latency=1.0, fallback=False), BEGIN + MINUTE + 3_600_000 - 1))
    assert len(mine(store)) == 1


def test_labels_of_points_are_there_for_conditions_and_groups(tmp_path: Path) -> None:
    load = {
        "name": "load_per_host",
        "facts": "points",
        "aggregate": "sql",
        "sql": "SELECT labels['host'] AS host, max(value) AS value FROM facts GROUP BY ALL",
        "where": {"name": "load", "zone": ["east", "o'west"]},
        "by": [["host"]],
        "windows": ["1m"],
    }
    store = Store(tmp_path, kpis=[load])
    points = [("east", "h1", 1.0), ("east", "h1", 3.0), ("o'west", "h2", 2.0), ("south", "h3", 9.0)]
    store.commit(
        *(
            new(fact("points", str(number), BEGIN, name="load", value=number_, zone=zone, host=host))
            for number, (zone, host, number_) in enumerate(points)
        )
    )
    assert {dict(one.group)["host"]: one.value for one in mine(store, name="load_per_host")} == {"h1": 3.0, "h2": 2.0}


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT nothing AS value FROM facts", "'mine'.*nothing"),
        ("SELECT 1 AS number", "returns no column 'value'"),
        ("SELECT 'much' AS value", "not a number"),
        ("DROP TABLE facts", "not one that reads"),
        ("SELECT 1 AS value; SELECT 2 AS value", "not one that reads"),
        ("SELECT count(*) AS value FROM read_text('/etc/passwd')", "disabled by configuration"),
        ("SELECT count(*) AS value FROM kpis", "kpis does not exist"),
        ("SELECT 1 AS value FROM store", "does not exist"),
        ("SELEC 1", "syntax error"),
        ("COPY (SELECT 1) TO 'out.csv'", "not one that reads"),
    ],
)
def test_a_statement_that_cannot_be_run_stops_the_start_with_its_name(tmp_path: Path, sql: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as raised:
        Store(tmp_path, kpis=[{"name": "mine", "aggregate": "sql", "sql": sql, "windows": ["1m"]}])
    assert "mine" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_statement_that_takes_too_long_is_told_once_and_harms_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    endless = "SELECT (SELECT count(*) FROM range(10000000000) r WHERE r.range % 7 = f.tokens) AS value FROM facts f"
    wrong = "SELECT (tokens::VARCHAR || 'x')::INT AS value FROM facts LIMIT 1"
    total = {"aggregate": "sql", "by": [[]], "windows": ["1m"]}
    kpis = [{"name": "endless", "sql": endless, **total}, {"name": "wrong", "sql": wrong, **total}, SLOW]
    store = Store(tmp_path, kpis=kpis)
    monkeypatch.setattr(analyst, "STATEMENT_SECONDS", 0.3)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        for number in range(6):
            store.commit(
                new(answer(f"c{number}", BEGIN, topic="a", latency=200.0, tokens=3, fallback=False)), offset=number
            )
    assert time.monotonic() - began < 10
    assert [record.message.split(":")[0] for record in caplog.records] == ["the KPI 'endless'", "the KPI 'wrong'"]
    assert [one.count for one in mine(store)] == [6]
    assert store.reader.counts()["answers"] == 6


def test_what_there_is_no_time_for_comes_in_the_next_commits_even_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, kpis=[{**SLOW, "windows": ["1m"]}])
    intake = store.intake
    facts = [
        answer(f"c{number}", BEGIN + number * MINUTE, topic="a", latency=1.0, fallback=False) for number in range(5)
    ]
    intake.write([new(one) for one in facts])
    intake._store.commit(intake._batch, sql_seconds=0.0)
    assert mine(store) == []
    assert store.reader.sql("SELECT count(*) FROM pending").rows == [(5,)]
    store.intake._store.close()  # a crash: nothing is finished
    monkeypatch.setattr(intake, "close", lambda: None)
    store.open().close()
    assert len(mine(store)) == 5
    assert store.reader.sql("SELECT count(*) FROM pending").rows == [(0,)]
