"""What the activities of a record come to."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.profiles import Activity, Collection, RecordRow
from operators.profiles.collect import (
    Summary,
    activity_of,
    added,
    combined,
    decimal_text,
    from_bytes,
    removed,
    summed,
    to_bytes,
)
from operators.profiles.rules import ActivityRules
from tests.operators.profiles.profile_oracle import expected_collection

RULES = ActivityRules("bookings", ("", "people"), {"person": "id"}, last=3, sums=("price", "nights"))


def activity(number: int, at: int, price: str | None = "1", *, is_open: bool = False) -> Activity:
    sums = {} if price is None else {"price": price}
    return Activity(f'crm/bookings/{{"id":{number:03}}}', at, {"id": number}, "7", at, 77, is_open, sums)


def row(**columns: Any) -> RecordRow:
    return RecordRow('crm/bookings/{"id":1}', "bookings", columns, (0, 5), 500, 77)


def test_an_activity_happened_when_its_column_says_or_else_when_it_changed() -> None:
    timed = ActivityRules("bookings", ("", "people"), {"person": "id"}, time="at")
    assert activity_of(timed, row(at="1970-01-01T00:00:01Z")).at == 1000
    assert activity_of(timed, row(at="tomorrow")).at == 500
    assert activity_of(timed, row()).at == 500
    assert activity_of(RULES, row(at="1970-01-01T00:00:01Z")).at == 500


def test_an_activity_shows_the_columns_that_are_named_or_all() -> None:
    some = ActivityRules("bookings", ("", "people"), {"person": "id"}, show=("b", "x"))
    assert activity_of(some, row(a=1, b=2)).row == {"b": 2}
    assert activity_of(RULES, row(a=1, b=2)).row == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("columns", "is_open"),
    [
        ({"status": "booked", "paid": 1}, True),
        ({"status": "changed", "paid": 1}, True),
        ({"status": "booked", "paid": True}, False),
        ({"status": "booked"}, False),
        ({"status": "done", "paid": 1}, False),
        ({"status": ["booked"], "paid": 1}, False),
    ],
)
def test_an_activity_is_open_while_all_columns_have_such_values(columns: dict[str, Any], is_open: bool) -> None:
    rules = ActivityRules(
        "bookings", ("", "people"), {"person": "id"}, open={"status": ("booked", "changed"), "paid": (1,)}
    )
    assert activity_of(rules, row(**columns)).open is is_open
    assert activity_of(RULES, row(**columns)).open is False


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12, "12"),
        (-3.10, "-3.1"),
        (0.1, "0.1"),
        (Decimal("12.340"), "12.34"),
        (Decimal("1E+3"), "1000"),
        (" 12.50 ", "12.5"),
        ("+1e2", "100"),
        (".5", "0.5"),
        ("-0.00", "0"),
        (10**300, "1" + "0" * 300),
        (True, None),
        (None, None),
        ("", None),
        ("12,50", None),
        ("1_000", None),
        ("٣", None),
        ("NaN", None),
        ("1e999999", None),
        ("1e9999", None),
        (10**500, None),
        (Decimal("1E-500"), None),
        (Decimal("NaN"), None),
        (Decimal("sNaN"), None),
        (float("inf"), None),
        ([1], None),
    ],
)
def test_what_can_be_summed_up_is_exact_decimal_text(value: object, text: str | None) -> None:
    assert decimal_text(value) == text


def test_a_number_too_long_to_be_written_is_none() -> None:
    assert decimal_text(10**5000) is None


def test_sums_are_exact_and_have_columns_of_which_there_is_no_number() -> None:
    big, small = "9" * 400, "0." + "0" * 399 + "1"
    summary = summed(RULES, [activity(1, 1, big), activity(2, 2, small), activity(3, 3, None)])
    assert summary is not None
    assert summary.sums == {"price": big + small[1:], "nights": "0"}
    left = removed(RULES, summary, activity(1, 1, big))
    assert left is not None
    assert left.sums == {"price": small, "nights": "0"}


def test_of_one_time_the_smaller_record_key_goes_first() -> None:
    summary = summed(RULES, [activity(number, 5) for number in (4, 2, 3, 1)])
    assert summary is not None
    assert [one.row["id"] for one in combined(RULES, [summary]).last] == [1, 2, 3]


def test_a_summary_stays_small_however_many_there_are() -> None:
    summary = summed(RULES, (activity(number, number, is_open=True) for number in range(2000)))
    assert summary is not None
    assert (summary.count, summary.open_count) == (2000, 2000)
    assert len(to_bytes(summary)) < 10_000


def test_nothing_comes_to_nothing() -> None:
    assert summed(RULES, []) is None
    assert combined(RULES, []) == Collection(sums={"price": "0", "nights": "0"})
    assert removed(RULES, added(RULES, Summary(), activity(1, 1)), activity(1, 1)) == Summary()
    assert removed(RULES, Summary(), activity(1, 1)) is None


def test_what_cannot_have_been_added_is_not_taken_away() -> None:
    summary = summed(RULES, [activity(1, 1), activity(2, 2)])
    assert summary is not None
    assert removed(RULES, summary, activity(3, 1)) is None
    assert removed(RULES, summary, activity(1, 1, is_open=True)) is None


def test_a_summary_survives_its_bytes_with_every_digit() -> None:
    rules = ActivityRules("bookings", ("", "people"), {"person": "id"}, sums=("price",))
    images: list[dict[str, Any]] = [
        {"price": Decimal("0.10"), "f": 1e22, "g": 0.1},
        {"price": Decimal("1.12345678901234567890")},
    ]
    summary = summed(rules, [activity_of(rules, row(**image)) for image in images])
    assert summary is not None
    assert from_bytes(to_bytes(summary)) == summary
    odd = summed(rules, [activity_of(rules, row(price=Decimal("NaN"), list=[float("inf"), Decimal("Infinity")]))])
    assert odd is not None
    assert from_bytes(to_bytes(odd)).newest[0].row == {"price": "NaN", "list": [None, "Infinity"]}


prices = st.sampled_from(["1", "2.5", "-0.125", "1000000000000000000000000000000.01", None])
steps = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40), prices, st.booleans()), max_size=120)


@given(steps=steps, bias=st.sampled_from([0, 20, 1000]), data=st.integers(0, 2**32))
def test_one_by_one_a_summary_tells_what_all_activities_come_to(
    steps: list[tuple[int, int, str | None, bool]], bias: int, data: int
) -> None:
    """Activities appear, change and go; what a summary no longer knows is summed up anew."""
    there: dict[int, Activity] = {}
    summary: Summary | None = None
    for number, at, price, is_open in steps:
        known = there.pop(number, None)
        if known is not None:
            assert summary is not None
            summary = removed(RULES, summary, known) or summed(RULES, there.values())
            summary = summary if summary is not None and summary.count else None
        if known is None or at < bias:
            there[number] = activity(number, at, price, is_open=is_open)
            summary = added(RULES, summary or Summary(), there[number])
        assert (summary is None) == (not there)
        expected = expected_collection(RULES, list(there.values()))
        assert combined(RULES, [] if summary is None else [summary]) == expected
    shuffled = list(there.values())
    Random(data).shuffle(shuffled)
    assert summed(RULES, shuffled) == summed(RULES, there.values())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), prices, st.booleans()), max_size=90))
def test_the_summaries_of_several_records_make_one_collection(
    said: list[tuple[int, int, str | None, bool]],
) -> None:
    activities = [activity(number, at, price, is_open=is_open) for number, (_, at, price, is_open) in enumerate(said)]
    records = [[one for one, (owner, *_) in zip(activities, said, strict=True) if owner == each] for each in range(4)]
    summaries = [summary for each in records for summary in [summed(RULES, each)] if summary is not None]
    assert combined(RULES, summaries) == expected_collection(RULES, activities)
