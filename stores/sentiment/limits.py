"""When the next request may go to an endpoint: a budget by the hour, and the pauses that it asks for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from email.utils import parsedate_to_datetime

HOUR = 3600.0
LONGEST_PAUSE = HOUR
"""An endpoint that asks for more is asked again after this all the same."""
_FIRST, _LAST = 0.5, 60.0


class Budget:
    """At most so many requests within any hour, to the second.

    :arg most: Requests; 0: as many as there are.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._spent: deque[tuple[int, int]] = deque()
        self._sum = 0

    def wait(self, now: float) -> float:
        """Return the seconds until there is room for one more request, 0 if there is; `now` only ever grows."""
        while self._spent and self._spent[0][0] + 1 + HOUR <= now:
            self._sum -= self._spent.popleft()[1]
        if not self._most or self._sum < self._most:
            return 0.0
        return self._spent[0][0] + 1 + HOUR - now

    def take(self, now: float) -> None:
        """Note one request."""
        if not self._most:
            return
        second, count = int(now), 0
        if self._spent and self._spent[-1][0] == second:
            count = self._spent.pop()[1]
        self._spent.append((second, count + 1))
        self._sum += 1


def pause_of(header: str | None, now: float) -> float:
    """Read `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date.

    :arg now: Seconds since 1970-01-01 UTC.
    :returns: Seconds to wait, at most `LONGEST_PAUSE`; 0 where it says nothing that can be understood.
    """
    if not header:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now
        except (TypeError, ValueError, OverflowError):
            return 0.0
    return min(seconds, LONGEST_PAUSE) if seconds > 0 else 0.0  # what is not a number is not above 0


def back_off(attempt: int, chance: Callable[[], float]) -> float:
    """Return the seconds to wait after the `attempt`-th failure, from 1: ever longer, and not for all at once.

    Between half and all of a time that doubles ("Exponential Backoff And Jitter", AWS Architecture Blog, 2015:
    "equal jitter").

    :arg chance: Returns a number from 0 to below 1.
    """
    whole = min(_LAST, _FIRST * 2.0 ** min(attempt - 1, 10))
    return whole * (1 + chance()) / 2
