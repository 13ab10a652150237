"""What a question names, and that names which have come into a table meanwhile are found soon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from events.clock import to_millis
from events.errors import StoreError
from serving.access.caller import local
from serving.access.rows import RowGate
from serving.context import entities, rows
from serving.context.entities import LATEST, MOST_FOUND, SOONEST, Entities, Finding, Names
from serving.context.gazetteer import Gazetteer, words
from serving.context.rows import RowFinder
from stores.rows.base import RowReader
from stores.rows.choose import open_row_reader
from stores.serving_settings import EntitySettings
from stores.settings import Settings
from tests.serving.context.airline import SERVED, airline_settings, all_changes, change, find, found, profile, take_in

FRIDAY = to_millis(datetime(2026, 10, 30, 12, tzinfo=timezone.utc))
COLUMN = ("flights", "destination")
FLIGHT: dict[str, Any] = {"name": "flight", "pattern": r"\bcrv ?(\d{3})\b"}
PLACE: dict[str, Any] = {"name": "place", "table": "flights", "column": "destination"}
DAY: dict[str, Any] = {"name": "day", "dates": True}


def named(
    question: str, *settings: dict[str, Any], names: tuple[str, ...] = ("Madeira", "Porto Santo")
) -> list[Finding]:
    found = Entities(EntitySettings(**one) for one in settings)
    return found.find(question, {column: Gazetteer(names) for column in found.columns}, FRIDAY)


def test_a_question_names_what_patterns_columns_and_days_say() -> None:
    question = "Does CRV204 go to porto santo tomorrow?"
    found = named(question, FLIGHT, PLACE, DAY)
    assert [(one.entity, one.way, one.value) for one in found] == [
        ("flight", "pattern", "204"),
        ("place", "value", "Porto Santo"),
        ("day", "date", "2026-10-31"),
    ]
    assert [question[one.begin : one.end] for one in found] == ["204", "porto santo", "tomorrow"]


@pytest.mark.parametrize(
    ("pattern", "more", "wanted"),
    [
        (r"crv ?\d{3}", {}, ["crv 204", "Crv205"]),
        (r"crv ?\d{3}", {"upper": True, "remove": " "}, ["CRV204", "CRV205"]),
        (r"crv ?(\d{3})", {}, ["204", "205"]),
        (r"(?:crv ?)20[45]", {}, ["crv 204", "Crv205"]),
        (r"crv ?(4)|crv ?\d{3}", {}, ["crv 204", "Crv205"]),
        (r"[ ]{1,2}", {}, []),
    ],
)
def test_a_pattern_gives_its_group_or_all_of_it(pattern: str, more: dict[str, Any], wanted: list[str]) -> None:
    found = named("crv 204, Crv205 and crv 204 again", {"name": "flight", "pattern": pattern, **more})
    assert [one.value for one in found] == wanted


def test_one_thing_is_found_once_and_endless_lists_are_cut_short() -> None:
    assert len(named("CRV204 " * 100, FLIGHT)) == 1
    assert len(named(" ".join(f"CRV{number}" for number in range(100, 999)), FLIGHT)) == MOST_FOUND


def test_what_no_store_can_hold_is_nobodys_name() -> None:
    assert named("<\ud800> <a\0b> <c>", {"name": "x", "pattern": "<(.{1,9})>"})[0].value == "c"


@pytest.fixture
def airline(tmp_path: Path) -> Settings:
    made = airline_settings(tmp_path)
    take_in(made, all_changes())
    return made


@contextmanager
def reader_of(settings: Settings) -> Iterator[RowReader]:
    reader = open_row_reader(settings)
    try:
        yield reader
    finally:
        reader.close()


def knows(names: Names, reader: RowReader, name: str, now: int) -> bool:
    known, _ = names.known(reader, now)
    return bool(known[COLUMN].find(words(name)))


def test_names_are_there_at_the_first_question(airline: Settings) -> None:
    names = Names([COLUMN], lambda: open_row_reader(airline))
    with reader_of(airline) as reader:
        assert knows(names, reader, "sao tome", FRIDAY)


def test_a_name_that_has_come_since_is_known_after_the_next_reading(airline: Settings) -> None:
    names = Names([COLUMN], lambda: open_row_reader(airline))
    with reader_of(airline) as reader:
        assert not knows(names, reader, "Naples", FRIDAY)
        take_in(airline, [change("flights", 9, {"destination": "Naples"})], offset=2)
        # This question has it read, and does not wait for it.
        assert not knows(names, reader, "Naples", FRIDAY + LATEST - 1)
        names.wait()
        assert knows(names, reader, "Naples", FRIDAY + LATEST)


def test_while_nothing_moves_names_are_not_read_again_before_long(airline: Settings) -> None:
    opened = []

    def open_reader() -> RowReader:
        opened.append(True)
        return open_row_reader(airline)

    names = Names([COLUMN], open_reader)
    with reader_of(airline) as reader:
        for later in range(0, LATEST, SOONEST):
            names.known(reader, FRIDAY + later)
            names.wait()
        assert opened == []
        names.known(reader, FRIDAY + LATEST)
        names.wait()
        assert opened == [True]


def test_a_store_that_cannot_be_read_leaves_the_names_as_they_are(
    airline: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def open_reader() -> RowReader:
        message = "the store is locked"
        raise StoreError(message)

    names = Names([COLUMN], open_reader)
    with reader_of(airline) as reader:
        assert knows(names, reader, "Lisbon", FRIDAY)
        assert knows(names, reader, "Lisbon", FRIDAY + LATEST)
        names.wait()
        assert knows(names, reader, "Lisbon", FRIDAY + LATEST)
    assert "names could not be read anew: the store is locked" in caplog.text


def test_of_too_many_names_it_is_said_that_some_are_not_known(
    airline: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entities, "MOST_VALUES", 2)
    monkeypatch.setattr(rows, "MOST_VALUES", 2)
    found, notes = find(airline, "Lisbon or São Tomé", only=("flights",))
    assert [one.id for one in found] == ["flights/3"]
    assert notes == ["of flights.destination the first 2 names are known only"]
    closed = airline_settings(airline.data_dir, tables=[*SERVED, {"name": "flights", "audience": ["staff"]}])
    assert find(closed, "Lisbon", caller=local()) == ([], [])


def test_what_no_lookup_asks_for_is_not_read(airline: Settings) -> None:
    made = airline_settings(airline.data_dir, lookups=[{"table": "flights", "where": {"number": "flight"}}])
    finder = RowFinder(made, RowGate(made))
    assert [one.id for one in find(made, "CRV112 Lisbon", finder=finder)[0]] == ["flights/3"]


def test_names_in_rows_of_persons_are_known_to_whom_the_rows_are(airline: Settings) -> None:
    flown = {"name": "flown", "table": "bags", "column": "flight"}
    made = airline_settings(
        airline.data_dir, entities=[flown], lookups=[{"table": "flights", "where": {"number": "flown"}}]
    )
    take_in(made, [change("bags", 31, {"customer_id": 8, "flight": "CRV112", "kilograms": 9})], offset=2)
    finder = RowFinder(made, RowGate(made))
    assert found(made, "CRV204", profile=profile(), finder=finder) == ["flights/1", "flights/2"]
    # Only somebody else has a bag on this one: it must not be told that anybody has.
    assert find(made, "CRV112", profile=profile(), finder=finder) == ([], [])
    assert find(made, "CRV204", finder=finder) == ([], []), "nobody is known of that person"
    assert find(made, "CRV204", caller=local(), finder=finder) == ([], [])


def test_names_in_a_table_for_others_change_nothing_not_even_what_is_noted(tmp_path: Path) -> None:
    made = airline_settings(
        tmp_path,
        entities=[PLACE],
        lookups=[{"table": "fares", "where": {"gate": "place"}}],
        tables=[*SERVED, {"name": "flights", "audience": ["staff"]}],
    )
    finder = RowFinder(made, RowGate(made))  # nothing is known of columns yet
    take_in(made, all_changes())
    noted = ["the look-up 'fares': the live table has no column 'gate'"]
    assert find(made, "Lisbon", caller=local(audiences=("staff",)), finder=finder) == ([], noted)
    assert find(made, "Lisbon", caller=local(), finder=finder) == ([], [])
