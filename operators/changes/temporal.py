"""Numbers of days, seconds and parts of seconds, written as ISO 8601: exact, to the last nanosecond, in any year.

Fractions are written with 3, 6 or 9 digits, or left out where there is none. Years before 0000 and after 9999 carry a
sign.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

_DAY = 86_400
_ORDINAL = date(1970, 1, 1).toordinal()
_FIRST, _LAST = date.min.toordinal() - _ORDINAL, date.max.toordinal() - _ORDINAL
_FOREVER = 9_223_372_036_825_200_000
_ALWAYS = -9_223_372_036_832_400_000
"""What the JDBC driver of PostgreSQL, and so Debezium, gives for `infinity` and `-infinity`."""

_MONTHS = 12
_SIXTY = 60
_MAX_YEAR = 9999


def date_text(days: int) -> str:
    """Write the date that many days after 1970-01-01."""
    if _FIRST <= days <= _LAST:
        return date.fromordinal(days + _ORDINAL).isoformat()
    # Years begin in March, so that the leap day is their last; an era is 400 years (the proleptic Gregorian calendar).
    era, day_of_era = divmod(days + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted + 3 <= _MONTHS else shifted + 3 - _MONTHS
    year = year_of_era + era * 400 + (shifted + 3 > _MONTHS)
    if 0 <= year <= _MAX_YEAR:
        return f"{year:04}-{month:02}-{day:02}"
    return f"{year:+05}-{month:02}-{day:02}"


def time_text(count: int, per_second: int) -> str:
    """Write a time of day, or a time that is longer or negative, as MySQL has them: `-01:30:00`, `838:59:59`."""
    sign = "-" if count < 0 else ""
    seconds, parts = divmod(abs(count), per_second)
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{_fraction(parts, per_second)}"


def timestamp_text(count: int, per_second: int) -> str:
    """Write the moment that many parts of seconds after 1970-01-01T00:00:00, without a zone."""
    if count == _FOREVER:
        return "infinity"
    if count == _ALWAYS:
        return "-infinity"
    seconds, parts = divmod(count, per_second)
    days, second = divmod(seconds, _DAY)
    clock = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}"
    return f"{date_text(days)}T{clock}{_fraction(parts, per_second)}"


def duration_text(count: int, per_second: int) -> str:
    """Write a length of time in hours, minutes and seconds: `PT36H0.5S`, `-PT1M`, `PT0S`."""
    seconds, parts = divmod(abs(count), per_second)
    hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    out = f"{hours}H" if hours else ""
    out += f"{minutes}M" if minutes else ""
    if seconds or parts or not out:
        out += f"{seconds}{_fraction(parts, per_second)}S"
    return f"{'-' if count < 0 else ''}PT{out}"


def _fraction(parts: int, per_second: int) -> str:
    if not parts:
        return ""
    digits = f"{parts * (10**9 // per_second):09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f".{digits}"


_CLOCK = r"(\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(?:Z|([+-])(\d\d)(?::?(\d\d)(?::?(\d\d))?)?)"
_UTC = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z", re.ASCII
)
"""What is in UTC already, on days that every month has."""
_ZONED = re.compile(rf"([+-]?\d{{4,9}}-\d\d-\d\d)[T ]{_CLOCK}", re.ASCII)
_ZONED_TIME = re.compile(_CLOCK, re.ASCII)
_DATE = re.compile(r"([+-]?\d{4,9})-(\d\d)-(\d\d)", re.ASCII)
_MAX_OFFSET = 18 * 3600


def utc_text(text: str) -> str:
    """Write a moment with an offset as the same moment in UTC: `2024-05-01T00:30:00Z`.

    :raises ValueError: When it is none.
    """
    if _UTC.fullmatch(text) or text in {"infinity", "-infinity"}:
        return text
    found = _ZONED.fullmatch(text)
    if found is None:
        message = f"{text!r} is no ISO 8601 time with an offset"
        raise ValueError(message)
    day, *clock = found.groups()
    seconds, fraction = _utc_seconds(clock)
    more, seconds = divmod(seconds, _DAY)
    return f"{date_text(_days(day) + more)}T{time_text(seconds, 1)}{fraction}Z"


def utc_time_text(text: str) -> str:
    """Write a time of day with an offset as the same time in UTC: `23:30:00Z`.

    :raises ValueError: When it is none.
    """
    found = _ZONED_TIME.fullmatch(text)
    if found is None:
        message = f"{text!r} is no ISO 8601 time of day with an offset"
        raise ValueError(message)
    seconds, fraction = _utc_seconds(found.groups())
    return f"{time_text(seconds % _DAY, 1)}{fraction}Z"


def _utc_seconds(clock: Sequence[str | None]) -> tuple[int, str]:
    """Return the seconds since midnight in UTC, which may be of the day before or after, and the fraction as text."""
    hours, minutes, seconds = (int(part or 0) for part in clock[:3])
    fraction, sign, *offset = clock[3:]
    offset_hours, offset_minutes, offset_seconds = (int(part or 0) for part in offset)
    shift = offset_hours * 3600 + offset_minutes * 60 + offset_seconds
    total = hours * 3600 + minutes * 60 + seconds
    if total > _DAY or max(minutes, seconds, offset_minutes, offset_seconds) >= _SIXTY or shift > _MAX_OFFSET:
        message = "there is no such time of day or offset"
        raise ValueError(message)
    return total + shift if sign == "-" else total - shift, fraction or ""


def _days(text: str) -> int:
    """Return the days from 1970-01-01 to a date: the way back of `date_text`."""
    found = _DATE.fullmatch(text)
    if found is None:
        message = f"{text!r} is no date"
        raise ValueError(message)
    year, month, day = map(int, found.groups())
    shifted = (month + 9) % _MONTHS
    years = year - (month < 3)  # noqa: PLR2004  # years begin in March
    era, year_of_era = divmod(years, 400)
    days = era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100
    days += (153 * shifted + 2) // 5 + day - 1 - 719_468
    if date_text(days).lstrip("+") != text.lstrip("+"):
        message = f"there is no date {text!r}"
        raise ValueError(message)
    return days
