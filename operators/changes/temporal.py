"""Numbers of days, seconds and parts of seconds, written as ISO 8601: exact, to the last nanosecond, in any year.

Fractions are written with 3, 6 or 9 digits, or left out where there is none. Years before 0000 and after 9999 carry a
sign.
"""

from __future__ import annotations

import re

_DAY = 86_400
_FOREVER = 9_223_372_036_825_200_000
_ALWAYS = -9_223_372_036_832_400_000
"""What the JDBC driver of PostgreSQL, and so Debezium, gives for `infinity` and `-infinity`."""

_MONTHS = 12
_MAX_YEAR = 9999


def date_text(days: int) -> str:
    """Write the date that many days after 1970-01-01."""
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


_ZONED = re.compile(
    r"([+-]?\d{4,}-\d\d-\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(?:Z|([+-])(\d\d)(?::?(\d\d))?(?::?\d\d)?)"
)
_ZONED_TIME = re.compile(r"(\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(?:Z|([+-])(\d\d)(?::?(\d\d))?)")
_DATE = re.compile(r"([+-]?\d{4,})-(\d\d)-(\d\d)")


def utc_text(text: str) -> str:
    """Write a moment with an offset as the same moment in UTC: `2024-05-01T00:30:00Z`.

    :raises ValueError: When it is none.
    """
    if text in {"infinity", "-infinity"}:
        return text
    found = _ZONED.fullmatch(text)
    if found is None:
        message = f"{text!r} is no ISO 8601 time with an offset"
        raise ValueError(message)
    date, hour, minute, second, fraction, sign, offset_hours, offset_minutes = found.groups()
    days = _days(date)
    clock = _clock(hour, minute, second)
    shift = _shift(sign, offset_hours, offset_minutes)
    more, clock = divmod(clock - shift, _DAY)
    return f"{date_text(days + more)}T{time_text(clock, 1)}{fraction or ''}Z"


def utc_time_text(text: str) -> str:
    """Write a time of day with an offset as the same time in UTC: `23:30:00Z`.

    :raises ValueError: When it is none.
    """
    found = _ZONED_TIME.fullmatch(text)
    if found is None:
        message = f"{text!r} is no ISO 8601 time of day with an offset"
        raise ValueError(message)
    hour, minute, second, fraction, sign, offset_hours, offset_minutes = found.groups()
    clock = (_clock(hour, minute, second) - _shift(sign, offset_hours, offset_minutes)) % _DAY
    return f"{time_text(clock, 1)}{fraction or ''}Z"


def _clock(hour: str, minute: str, second: str | None) -> int:
    clock = int(hour) * 3600 + int(minute) * 60 + int(second or 0)
    if int(hour) > 24 or int(minute) > 59 or int(second or 0) > 59 or clock > _DAY:  # noqa: PLR2004  # a clock's own numbers
        message = f"there is no time {hour}:{minute}:{second}"
        raise ValueError(message)
    return clock


def _shift(sign: str | None, hours: str | None, minutes: str | None) -> int:
    seconds = int(hours or 0) * 3600 + int(minutes or 0) * 60
    return -seconds if sign == "-" else seconds


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
