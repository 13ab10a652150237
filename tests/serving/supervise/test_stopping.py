"""Whoever asks to stop is counted, but for what this process was started to ignore."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from serving.supervise.stopping import SIGNALS, stopping_by_signals


@pytest.fixture
def ignoring() -> Iterator[None]:
    """Ignore all of them, as a process does from its start if it was started so."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_each_signal_counts_and_what_was_done_with_it_before_is_done_again() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with stopping_by_signals() as stopping:
        for number in SIGNALS:
            os.kill(os.getpid(), number)
    assert stopping.asked == 3
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.usefixtures("ignoring")
def test_what_was_ignored_stays_ignored_but_an_interruption() -> None:
    with stopping_by_signals() as stopping:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopping.asked == 0
        os.kill(os.getpid(), signal.SIGINT)
        assert stopping.asked == 1
    assert {signal.getsignal(number) for number in SIGNALS} == {signal.SIG_IGN}
