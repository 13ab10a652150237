"""The tables flow over several runs: nothing lost, nothing revived, whatever of its state is still there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from events.clock import system_clock
from events.log import as_replay, replay_stream
from stores.dead_letters import DeadLetters
from tests.dataflows.tables_content import Place, flight


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def letters(place: Place) -> DeadLetters:
    return DeadLetters(place.home / "data" / "dead_letters.sqlite3", system_clock)


def reasons(place: Place) -> list[str]:
    return [kept.letter.reason for kept in letters(place).list()]


def hand_back(place: Place) -> None:
    """Do what `headrace dead-letters replay --all` does."""
    kept = letters(place).list()
    place.log.append(replay_stream("tables"), [as_replay(letter.letter.record) for letter in kept])
    letters(place).mark_replayed(kept)


def test_a_late_event_changes_nothing_even_after_a_restart_without_state(place: Place) -> None:
    place.append(flight("c", 10, status="planned"), flight("u", 30, status="late"))
    assert place.run() == {'{"id":1}': {"id": 1, "status": "late"}}
    place.append(flight("u", 20, status="boarding"))
    assert place.run() == {'{"id":1}': {"id": 1, "status": "late"}}


def test_a_late_event_does_not_bring_a_deleted_row_back_after_a_restart_without_state(place: Place) -> None:
    place.append(flight("c", 10, status="planned"), flight("d", 30))
    assert place.run() == {}
    place.append(flight("u", 20, status="boarding"))
    assert place.run() == {}
    place.append(flight("c", 40, status="planned again"))
    assert place.run() == {'{"id":1}': {"id": 1, "status": "planned again"}}


def test_a_snapshot_at_a_newer_position_heals(place: Place) -> None:
    place.append(flight("c", 10, status="planned"))
    place.run()
    place.append(flight("r", 50, status="landed"))
    assert place.run() == {'{"id":1}': {"id": 1, "status": "landed"}}


def test_an_unchanged_large_value_is_kept_over_a_restart_without_state(place: Place) -> None:
    marker = "__debezium_unavailable_value"
    place.append(flight("c", 10, status="planned", notes="a long text"))
    place.run()
    place.append(flight("u", 20, status="late", notes=marker))
    assert place.run() == {'{"id":1}': {"id": 1, "status": "late", "notes": "a long text"}}


def test_a_lost_store_is_made_again_from_the_log(place: Place) -> None:
    place.append(flight("c", 10, status="planned"), flight("u", 20, status="late"))
    before = place.run()
    for path in (place.home / "data").glob("tables.sqlite3*"):
        path.unlink()
    assert place.run() == before


def test_an_event_of_a_table_that_is_added_later_is_taken_in_by_its_replay(place: Place) -> None:
    place.append(flight("c", 10, status="planned"), flight("c", 11, table="hotels", name="Harbour"))
    place.run()
    assert len(reasons(place)) == 1
    assert "'public.hotels' of 'operations' is not configured" in reasons(place)[0]
    place.configure('[[tables.live]]\nname = "hotels"\ntable = "public.hotels"\n')
    hand_back(place)
    place.run()
    assert reasons(place) == []
    from tests.dataflows.tables_content import content, rows_of

    assert rows_of(content(place.home / "data", place.config), "hotels") == {'{"id":1}': {"id": 1, "name": "Harbour"}}


def test_a_replayed_event_does_not_overtake_a_newer_one(place: Place) -> None:
    place.append(flight("c", 10, table="hotels", name="Harbour"))
    place.run()
    place.configure('[[tables.live]]\nname = "hotels"\ntable = "public.hotels"\n')
    place.append(flight("u", 20, table="hotels", name="Harbour View"))
    hand_back(place)
    place.run()
    from tests.dataflows.tables_content import content, rows_of

    found = rows_of(content(place.home / "data", place.config), "hotels")
    assert found == {'{"id":1}': {"id": 1, "name": "Harbour View"}}


def test_a_generation_lets_positions_begin_anew(place: Place) -> None:
    place.append(flight("c", 9000, status="planned"))
    place.run()
    place.config.write_text(place.config.read_text().replace('name = "ops"\n', 'name = "ops"\ngeneration = 1\n'))
    place.append(flight("r", 3, status="landed"))
    assert place.run() == {'{"id":1}': {"id": 1, "status": "landed"}}


def test_other_tables_are_passed_over_where_the_settings_say_so(place: Place) -> None:
    place.config.write_text('[tables]\nothers = "ignore"\n' + place.config.read_text())
    place.append(flight("c", 10, status="planned"), flight("c", 11, table="hotels", name="Harbour"))
    assert place.run() == {'{"id":1}': {"id": 1, "status": "planned"}}
    assert reasons(place) == []


def test_a_recovery_folder_may_be_lost_or_kept(place: Place) -> None:
    place.append(flight("c", 10, status="planned"))
    place.run()
    shutil.rmtree(place.home / "data" / "recovery", ignore_errors=True)
    place.append(flight("u", 20, status="late"))
    assert place.run() == {'{"id":1}': {"id": 1, "status": "late"}}
