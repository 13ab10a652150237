"""The port of what is tapped: a database's own log, a stream of another system, a bucket's notifications."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import msgspec

from events.log import LogRecord


class Drawn(msgspec.Struct, frozen=True):
    """What a tap has given since the last look.

    :arg records: Records for the log, each with the stream that it goes to, in the order in which they are to be
        appended. `partition` and `offset` of them say nothing.
    :arg place: Where to go on from once all of them, and all before, are on the log: plain data that JSON can hold.
    :arg event_time: Newest moment that the tap knows of its source (ms since epoch); None if it has said none. It is
        shown, and says nothing of what was not given: see `true_at`.
    :arg caught_up: Whether the source had nothing more, when it was looked at.
    :arg done: Rows or objects read of the first scan, for progress bars; 0 outside one.
    :arg total: How many there are about; 0 outside one, or if that is not known.
    :arg true_at: As of which moment all that the source had has been given, with these (ms since epoch): of several
        parts of it, the one that is furthest behind counts. None if that is not known, save by `caught_up`.
    """

    records: tuple[LogRecord, ...]
    place: Any
    event_time: int | None = None
    caught_up: bool = False
    done: int = 0
    total: int = 0
    true_at: int | None = None


class Tap(ABC):
    """One source that is drawn from, in its own order, by one reader only.

    Opened with the place at which it has been left, or None at the very first time. It goes on from there without a
    gap: what the source no longer has is an error with a remedy, never skipped silently. What comes after the place may
    have been given before; it comes again, the same.
    """

    @abstractmethod
    def draw(self, limit: int) -> Drawn | None:
        """Return what there is, about `limit` records at most; None if there is nothing new, not even a place.

        While a source has nothing more, and that is known, it says so every second: no records, the same place, and
        `caught_up`, or as of when it has given everything. What is served from it is as fresh as the last such word;
        None says nothing of that.

        Waits some hundredths of a second at most. A connection that breaks is made again, with growing pauses between
        the tries in which there is None; what is wrong for good is an error.

        :raises StoreError: When the source refuses, or no longer has what comes next.
        """

    @abstractmethod
    def confirm(self, place: Any) -> None:
        """Learn that all up to `place` is safe: the source may let go of it. Never raises for a broken connection."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the source, which keeps what was not confirmed. Closing twice does nothing."""
