"""How many events wait on the log, and how fast they are taken in: counted, not estimated.

In a log of files an offset is the place of a byte, so that events can only be counted by reading. Invariant: `waiting`
is the number of events from `applied` to `counted`; each byte is read twice at most, when it comes and when it is
applied, and no look reads more than it is allowed to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

SECONDS = 10_000
"""Time (ms) over which a rate is told."""

Count = Callable[[int, int], int]
"""Returns the number of events between two offsets of a partition."""


class Allowance:
    """How much of the log one look may still read, in offsets."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, wanted: int) -> int:
        """Return how much of what is wanted may be read."""
        granted = max(0, min(wanted, self.left))
        self.left -= granted
        return granted


class Backlog:
    """The events of one partition behind what a store has applied.

    :arg count: Counts in that partition.
    :arg applied: Offset up to which the store has taken it in at the first look.
    """

    def __init__(self, count: Count, applied: int) -> None:
        self._count = count
        self.applied = self.counted = applied
        self.waiting = 0
        self._taken: int | None = 0

    def look(self, applied: int, end: int, allowance: Allowance) -> int | None:
        """Go on counting; return how many events wait, None as long as they are not all counted.

        :arg applied: Offset up to which the store has taken it in.
        :arg end: Offset behind the newest event on the log.
        """
        if applied < self.applied:  # another store is in the place of the one that was there
            self._begin_anew(applied)
        self._advance(applied, allowance)
        step = allowance.take(end - self.counted)
        if step:
            self.waiting += self._count(self.counted, self.counted + step)
            self.counted += step
        return self.waiting if self.counted >= end else None

    def taken(self) -> int | None:
        """Return how many events have been applied since the last call; None if they could not be counted."""
        taken, self._taken = self._taken, 0
        return taken

    def _advance(self, applied: int, allowance: Allowance) -> None:
        within = min(applied, self.counted) - self.applied
        beyond = max(0, applied - self.counted)
        if allowance.take(within + beyond) < within + beyond:
            self._begin_anew(applied)
            return
        gone = self._count(self.applied, self.applied + within) if within else 0
        ahead = self._count(self.counted, applied) if beyond else 0
        self.waiting -= gone
        self.applied = applied
        self.counted = max(self.counted, applied)
        if self._taken is not None:
            self._taken += gone + ahead

    def _begin_anew(self, applied: int) -> None:
        self.applied = self.counted = applied
        self.waiting = 0
        self._taken = None


class Pace:
    """How fast the events of one source are taken in, over the last `SECONDS`, or since the look before."""

    def __init__(self) -> None:
        self._total = 0
        self._seen: deque[tuple[int, int]] = deque()

    def look(self, taken: int | None, now: int) -> float | None:
        """Return events a second; None at a first look, and after one at which they could not be counted.

        :arg taken: Events since the last look.
        """
        if taken is None or (self._seen and now < self._seen[-1][0]):
            self._seen.clear()
        self._total += taken or 0
        # One look from before the span stays: it is where the span begins.
        while len(self._seen) > 1 and self._seen[1][0] <= now - SECONDS:
            self._seen.popleft()
        rate = None
        if self._seen and now > self._seen[0][0]:
            then, before = self._seen[0]
            rate = (self._total - before) * 1000 / (now - then)
        if not self._seen or now - self._seen[-1][0] >= SECONDS // 50:
            self._seen.append((now, self._total))
        return rate
