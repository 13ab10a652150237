"""Time as integers: milliseconds since 1970-01-01 UTC. Clocks are passed in, never called from logic."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone

Clock = Callable[[], int]
"""Returns the present in milliseconds since 1970-01-01 UTC."""


def system_clock() -> int:
    """Return the machine's time in milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def to_iso(millis: int) -> str:
    """Write `millis` as ISO 8601 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(millis / 1000, tz=timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_millis(moment: datetime) -> int:
    """Return `moment` in milliseconds since 1970-01-01 UTC; a naive one is read as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return round(moment.timestamp() * 1000)
