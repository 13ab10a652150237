"""What is told of rows' former values, case by case, through the intake and the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.changes import Decision
from events.erasure import Erasure
from events.log import Mark
from stores.rows.base import Former, RowQuery
from stores.rows.intake import Item as Event
from stores.rows.sqlite_reader import SqliteRowReader
from stores.settings import TablesSettings
from tests.stores.row_events import LIVE_NAME, SOURCE, TABLE, change, gone, intake, key_of, settings, truncation

ID = SOURCE, key_of(1)
HOUR = 3_600_000
Told = Callable[..., list[Former]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tables.sqlite3"


@pytest.fixture
def told(path: Path) -> Told:
    """What is told of row 1 after batches of events that go into the same store."""

    def take(*batches: Sequence[Event], tables: TablesSettings | None = None, since: int = 0) -> list[Former]:
        rows, _ = intake(path, tables)
        with closing(rows):
            for batch in batches:
                rows.write(batch)
        return former(path, since)

    return take


def former(path: Path, since: int = 0) -> list[Former]:
    with closing(SqliteRowReader(path)) as reader:
        return reader.former(LIVE_NAME, [ID], since).get(ID, [])


def column(at: int, until: int | None = None, **was: Any) -> Former:
    return Former((0, at), at if until is None else until, was)


def fares(*ats: int) -> list[Event]:
    """Return events by which the fare becomes what their position is."""
    return [change(1, at, {"fare": at}) for at in ats]


def test_a_change_tells_what_was_until_then(told: Told) -> None:
    first = change(1, 1, {"fare": 129, "gate": "A"})
    second = change(1, 2, {"fare": 149, "gate": "A"}, time=5000)
    assert told([first], [second]) == [column(2, 5000, fare=129)]


def test_one_batch_tells_as_much_as_many(told: Told) -> None:
    assert told(fares(1, 2, 3)) == [column(3, fare=2), column(2, fare=1)]


def test_a_late_change_is_put_between_its_neighbours(told: Told) -> None:
    assert told(fares(1), fares(9)) == [column(9, fare=1)]
    assert told(fares(5)) == [column(9, fare=5), column(5, fare=1)]
    assert told(fares(5), fares(1, 9)) == [column(9, fare=5), column(5, fare=1)]


def test_a_late_change_without_an_effect_on_values_still_moves_the_time(told: Told) -> None:
    same, then = change(1, 2, {"fare": 1}), change(1, 3, {"fare": 5})
    assert told([*fares(1), change(1, 9, {"fare": 1}), same]) == []
    assert told([then]) == [column(9, fare=5), column(3, fare=1)]


def test_only_the_last_changes_are_kept(told: Told) -> None:
    assert told(fares(*range(1, 21))) == [column(at, fare=at - 1) for at in range(20, 12, -1)]


def test_what_is_older_than_all_that_is_kept_changes_nothing(told: Told) -> None:
    before = told(fares(*range(10, 30)))
    assert told(fares(5), fares(12)) == before
    assert told(fares(20, 21, 29)) == before


def test_what_came_before_anything_known_is_put_first(told: Told) -> None:
    assert told(fares(5), fares(3)) == [column(5, fare=3)]
    assert told(fares(1)) == [column(5, fare=3), column(3, fare=1)]


def test_long_changes_leave_room_for_fewer(told: Told) -> None:
    wide = [change(1, at, {f"c{n}": f"{at}" * 20 for n in range(10)}) for at in range(1, 10)]
    assert told(wide) == [Former((0, 9), 9, {f"c{n}": "8" * 20 for n in range(10)})]


def test_long_texts_are_not_told(told: Told) -> None:
    long, short = change(1, 1, {"a": "x" * 101, "b": "y" * 100}), change(1, 2, {"a": "x", "b": "y"})
    assert told([long], [short, change(1, 3, {"a": "z" * 200, "b": "y"})]) == [
        column(3, a="x"),
        column(2, b="y" * 100),
    ]
    assert told([change(1, 4, {"a": "q", "b": "y"}), gone(1, 5)])[:2] == [
        Former((0, 5), 5, {"id": 1, "a": "q", "b": "y"}, deleted=True),
        column(3, a="x"),
    ]


def test_a_column_that_a_change_does_not_say_has_not_been_changed_by_it(told: Told) -> None:
    silent = change(1, 2, {"gate": "B"}, silent=["fare"])
    later = change(1, 3, {"gate": "B", "fare": 7})
    assert told([change(1, 1, {"gate": "A", "fare": 5})], [silent], [later]) == [
        column(3, fare=5),
        column(2, gate="A"),
    ]


def test_a_value_that_nobody_has_said_is_not_told(told: Told) -> None:
    silent = change(1, 2, {"gate": "B"}, silent=["fare"])
    assert told([silent], [change(1, 3, {"gate": "C", "fare": 7})]) == [column(3, gate="B")]
    assert told([change(1, 1, {"gate": "A", "fare": 5})]) == [column(3, gate="B", fare=5), column(2, gate="A")]


def test_null_and_not_there_are_the_same(told: Told) -> None:
    assert told([change(1, 1, {"gate": None}), change(1, 2), change(1, 3, {"gate": "A"})]) == [column(3, gate=None)]


def test_a_delete_tells_the_whole_row_and_what_comes_after_it_nothing_but_that(told: Told) -> None:
    whole = {"id": 1, "fare": 1}
    assert told(fares(1), [gone(1, 2)]) == [Former((0, 2), 2, whole, deleted=True)]
    assert told([gone(1, 3)], fares(4)) == [
        Former((0, 4), 4, {}, deleted=True),
        Former((0, 2), 2, whole, deleted=True),
    ]


def test_a_row_that_came_back_between_two_deletes_was_there_until_the_second(told: Told) -> None:
    assert told([*fares(1), gone(1, 2), gone(1, 4)], fares(3))[0] == Former(
        (0, 4), 4, {"id": 1, "fare": 3}, deleted=True
    )


def test_a_snapshot_says_what_was_there_but_not_since_when(told: Told) -> None:
    read = msgspec.structs.replace(change(1, 2, {"fare": 2}), op="read")
    assert told(fares(1), [read]) == []
    assert told(fares(3)) == [column(3, fare=2)]


def test_after_a_truncation_nothing_is_told_from_before_it(told: Told) -> None:
    assert told(fares(1, 2), [truncation(3)], fares(4)) == []
    assert told(fares(5)) == [column(5, fare=4)]
    assert told([truncation(2)], fares(1)) == [column(5, fare=4)]


def test_a_truncation_that_comes_late_takes_what_was_before_it(told: Told) -> None:
    assert told(fares(1, 2, 4, 5), [truncation(3)]) == [column(5, fare=4)]


def test_a_delete_that_is_held_back_has_not_happened(told: Told) -> None:
    guarded = settings(share=0.1)
    assert told(fares(1, 2), [gone(1, 3)], tables=guarded) == [column(2, fare=1)]
    assert told([Decision(LIVE_NAME, 0, "discard")], tables=guarded) == [column(2, fare=1)]
    assert told(fares(4), tables=guarded) == [column(4, fare=2), column(2, fare=1)]


def test_a_delete_that_is_released_has_happened(told: Told) -> None:
    told(fares(1), [gone(1, 3)], tables=settings(share=0.1))
    assert told([Decision(LIVE_NAME, 0, "release")], tables=settings(share=0.1)) == [
        Former((0, 3), 3, {"id": 1, "fare": 1}, deleted=True)
    ]


def test_a_new_generation_is_compared_with_the_one_before(told: Told) -> None:
    again = change(1, (1, 1), {"fare": 5}, time=77)
    assert told(fares(8, 9), [again]) == [Former((1, 1), 77, {"fare": 9}), column(9, fare=8)]


def test_events_without_positions_are_told_in_the_order_of_their_log(told: Told) -> None:
    first, second, third = (change(1, (), {"fare": n}, offset=n, time=n * 10) for n in (1, 2, 3))
    assert told([first], [second, second], [third, first]) == [
        Former((), 30, {"fare": 2}),
        Former((), 20, {"fare": 1}),
    ]


def test_the_same_position_is_the_same_event(told: Told) -> None:
    again = change(1, 2, {"fare": 2}, offset=50)
    assert told(fares(1, 2), [again], fares(3), [again]) == [column(3, fare=2), column(2, fare=1)]


def test_numbers_that_json_has_no_word_for_do_no_harm(told: Told) -> None:
    odd = change(1, 1, {"fare": float("nan")})
    assert [one.until for one in told([odd], [odd], fares(2), fares(3))] == [3, 2]


def test_nothing_is_kept_where_it_is_switched_off(told: Told, path: Path) -> None:
    off = settings().model_copy(update={"former_hours": 0.0})
    assert told(fares(1, 2), tables=off) == []
    assert told(fares(3, 4)) == [column(4, fare=3), column(3, fare=2)]


def test_what_happened_while_it_was_switched_off_is_not_guessed(told: Told) -> None:
    off = settings().model_copy(update={"former_hours": 0.0})
    told(fares(1, 2))
    assert told(fares(3), tables=off) == []
    assert told(fares(5)) == [column(5, fare=3)]
    assert told(fares(1, 2)) == [column(5, fare=3)]


def test_an_erasure_takes_what_the_row_was(told: Told, path: Path) -> None:
    record = f"{SOURCE}/{TABLE}/{key_of(1)}"
    erasure = Erasure("e1", "default", "p", (record,), (), 0)
    assert told(fares(1, 2), [erasure]) == []
    assert b"fare" not in history_of(path)


def test_histories_are_forgotten_when_their_rows_have_not_changed_for_long(told: Told, path: Path) -> None:
    tables = settings().model_copy(update={"former_hours": 1.0})
    told([change(1, 1, {"fare": 1}, time=1), change(1, 2, {"fare": 2}, time=2)], tables=tables)
    rows, _ = intake(path, tables)
    with closing(rows):
        rows.write([change(2, 3, {"fare": 3}, time=HOUR)])
        rows.close_epoch([])
        assert former(path) == [column(2, fare=1)]
        rows.write([change(2, 4, {"fare": 4}, time=2 * HOUR)])
        rows.close_epoch([Mark("changes", "0", 9, 2, 0, caught_up=False)])
        assert former(path) == [column(2, fare=1)], "a partition that is behind may still bring changes of it"
        rows.close_epoch([Mark("changes", "0", 10, 2 * HOUR, 0, caught_up=True)])
        assert former(path) == []
        rows.write([change(1, 5, {"fare": 5}, time=2 * HOUR)])
    assert former(path) == [Former((0, 5), 2 * HOUR, {"fare": 2})]
    assert told(fares(1), tables=tables) == [Former((0, 5), 2 * HOUR, {"fare": 2})]


def test_a_store_of_the_layout_before_goes_on_and_begins_to_keep(told: Told, path: Path) -> None:
    told(fares(1), tables=settings().model_copy(update={"former_hours": 0.0}))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"ALTER TABLE row_{LIVE_NAME} DROP COLUMN history")
        db.execute("PRAGMA user_version = 1")
    assert former(path) == []
    with closing(SqliteRowReader(path)) as reader:
        assert len(reader.select(RowQuery(table=LIVE_NAME))) == 1
    assert told(fares(2)) == [column(2, fare=1)]
    assert told(fares(3)) == [column(3, fare=2), column(2, fare=1)]


def test_an_old_row_of_which_nothing_was_kept_takes_no_older_change(told: Told) -> None:
    told(fares(1, 5), tables=settings().model_copy(update={"former_hours": 0.0}))
    assert told(fares(3)) == []
    assert told(fares(9)) == [column(9, fare=5)]
    assert told(fares(4)) == [column(9, fare=5)]


def history_of(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT history FROM row_flights WHERE history IS NOT NULL").fetchall()
    return "\n".join(history for (history,) in found).encode()
