"""When a row was made, as the row itself says it."""

from __future__ import annotations

from operators.identity.dates import day
from operators.moments import moment_of

_DATE = len("2026-01-31")
_MILLIS = range(10**11, 7_258_118_400_000)
"""Whole numbers that are taken for milliseconds since 1970: of 1973 to 2199. As seconds they would be far ahead, as
microseconds all of one week."""


def moment(value: object) -> int | None:
    """Return a moment in milliseconds since 1970-01-01 UTC; None if it cannot be read, or stands for none.

    Read are dates and times as ISO 8601 has them, in UTC where they name no zone, and whole numbers of milliseconds.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value in _MILLIS else None
    date = value.strip()[:_DATE] if isinstance(value, str) else ""
    return moment_of(value) if date and day(date) == date else None
