"""Dates and times of PostgreSQL, from their text forms to ISO 8601.

The text forms are those of DateStyle ISO, TimeZone UTC and IntervalStyle iso_8601. Values come out as Debezium's do:
fractions of a second in three digits or six, moments in UTC in the digits of their column, years before 0000 and after
9999 with a sign. `infinity` stays what it is, and so does what is no date or time: nothing here raises.
"""

from __future__ import annotations

import re

from operators.capture.envelope import text, to_json
from operators.changes.temporal import utc_text, utc_time_text

_MOMENT = re.compile(
    r"(\d{4,7})-(\d\d-\d\d)(?: (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?([+-]\d\d(?::\d\d){0,2})?)?( BC)?", re.ASCII
)
_CLOCK = re.compile(r"(\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?([+-]\d\d(?::\d\d){0,2})?", re.ASCII)
_MAX_YEAR = 9999
_SPACE, _NINE = b" 9"
_ZEROS = b".000000"
MICROS = 6
_MILLIS = 3
_DAY = len("2024-05-01")
_SECOND = len("2024-05-01 12:00:00")
_FINEST = _SECOND + len(_ZEROS)
_UTC = b"+00"


def date(raw: bytes) -> bytes:
    """Write a date: `2024-05-01`."""
    return b'"%b"' % raw if len(raw) == _DAY and raw[-1] <= _NINE else _moment(raw)


def timestamp(raw: bytes) -> bytes:
    """Write a moment without a zone: `2024-05-01T12:00:00.500`."""
    # Years of four digits of our era: nearly all that there are.
    length = len(raw)
    if _SECOND <= length <= _FINEST and raw[_DAY] == _SPACE and raw[-1] <= _NINE:
        more = length - _SECOND - 1
        wanted = more if more <= 0 else _MILLIS if more <= _MILLIS else MICROS
        return b'"%bT%b%b"' % (raw[:_DAY], raw[_DAY + 1 :], _ZEROS[more + 1 : wanted + 1])
    return _moment(raw)


def instant(digits: int, raw: bytes) -> bytes:
    """Write a moment in UTC with so many digits behind the point."""
    length = len(raw) - len(_UTC)
    if _SECOND <= length <= _FINEST and raw[_DAY] == _SPACE and raw.endswith(_UTC):
        more = _ZEROS[length - _SECOND : digits + 1] if digits else b""
        return b'"%bT%b%bZ"' % (raw[:_DAY], raw[_DAY + 1 : -len(_UTC)], more)
    return _moment(raw, digits)


def _moment(raw: bytes, digits: int = 0) -> bytes:
    """Write a date, or a date and a time, with a zone or without; infinities stay as they are."""
    found = _MOMENT.fullmatch(raw.decode(errors="replace"))
    if found is None:
        return text(raw)
    year, day, clock, fraction, offset, before_christ = found.groups()
    made = f"{_year(1 - int(year) if before_christ else int(year))}-{day}"
    if clock and not offset:
        made += f"T{clock}{_fraction(fraction)}"
    elif clock:
        parts = f".{fraction or '':0<{digits}}" if digits else ""
        try:
            made = utc_text(f"{made}T{clock}{parts}{offset}")
        except ValueError:
            return text(raw)
    return to_json(made)


def _year(year: int) -> str:
    return f"{year:04}" if 0 <= year <= _MAX_YEAR else f"{year:+05}"


def _fraction(digits: str | None) -> str:
    """Write parts of a second in three digits or six, as every other time in the project."""
    return f".{digits:0<{_MILLIS if len(digits) <= _MILLIS else MICROS}}" if digits else ""


def time(raw: bytes) -> bytes:
    """Write a time of day, without a zone: `12:00:00.500`, or in UTC: `12:00:00.5Z`."""
    found = _CLOCK.fullmatch(raw.decode(errors="replace"))
    if found is None:
        return text(raw)
    clock, fraction, offset = found.groups()
    if not offset:
        return to_json(f"{clock}{_fraction(fraction)}")
    try:
        return to_json(utc_time_text(raw.decode()))
    except ValueError:
        return text(raw)


_INTERVAL = re.compile(
    r"P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?\d+(?:\.\d+)?)S)?)?", re.ASCII
)


def interval(raw: bytes) -> bytes:
    """Write a length of time with all its parts: `P0Y0M1DT0H0M0S`."""
    found = _INTERVAL.fullmatch(raw.decode(errors="replace"))
    if found is None:
        return text(raw)
    years, months, days, hours, minutes, seconds = (part or "0" for part in found.groups())
    return to_json(f"P{years}Y{months}M{days}DT{hours}H{minutes}M{seconds}S")
