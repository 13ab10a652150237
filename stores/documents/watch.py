"""The port of watching: hints that something changed at a path.

A hint may be superfluous, never wrong, because whoever gets it looks for himself; where hints may be missing the watch
says so, and the folder is looked at whole.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable

import msgspec

from events.clock import Clock


class News(msgspec.Struct, frozen=True):
    """What a watch has heard since it was last asked.

    :arg paths: Paths below the root, with forward slashes; the root itself is the empty path.
    :arg lost: Whether something may have been missed.
    :arg settled: Those of `paths` at which nothing is under way: what was heard last is that a writer closed the file,
        or that it was moved here.
    """

    paths: set[str]
    lost: bool = False
    settled: frozenset[str] = frozenset()


class Watch(ABC):
    """Watches one folder. Every directory is added before it is listed, so that nothing falls between."""

    @abstractmethod
    def add(self, directory: str) -> None:
        """Watch what happens directly in `directory`, a path below the root. Twice, or absent: no effect."""

    @abstractmethod
    def take(self) -> News:
        """Return what was heard since the last call. Never blocks."""

    @property
    @abstractmethod
    def heard_until(self) -> int | None:
        """Until when (ms since epoch) the calls of `take` have told everything that happened; None: not yet at all."""

    @property
    @abstractmethod
    def problem(self) -> str:
        """Why the hints are not complete, in one line; empty while they are."""

    @abstractmethod
    def close(self) -> None:
        """Stop watching. Closing twice does nothing."""


OpenWatch = Callable[[str, Clock], Watch]
"""Begins to watch the folder at a path that is absolute and free of links."""


def open_watch(root: str, clock: Clock) -> Watch:
    """Watch `root` by what the operating system offers."""
    if sys.platform == "linux":
        from stores.documents.inotify import InotifyWatch

        return InotifyWatch(root, clock)
    from stores.documents.portable import PortableWatch

    return PortableWatch(root, clock)
