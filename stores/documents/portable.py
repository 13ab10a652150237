"""Watching where there is no inotify, by the `watchfiles` package: a daemon thread listens, `take` collects.

The thread only hands over what it heard; it never looks at a file, and ends with the process or with `close`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Literal

from events.clock import Clock
from stores.documents.watch import News, Watch

WaitForChanges = Callable[
    [int, int, int, threading.Event], "set[tuple[int, str]] | Literal['signal', 'stop', 'timeout']"
]
"""Listens for at most so long: grouping, step and timeout in ms, and what ends it early."""

_STEP_MILLIS = 5
_WAIT_MILLIS = 50
_RETRY_SECONDS = 1.0


class PortableWatch(Watch):
    """One recursive watch in a thread of its own. If it is stopped it begins again, and says so."""

    def __init__(self, root: str, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._paths: set[str] = set()
        self._lost = True  # until the thread listens, nothing is heard
        self._heard_until: int | None = None
        self._told_until: int | None = None
        self._problem = ""
        self._thread = threading.Thread(target=self._listen, name="headrace-folder-watch", daemon=True)
        self._thread.start()

    def add(self, directory: str) -> None:
        """Nothing to do: directories that appear are watched without being asked for."""

    def take(self) -> News:
        """Return what the thread has collected."""
        with self._lock:
            news = News(self._paths, self._lost and self._heard_until is not None)
            self._paths = set()
            if news.lost:
                self._lost = False
            self._told_until = self._heard_until
        return news

    @property
    def heard_until(self) -> int | None:
        """When the thread began the last wait whose outcome has been taken."""
        return self._told_until

    @property
    def problem(self) -> str:
        """Why the thread cannot listen at this moment."""
        return self._problem

    def close(self) -> None:
        """Tell the thread to end, and wait for it a moment."""
        self._stop.set()
        self._thread.join(timeout=1.0)

    def _listen(self) -> None:
        from watchfiles._rust_notify import RustNotify

        while not self._stop.is_set():
            try:
                notify = RustNotify([self._root], False, False, 0, True, True)
                try:
                    self._collect(notify.watch)
                finally:
                    notify.close()
            except Exception as error:  # whatever its foreign code raises: the folder is polled meanwhile
                self._problem = f"watching failed: {error}".replace("\n", " ")
            with self._lock:
                self._lost = True
            self._stop.wait(_RETRY_SECONDS)

    def _collect(self, wait: WaitForChanges) -> None:
        with self._lock:
            self._heard_until = self._clock()
        self._problem = ""
        while True:
            began = self._clock()
            heard = wait(1, _STEP_MILLIS, _WAIT_MILLIS, self._stop)
            if heard in ("stop", "signal"):
                return
            with self._lock:
                self._heard_until = began
                if isinstance(heard, set):
                    self._paths.update(self._below(path) for _, path in heard)

    def _below(self, path: str) -> str:
        relative = os.path.relpath(path, self._root).replace(os.sep, "/")
        return "" if relative in (".", "..") else relative
