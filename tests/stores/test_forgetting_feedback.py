"""Facts and conversations of erased persons leave their stores; what was counted of them stays counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.erasure import Erasure
from events.feedback import Rating, Turn
from events.kpis import FactChange
from events.log import Mark
from stores.kpis.anew import write_anew
from stores.kpis.file import open_for_reading, open_for_writing
from stores.kpis.intake import KpiIntake
from stores.lake.choose import open_lake
from stores.lake.working_size import read_applied, read_erased
from stores.settings import load
from tests.dataflows.lake_content import rows_in
from tests.stores.kpi_samples import BEGIN, Store, answer, fact, new, value

HERS = Erasure("e1", "default", "p1", (), (), BEGIN, ("hers", "never-seen"))
NAME = "anna.silva@example.org"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_facts_of_her_conversations_go_at_once_and_values_stay(store: Store) -> None:
    his, hers = answer("his", BEGIN), answer("hers", BEGIN, person=NAME)
    rating = fact("ratings", "hers/r", BEGIN, conversation="hers")
    store.commit(new(his), new(hers), new(rating), new(fact("points", "p", BEGIN)), value(BEGIN, 2.0, count=2))
    # One more of hers came in the same epoch, before the erasure did.
    store.intake.write([new(fact("comments", "hers/k", BEGIN, conversation="hers", text="x")), HERS])
    assert {kind: count for kind, count in store.reader.counts().items() if count} == {
        "answers": 1, "points": 1, "kpis": 1,
    }  # fmt: skip
    store.commit(offset=5)
    assert store.reader.facts_of(["hers"]) == 0
    assert store.reader.facts_of(["his", "hers"]) == 1
    assert store.reader.persons() == []
    assert [(one.value, one.count) for one in store.reader.values()] == [(2.0, 2)]
    assert store.reader.erased("e1") == 2
    store.commit(HERS)
    assert store.reader.erased("e1") == 2
    assert store.reader.erased("e2") == 0


def test_facts_that_were_under_way_are_passed_over(store: Store) -> None:
    store.intake.close()
    intake = KpiIntake(store.settings, lambda: store.now, store.told.append, frozenset(["hers"]).__contains__)
    changed = FactChange(answer("hers", BEGIN), answer("hers", BEGIN, rated=True), BEGIN)
    intake.write([new(answer("hers", BEGIN)), changed, new(answer("his", BEGIN))])
    intake.close_epoch([Mark("chat", "0", 1, BEGIN, BEGIN, caught_up=True)])
    intake.close()
    assert store.reader.counts()["answers"] == 1


def test_persons_are_told_with_their_conversations(store: Store) -> None:
    store.commit(
        new(answer("hers", BEGIN, person=NAME)), new(fact("ratings", "r", BEGIN, conversation="his", person="b"))
    )
    assert store.reader.persons() == [NAME, "b"]
    assert store.reader.conversations_of([NAME, "nobody"]) == ["hers"]


def test_the_file_written_anew_has_the_same_content_and_no_byte_of_what_was_deleted(store: Store) -> None:
    store.commit(new(answer("hers", BEGIN, person=NAME)), new(answer("his", BEGIN)), value(BEGIN, 1.0), offset=3)
    store.commit(HERS)
    path = store.settings.kpis_path
    assert NAME.encode() in path.read_bytes()
    before = (store.reader.counts(), store.reader.values(), store.reader.applied())
    assert [done.fault for done in write_anew(path, 5.0)] == [""]
    assert NAME.encode() not in path.read_bytes()
    assert (store.reader.counts(), store.reader.values(), store.reader.applied()) == before
    assert {one.name for one in path.parent.iterdir()} == {"kpis.duckdb", "kpis.duckdb.lock", "kpis.duckdb.gate"}
    # The writer that was open meanwhile goes on.
    store.commit(new(answer("jo", BEGIN)), offset=4)
    assert store.reader.counts()["answers"] == 2


def test_a_file_in_use_is_not_written_anew_and_what_a_crash_left_is_cleared(store: Store) -> None:
    store.commit(new(answer("his", BEGIN)), offset=3)
    path = store.settings.kpis_path
    beside = path.with_name("kpis.duckdb.new")
    beside.write_bytes(b"half of it")
    with open_for_reading(path):
        (busy,) = write_anew(path, 0.0)
    assert "is held by" in busy.fault
    assert not beside.exists()
    assert write_anew(path.with_name("none.duckdb"), 0.0) == []


def test_a_store_from_before_there_were_erasures_takes_one(store: Store) -> None:
    store.commit(new(answer("hers", BEGIN)))
    with open_for_writing(store.settings.kpis_path) as db:
        db.execute("DROP TABLE erased")
    store.open()
    store.commit(HERS)
    assert store.reader.erased("e1") == 1


def test_conversations_go_from_the_lake_and_its_working_state_and_are_counted_once(tmp_path: Path) -> None:
    settings = load(data_dir=tmp_path)
    gone: set[str] = set()

    def take(*items: Turn | Rating | Erasure) -> None:
        intake = open_lake(settings, lambda: BEGIN, lambda source: 60.0, lambda event: event.id in gone)
        intake.write(items)
        intake.close_epoch([Mark("control.lake", "0", 1, BEGIN, BEGIN, caught_up=True)])
        intake.close()

    hers, his = Turn("hers", "1", BEGIN, "user", person=NAME), Turn("his", "2", BEGIN, "user", "what Anna said")
    take(hers, his, HERS, Turn("his", "3", BEGIN, "assistant", "what?"))
    assert rows_in(settings.lake_dir).keys() == {"his"}
    assert len(rows_in(settings.lake_dir)["his"]["turns"]) == 2
    assert read_erased(settings.conversations_path, "e1") == 1
    gone |= {"1", "r"}
    take(hers, HERS, Rating("hers", "r", BEGIN, "thumbs", 1))
    assert rows_in(settings.lake_dir).keys() == {"his"}
    assert read_erased(settings.conversations_path, "e1") == 1
    assert read_erased(settings.conversations_path, "e2") == 0
    assert [mark.source for mark in read_applied(settings.conversations_path)] == ["control.lake"]
    nowhere = tmp_path / "none.sqlite3"
    assert (read_erased(nowhere, "e1"), read_applied(nowhere)) == (0, [])
