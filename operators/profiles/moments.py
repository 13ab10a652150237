"""When a row says that something was: ISO 8601 text to milliseconds, the same in every version of Python."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from events.clock import to_millis

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?(?: ?(Z|[+-]\d\d(?::?\d\d)?))?)?",
    re.ASCII | re.IGNORECASE,
)
_LONGEST = 64


def moment_of(value: object) -> int | None:
    """Read a date or a date with time (ms since epoch), rounded down; without a zone it is UTC.

    :returns: None where `value` is no such text, or no such moment exists.
    """
    if not isinstance(value, str) or len(value) > _LONGEST or not (found := _ISO.fullmatch(value.strip())):
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    millis = int(((fraction or "") + "000")[:3])
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=timezone.utc
        )
        return to_millis(moment) + millis - _offset(zone)
    except ValueError:
        return None


def _offset(zone: str | None) -> int:
    if zone is None or zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    # A zone is less than a day from UTC; `timezone` says so if it is not.
    ahead = timezone(timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))).utcoffset(None)
    millis = int(ahead.total_seconds()) * 1000
    return -millis if zone[0] == "-" else millis
