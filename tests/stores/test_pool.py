"""Connections that are lent: never too many, and none that is of no use."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from events.errors import StoreError
from stores.pool import Pool
from stores.rows.turns import Turns

DEADLINE_SECONDS = 20.0


class Line:
    """A connection that knows what has been done with it."""

    def __init__(self) -> None:
        self.fit = True
        self.closed = False


class Lines:
    """A pool of lines, and all that were ever made."""

    def __init__(self, *, most: int = 3, spare: int = 2, seconds: float = DEADLINE_SECONDS) -> None:
        self.made: list[Line] = []
        self.pool = Pool("somewhere", self._make, _rest, _close, most=most, spare=spare, seconds=seconds)

    def _make(self) -> Line:
        self.made.append(Line())
        return self.made[-1]

    def closed(self) -> list[bool]:
        return [line.closed for line in self.made]


def _rest(line: Line) -> bool:
    assert not line.closed
    return line.fit


def _close(line: Line) -> None:
    assert not line.closed
    line.closed = True


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"


def test_an_idle_connection_is_used_again_the_last_one_first() -> None:
    lines = Lines()
    with lines.pool.lent() as first, lines.pool.lent() as second:
        assert first is not second
    with lines.pool.lent() as again:
        assert again is first
    assert lines.closed() == [False, False]


def test_only_so_many_idle_ones_are_kept() -> None:
    lines = Lines()
    with ExitStack() as lent:
        for _ in range(3):
            lent.enter_context(lines.pool.lent())
    assert sorted(lines.closed()) == [False, False, True]


def test_one_that_is_of_no_use_any_more_is_closed() -> None:
    lines = Lines()
    with lines.pool.lent() as line:
        line.fit = False
    assert lines.closed() == [True]
    with lines.pool.lent() as other:
        assert other is not line


def test_what_leads_elsewhere_is_closed() -> None:
    lines = Lines()
    with lines.pool.lent("here"), lines.pool.lent("here"):
        pass
    with lines.pool.lent("here"):
        with lines.pool.lent("there"):
            assert lines.closed() == [True, False, False] or lines.closed() == [False, True, False]
        assert sum(lines.closed()) == 1
    assert sum(lines.closed()) == 2


def test_a_fresh_one_is_made_and_all_idle_ones_are_closed() -> None:
    lines = Lines()
    with lines.pool.lent(), lines.pool.lent():
        pass
    with lines.pool.lent(fresh=True) as fresh:
        assert fresh is lines.made[2]
        assert lines.closed() == [True, True, False]


def test_clearing_closes_idle_ones_at_once_and_others_when_they_come_back() -> None:
    lines = Lines()
    with lines.pool.lent():
        with lines.pool.lent():
            pass
        lines.pool.clear()
        assert lines.closed() == [False, True]
        # Nor does it help that others have begun to use it again.
        with lines.pool.lent():
            assert len(lines.made) == 3
    assert lines.closed() == [True, True, False]


def test_whoever_comes_when_all_are_lent_waits_for_one() -> None:
    lines = Lines(most=1)
    got: list[Line] = []

    def borrow() -> None:
        with lines.pool.lent() as line:
            got.append(line)

    waiting = threading.Thread(target=borrow)
    with lines.pool.lent() as line:
        waiting.start()
        assert got == []
    waiting.join(DEADLINE_SECONDS)
    assert got == [line]


def test_nobody_waits_for_ever() -> None:
    lines = Lines(most=2, seconds=0.01)
    refused = pytest.raises(StoreError, match=r"all 2 connections to somewhere have been in use for 0\.01 s")
    with lines.pool.lent(), lines.pool.lent(), refused:
        lines.pool.lent().__enter__()
    with lines.pool.lent():
        assert len(lines.made) == 2


def test_one_that_cannot_be_made_takes_no_place() -> None:
    def fail() -> Line:
        raise ZeroDivisionError

    pool = Pool("nowhere", fail, _rest, _close, most=1, spare=1, seconds=0.01)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            pool.lent().__enter__()


def test_a_forked_process_leaves_alone_what_it_has_inherited() -> None:
    lines = Lines(most=1)
    with lines.pool.lent():
        pass

    def borrow() -> None:
        with lines.pool.lent() as line:
            sys.exit(7 if line is lines.made[1] and lines.closed() == [False, False] else 1)

    with lines.pool.lent():
        process = multiprocessing.get_context("fork").Process(target=borrow)
        process.start()
        process.join(DEADLINE_SECONDS)
    assert process.exitcode == 7
    assert lines.closed() == [False]


# Turns


def test_short_calls_take_turns() -> None:
    turns = Turns(patience=DEADLINE_SECONDS)
    inside: list[int] = []
    most: list[int] = []

    def call() -> None:
        for _ in range(200):
            with turns.turn():
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 800
    assert max(most) == 1


def test_a_long_call_is_waited_for_once_and_then_not_at_all() -> None:
    turns = Turns(patience=0.2)
    with turns.turn():
        begun = time.monotonic()
        with turns.turn():
            waited = time.monotonic() - begun
        for _ in range(1_000):
            with turns.turn():
                pass
        in_all = time.monotonic() - begun
    assert waited >= 0.2
    assert in_all < 1_000 * 0.2
    with turns.turn():
        pass
