"""Which rows belong to a question: what it names, what the profile names, and what these rows lead to."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.changes import Row
from events.clock import to_millis
from events.errors import SettingsError
from serving.access.caller import Caller, local
from serving.access.rows import RowGate
from serving.context.lookups import MOST_COMBINATIONS
from serving.context.readings import readings
from serving.context.rows import RowFinder
from stores.rows.base import Condition
from stores.serving_settings import ServedTableSettings
from stores.settings import Settings
from tests.contract.row_samples import postgres_place
from tests.dataflows.tables_content import STREAMS, replay, settings_of
from tests.servers.postgres import running
from tests.serving.context.airline import (
    BAGS,
    FARES,
    FLIGHTS,
    HOUR,
    INES,
    NOW,
    SERVED,
    airline_settings,
    all_changes,
    change,
    find,
    found,
    profile,
    take_in,
    with_trips,
)


@pytest.fixture(scope="module")
def airline(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = airline_settings(tmp_path_factory.mktemp("airline"))
    take_in(made, all_changes())
    return made


def asked(airline: Settings, *lookups: dict[str, Any], **more: Any) -> Settings:
    """Return settings with other look-ups over the same store."""
    return airline_settings(airline.data_dir, lookups=list(lookups), **more)


def test_what_a_question_names_leads_to_rows_and_these_to_others(airline: Settings) -> None:
    assert found(airline, "Is CRV 204 on time?") == ["flights/1", "flights/2", "fares/11", "fares/12"]


def test_names_in_a_column_are_found_as_words(airline: Settings) -> None:
    assert found(airline, "what goes to SAO TOME?") == ["flights/4"]
    assert found(airline, "what goes to Saotome?") == []


def test_a_day_fits_all_moments_of_it(airline: Settings) -> None:
    lookup = {"table": "flights", "where": {"departs_at": "day"}, "order": "departs_at"}
    assert found(asked(airline, lookup), "what departs on 2 November?") == ["flights/3", "flights/1"]
    assert found(asked(airline, lookup), "what departs on 5 November?") == []


def test_all_columns_of_a_lookup_must_be_named(airline: Settings) -> None:
    lookup = {"table": "flights", "where": {"destination": "place", "departs_at": "day"}}
    assert found(asked(airline, lookup), "to Madeira") == []
    assert found(asked(airline, lookup), "on 3 November") == []
    assert found(asked(airline, lookup), "to Madeira on 3 November") == ["flights/2"]


def test_several_names_mean_any_of_them(airline: Settings) -> None:
    assert set(found(airline, "CRV204 or crv112", only=("flights",))) == {"flights/1", "flights/2", "flights/3"}


def test_the_first_rows_of_all_values_together_are_taken(airline: Settings) -> None:
    lookup = {"table": "flights", "where": {"destination": "place"}, "order": "departs_at", "limit": 2}
    question = "Madeira, Lisbon or São Tomé"
    assert found(asked(airline, lookup), question) == ["flights/3", "flights/1"]
    assert found(asked(airline, {**lookup, "descending": True}), question) == ["flights/4", "flights/2"]


def test_a_row_that_two_lookups_find_is_told_once_with_the_best_score(airline: Settings) -> None:
    rows, _ = find(airline, "flights to Madeira on 3 November", only=("flights",))
    assert [(row.id, round(row.score, 3)) for row in rows] == [("flights/2", 0.96), ("flights/1", 0.9)]


@pytest.mark.parametrize(
    ("where", "question", "score"),
    [
        ({"number": "flight"}, "CRV112", 1.0),
        ({"destination": "place"}, "Lisbon", 0.9),
        ({"destination": "profile.home"}, "?", 0.8),
        ({"destination": "profile.trips.to"}, "?", 0.8),
        ({"destination": "profile.home", "departs_at": "day"}, "2.11.2026", 0.92),
    ],
)
def test_the_score_says_how_sure_it_is_that_a_row_is_meant(
    airline: Settings, where: dict[str, str], question: str, score: float
) -> None:
    ines = with_trips(profile(home="Lisbon"), {"to": "Lisbon"})
    rows, _ = find(asked(airline, {"table": "flights", "where": where}), question, profile=ines)
    assert [(row.id, row.score) for row in rows] == [("flights/3", score)]


def test_a_row_that_another_row_leads_to_is_a_little_less_sure(airline: Settings) -> None:
    rows, _ = find(airline, "CRV112")
    assert [(row.id, round(row.score, 3)) for row in rows] == [("flights/3", 1.0), ("fares/13", 0.95)]


def test_a_question_that_names_nothing_goes_on_about_what_was_asked_before(airline: Settings) -> None:
    earlier = ("thank you", "what does CRV112 cost?", "flights to Madeira")
    assert found(airline, "and is it on time?", earlier=earlier) == ["flights/3", "fares/13"]
    assert found(airline, "and on 3 November?", earlier=earlier)[0] == "flights/3"
    assert "flights/3" not in found(airline, "and to Madeira?", earlier=earlier)


def test_what_is_named_and_not_there_is_said_so(airline: Settings) -> None:
    rows, notes = find(airline, "is CRV999 on time?")
    assert rows == []
    assert "no row of flights is known with number CRV999" in notes


def test_fields_of_the_profile_lead_to_rows(airline: Settings) -> None:
    lookup = {"table": "flights", "where": {"destination": "profile.home"}}
    assert found(asked(airline, lookup), "anything for me?", profile=profile(home="Lisbon")) == ["flights/3"]
    both = profile(home=["Lisbon", "São Tomé"])
    assert found(asked(airline, lookup), "anything for me?", profile=both) == ["flights/3", "flights/4"]
    assert found(asked(airline, lookup), "anything for me?", profile=profile(home=None)) == []
    assert found(asked(airline, lookup), "anything for me?") == []


def test_what_one_activity_says_belongs_together(airline: Settings) -> None:
    lookup = {"table": "flights", "where": {"destination": "profile.trips.to", "departs_at": "profile.trips.on"}}
    ines = with_trips(profile(), {"to": "Madeira", "on": "2026-11-03"}, {"to": "Lisbon", "on": "2026-11-02"})
    # Madeira on 2 November is no trip of hers.
    assert found(asked(airline, lookup), "my flights?", profile=ines) == ["flights/2", "flights/3"]


def test_a_name_fits_a_column_of_numbers_and_of_texts(airline: Settings) -> None:
    entity = {"name": "number", "pattern": r"#(\d{1,9})"}
    by_id = asked(airline, {"table": "flights", "where": {"id": "number"}}, entities=[entity])
    assert found(by_id, "what is #3?") == ["flights/3"]
    assert found(by_id, "what is #03?") == []
    by_text = asked(airline, {"table": "flights", "where": {"number": "number"}}, entities=[entity])
    assert found(by_text, "what is #3?") == []


@pytest.mark.parametrize(
    ("kind", "value", "wanted"),
    [
        ("int", "7", [7]),
        ("decimal", "129.50", [129.5]),
        ("decimal", Decimal("129.50"), [129.5]),
        ("int", "007", []),
        ("int", "7e3", []),
        ("text", "7", ["7"]),
        ("text", 7, ["7"]),
        ("text", Decimal("129.50"), ["129.50"]),
        ("text", True, []),
        ("bool", "true", [True]),
        ("bool", True, [True]),
        ("bool", "1", []),
        ("mixed", "7", ["7", 7]),
        ("", 7, ["7", 7]),
        ("int", "2026-11-03", []),
        ("decimal", Decimal("0.12345678901234567890123"), []),
    ],
)
def test_a_value_is_read_as_what_its_column_holds(kind: str, value: Any, wanted: list[Any]) -> None:
    assert readings("c", value, kind) == [(Condition("c", "=", one),) for one in wanted]


def test_only_the_tables_that_are_wanted_are_told_though_others_lead_there(airline: Settings) -> None:
    assert found(airline, "CRV204", only=("fares",)) == ["fares/11", "fares/12"]
    assert found(airline, "CRV204", only=()) == []


def test_rows_of_persons_are_told_to_their_owner_alone(airline: Settings) -> None:
    question = "Where is my bag on CRV204?"
    assert "bags/21" in found(airline, question, profile=profile(), only=("bags",))
    assert found(airline, question, profile=profile(), only=("bags",)) == ["bags/21"]
    assert find(airline, question, caller=local(), profile=None, only=("bags",)) == ([], [])
    assert find(airline, question, caller=INES, profile=None, only=("bags",)) == ([], [])


def test_whose_rows_they_are_is_asked_before_the_limit(airline: Settings) -> None:
    lookup = {"table": "bags", "where": {"flight": "flight"}, "order": "kilograms", "limit": 1}
    # The lighter bag is somebody else's.
    assert found(asked(airline, lookup), "CRV204", profile=profile()) == ["bags/21"]


def test_of_a_table_for_others_nothing_is_told_and_nothing_follows_from_it(airline: Settings) -> None:
    closed = airline_settings(airline.data_dir, tables=[*SERVED, {"name": "flights", "audience": ["staff"]}])
    assert find(closed, "Is CRV204 on time? Madeira?", caller=local()) == ([], [])
    staff = Caller("desk", frozenset({"context"}), ("public", "staff"))
    assert "flights/1" in found(closed, "Is CRV204 on time?", caller=staff)


def test_too_many_combinations_are_cut_short_and_it_is_said(airline: Settings) -> None:
    lookup = {"table": "flights", "where": {"number": "flight"}, "limit": 100}
    named = [f"CRV{number:03}" for number in range(205 - MOST_COMBINATIONS, 206)]
    rows, notes = find(asked(airline, lookup), " ".join(named))
    assert [row.id for row in rows] == ["flights/1", "flights/2"]
    assert notes == [f"the look-up 'flights': too much is named, {MOST_COMBINATIONS} combinations were asked"]


def test_what_no_store_can_be_asked_for_is_not_found(airline: Settings) -> None:
    anything = {"name": "anything", "pattern": r"<(.{1,40})>"}
    by_id = asked(
        airline,
        {"table": "flights", "where": {"id": "anything"}},
        {"name": "named", "table": "flights", "where": {"number": "anything"}},
        entities=[anything],
    )
    for hostile in ("9" * 40, "\ud800", "a\0b", "' OR 1=1 --", '"', "null", "%"):
        found, notes = find(by_id, f"<{hostile}>")
        assert found == []
        # What is named and not there is said so, in letters that can be shown.
        assert all(note.startswith("no row of flights is known with ") and note.isprintable() for note in notes)


@pytest.mark.parametrize(
    ("lookup", "said"),
    [
        ({"table": "flight", "where": {"number": "flight"}}, "'flight', which is no live table"),
        ({"table": "flights", "where": {"numbr": "flight"}}, "no column 'numbr' (did you mean 'number'?)"),
        ({"table": "flights", "where": {"number": "flight"}, "text": "{gate}"}, "no column 'gate'"),
        ({"table": "flights", "where": {"number": "flight"}, "columns": ["gate"]}, "no column 'gate'"),
        ({"table": "flights", "where": {"number": "flight"}, "order": "gate"}, "no column 'gate'"),
        ({"table": "flights", "where": {"number": "profile.hom"}}, "a profile has no field 'hom'"),
        ({"table": "flights", "where": {"number": "profile.trip.to"}}, "'trip' is no table of activities"),
        *(
            (
                {"table": "fares", "where": {"flight_id": "flight"}, **lookup},
                "uses the column 'changed_by' of 'fares', which [[serving.tables]] hides (take it out of one of them)",
            )
            for lookup in (
                {"text": "{changed_by}"},
                {"columns": ["fare", "changed_by"]},
                {"order": "changed_by"},
                {"where": {"changed_by": "flight"}},
            )
        ),
    ],
)
def test_a_lookup_of_what_there_is_not_is_refused_at_the_start(
    airline: Settings, lookup: dict[str, Any], said: str
) -> None:
    # Columns are known once everything has been read.
    made = asked(airline, lookup)
    with pytest.raises(SettingsError) as refused:
        RowFinder(made, RowGate(made))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_value_that_is_hidden_leads_to_other_rows(tmp_path: Path) -> None:
    fares = {"name": "fares", "table": "fares", "where": {"flight_id": "flight"}}
    clerks = {"name": "clerk", "table": "fares", "column": "changed_by"}
    for serving in (
        {"lookups": [fares, {"table": "flights", "where": {"number": "fares.changed_by"}}]},
        {"lookups": [{"table": "flights", "where": {"number": "clerk"}}], "entities": [clerks]},
    ):
        made = airline_settings(tmp_path, **serving)  # said before any column is known
        with pytest.raises(SettingsError, match=r"uses the column 'changed_by' of 'fares', which .* hides"):
            RowFinder(made, RowGate(made))


def test_a_hidden_column_that_is_misspelt_is_refused_rather_than_served(airline: Settings) -> None:
    made = asked(airline, {"table": "flights", "where": {"number": "flight"}})
    served = made.serving.model_copy(update={"tables": (ServedTableSettings(name="fares", hidden=("changd_by",)),)})
    made = made.model_copy(update={"serving": served})
    with pytest.raises(SettingsError, match=r"hides 'changd_by', .*did you mean 'changed_by'"):
        RowFinder(made, RowGate(made))


def test_before_anything_is_known_every_column_may_come(tmp_path: Path) -> None:
    made = airline_settings(tmp_path, lookups=[{"table": "flights", "where": {"gate": "flight"}, "text": "{gate}"}])
    assert find(made, "CRV204") == ([], [])


def test_a_column_that_has_never_come_is_noted(airline: Settings, tmp_path: Path) -> None:
    made = airline_settings(tmp_path, lookups=[{"table": "flights", "where": {"gate": "flight"}}])
    finder = RowFinder(made, RowGate(made))
    take_in(made, all_changes())
    assert find(made, "CRV204", finder=finder) == (
        [],
        ["the look-up 'flights': the live table has no column 'gate'"],
    )


@settings(max_examples=10)
@given(st.randoms(use_true_random=False))
def test_what_is_found_does_not_depend_on_the_order_of_the_rows(
    airline: Settings, tmp_path_factory: pytest.TempPathFactory, shuffle: random.Random
) -> None:
    changes = all_changes()
    shuffle.shuffle(changes)
    other = airline_settings(tmp_path_factory.mktemp("shuffled"))
    take_in(other, changes)
    question = "Is CRV204 on time? And what goes to Lisbon or Madeira on Monday?"
    assert find(other, question, profile=profile()) == find(airline, question, profile=profile())


@pytest.fixture(scope="module")
def finder(airline: Settings) -> RowFinder:
    return RowFinder(airline, RowGate(airline))


_SAID = ["CRV204", "crv 112", "Madeira", "são tomé", "tomorrow", "3 November", "on Monday", "2026-11-02", "'", ";--"]


@given(st.lists(st.sampled_from(_SAID) | st.text(st.characters(), max_size=40), max_size=60))
def test_any_question_is_answered_and_always_the_same(airline: Settings, finder: RowFinder, words: list[str]) -> None:
    question = " ".join(words)[:4000]
    first = find(airline, question, finder=finder, profile=profile(home=question))
    assert find(airline, question, finder=finder, profile=profile(home=question)) == first
    known = {*(f"flights/{n}" for n in FLIGHTS), *(f"fares/{n}" for n in FARES), *(f"bags/{n}" for n in BAGS)}
    assert {row.id for row in first[0]} <= known - {"bags/22"}


def test_a_question_of_the_greatest_length_is_answered(airline: Settings) -> None:
    assert "flights/1" in found(airline, ("Madeira CRV204 on 3 November " * 200)[:4000])


def test_rows_of_two_sources_with_one_key_are_named_apart(tmp_path: Path) -> None:
    made = airline_settings(tmp_path)
    take_in(made, [change("flights", 1, FLIGHTS[1]), change("flights", 1, FLIGHTS[3], source="partner")])
    assert set(found(made, "CRV204 and CRV112")) == {"ops/flights/1", "partner/flights/1"}
    assert found(made, "CRV204") == ["flights/1"]


def test_past_the_time_to_live_a_row_is_found_by_its_key_alone(airline: Settings) -> None:
    entity = {"name": "number", "pattern": r"#(\d{1,9})"}
    late = NOW + 25 * HOUR
    by_key = asked(airline, {"table": "fares", "where": {"id": "number"}}, entities=[entity])
    assert found(by_key, "#11", now=late) == ["fares/11"]
    by_flight = asked(airline, {"table": "fares", "where": {"flight_id": "number"}}, entities=[entity])
    assert found(by_flight, "#1", now=NOW) == ["fares/11", "fares/12"]
    assert found(by_flight, "#1", now=late) == []


def test_threads_that_ask_at_once_get_what_one_gets(airline: Settings) -> None:
    questions = ["Is CRV204 on time?", "to Madeira on 3 November", "Lisbon", "nothing"] * 8
    alone = [found(airline, question) for question in questions]
    shared = RowFinder(airline, RowGate(airline))
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda question: found(airline, question, finder=shared), questions))
    assert together == alone


COMPANY: dict[str, Any] = {
    "entities": [
        {"name": "flight", "pattern": r"\bCRV ?\d{3}\b", "remove": " ", "upper": True},
        {"name": "town", "table": "flights", "column": "destination"},
        {"name": "hotel", "table": "rooms", "column": "hotel"},
        {"name": "place", "table": "rooms", "column": "place"},
        {"name": "day", "dates": True},
    ],
    "lookups": [
        {"table": "flights", "where": {"number": "flight"}, "order": "departs_at", "limit": 100},
        {
            "name": "flights_on",
            "table": "flights",
            "where": {"destination": "town", "departs_at": "day"},
            "order": "departs_at",
            "limit": 100,
        },
        {"table": "fares", "where": {"flight_id": "flights.id"}, "order": "price", "limit": 100},
        {"table": "rooms", "where": {"hotel": "hotel"}, "order": "name", "limit": 100},
        {"name": "rooms_in", "table": "rooms", "where": {"place": "place"}, "order": "name", "limit": 100},
        {"table": "rates", "where": {"room_id": "rooms.id"}, "limit": 100},
    ],
    "tables": [],
}


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    data = tmp_path_factory.mktemp("company")
    replay(STREAMS, data)
    return settings_of(data, serving=COMPANY)


@pytest.fixture(scope="module")
def recorded() -> dict[str, list[Row]]:
    """Return the rows that the recorded company has in the end, table by table."""
    tables = json.loads((STREAMS / "operations.final.json").read_text())
    return {name: list(rows.values()) for name, rows in tables.items()}


def keys(table: str, rows: Iterable[Row], order: str = "id") -> list[str]:
    return [f"{table}/{row['id']}" for row in sorted(rows, key=lambda row: (row[order], f'{{"id":{row["id"]}}}'))]


RECORDED = to_millis(datetime(2026, 10, 31, 12, tzinfo=timezone.utc))


def test_of_the_recorded_company_a_flight_is_told_with_its_fares(
    company: Settings, recorded: dict[str, list[Row]]
) -> None:
    flights = [row for row in recorded["flights"] if row["number"] == "CRV204"]
    fares = [row for row in recorded["fares"] if row["flight_id"] in {row["id"] for row in flights}]
    assert flights
    assert fares
    asked_for = found(company, "Is crv 204 late, and what is it?", now=RECORDED)
    assert asked_for == keys("flights", flights, "departs_at") + keys("fares", fares, "price")


def test_of_the_recorded_company_a_town_and_a_day_lead_to_the_flights_of_that_day(
    company: Settings, recorded: dict[str, list[Row]]
) -> None:
    flights = [
        row
        for row in recorded["flights"]
        if row["destination"] == "Lisbon" and row["departs_at"].startswith(("2026-11-01", "2026-11-02"))
    ]
    assert len(flights) > 1
    for question in ("To LISBON tomorrow or on Monday?", "Lisbon, 1/11/2026, 2 Nov", "1st to 2nd of november: lisbon"):
        told = found(company, question, now=RECORDED, only=("flights",))
        assert told == keys("flights", flights, "departs_at")


def test_of_the_recorded_company_a_hotel_is_found_without_its_accents(
    company: Settings, recorded: dict[str, list[Row]]
) -> None:
    rooms = [row for row in recorded["rooms"] if row["hotel"] == "Hotel Bahía Calmada"]
    rates = [row for row in recorded["rates"] if row["room_id"] in {row["id"] for row in rooms}]
    assert rooms
    asked_for = found(company, "what is free at the hotel bahia calmada?", now=RECORDED)
    assert asked_for[: len(rooms)] == keys("rooms", rooms, "name")
    assert set(asked_for[len(rooms) :]) == set(keys("rates", rates))


def test_from_postgresql_the_same_is_told(airline: Settings, request: pytest.FixtureRequest) -> None:
    before = change("fares", 11, {**FARES[11], "price": Decimal("119.50")}, NOW - 2 * HOUR)
    after = change("fares", 11, {**FARES[11], "price": Decimal("99.50")}, NOW - HOUR // 2)
    with postgres_place(running(request.config).dsn()) as place:
        rows = {"backend": "postgres", "dsn": place.dsn, "db_schema": place.schema}
        there = airline_settings(airline.data_dir / "postgres", rows=rows)
        here = airline_settings(airline.data_dir / "sqlite")
        for made in (there, here):
            take_in(made, [before, *all_changes(), after])
        for question in ("Is CRV204 on time?", "Lisbon or SAO TOME on Monday?", "CRV112, CRV204 on 3 November"):
            told = find(there, question, profile=profile())
            assert told == find(here, question, profile=profile())
            assert told[0]
    assert "fares/11" in found(here, "CRV204")
