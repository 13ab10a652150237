"""Connections that threads take turns with: each is used by one thread at a time, idle ones are used again.

There are never more than so many. A forked process opens its own: what it has inherited belongs to its parent, and is
neither used nor closed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from events.errors import StoreError

T = TypeVar("T")


class Pool(Generic[T]):
    """Connections of one kind.

    :arg name: What they lead to, for errors.
    :arg make: Opens one.
    :arg rest: Brings one that comes back to rest; false if it is of no use any more.
    :arg end: Closes one.
    :arg most: How many there are at once; whoever wants one more waits.
    :arg spare: How many idle ones are kept.
    :arg seconds: How long to wait.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], T],
        rest: Callable[[T], bool],
        end: Callable[[T], None],
        *,
        most: int,
        spare: int,
        seconds: float,
    ) -> None:
        self._name = name
        self._make = make
        self._rest = rest
        self._end = end
        self._most = most
        self._spare = spare
        self._seconds = seconds
        self._shelf = _Shelf[T]()
        self._inherited: list[_Shelf[T]] = []

    @contextmanager
    def lent(self, place: Hashable = None, *, fresh: bool = False) -> Iterator[T]:
        """Lend a connection for the block.

        :arg place: What is there to be connected with: connections with anything else are closed.
        :arg fresh: Whether it must be one that is opened now; idle ones are closed.
        :raises StoreError: When none becomes free in time.
        """
        shelf = self._of_this_process()
        connection, era = self._take(shelf, place, fresh)
        try:
            yield connection
        finally:
            self._give_back(shelf, era, connection)

    def clear(self) -> None:
        """Close what is idle, and what is lent as soon as it comes back."""
        shelf = self._of_this_process()
        with shelf.changed:
            idle = shelf.turn_over(object())
        self._close(idle)

    def _of_this_process(self) -> _Shelf[T]:
        shelf = self._shelf
        if shelf.process != os.getpid():
            self._inherited.append(shelf)
            shelf = self._shelf = _Shelf()
        return shelf

    def _take(self, shelf: _Shelf[T], place: Hashable, fresh: bool) -> tuple[T, int]:
        with shelf.changed:
            unfit = shelf.turn_over(place) if fresh or shelf.place != place else []
            if shelf.lent >= self._most:
                self._wait(shelf)
            shelf.lent += 1
            # The one that was used last: it remembers most.
            connection, era = shelf.idle.pop() if shelf.idle else None, shelf.era
        self._close(unfit)
        if connection is not None:
            return connection, era
        try:
            return self._make(), era
        except BaseException:
            with shelf.changed:
                shelf.lent -= 1
                shelf.changed.notify()
            raise

    def _wait(self, shelf: _Shelf[T]) -> None:
        if not shelf.changed.wait_for(lambda: shelf.lent < self._most, self._seconds):
            detail = f"all {self._most} connections to {self._name} have been in use for {self._seconds:g} s"
            raise StoreError(detail, "ask again, and fewer things at once")

    def _give_back(self, shelf: _Shelf[T], era: int, connection: T) -> None:
        fit = False
        try:
            fit = self._rest(connection)
        finally:
            with shelf.changed:
                shelf.lent -= 1
                shelf.changed.notify()
                fit = fit and shelf.era == era and len(shelf.idle) < self._spare
                if fit:
                    shelf.idle.append(connection)
            if not fit:
                self._end(connection)

    def _close(self, connections: list[T]) -> None:
        for connection in connections:
            self._end(connection)


class _Shelf(Generic[T]):
    """What one process has: idle connections, all with the same place and of one era, and how many are lent."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.changed = threading.Condition()
        self.idle: list[T] = []
        self.lent = 0
        self.place: Hashable = None
        self.era = 0

    def turn_over(self, place: Hashable) -> list[T]:
        """Begin an era, with nothing idle; return what was. What is lent is of the former one."""
        idle, self.idle, self.place = self.idle, [], place
        self.era += 1
        return idle
