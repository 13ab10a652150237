"""When rows say that something was."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.moments import moment_of


@pytest.mark.parametrize(
    ("text", "millis"),
    [
        ("1970-01-01", 0),
        ("1970-01-02", 86_400_000),
        ("2026-01-15T08:30:00Z", 1_768_465_800_000),
        ("2026-01-15 08:30", 1_768_465_800_000),
        (" 2026-01-15T08:30:00.1234567+00:00 ", 1_768_465_800_123),
        ("2026-01-15T09:30:00+01:00", 1_768_465_800_000),
        ("2026-01-15T03:00:00-0530", 1_768_465_800_000),
        ("2026-01-15 08:30:00,5z", 1_768_465_800_500),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_dates_and_times_are_read_and_are_utc_unless_they_say_otherwise(text: str, millis: int) -> None:
    assert moment_of(text) == millis


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "2026-02-30",
        "2026-01-15T25:00:00Z",
        "2026-01-15T08:30:61",
        "2026-01-15T08:30:00+24:00",
        "15.01.2026",
        "12026-01-15",
        "0000-01-01",
        "٢٠٢٦-01-15",
        "2026-01-15" + " " * 100,
        20260115,
        None,
        True,
        ["2026-01-15"],
    ],
)
def test_what_is_no_moment_is_none(value: object) -> None:
    assert moment_of(value) is None


@given(
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),  # noqa: DTZ001  # the zone is put on below
    st.integers(-1139, 1139),
)
def test_whatever_is_written_in_a_zone_is_that_moment(local: datetime, minutes: int) -> None:
    moment = local.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert moment_of(moment.isoformat()) == since // timedelta(milliseconds=1)
