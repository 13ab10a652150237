"""What many ask for at the same moment is read once: an answer is given again while it is younger than a moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")

_MOST = 256


class Brief(Generic[V]):
    """Remembers answers for a moment. Threads may share it: of those that ask for the same, one reads.

    :arg seconds: How long an answer is given again.
    :arg monotonic: Seconds that only ever grow.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._turns: dict[Hashable, threading.Lock] = {}
        self._known: dict[Hashable, tuple[float, V]] = {}

    def get(self, key: Hashable, read: Callable[[], V]) -> V:
        """Return what `read` has returned for this key a moment ago, else what it returns now.

        What it raises is raised to whoever asks, and not remembered.
        """
        with self._turn:
            if len(self._turns) > _MOST:
                self._turns.clear()
                self._known.clear()
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            known = self._known.get(key)
            if known is not None and self._monotonic() - known[0] < self._seconds:
                return known[1]
            value = read()
            self._known[key] = (self._monotonic(), value)
            return value
