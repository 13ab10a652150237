"""When the next request may go to an endpoint: a budget by the hour, and pauses while it is in trouble."""

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


class Breaker:
    """Holds back all requests while the endpoint is in trouble, ever longer, up to a minute or what it asks for.

    After a pause one request at a time finds out whether the trouble is over ("circuit breaker", half open: M. Nygard,
    Release It!, 2007).

    :arg chance: Returns a number from 0 to below 1, so that not all who wait come back at once.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._since = self._until = 0.0
        self.troubles = 0
        """Requests in a row that ended in trouble; those that were open together are one."""
        self.answers = 0
        """Requests that were answered, whatever the answer was."""

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may go, 0 if it may; `now` only ever grows."""
        return max(0.0, self._until - now)

    def answered(self) -> None:
        """Note an answer. A pause that has begun is kept all the same."""
        self.answers += 1
        self.troubles = 0

    def in_trouble(self, begun: float, now: float, asked: float = 0.0) -> None:
        """Note a request that came to nothing.

        :arg begun: When it was sent.
        :arg asked: Seconds of a pause that the endpoint asks for.
        """
        if not self.troubles or begun > self._since:
            self.troubles += 1
            self._since = now
            self._until = max(self._until, now + back_off(self.troubles, self._chance))
        self._until = max(self._until, now + asked)


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
