"""Questions to the store: one statement that reads and reaches nothing else, bounded in time and rows; conditions."""

from __future__ import annotations

import time
from pathlib import Path

import duckdb
import pytest

from events.errors import RejectedError, SettingsError, StoreError
from events.kpis import Fact, FactKind
from operators.feedback.conditions import passes
from operators.feedback.configure import conditions
from stores.kpi_settings import Where
from stores.kpis.conditions import predicate
from stores.kpis.file import open_for_writing
from stores.kpis.reader import KpiReader, KpiSummary
from tests.stores.kpi_samples import BEGIN, MINUTE, Store, answer, fact, new, value


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.commit(
        *(value(BEGIN + minute * MINUTE, float(minute), topic=topic) for minute in range(5) for topic in ("a", "b")),
        new(answer("c1", BEGIN, topic="a")),
        offset=1,
    )
    return store


def test_an_absent_store_is_empty(tmp_path: Path) -> None:
    reader = KpiReader(tmp_path / "absent.duckdb")
    assert (reader.kpis(), reader.values(), reader.alerts(), reader.applied(), reader.late()) == ([], [], [], [], [])
    assert (reader.frontier(), reader.counts(), reader.sql("SELECT 1").rows) == (None, {}, [])


def test_values_are_those_that_fulfil_all_that_is_given(store: Store) -> None:
    def starts(**given: object) -> list[int]:
        return [(one.start - BEGIN) // MINUTE for one in store.reader.values("answers", **given)]  # type: ignore[arg-type]  # as each case has them

    assert starts(where={"topic": "a"}, last=2) == [3, 4]
    assert starts(since=BEGIN + 3 * MINUTE) == [3, 3, 4, 4]
    assert starts(until=BEGIN + MINUTE, grouping=("topic",)) == [0, 0]
    assert starts(grouping=()) == []
    assert starts(window="1h") == []
    assert starts(where={"topic": "'; DROP TABLE answers; --"}) == []


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM answers", "not one that reads"),
        ("SELECT 1; SELECT 2", "not one that reads"),
        ("", "not one that reads"),
        ("SET threads = 8", "not one that reads"),
        ("ATTACH '/tmp/other.duckdb'", "not one that reads"),
        ("COPY answers TO '/tmp/answers.csv'", "not one that reads"),
        ("WITH gone AS (DELETE FROM answers RETURNING *) SELECT * FROM gone", "read-only"),
        ("SELECT * FROM read_text('/etc/passwd')", "disabled by configuration"),
        ("SELECT * FROM '/etc/passwd'", "does not exist"),
        ("SELECT * FROM glob('/*')", "disabled by configuration"),
        ("SELECT * FROM store", "does not exist"),
        ("SELECT nothing FROM kpis", "nothing"),
        ("SELECT 'x'::INT", "Could not convert"),
        ("SELECT error('\x1b[31m')", "cannot be run"),
    ],
)
def test_what_is_not_one_reading_statement_over_the_store_is_refused(store: Store, statement: str, said: str) -> None:
    with pytest.raises(RejectedError, match=said) as raised:
        store.reader.sql(statement)
    assert "\n" not in str(raised.value)
    assert store.reader.counts()["answers"] == 1


def test_a_statement_is_bounded_in_time_and_rows(store: Store) -> None:
    began = time.monotonic()
    with pytest.raises(RejectedError, match=r"longer than 0\.3 s"):
        store.reader.sql("SELECT count(*) FROM range(100000000000) a WHERE a.range % 7 = 3", seconds=0.3)
    assert time.monotonic() - began < 5
    answer_ = store.reader.sql("FROM range(100000)", rows=7)
    assert (len(answer_.rows), answer_.cut) == (7, True)
    assert not store.reader.sql("FROM range(7)", rows=7).cut


def test_what_a_statement_returns_is_plain_data(store: Store) -> None:
    found = store.reader.sql(
        """SELECT TIMESTAMPTZ '2026-01-01 12:00+02' AS a, DATE '2026-01-02' AS b, [1, NULL] AS c, MAP {'k': 1.5} AS d,
        {'x': TIMESTAMP '2026-01-01'} AS e, 'ab'::BLOB AS f, NULL AS g, 12.50::DECIMAL(9, 2)::VARCHAR AS h"""
    )
    assert found.columns == tuple("abcdefgh")
    assert [str(value) for value in found.rows[0]] == [
        "2026-01-01T10:00:00Z",
        "2026-01-02",
        "[1, None]",
        "{'k': Decimal('1.5')}",
        "{'x': '2026-01-01T00:00:00'}",
        "6162",
        "None",
        "12.50",
    ]


def test_a_store_that_somebody_keeps_open_is_told_with_the_remedy(store: Store) -> None:
    held = KpiReader(store.reader.path, seconds=0.05)
    with (
        open_for_writing(store.reader.path),
        pytest.raises(StoreError, match=r"held by its writer for longer than 0\.05 s"),
    ):
        held.kpis()
    reading = duckdb.connect(str(store.reader.path), read_only=True)
    with pytest.raises(StoreError, match="whoever uses the file opens it briefly"), open_for_writing(held.path, 0.05):
        pass
    reading.close()


CASES: list[tuple[FactKind, Where]] = [
    ("answers", {}),
    ("answers", {"topic": "refund"}),
    ("answers", {"topic": ("refund", "o'fares")}),
    ("answers", {"topic": {"not": "refund"}}),
    ("answers", {"topic": {"not": ("refund", "o'fares")}}),
    ("answers", {"topic": {"known": False}}),
    ("answers", {"topic": {"known": True}, "bad": True}),
    ("answers", {"bad": {"not": True}}),
    ("answers", {"bad": 1}),
    ("answers", {"latency": {"above": 10, "at_most": 20.5}}),
    ("answers", {"latency": {"at_least": 10, "below": 20.5}}),
    ("answers", {"latency": 10}),
    ("answers", {"latency": "10"}),
    ("answers", {"topic": 5}),
    ("answers", {"topic": {"not": 5}}),
    ("answers", {"documents": "a/b"}),
    ("answers", {"documents": {"not": ("a/b", "c/d")}}),
    ("points", {"host": "h1"}),
    ("points", {"host": {"not": "h1"}}),
    ("points", {"host": {"known": False}}),
]


@pytest.mark.parametrize(("kind", "where"), CASES)
def test_a_condition_holds_in_sql_of_the_same_facts_as_in_the_operators(
    store: Store, kind: FactKind, where: Where
) -> None:
    facts: list[Fact] = []
    for number, topic in enumerate(("refund", "o'fares", "", None)):
        for latency in (None, 10.0, 15.0, 20.5):
            bad = (None, True, False)[len(facts) % 3]
            documents = ((), ("a/b",), ("a/b", "e/f"), None)[len(facts) % 4]
            facts.append(
                answer(f"{number}/{latency}", BEGIN, topic=topic, latency=latency, bad=bad, documents=documents)
            )
    if kind == "points":
        facts = [
            fact("points", str(host), BEGIN, name="m", **({"host": host} if host else {}))
            for host in (None, "h1", "h2")
        ]
    store.commit(*map(new, facts))
    test = passes(conditions(where, "test"))
    wanted = sorted(one.id for one in facts if test(one))
    condition = predicate(kind, where, "test")
    found = store.reader.sql(f"SELECT id FROM {kind} WHERE ({condition}) AND id <> 'c1/a'", rows=99)  # noqa: S608
    assert sorted(row[0] for row in found.rows) == wanted


@pytest.mark.parametrize(
    "where", [{"latency": {"over": 5}}, {"latency": {"above": "5"}}, {"latency": {"above": (1, 2)}}]
)
def test_a_condition_that_cannot_be_understood_is_told(where: Where) -> None:
    with pytest.raises(SettingsError, match=r"feedback\.kpis, mine, where"):
        predicate("answers", where, "feedback.kpis, mine, where")


def test_a_summary_tells_what_each_question_by_itself_does(store: Store, tmp_path: Path) -> None:
    summary, reader = store.reader.summary(), store.reader
    assert list(summary.applied) == reader.applied()
    assert summary.counts == reader.counts()
    assert summary.too_late == sum(count for _, _, count in reader.late())
    assert KpiReader(tmp_path / "absent.duckdb").summary() == KpiSummary()
