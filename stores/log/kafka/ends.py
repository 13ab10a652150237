"""Where partitions end, asked beside the reading: one request for all that are in use, twenty times a second.

A partition of which nobody tells is asked for once a second, and the others go on meanwhile. What is known is never
said to be younger than it is: its age counts from the moment before the broker was asked.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from events.clock import Clock
from events.errors import HeadraceError
from stores.log.kafka.client import Client

UNKNOWN_END = 2**63 - 1
"""The end of a partition of which nothing is known yet: nobody can have reached it."""

_ASK_SECONDS = 0.05
_AGAIN_SECONDS = 1.0
_PATIENCE_SECONDS, _MOST_PATIENCE_SECONDS = 1.0, 8.0
"""How long an answer is waited for, and at most, as brokers are found to be slow or none answers."""

_USED_SECONDS = 5.0
_FIRST_SECONDS = 0.05
_CLOSE_SECONDS = 0.2
_logger = logging.getLogger(__name__)

Name = tuple[str, int]


class _Known(NamedTuple):
    end: int
    asked_at: int


class Ends:
    """Looks where partitions end as long as somebody wants to know.

    :arg client: Returns the client to ask by; called for each look.
    :arg clock: Measures the age of what is known, in milliseconds; only differences count.
    """

    def __init__(self, client: Callable[[], Client], clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._changed = threading.Condition()
        self._known: dict[Name, _Known] = {}
        self._used: dict[Name, float] = {}
        self._outdated: dict[str, int] = {}
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._hurry = threading.Event()
        self._failing = False
        self._silent: set[Name] = set()
        self._again_at = 0.0
        self._patience = _PATIENCE_SECONDS

    def of(self, name: Name) -> tuple[int, int]:
        """Return the end of a partition, 0 if it does not exist, and how many milliseconds ago that was so.

        Waits a moment for the first look; if that has not come back, the end is `UNKNOWN_END`.
        """
        self._used[name] = time.monotonic()
        known = self._known.get(name)
        if self._thread is None:
            self._start()
        if known is None and name not in self._silent:
            with self._changed:
                self._changed.wait_for(lambda: name in self._known, _FIRST_SECONDS)
            known = self._known.get(name)
        if known is None:
            return UNKNOWN_END, 0
        # Rounded up, as both moments were cut to whole milliseconds.
        return known.end, max(0, self._clock() - known.asked_at) + 1

    def reached(self, name: Name, offset: int) -> bool:
        """Whether a partition had nothing behind `offset` when it was looked at last; False if it was not yet."""
        known = self._known.get(name)
        return known is not None and offset >= known.end

    def forget(self, topic: str) -> None:
        """Take note that a topic has grown: what is known of it is from before."""
        if not self._used:
            return
        with self._changed:
            self._outdated[topic] = self._clock()
            for name in [name for name in self._known if name[0] == topic]:
                del self._known[name]
        self._hurry.set()

    def close(self) -> None:
        """Stop looking, and forget; looking goes on when it is asked again."""
        with self._changed:
            thread, self._thread = self._thread, None
            self._closing.set()
            self._hurry.set()
        if thread is not None:
            thread.join(_CLOSE_SECONDS)
        self._known.clear()
        self._used.clear()
        self._outdated.clear()
        self._silent = set()

    def _start(self) -> None:
        with self._changed:
            if self._thread is None:
                self._closing = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(self._closing,), name="headrace-kafka-ends", daemon=True
                )
                self._thread.start()

    def _run(self, closing: threading.Event) -> None:
        while not closing.is_set():
            if not self._look(closing):
                return
            self._hurry.wait(_ASK_SECONDS)
            self._hurry.clear()

    def _look(self, closing: threading.Event) -> bool:
        """Look once; False if nobody wants to know any more."""
        names = self._wanted()
        if not names:
            return not self._is_over()
        began, asked_at = time.monotonic(), self._clock()
        if began >= self._again_at:
            self._again_at = began + _AGAIN_SECONDS
        else:
            names = [name for name in names if name not in self._silent]
        patience, self._patience = self._patience, min(2 * self._patience, _MOST_PATIENCE_SECONDS)
        try:
            ends = self._client().ends_now(names, patience) if names else {}
        except HeadraceError:
            # What was known grows old, and whoever reads says so.
            return True
        except Exception as error:  # without this thread nothing would ever be known again
            if not (self._failing or closing.is_set()):
                _logger.warning("cannot look where topics end, and tries again: %r", error)
            self._failing = True
            return True
        self._failing = False
        if closing.is_set():
            return False
        silent = {name for name, end in ends.items() if end is None}
        if not silent:
            self._patience = max(_PATIENCE_SECONDS, 2 * (time.monotonic() - began))
        elif len(silent) < len(ends):
            self._patience = patience
        self._note(names, silent, ends, asked_at)
        return True

    def _wanted(self) -> list[Name]:
        since = time.monotonic() - _USED_SECONDS
        return [name for name, used in self._used.copy().items() if used >= since]

    def _is_over(self) -> bool:
        """Whether nobody wants to know any more; then another thread looks when somebody does."""
        with self._changed:
            # Under the lock: one who asks this moment starts the next thread.
            if self._wanted():
                return False
            self._known.clear()
            self._used.clear()
            if self._thread is threading.current_thread():
                self._thread = None
        return True

    def _note(
        self, names: Sequence[Name], silent: AbstractSet[Name], ends: Mapping[Name, int | None], asked_at: int
    ) -> None:
        with self._changed:
            self._silent = (self._silent - set(names)) | silent
            for name in names:
                if name in silent:
                    continue
                if asked_at > self._outdated.get(name[0], -1):
                    self._known[name] = _Known(ends.get(name) or 0, asked_at)
                else:
                    self._hurry.set()
            self._changed.notify_all()
