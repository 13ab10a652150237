"""A key's place for what takes long. It is free again when it has been left and no thread works in it any more.

Whoever asks may leave at any moment, but a call in a thread cannot be stopped: were the place free at once, one who
only ever begins and leaves could have any number of them at work.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, TypeVar

from serving.http.limits import Pool

T = TypeVar("T")


class Place(AbstractContextManager["Place"]):
    """A context manager; it is entered once.

    :arg taken: What is held for as long as the place is not free; it may be left in another thread.
    """

    def __init__(self, taken: AbstractContextManager[object]) -> None:
        self._taken = ExitStack()
        self._entering = taken
        self._held = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Place:
        self._taken.enter_context(self._entering)
        self._hold()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go()

    async def run(self, pool: Pool, call: Callable[..., T], *args: Any) -> T:
        """Run a call in a thread of `pool`, and return what it returns.

        :raises BusyError: When no thread becomes free in time.
        """
        called = await pool.begin(call, *args)
        self._hold()
        called.add_done_callback(self._ended)
        return await asyncio.wrap_future(called)

    def _ended(self, called: Future[Any]) -> None:
        del called
        self._let_go()

    def _hold(self) -> None:
        with self._lock:
            self._held += 1

    def _let_go(self) -> None:
        with self._lock:
            self._held -= 1
            free = not self._held
        if free:
            self._taken.close()
