"""How far a folder has been read.

A mark never claims more than is true: `caught_up` is said only of a moment up to which every change has been handed on.
"""

from __future__ import annotations

from collections.abc import Iterable

from events.log import Mark


class Progress:
    """Positions, the first scan, and when a mark is due.

    :arg source: Name of the folder.
    :arg position: The last position that was given to a change.
    :arg event_time: Newest event time so far (ms since epoch).
    :arg heartbeat: Time without a mark after which one is due (ms).
    :arg now: When reading begins (ms since epoch).
    """

    def __init__(self, source: str, position: int, event_time: int | None, heartbeat: int, now: int) -> None:
        self._source = source
        self.position = position
        self._event_time = event_time
        self._heartbeat = heartbeat
        self.stirred_at = now
        self._unconfirmed = True
        self._marked_at = now
        self._first: set[str] | None = None
        self._total = 0
        self.scanned = False

    def begin(self, paths: Iterable[str]) -> None:
        """Note what the first scan has found to look at."""
        first = self._first or set()
        done = self._total - len(first)
        self._first = first | set(paths)
        self._total = done + len(self._first)

    def settle(self, path: str) -> None:
        """Note that the first scan is through with `path`."""
        if self._first:
            self._first.discard(path)

    def restart(self) -> None:
        """Begin the first scan from the start, unless it is over."""
        self._first = None
        self._total = 0

    def stir(self, now: int) -> None:
        """Note that something may have changed: once all of it is known, a mark shall say so."""
        self.stirred_at = now
        self._unconfirmed = True

    def advance(self, event_times: Iterable[int]) -> None:
        """Give positions to changes with these event times, which have been handed on."""
        for event_time in event_times:
            self.position += 1
            self._event_time = max(event_time, event_time if self._event_time is None else self._event_time)

    def finish_scan(self) -> None:
        """End the first scan if nothing is left of it."""
        if self._first is not None and not self._first:
            self.scanned = True

    def is_due(self, now: int, caught_up_at: int | None) -> bool:
        """Return whether a mark is due though there is nothing to hand on.

        :arg caught_up_at: Moment up to which everything has been handed on; None if it has not.
        """
        if now - self._marked_at >= self._heartbeat:
            return True
        return caught_up_at is not None and self._unconfirmed and self.stirred_at <= caught_up_at

    def mark(self, now: int, read_at: int, caught_up_at: int | None) -> Mark:
        """Return the mark for what has been handed on, to be emitted at `now`."""
        self._marked_at = now
        self._unconfirmed = caught_up_at is None or caught_up_at < self.stirred_at
        mark = Mark(
            source=self._source,
            partition="0",
            offset=self.position + 1,
            event_time=self._event_time,
            read_at=read_at if caught_up_at is None else caught_up_at,
            caught_up=caught_up_at is not None,
            done=self._total - len(self._first or ()),
            total=self._total,
        )
        if self.scanned:
            self._total = 0
            self._first = None
        return mark
