"""When a row was made, as the row itself says it."""

from __future__ import annotations

import re
from datetime import date

from operators.identity.dates import day

_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)? ?(?:Z|([+-])(\d\d)(?::?(\d\d))?)?)?",
    re.ASCII | re.IGNORECASE,
)
_EPOCH = date(1970, 1, 1).toordinal()
_DAY_SECONDS = 86_400
_LAST_HOUR, _LAST_SIXTIETH, _LEAP_SECOND, _FARTHEST_ZONE = 23, 59, 60, 18
_MILLIS = range(10**11, 7_258_118_400_000)
"""Whole numbers that are taken for milliseconds since 1970: of 1973 to 2199. As seconds they would be far ahead, as
microseconds all of one week."""


def moment(value: object) -> int | None:
    """Return a moment in milliseconds since 1970-01-01 UTC; None if it cannot be read, or stands for none.

    Read are dates and times as ISO 8601 has them, in UTC where they name no zone, and whole numbers of milliseconds.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value in _MILLIS else None
    found = _MOMENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or day(found[1]) != found[1]:
        return None
    hours, minutes, seconds = (int(found[at] or 0) for at in (2, 3, 4))
    zone_hours, zone_minutes = int(found[7] or 0), int(found[8] or 0)
    if hours > _LAST_HOUR or max(minutes, zone_minutes) > _LAST_SIXTIETH:
        return None
    if seconds > _LEAP_SECOND or zone_hours > _FARTHEST_ZONE:
        return None
    shift = (zone_hours * 60 + zone_minutes) * (-60 if found[6] == "-" else 60)
    days = date.fromisoformat(found[1]).toordinal() - _EPOCH
    total = days * _DAY_SECONDS + hours * 3600 + minutes * 60 + seconds - shift
    return total * 1000 + int((found[5] or "").ljust(3, "0")[:3])
