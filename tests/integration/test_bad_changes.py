"""Change events that nobody should have to fear: each becomes one dead letter with its reason, the rest is taken in."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.clock import system_clock
from events.log import as_replay, replay_stream
from fixtures import broken_changes
from stores.dead_letters import DeadLetters, KeptLetter
from stores.log.files import FileLog
from tests.dataflows.tables_content import CONFIG, STREAMS, Place, flight, replay, rows_of


def letters(data: Path) -> list[KeptLetter]:
    return DeadLetters(data / "dead_letters.sqlite3", system_clock).list()


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, object], list[KeptLetter]]:
    """Run over the recorded bad events; return the flights by key, and the dead letters."""
    home = tmp_path_factory.mktemp("broken")
    config = home / "headrace.toml"
    config.write_text(CONFIG.read_text().replace('name = "operations"', 'name = "operations-broken"', 1))
    found = replay(STREAMS, home / "data", config=config)
    return rows_of(found, "flights"), letters(home / "data")


def test_every_bad_event_is_one_dead_letter(broken: tuple[dict[str, object], list[KeptLetter]]) -> None:
    bad = [case for case in broken_changes.cases() if case.reason]
    assert len(broken[1]) == len(bad)
    assert all(kept.letter.step == "decode" and "\n" not in kept.letter.reason for kept in broken[1])
    assert not [kept.letter.reason for kept in broken[1] if kept.letter.reason.startswith("unexpected")]


@pytest.mark.parametrize(
    "said",
    [
        "'public.crews' of 'operations' is not configured",
        "no event of Debezium",
        "nested",
        "twice",
        "lsn",
        "neither the record's key nor a setting",
        "UTF-8",
        "not JSON",
    ],
)
def test_the_reason_says_what_is_wrong(broken: tuple[dict[str, object], list[KeptLetter]], said: str) -> None:
    assert any(said in kept.letter.reason for kept in broken[1]), [kept.letter.reason for kept in broken[1]]


def test_the_good_events_between_them_are_taken_in(broken: tuple[dict[str, object], list[KeptLetter]]) -> None:
    assert broken[0] == broken_changes.rows()


def test_an_event_of_fifty_megabytes_is_a_dead_letter(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.append(flight("c", 10, status="planned"))
    place.append(flight("c", 11, id_=2, notes="x" * 50_000_000), key=2)
    place.append(flight("u", 12, status="late"))
    assert place.run() == {'{"id":1}': {"id": 1, "status": "late"}}
    (kept,) = letters(tmp_path / "data")
    assert "bytes, over the limit" in kept.letter.reason


def test_what_was_too_large_is_taken_in_by_its_replay_once_the_limit_is_raised(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.config.write_text("[tables]\nmax_event_bytes = 2048\n" + place.config.read_text())
    place.append(flight("c", 10, status="planned", notes="x" * 5_000))
    assert place.run() == {}
    (kept,) = letters(tmp_path / "data")
    place.config.write_text(place.config.read_text().replace("2048", "1000000"))
    FileLog(tmp_path / "data" / "log").append(replay_stream("tables"), [as_replay(kept.letter.record)])
    assert place.run() == {'{"id":1}': {"id": 1, "status": "planned", "notes": "x" * 5_000}}
