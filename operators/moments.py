"""When a row says that something was: ISO 8601 text to milliseconds, the same in every version of Python."""

from __future__ import annotations

import re
from datetime import datetime, timezone

from events.clock import to_millis

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?(?: ?(Z|[+-]\d\d(?::?\d\d)?))?)?",
    re.ASCII | re.IGNORECASE,
)
_LONGEST = 64
_LEAP_SECOND = 60
_HOUR, _FARTHEST_ZONE = 60, 18


def moment_of(value: object) -> int | None:
    """Read a date or a date with time (ms since epoch), rounded down; without a zone it is UTC.

    :returns: None where `value` is no such text, or no such moment exists.
    """
    if not isinstance(value, str) or len(value) > _LONGEST or not (found := _ISO.fullmatch(value.strip())):
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    millis = int(((fraction or "") + "000")[:3])
    seconds = int(second or 0)
    leap = seconds == _LEAP_SECOND
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), seconds - leap, tzinfo=timezone.utc
        )
        return to_millis(moment) + leap * 1000 + millis - _offset(zone)
    except ValueError:
        return None


def _offset(zone: str | None) -> int:
    if zone is None or zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > _FARTHEST_ZONE or minutes >= _HOUR:
        message = f"{zone} is no zone"
        raise ValueError(message)
    millis = (hours * _HOUR + minutes) * 60_000
    return -millis if zone[0] == "-" else millis
