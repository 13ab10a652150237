"""What fails becomes a dead letter in the place of its results; the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from events.dead_letters import DeadLetter
from events.errors import RejectedError
from events.log import LogRecord
from operators.attempt import attempt, try_each


def halves(number: int) -> Iterable[int]:
    if number % 2:
        detail = f"{number} is odd"
        raise RejectedError(detail, "send even numbers")
    return (number // 2, number // 2)


def record_of(number: int) -> LogRecord:
    return LogRecord("numbers", 0, number, 0, value=str(number).encode())


def test_rejected_events_become_dead_letters_and_the_flow_goes_on() -> None:
    flow = Dataflow("halving")
    done: list[int] = []
    dead: list[DeadLetter] = []
    tried = attempt("halve", op.input("in", flow, TestingSource([4, 3, 8], 3)), halves, record_of)
    op.output("done", tried.done, TestingSink(done))
    op.output("dead", tried.dead, TestingSink(dead))
    run_main(flow)
    assert done == [2, 2, 4, 4]
    assert dead == [DeadLetter("halving", "halve", "3 is odd (send even numbers)", record_of(3))]


def test_a_failure_that_nobody_foresaw_is_kept_too(caplog: pytest.LogCaptureFixture) -> None:
    def divide(number: int) -> Iterable[int]:
        return (10 // number,)

    results = try_each("flow", "divide", [5, 0, 2], divide, record_of)
    assert results[0] == 2
    assert results[2] == 5
    assert isinstance(results[1], DeadLetter)
    assert results[1].reason.startswith("unexpected ZeroDivisionError: ")
    assert "flow.divide" in caplog.text


def test_a_reason_is_one_line_of_bounded_length() -> None:
    def shout(number: int) -> Iterable[int]:
        raise RejectedError("line\n" * 1000)

    (letter,) = try_each("flow", "shout", [1], shout, record_of)
    assert isinstance(letter, DeadLetter)
    assert "\n" not in letter.reason
    assert len(letter.reason) == 500


def test_results_before_a_failure_inside_one_event_do_not_hide_it() -> None:
    def one_then_fail(number: int) -> Iterable[int]:
        yield number
        msg = "half way"
        raise RejectedError(msg)

    results = try_each("flow", "step", [1], one_then_fail, record_of)
    assert [type(result) for result in results] == [DeadLetter]


def test_what_goes_on_instead_of_a_failed_event_comes_beside_its_dead_letter() -> None:
    results = try_each("flow", "halve", [4, 3], halves, record_of, instead=lambda number: (-number,))
    assert [result if isinstance(result, int) else type(result) for result in results] == [2, 2, DeadLetter, -3]
