"""The tables flow over several runs: nothing lost, nothing revived, whatever of its state is still there."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from dataflows.tables import build
from events.clock import system_clock
from events.errors import SettingsError, StoreError
from events.log import LogRecord, as_replay, replay_stream
from stores.dead_letters import DeadLetters
from tests.dataflows.tables_content import Place, content, flight, rows_of, settings_of


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
    assert rows_of(content(place.home / "data", place.config), "hotels") == {'{"id":1}': {"id": 1, "name": "Harbour"}}


def test_a_replayed_event_does_not_overtake_a_newer_one(place: Place) -> None:
    place.append(flight("c", 10, table="hotels", name="Harbour"))
    place.run()
    place.configure('[[tables.live]]\nname = "hotels"\ntable = "public.hotels"\n')
    place.append(flight("u", 20, table="hotels", name="Harbour View"))
    hand_back(place)
    place.run()
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


def test_a_restored_copy_of_the_store_is_not_taken_for_the_store(place: Place, tmp_path: Path) -> None:
    (tmp_path / "recovery").mkdir()
    init_db_dir(tmp_path / "recovery", 1)
    settings = settings_of(tmp_path / "data", config=place.config, mode="replay")
    store = tmp_path / "data" / "tables.sqlite3"

    def run() -> None:
        run_main(
            build(settings), epoch_interval=timedelta(0), recovery_config=RecoveryConfig(str(tmp_path / "recovery"))
        )

    place.append(flight("c", 10, status="planned"))
    run()
    shutil.copy(store, tmp_path / "copy")
    place.append(flight("c", 20, id_=2, status="planned"), key=2)
    run()
    shutil.copy(tmp_path / "copy", store)
    place.append(flight("c", 30, id_=3, status="planned"), key=3)
    with pytest.raises((StoreError, RuntimeError)):
        run()
    # As the error says: without the recovery folder the flow goes on from what the store holds.
    assert set(place.run()) == {'{"id":1}', '{"id":2}', '{"id":3}'}


def test_two_sources_of_one_table_name_keep_their_own_keys(place: Place) -> None:
    place.config.write_text(
        '[[tables.streams]]\nname = "crm"\n[[tables.streams]]\nname = "shop"\n'
        '[[tables.live]]\nname = "crm_users"\nsource = "crm"\ntable = "users"\nkey = ["id"]\n'
        '[[tables.live]]\nname = "shop_users"\nsource = "shop"\ntable = "users"\nkey = ["email"]\n'
    )
    with pytest.raises(SettingsError, match="different sources in different ways"):
        place.run()
    place.config.write_text(
        place.config.read_text()
        .replace('name = "crm"\n', 'name = "crm"\nsource = "crm"\n', 1)
        .replace('name = "shop"\n', 'name = "shop"\nsource = "shop"\n', 1)
    )
    for number in (1, 2):
        row = {"id": number, "email": "family@example.org"}
        for stream in ("crm", "shop"):
            event = json.dumps({"table": "users", "after": row, "position": number}).encode()
            place.log.append(stream, [LogRecord(stream, 0, 0, 1000, b"family", event)])
    place.run()
    found = content(place.home / "data", place.config)
    assert set(rows_of(found, "crm_users")) == {'{"id":1}', '{"id":2}'}
    assert set(rows_of(found, "shop_users")) == {'{"email":"family@example.org"}'}
    assert reasons(place) == []


def test_a_table_of_another_schema_is_another_table(place: Place) -> None:
    place.append(flight("c", 10, status="planned"))
    archived = flight("c", 11, status="archived")
    archived["source"]["schema"] = "archive"
    place.append(archived)
    assert place.run() == {'{"id":1}': {"id": 1, "status": "planned"}}
    assert "'archive.flights' of 'operations' is not configured" in reasons(place)[0]


def test_a_live_table_that_has_missed_events_says_so(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.append(flight("c", 10, status="planned"))
    place.run()
    assert "has been added" not in caplog.text
    place.configure('[[tables.live]]\nname = "hotels"\ntable = "public.hotels"\n')
    place.run()
    assert "the live table 'hotels' has been added" in caplog.text
    caplog.clear()
    place.run()
    assert "has been added" not in caplog.text


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            {"table": "public.flights", "key": {"id": "x" * 3000}, "after": {"id": "x" * 3000}},
            "a primary key of 3009 bytes",
        ),
        ({"table": "t" * 300, "key": {"id": 1}, "after": {"id": 1}}, "cannot be the name of a table"),
        (
            {"table": "public.flights", "source": "a/b", "key": {"id": 1}, "after": {"id": 1}},
            "cannot be the name of a source",
        ),
    ],
)
def test_names_and_keys_that_no_store_could_hold_are_dead_letters(
    place: Place, event: dict[str, Any], said: str
) -> None:
    place.append(event)
    assert place.run() == {}
    assert said in reasons(place)[0]
