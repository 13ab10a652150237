"""When a process that has ended is started again, and when never more.

Pauses grow from a second to a minute, and begin anew after a minute of calm. A process that says what is wrong with it,
time and again and before it ever did its work, is not kept from saying so by a restart: it is given up. What may pass
by itself, such as a server that is away, is none of that.
"""

from __future__ import annotations

import time

FIRST_MILLIS = 1_000
LONGEST_MILLIS = 60_000
CALM_MILLIS = 60_000
"""After running for so long, a process that ends is as one that never did before."""
PROPER_MILLIS = 10_000
"""A process that has ever run for so long has what it needs, whatever keeps it from running now."""
EXPLANATIONS = 3


class Restarts:
    """One process. Times are in milliseconds of a clock that only ever grows.

    :arg now: It is due at once.
    :arg explanations: How often in a row it says what is wrong with it until it is given up.
    :arg first: The shortest pause.
    """

    def __init__(self, now: int, explanations: int = EXPLANATIONS, first: int = FIRST_MILLIS) -> None:
        self.due: int | None = now
        """When it is to be started; None while it runs, and when it is given up."""
        self.count = -1
        """How often it was started again."""
        self.given_up = False
        self._explanations = explanations
        self._first = first
        self._began = now
        self._failures = 0
        self._explained = 0
        self._proper = False

    def is_due(self, now: int) -> bool:
        """Tell whether it is to be started now."""
        return self.due is not None and now >= self.due

    def started(self, now: int) -> None:
        """Note that it has been started."""
        self.due = None
        self.count += 1
        self._began = now

    def ended(self, now: int, *, explained: bool) -> None:
        """Note that it has ended, without having been asked to.

        :arg explained: Whether it has said in one line what stopped it, and that lasts until somebody mends it.
        """
        ran = now - self._began
        self._proper |= ran >= PROPER_MILLIS
        self._failures = 1 if ran >= CALM_MILLIS else self._failures + 1
        self._explained = self._explained + 1 if explained else 0
        if self._explained >= self._explanations and not self._proper:
            self.given_up = True
            return
        # Beyond some twenty doublings there is nothing but large numbers.
        self.due = now + min(self._first << min(self._failures - 1, 20), LONGEST_MILLIS)


def ticks() -> int:
    """Return milliseconds that only ever grow."""
    return time.monotonic_ns() // 1_000_000
