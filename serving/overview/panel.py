"""One thing to be looked up, as often as it can be afforded.

Invariant: looking it up takes at most `1 / SPARING` of the time, however dear it has become; what is shown meanwhile is
the last that was known, with its age, and a failure is told beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from events.errors import HeadraceError

T = TypeVar("T")

SPARING = 20
LONGEST_MILLIS = 30_000
AFTER_FAILURE_MILLIS = 2_000

Timer = Callable[[], float]
"""Returns seconds that only ever grow."""


class Panel(Generic[T]):
    """The thing. Not for several threads at once.

    :arg look_up: Looks it up; may raise.
    :arg least: Age (ms) below which it is not looked up again, be it ever so cheap.
    :arg timer: Measures what a look costs.
    """

    def __init__(self, look_up: Callable[[], T], least: int = 0, timer: Timer = time.perf_counter) -> None:
        self._look_up = look_up
        self._least = least
        self._timer = timer
        self._next: int | None = None
        self._cost = 0.0
        self._looked: int | None = None
        self.value: T | None = None
        self.at: int | None = None
        self.failed = ""

    def look(self, now: int) -> T | None:
        """Return the newest that is known, None if it could never be had; `at` tells of when, `failed` why not now."""
        # A clock that was put back must not keep it from looking for ever.
        if self._next is None or self._looked is None or not self._looked <= now < self._next:
            self._renew(now)
        return self.value

    def _renew(self, now: int) -> None:
        begin = self._timer()
        try:
            self.value = self._look_up()
        except (HeadraceError, OSError) as error:
            self.failed = error.detail if isinstance(error, HeadraceError) else str(error)
            least = AFTER_FAILURE_MILLIS
        else:
            self.at, self.failed, least = now, "", self._least
        before, self._cost = self._cost, (self._timer() - begin) * 1000
        self._looked = now
        # The first look also pays for what has to be loaded, and one in between for what else the machine does.
        self._next = now + round(min(max(least, SPARING * min(before, self._cost)), LONGEST_MILLIS))
