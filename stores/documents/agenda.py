"""What shall be looked at, and when.

A path comes up once it has been quiet for a while, and at the latest after `PATIENCE_MILLIS` of unrest. What is known
to be complete need not wait for quiet, unless it was looked at just before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import msgspec

PATIENCE_MILLIS = 2_000


class _Waiting(msgspec.Struct):
    since: int
    due: int


class Agenda:
    """Paths to look at. One that is both waiting and ready is looked at twice, which does no harm.

    :arg quiet: For how long nothing may have happened at a path (ms).
    :arg is_known: Of paths that come up together, those for which it says so are the first: a renamed document is
        missed at its old path before it is found at its new one.
    """

    def __init__(self, quiet: int, is_known: Callable[[str], bool]) -> None:
        self._quiet = quiet
        self._is_known = is_known
        self._waiting: dict[str, _Waiting] = {}
        self._failures: dict[str, int] = {}
        self._next_due = 0
        self._ready: deque[str] = deque()
        self._looked: dict[str, int] = {}

    def note(self, path: str, now: int, *, settled: bool = False) -> None:
        """Look at `path`, where something happened, when it has become quiet; at once if it is `settled`."""
        waiting = self._waiting.get(path)
        if settled and now - self._looked.get(path, now - self._quiet) >= self._quiet:
            since = now if waiting is None else waiting.since
            self._wait(path, since, now)
        elif waiting is None:
            self._wait(path, now, now + self._quiet)
        else:
            waiting.due = max(waiting.due, min(now + self._quiet, waiting.since + PATIENCE_MILLIS))

    def retry(self, path: str, now: int) -> int:
        """Look at `path` again after a failure, later and later. Return how often it has failed in a row."""
        failures = self._failures.get(path, 0)
        self._failures[path] = failures + 1
        self._wait(path, now, now + min(PATIENCE_MILLIS, self._quiet << min(failures, 16)))
        return failures + 1

    def succeeded(self, path: str) -> None:
        """Note that a look at `path` told what there is."""
        self._failures.pop(path, None)

    def drop(self, path: str) -> None:
        """Do not look at `path` again, though the last look failed."""
        self._waiting.pop(path, None)
        self._failures.pop(path, None)

    def add(self, paths: Iterable[str]) -> None:
        """Look at these as soon as it is their turn."""
        self._ready.extend(paths)

    def put_back(self, path: str) -> None:
        """Let the path that was just taken be the next again."""
        self._ready.appendleft(path)

    def take(self, now: int) -> str | None:
        """Return the next path to look at, if there is one at this moment."""
        if self._waiting and now >= self._next_due:
            due = [path for path, waiting in self._waiting.items() if waiting.due <= now]
            due.sort(key=lambda path: (not self._is_known(path), path))
            self._looked = {path: when for path, when in self._looked.items() if now - when < self._quiet}
            for path in due:
                del self._waiting[path]
                self._looked[path] = now
            self._ready.extendleft(reversed(due))
            self._next_due = min((waiting.due for waiting in self._waiting.values()), default=0)
        return self._ready.popleft() if self._ready else None

    def hurry(self) -> None:
        """Make everything that waits come up at once."""
        self._ready.extend(sorted(self._waiting))
        self._waiting.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._waiting.clear()
        self._failures.clear()
        self._ready.clear()

    @property
    def busy(self) -> bool:
        """Whether anything is ready to be looked at without waiting."""
        return bool(self._ready)

    @property
    def empty(self) -> bool:
        """Whether there is nothing left to look at, now or later."""
        return not self._ready and not self._waiting

    def _wait(self, path: str, now: int, due: int) -> None:
        self._next_due = min(self._next_due, due) if self._waiting else due
        self._waiting[path] = _Waiting(now, due)
