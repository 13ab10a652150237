from __future__ import annotations

import base64
import json
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import RejectedError, SettingsError
from operators.changes.rules import TableRules
from operators.changes.temporal import date_text, time_text, timestamp_text, utc_text
from operators.changes.values import encoding, read_columns, readers_of

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # times without a zone are what is tested
_WKB = b"\x00\xff\xfe~"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("decimal", "12.50", Decimal("12.50")),
        ("decimal", 12.5, Decimal("12.5")),
        ("decimal", 7, Decimal(7)),
        ("decimal", "NaN", "NaN"),
        ("decimal-base64:2", "MDk=", Decimal("123.45")),
        ("decimal-base64:0", "AP//////////", Decimal(2**64 - 1)),
        ("decimal-base64:2", "/w==", Decimal("-0.01")),
        ("decimal-base64:-3", "Ag==", Decimal(2000)),
        ("decimal-base64:2", 123.45, Decimal("123.45")),
        ("decimal-variable", {"scale": 1, "value": "AJY="}, Decimal("15.0")),
        ("date-days", 19439, "2023-03-23"),
        ("date-days", -1, "1969-12-31"),
        ("date-days", 2932897, "+10000-01-01"),
        ("time-millis", 36803500, "10:13:23.500"),
        ("time-micros", 40271000010, "11:11:11.000010"),
        ("time-micros", -5400000000, "-01:30:00"),
        ("time-micros", 3020399000000, "838:59:59"),
        ("time-nanos", 1, "00:00:00.000000001"),
        ("timestamp-millis", 1679581805123, "2023-03-23T14:30:05.123"),
        ("timestamp-micros", 1321009871123456, "2011-11-11T11:11:11.123456"),
        ("timestamp-micros", -1, "1969-12-31T23:59:59.999999"),
        ("timestamp-micros", 9223372036825200000, "infinity"),
        ("timestamp-micros", -9223372036832400000, "-infinity"),
        ("timestamp-nanos", 1_000_000_001, "1970-01-01T00:00:01.000000001"),
        ("instant-millis", 1679581805000, "2023-03-23T14:30:05Z"),
        ("instant-micros", 9223372036825200000, "infinity"),
        ("zoned-timestamp", "2011-01-11T11:40:30.123456789-05:00", "2011-01-11T16:40:30.123456789Z"),
        ("zoned-timestamp", "2024-03-01T00:30:00+01", "2024-02-29T23:30:00Z"),
        ("zoned-timestamp", "2023-03-23T07:10:00Z", "2023-03-23T07:10:00Z"),
        ("zoned-timestamp", "infinity", "infinity"),
        ("zoned-timestamp", "1890-01-01T00:53:28.5+00:53:28", "1890-01-01T00:00:00.5Z"),
        ("zoned-timestamp", "+10000-01-01T00:00:00+00:01", "9999-12-31T23:59:00Z"),
        ("zoned-time", "00:30:00.5+01:00", "23:30:00.5Z"),
        ("iso-date", "2023-03-23Z", "2023-03-23"),
        ("iso-time", "11:11:11Z", "11:11:11"),
        ("iso-timestamp", "2023-03-23T11:11:11.5Z", "2023-03-23T11:11:11.5"),
        ("micro-duration", 131_400_500_000, "PT36H30M0.500S"),
        ("micro-duration", -60_000_000, "-PT1M"),
        ("nano-duration", 0, "PT0S"),
        ("bytes-base64", base64.b64encode(_WKB).decode(), base64.b64encode(_WKB).decode()),
        ("bytes-base64url", base64.urlsafe_b64encode(_WKB).decode(), base64.b64encode(_WKB).decode()),
        ("bytes-hex", _WKB.hex().upper(), base64.b64encode(_WKB).decode()),
        ("json", '{"a":[1,null]}', {"a": [1, None]}),
        ("json", "null", None),
        ("uuid", "60F14FE2-F857-404A-B586-3B5375B3259F", "60f14fe2-f857-404a-b586-3b5375b3259f"),
        ("text", "x", "x"),
        ("bool", 1, True),
        ("bool", False, False),
    ],
)
def test_an_encoding_reads_what_its_mode_writes(name: str, value: Any, expected: Any) -> None:
    read = encoding(name)(value)
    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decimal", "twelve"),
        ("decimal", "٣"),
        ("decimal", True),
        ("decimal", "Infinity "),
        ("decimal-base64:2", "?"),
        ("decimal-variable", {"scale": "1", "value": "AJY="}),
        ("decimal-variable", {"scale": 10**9, "value": "AJY="}),
        ("date-days", 1.5),
        ("date-days", True),
        ("timestamp-micros", [1]),
        ("zoned-timestamp", "2011-01-11T11:40:30"),
        ("zoned-timestamp", "2011-02-30T11:40:30Z"),
        ("zoned-timestamp", "2011-02-20T25:40:30Z"),
        (
            "zoned-timestamp",
            "2011-02-20T23:40:30+99:00",
        ),
        ("zoned-timestamp", "2011-02-20T23:60:30Z"),
        ("zoned-timestamp", 5),
        ("zoned-time", "11:11:11"),
        ("iso-date", 5),
        ("bytes-base64", "a"),
        ("bytes-base64", "YQ=="[:3]),
        ("bytes-hex", "xyz"),
        ("json", "{"),
        ("json", '{"a":1,"a":2}'),
        ("json", "[" * 200 + "]" * 200),
        ("uuid", "60f14fe2"),
        ("text", 5),
        ("bool", 2),
    ],
)
def test_a_value_that_does_not_fit_is_rejected_with_its_column(name: str, value: Any) -> None:
    row = {"other": 1, "wrong": value}
    with pytest.raises(RejectedError, match="'wrong'") as caught:
        read_columns(row, readers_of(TableRules(columns={"wrong": name})))
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_nulls_and_columns_that_are_not_there_are_left_alone() -> None:
    row = {"a": None, "b": 3}
    read_columns(row, readers_of(TableRules(columns={"a": "date-days", "c": "date-days"})))
    assert row == {"a": None, "b": 3}


@pytest.mark.parametrize("name", ["date", "", "decimal-base64", "decimal-base64:", "decimal-base64:x", "text:1"])
def test_an_unknown_encoding_is_an_error_that_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=r"date-days.*decimal-base64:SCALE"):
        encoding(name)
    with pytest.raises(SettingsError, match="is no encoding"):
        readers_of(TableRules(columns={"a": name}))


@given(st.dates())
def test_days_are_the_dates_of_the_calendar(day: date) -> None:
    assert date_text((day - date(1970, 1, 1)).days) == day.isoformat()


@given(st.dates(), st.integers(26, 2000), st.sampled_from([-1, 1]))
def test_beyond_the_calendar_of_the_library_days_go_on_in_cycles_of_400_years(
    day: date, cycles: int, sign: int
) -> None:
    days = (day - date(1970, 1, 1)).days + sign * cycles * 146_097
    year = day.year + sign * cycles * 400
    assert date_text(days) == f"{year:+05}{day.isoformat()[4:]}"


@given(st.datetimes())
def test_microseconds_are_the_moments_of_the_clock(moment: datetime) -> None:
    micros = (moment - _EPOCH) // timedelta(microseconds=1)
    text = timestamp_text(micros, 1_000_000)
    assert datetime.fromisoformat(text) == moment
    assert len(text) in {19, 23, 26}


@given(st.times())
def test_microseconds_of_a_day_are_its_times(moment: time) -> None:
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
    assert time.fromisoformat(time_text(seconds * 10**6 + moment.microsecond, 10**6)) == moment


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)),  # noqa: DTZ001  # the zone is added
    st.integers(-14 * 60, 14 * 60),
)
def test_moments_with_an_offset_become_the_same_moments_in_utc(moment: datetime, minutes: int) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = utc_text(zoned.isoformat())
    assert text.endswith("Z")
    assert datetime.fromisoformat(text[:-1] + "+00:00") == zoned


@given(st.integers(-(2**200), 2**200), st.integers(0, 60))
def test_decimals_keep_every_digit(unscaled: int, scale: int) -> None:
    length = unscaled.bit_length() // 8 + 1
    value = base64.b64encode(unscaled.to_bytes(length, "big", signed=True)).decode()
    made = encoding(f"decimal-base64:{scale}")(value)
    digits = f"{abs(unscaled):0{scale + 1}}"
    point = len(digits) - scale
    assert made == Decimal(f"{'-' if unscaled < 0 else ''}{digits[:point]}.{digits[point:]}")
    assert encoding("decimal-variable")({"scale": scale, "value": value}) == made


@given(st.text())
def test_json_within_a_text_is_what_it_says(text: str) -> None:
    assert encoding("json")(json.dumps({"a": text})) == {"a": text}
