"""The wish to stop, as signals bring it: counted, never acted upon in the middle of something else.

What this process was started to ignore stays ignored, as SIGHUP under `nohup`. SIGINT does not: shells ignore it for
whatever a script starts with `&`, unasked, and whoever sends it there means it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopping:
    """How often it has been asked to stop."""

    def __init__(self) -> None:
        self.asked = 0


@contextmanager
def stopping_by_signals() -> Iterator[Stopping]:
    """Count Ctrl-C and its like while the block lasts. Only the main thread can."""
    stopping = Stopping()

    def ask(number: int, frame: object) -> None:
        stopping.asked += 1

    heard = [number for number in SIGNALS if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in heard}
    try:
        yield stopping
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
