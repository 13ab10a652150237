"""Days in a text, as people of six languages write them."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.clock import to_millis
from serving.context.dates import HALF_A_YEAR, days, next_day

FRIDAY = to_millis(datetime(2026, 10, 30, 23, 59, tzinfo=timezone.utc))


def named(text: str, now: int = FRIDAY) -> list[str]:
    return [found.day for found in days(text, now)]


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-03",
        "at 2026-11-03T10:00:00Z",
        "on 2026/11/03.",
        "3 November",
        "3 nov.",
        "on the 3rd of November 2026",
        "November 3, 2026",
        "Nov 3rd",
        "03.11.2026",
        "3/11/2026",
        "3-11-26",
        "am 3. November",
        "am 3.11. bitte",
        "le 3 novembre",
        "3 de novembro de 2026",
        "el 3 de noviembre",
        "op 3 november",
        "Tuesday, 3 November",
        "Dienstag, den 3. November",
        "on Tuesday",
        "next Tuesday",
        "am Dienstag",
        "mardi prochain",
        "na terça-feira",
        "el martes",
        "dinsdag",
    ],
)
def test_one_day_is_read_however_it_is_written(text: str) -> None:
    assert named(text) == ["2026-11-03"]


@pytest.mark.parametrize(
    ("text", "away"),
    [
        ("the day before yesterday", -2),
        ("yesterday", -1),
        ("tonight", 0),
        ("TOMORROW", 1),
        ("the day after tomorrow", 2),
        ("heute Morgen", 0),
        ("übermorgen", 2),
        ("Guten Morgen! Und morgen?", 1),
        ("aujourd’hui", 0),  # noqa: RUF001  # as telephones write it
        ("après-demain", 2),
        ("amanhã", 1),
        ("pasado mañana", 2),
        ("mañana por la mañana", 1),
        ("overmorgen", 2),
    ],
)
def test_a_day_is_counted_from_the_present(text: str, away: int) -> None:
    assert named(text) == [(date(2026, 10, 30) + timedelta(days=away)).isoformat()]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "31 November",
        "29 February",  # neither 2026 nor 2027 has one
        "2026-13-01",
        "30.02.2026",
        "version 1.2.2026.1",
        "call 0172-03-11-2026",
        "24/7",
        "10/12",
        "3 out of 5",
        "may 3 of us come?",
        "Quinta das Pontes",
        "hier",
        "por la mañana",
        "room 3",
    ],
)
def test_what_is_no_day_is_not_taken_for_one(text: str) -> None:
    assert named(text) == []


def test_of_a_number_the_day_is_first_unless_it_cannot_be_one() -> None:
    assert named("3/11/2026") == ["2026-11-03"]
    assert named("11/25/2026") == ["2026-11-25"]
    assert named("25.11.2026") == ["2026-11-25"]
    assert named("11.25.2026") == []


def test_on_its_own_day_a_weekday_means_both_unless_the_text_says_which() -> None:
    assert named("on Friday") == ["2026-10-30", "2026-11-06"]
    assert named("next Friday") == ["2026-11-06"]
    assert named("last Friday") == ["2026-10-23"]
    assert named("vendredi dernier") == ["2026-10-23"]


def test_several_days_are_read_in_their_order() -> None:
    assert named("tomorrow or on 3 November, not 2026-11-05") == ["2026-10-31", "2026-11-03", "2026-11-05"]
    assert named("3 and 5 November") == ["2026-11-03", "2026-11-05"]
    assert named("from 28 to 30 November") == ["2026-11-28", "2026-11-29", "2026-11-30"]
    assert named("3-5 Nov") == ["2026-11-03", "2026-11-04", "2026-11-05"]
    assert named("1 to 30 November") == ["2026-11-01", "2026-11-30"]
    assert named("31 December / 1 January") == ["2026-12-31", "2027-01-01"]


def test_a_day_says_where_it_stands() -> None:
    text = "Is there a room on the 3rd of November 2026, please?"
    (found,) = days(text, FRIDAY)
    assert text[found.begin : found.end] == "3rd of November 2026"


def test_leap_days_are_read_where_there_is_one_near() -> None:
    assert named("29 February", to_millis(datetime(2028, 1, 5, tzinfo=timezone.utc))) == ["2028-02-29"]


@given(st.dates(date(1902, 1, 1), date(2198, 12, 31)), st.integers(-HALF_A_YEAR + 2, HALF_A_YEAR - 2))
def test_without_a_year_a_date_is_the_nearest_one(today: date, away: int) -> None:
    meant = today + timedelta(days=away)
    now = to_millis(datetime(today.year, today.month, today.day, 12, tzinfo=timezone.utc))
    assert named(f"{meant.day} {meant:%B}", now) == [meant.isoformat()]
    assert named(f"{meant:%B} {meant.day}", now) == [meant.isoformat()]


@given(st.dates(date(1900, 1, 1), date(2199, 12, 31)))
def test_with_a_year_a_date_is_itself(day: date) -> None:
    for text in (f"{day:%d.%m.%Y}", f"{day:%Y-%m-%d}", f"{day.day} {day:%b %Y}", f"{day.day}/{day.month}/{day.year}"):
        assert named(text) == [day.isoformat()]


_PIECES = ["3", "31st", "29", "May", "november", "2026", "to", "of", "the", "-", ".", "/", "Friday", "next", "morgen"]


@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=4), max_size=40), st.sampled_from(["", " "]))
def test_any_text_is_read_in_order_and_within_itself(pieces: list[str], between: str) -> None:
    text = between.join(pieces)
    begin = end = 0
    for found in days(text, FRIDAY):
        assert found.begin >= end or found.begin == begin
        begin, end = found.begin, found.end
        assert 0 <= begin < end <= len(text)
        assert date.fromisoformat(found.day)


def test_the_next_day_is_of_days_alone() -> None:
    assert next_day("2026-12-31") == "2027-01-01"
    assert next_day("9999-12-31") is None
    assert next_day("20261231") is None
    assert next_day("2026-12-31T00:00") is None
    assert next_day("CRV204") is None
