"""Draws from a tap until something is so, for tests of taps of real servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from events.log import LogRecord
from stores.capture.base import Tap

SECONDS = 30


class Draining:
    """What a tap has given so far, and where it was then."""

    def __init__(self, tap: Tap) -> None:
        self.tap = tap
        self.given: list[LogRecord] = []
        self.place: Any = None
        self.caught_up = False

    @property
    def values(self) -> list[bytes | None]:
        return [record.value for record in self.given]

    def until(self, done: Callable[[], bool], limit: int = 1000) -> None:
        deadline = time.monotonic() + SECONDS
        while not done():
            drawn = self.tap.draw(limit)
            if drawn is not None:
                self.given += drawn.records
                self.place, self.caught_up = drawn.place, drawn.caught_up
            assert time.monotonic() < deadline, f"nothing more came than {len(self.given)} records"
            time.sleep(0.002)
