"""A tap that is kept open: one that fails is opened again, while others go on.

Invariant: it is opened at the place that has been written, and only once all that was drawn before is behind that
place: what it is told to be safe is what it has given itself, or what came before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec

from events.clock import Clock
from events.errors import HeadraceError
from stores.capture.base import Drawn, Tap
from stores.capture.places import Places

FIRST_PAUSE_MILLIS, LONGEST_PAUSE_MILLIS = 1000, 60_000
_logger = logging.getLogger(__name__)

OpenTap = Callable[[Any], Tap]
"""Opens a tap at a place; None: at its beginning."""


class KeptTap:
    """One tap, open or to be opened.

    :arg alone: Whether nothing else is drawn from: what fails is then raised. Otherwise it is said once, and tried
        again after growing pauses, by a thread: nobody waits for it. It is noted beside the places, until it goes on.
    """

    def __init__(self, name: str, open_tap: OpenTap, places: Places, clock: Clock, *, alone: bool) -> None:
        self._name = name
        self._open_tap = open_tap
        self._places = places
        self._clock = clock
        self._alone = alone
        self._anew = False
        self._last: list[Any] = []  # the place that was drawn last, as the file of places tells it
        self._failed_at = self._opened_at = clock()
        self._pause = 0
        self._said = ""
        self._opening: Future[Tap] | None = None
        self._tap: Tap | None = None
        if alone:
            try:
                self._tap = self._open()
            except HeadraceError as error:
                places.note_fault(name, str(error))
                raise
            places.note_fault(name, "")
            return
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=f"open-{name}")
        self._opening = self._threads.submit(self._open)

    def draw(self, limit: int) -> tuple[Drawn, bool] | None:
        """Return what the tap has given, and whether that is the first since it began anew; None if there is nothing.

        :raises HeadraceError: When it fails, and is alone.
        """
        if self._tap is None:
            self._reopen()
        if self._tap is None:
            return None
        try:
            drawn = self._tap.draw(limit)
        except HeadraceError as error:
            if self._alone:
                self._places.note_fault(self._name, str(error))
                raise
            self._fail(error)
            return None
        if drawn is None:
            return None
        if self._said and self._clock() - self._opened_at >= self._pause:
            self._recover()
        anew, self._anew = self._anew, False
        self._last = [drawn.place]
        return drawn, anew

    def confirm(self, place: Any) -> None:
        """Tell the tap what is safe, if it is open."""
        if self._tap is not None:
            self._tap.confirm(place)

    def close(self) -> None:
        """Close the tap; one that is being opened is waited for."""
        if not self._alone:
            self._threads.shutdown(wait=True)
            if self._opening is not None and self._opening.exception() is None:
                self._tap = self._opening.result()
            self._opening = None
        if self._tap is not None:
            self._tap.close()

    def _open(self) -> Tap:
        known = self._places.read().get(self._name)
        self._anew = known is None
        return self._open_tap(None if known is None else known.place)

    def _reopen(self) -> None:
        now = self._clock()
        if self._opening is None:
            if not 0 <= now - self._failed_at < self._pause and self._is_written(now):
                self._opening = self._threads.submit(self._open)
            return
        if not self._opening.done():
            return
        opening, self._opening = self._opening, None
        try:
            self._tap = opening.result()
        except HeadraceError as error:
            self._fail(error)
            return
        self._opened_at = now
        if not self._said:
            self._places.note_fault(self._name, "")

    def _is_written(self, now: int) -> bool:
        """Tell whether nothing is under way any more; what takes too long was changed by somebody else."""
        if not self._last or not 0 <= now - self._failed_at < LONGEST_PAUSE_MILLIS:
            return True
        written = self._places.read().get(self._name)
        return written is not None and written.place == msgspec.json.decode(msgspec.json.encode(self._last[0]))

    def _fail(self, error: HeadraceError) -> None:
        self._failed_at = self._clock()
        self._pause = min(max(2 * self._pause, FIRST_PAUSE_MILLIS), LONGEST_PAUSE_MILLIS)
        if str(error) != self._said:
            self._said = str(error)
            _logger.warning("capture %r stands still, and is tried again and again: %s", self._name, error)
            self._places.note_fault(self._name, self._said)
        if self._tap is not None:
            # By the thread, before it opens the next one: closing waits for what is under way.
            self._threads.submit(self._tap.close)
            self._tap = None

    def _recover(self) -> None:
        _logger.warning("capture %r goes on", self._name)
        self._said, self._pause = "", 0
        self._places.note_fault(self._name, "")
