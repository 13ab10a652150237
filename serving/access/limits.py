"""How much may be asked: requests in a time, and at once. What is counted is bounded, however many ask.

The rate is that of a token bucket: a burst at once, then as many as flow in. In integers: a request is never lost or
won by rounding.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from events.clock import Clock
from serving.errors import TooManyError

_MINUTE = 60_000
_LEAST_BURST = 10
_MOST_KEYS = 10_000
_OTHERS = ""
_AGAIN_SECONDS = 1.0


def steady_clock() -> int:
    """Return milliseconds of a clock that only ever goes forward; since when, is not said."""
    return time.monotonic_ns() // 1_000_000


class RateLimit:
    """So many requests a minute by key; a tenth of them, at least ten, may come at once. Threads may share it.

    Keys that have not asked for a while are forgotten. Were there still too many, those that come anew share one
    bucket: nobody gets more by being many.

    :arg per_minute: Requests of one key.
    :arg clock: Milliseconds that only ever grow.
    :arg most: Keys that are counted one by one.
    :arg remedy: What to do against it.
    """

    def __init__(
        self,
        per_minute: int,
        clock: Clock = steady_clock,
        *,
        most: int = _MOST_KEYS,
        remedy: str = "see serving.requests_per_minute",
    ) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._most = most
        self._remedy = remedy
        self._burst = max(_LEAST_BURST, per_minute // 10)
        # By key, when its bucket is full again, in the unit in which one request is _MINUTE: milliseconds times
        # requests a minute. In the order of their last requests.
        self._full_at: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: str) -> None:
        """Count one request.

        :raises TooManyError: When it is one too many; then it does not count.
        """
        with self._lock:
            now = self._now()
            self._forget(now)
            counted, full_at = self._of(key, now)
            self._check(full_at + _MINUTE, now)
            self._full_at[counted] = full_at + _MINUTE
            self._full_at.move_to_end(counted)

    def check(self, key: str) -> None:
        """Check that one more request would not be too many, without counting one.

        :raises TooManyError: When it would.
        """
        with self._lock:
            now = self._now()
            _, full_at = self._of(key, now)
            self._check(full_at + _MINUTE, now)

    def _now(self) -> int:
        return self._clock() * self._per_minute

    def _of(self, key: str, now: int) -> tuple[str, int]:
        counted = key if key in self._full_at or len(self._full_at) < self._most else _OTHERS
        # Never more than one empty bucket, should the clock have gone back.
        return counted, min(max(self._full_at.get(counted, now), now), now + self._burst * _MINUTE)

    def _check(self, full_at: int, now: int) -> None:
        over = full_at - now - self._burst * _MINUTE
        if over > 0:
            after = -(-over // self._per_minute) / 1000
            detail = f"more than {self._per_minute:,} requests a minute"
            raise TooManyError(detail, f"ask again in {after:g} s; {self._remedy}", after)

    def _forget(self, now: int) -> None:
        while self._full_at:
            oldest = next(iter(self._full_at))
            if self._full_at[oldest] > now:
                return
            del self._full_at[oldest]


class Gate:
    """So many at once by key, for what takes long. Threads may share it.

    :arg most: Of one key.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside: dict[str, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._inside)

    @contextmanager
    def enter(self, key: str) -> Iterator[None]:
        """Be counted within the block.

        :raises TooManyError: When there are too many already.
        """
        with self._lock:
            inside = self._inside.get(key, 0)
            if inside >= self._most:
                detail = f"{inside} requests are under way already"
                raise TooManyError(detail, "ask again when one of them has come to its end", _AGAIN_SECONDS)
            self._inside[key] = inside + 1
        try:
            yield
        finally:
            with self._lock:
                left = self._inside.pop(key) - 1
                if left:
                    self._inside[key] = left
