"""A circuit breaker: an endpoint that fails again and again is left alone for a while, then tried once.

After M. Nygard, Release It! (2007). Invariant: while it is open nobody gets through, and at the end of that time one
does alone, until it is known how that one fares. What was let through before the state changed has no say any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "probing"]
Outcome = Literal["answering", "succeeded", "failed", "released"]


class Permit:
    """Leave to make one request. Whoever has it says how the request went, or at least that it is over: once."""

    def __init__(self, breaker: Breaker, era: int) -> None:
        self._breaker = breaker
        self._era = era
        self._is_over = False

    def answering(self) -> None:
        """Note that an answer has begun: others may ask again, but the next failure is one too many."""
        if not self._is_over:
            self._breaker.note(self._era, "answering")

    def succeeded(self) -> None:
        """Note that the endpoint does what it should."""
        self._end("succeeded")

    def failed(self, reason: str) -> None:
        """Note that nothing came of the request, and why."""
        self._end("failed", reason)

    def release(self) -> None:
        """Note that the request is over, whatever became of it."""
        self._end("released")

    def _end(self, how: Outcome, reason: str = "") -> None:
        if not self._is_over:
            self._is_over = True
            self._breaker.note(self._era, how, reason)


class Breaker:
    """Decides who gets through. Any thread may ask.

    :arg failures: So many in a row open it.
    :arg seconds: For so long.
    :arg now: Seconds that only ever grow.
    """

    def __init__(self, failures: int, seconds: float, now: Callable[[], float]) -> None:
        self._limit = failures
        self._seconds = seconds
        self._now = now
        self._lock = threading.Lock()
        self._state: State = "closed"
        self._failures = 0
        self._until = 0.0
        self._era = 0
        self.reason = ""
        """Of the last failure."""

    @property
    def state(self) -> State:
        """How it stands; one that is open stays so until somebody enters."""
        return self._state

    def enter(self) -> Permit | None:
        """Return leave to make one request; None: it is to be left alone."""
        with self._lock:
            if self._state == "probing" or (self._state == "open" and self._now() < self._until):
                return None
            if self._state == "open":
                self._state = "probing"
                self._era += 1
            return Permit(self, self._era)

    def wait(self) -> float:
        """Return the seconds until somebody may try; 0 where somebody may, or does already."""
        with self._lock:
            return max(0.0, self._until - self._now()) if self._state == "open" else 0.0

    def note(self, era: int, what: Outcome, reason: str = "") -> None:
        """Take in what a permit of this era tells."""
        with self._lock:
            if era != self._era:
                return
            if what == "succeeded":
                self._state, self._failures = "closed", 0
            elif what == "answering" and self._state == "probing":
                self._state, self._failures = "closed", self._limit - 1
            elif what == "released" and self._state == "probing":
                self._open(0.0)
            elif what == "failed":
                self.reason = reason
                self._failures += 1
                if self._state == "probing" or self._failures >= self._limit:
                    self._open(self._seconds)

    def _open(self, seconds: float) -> None:
        self._state, self._until = "open", self._now() + seconds
        self._era += 1
