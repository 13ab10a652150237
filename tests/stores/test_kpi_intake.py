"""What came in an epoch is one commit: absolute values, the newest of each, what is applied, held back at start."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import Literal

import pytest

from events.alerts import Alert
from events.errors import StoreError
from events.kpis import Fact, FactChange, Frontier, KpiValue, TooLate
from events.log import LogRecord, Mark
from stores.kpis.intake import QUIET_MILLIS, KpiIntake
from stores.kpis.writer import RETAIN_EVERY
from stores.log.files import FileLog
from tests.stores.kpi_samples import BEGIN, MINUTE, Store, answer, fact, new, value


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_facts_of_each_kind_are_kept_with_their_fields(store: Store) -> None:
    store.commit(
        new(answer("c1", BEGIN, topic="refund", latency=12.5, tokens=7, bad=True, documents=("a/b.md", "c/d.md"))),
        new(fact("questions", "c1/q", BEGIN, topic="refund")),
        new(fact("ratings", "c1/r", BEGIN, scale="stars", value=2, score=0.25, known=True)),
        new(fact("comments", "c1/k", BEGIN, text="it's \U0001f620 \u202eso", topics=("refund",))),
        new(fact("contexts", "c1/x/0", BEGIN, source="company", lag=3.0, stale=False)),
        new(fact("points", '["load"]/p1', BEGIN, name="load", series='["load"]', value=1.5, host="h'1")),
    )
    found = store.reader.sql("SELECT topic, latency, tokens, bad, rated, documents, time FROM answers")
    assert found.rows == [("refund", 12.5, 7, True, None, ["a/b.md", "c/d.md"], "2026-01-01T00:00:00Z")]
    assert store.reader.sql("SELECT text, topics FROM comments").rows == [("it's \U0001f620 \u202eso", ["refund"])]
    assert store.reader.sql("SELECT labels['host'], value FROM points").rows == [("h'1", 1.5)]
    counts = store.reader.counts()
    assert {kind: count for kind, count in counts.items() if count} == dict.fromkeys(
        ("answers", "questions", "ratings", "comments", "contexts", "points"), 1
    )


def test_a_field_that_its_column_cannot_hold_is_null_and_harms_nobody(store: Store) -> None:
    wrong = answer("c1", BEGIN, topic=5, latency="slow", tokens=2**70, bad="yes", person="half \ud800 a pair")
    store.commit(new(wrong), new(answer("c2", BEGIN, topic="fares")))
    found = store.reader.sql("SELECT topic, latency, tokens, bad, person FROM answers ORDER BY id").rows
    assert found == [(None, None, None, None, "half ? a pair"), ("fares", None, None, None, None)]


def test_the_newest_of_each_fact_stands_and_one_that_is_gone_goes(store: Store) -> None:
    first, second = answer("c1", BEGIN, topic="old"), answer("c1", BEGIN + 5, topic="new")
    store.commit(new(first), new(answer("c2", BEGIN)))
    store.commit(FactChange(first, second, BEGIN), FactChange(answer("c2", BEGIN), None, BEGIN))
    assert store.reader.sql("SELECT topic FROM answers").rows == [("new",)]


@pytest.mark.parametrize("seed", range(6))
def test_any_split_into_commits_with_repeats_ends_in_the_newest_content(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    store = Store(tmp_path)
    facts: dict[str, Fact] = {}
    values: dict[tuple[str, int], KpiValue] = {}
    items: list[FactChange | KpiValue] = []
    for number in range(400):
        if chance.random() < 0.5:
            made = answer(f"c{chance.randrange(40)}", BEGIN + chance.randrange(3_600_000), tokens=number)
            gone = made.id in facts and chance.random() < 0.2
            items.append(FactChange(facts.get(made.id), None if gone else made, BEGIN + 3_600_000))
            facts.pop(made.id, None)
            if not gone:
                facts[made.id] = made
        else:
            start, topic = BEGIN + chance.randrange(5) * MINUTE, chance.choice(["a", "b"])
            made_value = value(start, float(number), count=chance.randrange(4), topic=topic)
            items.append(made_value)
            values[made_value.series, start] = made_value
    place = 0
    while place < len(items):
        size = chance.randrange(1, 60)
        store.commit(*items[place : place + size], offset=place + size)
        if chance.random() < 0.3:
            # A crash before the engine knew: the same batch comes again.
            store.open()
            store.commit(*items[place : place + size], offset=place + size)
        place += size
    stored = store.reader.sql("SELECT id, epoch_ms(time), tokens FROM answers ORDER BY id", rows=1000).rows
    assert stored == sorted((one.id, one.time, one.fields["tokens"]) for one in facts.values())
    found = {(one.start, one.group): (one.value, one.count) for one in store.reader.values()}
    assert found == {(one.start, one.group): (one.value, one.count) for one in values.values() if one.count}


def test_a_value_is_early_then_final_and_corrected_if_something_came_late(store: Store) -> None:
    lateness = round(store.settings.feedback.lateness_seconds * 1000)
    store.commit(value(BEGIN, 1.0), value(BEGIN + MINUTE, 2.0), value(BEGIN + 2 * MINUTE, 3.0))
    assert [one.stage for one in store.reader.values()] == ["early"] * 3
    store.commit(Frontier(BEGIN + MINUTE + lateness, -1), offset=1)
    assert [one.stage for one in store.reader.values()] == ["final", "early", "early"]
    store.commit(value(BEGIN, 1.5, late=1), Frontier(BEGIN + 2 * MINUTE + lateness, -1), offset=2)
    assert [one.stage for one in store.reader.values()] == ["corrected", "final", "early"]
    store.commit(Frontier(BEGIN, -1), offset=3)
    store.open()
    assert store.reader.frontier() == BEGIN + 2 * MINUTE + lateness
    first = store.reader.values()[0]
    assert (first.value, first.late, first.stage) == (1.5, 1, "corrected")


def stages(store: Store) -> dict[str, str]:
    """Return stages by topic, or KPI where there is none."""
    return {dict(one.group).get("topic", one.kpi): one.stage for one in store.reader.values()}


def test_a_final_value_that_becomes_another_is_corrected_even_if_nothing_came_late(tmp_path: Path) -> None:
    store = Store(tmp_path, kpis=[{"name": "visits", "windows": ["session:1m"]}])
    over = Frontier(BEGIN + 2 * MINUTE, -1)
    session = KpiValue("visits", "session:1m", BEGIN, BEGIN + 1, (), 1.0, 1)
    store.commit(value(BEGIN, 1.0), value(BEGIN, 3.0, topic="a"), session, over)
    assert stages(store) == {"answers": "final", "a": "final", "visits": "early"}
    longer = KpiValue("visits", "session:1m", BEGIN, BEGIN + MINUTE, (), 2.0, 2)
    store.commit(value(BEGIN, 2.0, count=2), value(BEGIN, 3.0, topic="a"), longer)
    assert stages(store) == {"answers": "corrected", "a": "final", "visits": "early"}
    store.commit(value(BEGIN, 2.0, count=2))
    store.open()
    assert stages(store) == {"answers": "corrected", "a": "final", "visits": "early"}


def test_in_a_replay_only_what_came_late_is_corrected(tmp_path: Path) -> None:
    store = Store(tmp_path, mode="replay")
    store.commit(value(BEGIN, 1.0), Frontier(BEGIN + 2 * MINUTE, -1))
    store.commit(value(BEGIN, 2.0, count=2))
    assert [(one.value, one.stage) for one in store.reader.values()] == [(2.0, "final")]


def test_the_last_frontier_of_a_replay_is_kept_though_nothing_came_with_it(tmp_path: Path) -> None:
    store = Store(tmp_path, mode="replay")
    store.commit(value(BEGIN, 1.0), offset=5)
    store.commit(Frontier(BEGIN + 10 * MINUTE, -1))
    assert [one.stage for one in store.reader.values()] == ["final"]


def test_a_frontier_that_waited_is_kept_when_the_flow_ends(store: Store) -> None:
    store.commit(value(BEGIN, 1.0), offset=5)
    store.commit(Frontier(BEGIN + 10 * MINUTE, -1))
    assert store.reader.frontier() is None
    store.intake.close()
    assert store.reader.frontier() == BEGIN + 10 * MINUTE


def test_a_frontier_does_not_overtake_what_was_under_way_when_the_flow_broke_off(store: Store) -> None:
    store.commit(value(BEGIN, 1.0), offset=5)
    store.intake.write([value(BEGIN, 2.0), Frontier(BEGIN + 10 * MINUTE, -1)])
    store.intake.close()
    assert store.reader.frontier() is None


def test_a_session_is_early_as_long_as_another_event_would_lengthen_it(store: Store) -> None:
    session = KpiValue("visits", "session:30m", BEGIN, BEGIN + 1, (), 1.0, 1)
    over = BEGIN + 1 + 30 * MINUTE + MINUTE  # its gap, and the lateness
    store.commit(session, Frontier(over - 1, -1))
    assert [one.stage for one in store.reader.values()] == ["early"]
    store.commit(Frontier(over, -1), offset=1)
    assert [one.stage for one in store.reader.values()] == ["final"]


def test_every_field_grouped_by_is_a_column_even_if_it_is_called_as_another(store: Store) -> None:
    store.commit(value(BEGIN, 1.0), value(BEGIN, 2.0, host="h1", value="x"))
    found = store.reader.sql("SELECT grouping, host, by_value, value FROM kpis ORDER BY grouping")
    assert found.rows == [("", None, None, 1.0), ("host,value", "h1", "x", 2.0)]
    assert [one.group for one in store.reader.values(where={"host": "h1"})] == [(("host", "h1"), ("value", "x"))]


def test_applied_is_noted_with_the_last_data_and_never_before(store: Store) -> None:
    store.intake.write([new(answer("c1", BEGIN))])
    assert store.reader.applied() == []
    store.commit(offset=7)
    (mark,) = store.reader.applied()
    assert (mark.source, mark.partition, mark.offset, mark.applied_at) == ("chat", "0", 7, store.now)
    assert store.reader.counts()["answers"] == 1


def test_progress_grows_with_each_commit_and_lasts_with_the_identity(store: Store) -> None:
    seen = []
    for offset in range(1, 4):
        store.commit(value(BEGIN, float(offset)), offset=offset)
        seen.append(store.intake.progress())
    assert seen == sorted(set(seen))
    identity = store.intake.identity()
    store.open()
    assert (store.intake.identity(), store.intake.progress()) == (identity, seen[-1])


def test_an_idle_flow_writes_only_now_and_then(store: Store) -> None:
    store.commit(value(BEGIN, 1.0), offset=5, caught_up=True)
    before = store.intake.progress()
    for moment in (200, 400):
        store.intake.close_epoch([Mark("chat", "0", 5, BEGIN, store.now + moment, caught_up=True)])
    assert store.intake.progress() == before
    store.now += QUIET_MILLIS
    store.intake.close_epoch([Mark("chat", "0", 5, BEGIN, store.now, caught_up=True)])
    assert store.intake.progress() == before + 1
    assert store.reader.applied()[0].read_at == store.now


def test_after_a_restart_nothing_goes_backwards_until_the_flow_is_as_far_again(store: Store) -> None:
    store.commit(value(BEGIN, 9.0, count=9), new(answer("c1", BEGIN, tokens=9)), offset=100)
    intake = store.open()
    store.commit(value(BEGIN, 1.0), new(answer("c1", BEGIN, tokens=1)), offset=10)
    assert intake.holding
    assert [one.value for one in store.reader.values()] == [9.0]
    assert store.reader.sql("SELECT tokens FROM answers").rows == [(9,)]
    assert store.reader.applied()[0].offset == 100
    store.commit(value(BEGIN, 10.0, count=10), new(answer("c1", BEGIN, tokens=10)), offset=100)
    assert not intake.holding
    assert [one.value for one in store.reader.values()] == [10.0]
    assert store.reader.sql("SELECT tokens FROM answers").rows == [(10,)]


def test_a_log_that_ends_earlier_by_now_is_not_waited_for(store: Store) -> None:
    store.commit(value(BEGIN, 9.0), offset=100)
    store.open()
    store.commit(value(BEGIN, 1.0), offset=10, caught_up=True)
    assert [one.value for one in store.reader.values()] == [1.0]
    assert store.reader.applied()[0].offset == 10


def test_a_stream_that_is_not_in_the_settings_any_more_is_not_waited_for(store: Store) -> None:
    store.intake.close_epoch([Mark("gone", "0", 50, BEGIN, BEGIN, caught_up=False)])
    assert not store.open().holding


def test_every_partition_that_was_applied_is_waited_for(store: Store) -> None:
    marks = [Mark("chat", partition, 50, BEGIN, BEGIN, caught_up=False) for partition in ("0", "1")]
    store.intake.close_epoch(marks)
    intake = store.open()
    intake.close_epoch(marks[:1])
    assert intake.holding
    intake.close_epoch(marks[1:])
    assert not intake.holding


def test_a_partition_that_the_log_has_no_more_is_waited_for_by_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = FileLog(tmp_path / "log", partitions=1)
    log.append("chat", [LogRecord("chat", 0, 0, BEGIN, None, b"{}")])
    store = Store(tmp_path / "data", log=log)
    marks = [Mark("chat", "0", 50, BEGIN, BEGIN, False), Mark("replay.feedback", "0", 1, BEGIN, BEGIN, False)]
    store.intake.close_epoch(marks)
    intake = store.open()
    with caplog.at_level(logging.INFO):
        for offset in (10, 20):
            store.commit(value(BEGIN, 1.0), offset=offset)
    assert intake.holding
    assert [record.getMessage() for record in caplog.records] == [
        "the values of before are kept until the flow has come as far again in chat/0"
    ]
    store.commit(value(BEGIN, 2.0), offset=50)
    assert [one.value for one in store.reader.values()] == [2.0]


def test_what_came_too_late_is_counted_once(store: Store) -> None:
    for _ in range(2):
        store.commit(TooLate("chat/0/17", "chat", "0", BEGIN, 3), TooLate("chat/0/30", "chat", "0", BEGIN, 4), offset=1)
    assert store.reader.late() == [("chat", "0", 7)]


def test_facts_and_values_that_are_too_old_are_removed_in_time(tmp_path: Path) -> None:
    store = Store(tmp_path, facts_days=1, kpis_days=2)
    day = 86_400_000
    store.commit(*(new(answer(f"c{age}", BEGIN - age * day)) for age in range(4)), offset=1)
    store.commit(*(value(BEGIN - age * day, float(age)) for age in range(4)), offset=2)
    store.commit(new(answer("newest", BEGIN + 2 * MINUTE)))
    for offset in range(3, 65):
        store.commit(Frontier(BEGIN + MINUTE + 1, -1), TooLate(str(offset), "chat", "0", BEGIN, 1), offset=offset)
    assert store.reader.sql("SELECT conversation FROM answers ORDER BY id").rows == [("c0",), ("newest",)]
    assert sorted(one.value or 0 for one in store.reader.values()) == [0.0, 1.0]


def test_a_clock_that_ran_ahead_of_an_idle_flow_removes_nothing(store: Store) -> None:
    store.commit(new(answer("c1", BEGIN)), value(BEGIN, 1.0), offset=1)
    years = 5 * 365 * 86_400_000
    for number in range(RETAIN_EVERY + 1):
        store.commit(Frontier(BEGIN + years + number, -1), TooLate(str(number), "chat", "0", BEGIN, 1))
    assert store.intake.progress() > RETAIN_EVERY
    assert (store.reader.counts()["answers"], store.reader.counts()["kpis"]) == (1, 1)


def alert(state: Literal["raised", "over"] = "raised") -> Alert:
    subject = '["bad_share","1m",["topic","baggage"]]'
    return Alert("answers_turned_bad/1", "anomaly", subject, "bad", BEGIN, state=state, rule="answers_turned_bad")


def test_an_alert_is_committed_and_told_at_once_with_what_is_known(store: Store) -> None:
    store.intake.write([value(BEGIN, 1.0), alert()])
    assert [one.id for one in store.told] == ["answers_turned_bad/1"]
    assert [one.alert.state for one in store.reader.alerts(over=False)] == ["raised"]
    assert [one.value for one in store.reader.values()] == [1.0]
    assert store.reader.applied() == []


def test_an_alert_that_stands_in_the_same_state_is_not_told_again_even_after_a_restart(store: Store) -> None:
    store.intake.write([alert()])
    store.commit(alert(), offset=1)
    store.open()
    store.commit(alert(), offset=1)
    assert len(store.told) == 1
    store.commit(alert("over"), offset=2)
    assert [one.state for one in store.told] == ["raised", "over"]
    assert store.reader.alerts(over=False) == []
    assert [one.raised_at for one in store.reader.alerts()] == [BEGIN]


def test_an_alert_that_could_not_be_told_is_told_at_the_next_start(store: Store) -> None:
    def broken(one: Alert) -> None:
        raise StoreError(one.id)

    intake = store.open(broken)
    with pytest.raises(StoreError):
        intake.write([alert()])
    assert len(store.reader.alerts()) == 1
    store.open()
    assert [one.id for one in store.told] == ["answers_turned_bad/1"]
    store.commit(offset=1)
    store.open()
    assert len(store.told) == 1


def test_alerts_are_not_told_while_the_flow_is_behind_the_store(store: Store) -> None:
    store.commit(offset=100)
    store.open()
    store.commit(alert(), offset=10)
    store.commit(alert("over"), offset=50)
    assert store.told == []
    store.commit(offset=100)
    assert [one.state for one in store.told] == ["raised", "over"]


def test_there_is_one_writer(store: Store) -> None:
    with pytest.raises(StoreError, match="has a writer already"):
        KpiIntake(store.settings, lambda: 0, store.told.append)


def test_a_file_of_another_kind_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "kpis.duckdb").write_text("something else, of some length\n" * 100)
    with pytest.raises(StoreError, match="move it aside"):
        Store(tmp_path)
