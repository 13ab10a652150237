"""When a request is sent again: only what may be sent twice, only as often and after such pauses as is agreed."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from serving.client import calls
from serving.client.attempts import Came, Pause, Policy, Send, attempts
from serving.client.calls import Call
from serving.client.errors import ClientError, RejectedError, TooManyError, UnavailableError

REQUEST = httpx.Request("GET", "http://x")
REFUSED = httpx.ConnectError("refused")
BROKEN = httpx.RemoteProtocolError("server disconnected")
SLOW = httpx.ReadTimeout("slow")
SAFE, UNSAFE = calls.context("x"), calls.feedback("c", comment="x")


def response(status: int, after: str = "") -> httpx.Response:
    return httpx.Response(status, headers={"Retry-After": after} if after else {}, json={}, request=REQUEST)


def run(call: Call[Any], *came: Came, retries: int = 2) -> tuple[list[float], httpx.Response]:
    """Return the pauses before each try, and what came of it."""
    steps, pauses, left = attempts(call, Policy(retries, 5.0, lambda: 0.5)), [], list(came)
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                pauses.append(step.seconds)
                step = steps.send(None)
            else:
                assert isinstance(step, Send)
                step = steps.send(left.pop(0))
    except StopIteration as end:
        assert not left
        return pauses, end.value


def test_a_good_response_is_taken_at_once() -> None:
    assert run(SAFE, response(200))[0] == []


def test_pauses_grow_and_are_spread_where_the_server_says_nothing() -> None:
    pauses, _ = run(SAFE, REFUSED, BROKEN, response(200))
    assert pauses == pytest.approx([0.15, 0.3])


@pytest.mark.parametrize("status", [429, 503])
def test_the_server_says_when_to_come_back(status: int) -> None:
    assert run(SAFE, response(status, "3"), response(200))[0] == [3.0]


def test_a_date_in_place_of_seconds_is_left_aside() -> None:
    pauses, _ = run(SAFE, response(503, "Wed, 21 Oct 2026 07:28:00 GMT"), response(200))
    assert pauses == pytest.approx([0.15])


def test_a_pause_that_is_too_long_is_left_to_the_caller() -> None:
    with pytest.raises(TooManyError) as raised:
        run(SAFE, response(429, "60"))
    assert raised.value.after == 60


def test_it_is_given_up_after_the_last_try() -> None:
    with pytest.raises(UnavailableError):
        run(SAFE, REFUSED, REFUSED, REFUSED)
    with pytest.raises(UnavailableError):
        run(SAFE, REFUSED, retries=0)


def test_what_must_not_be_sent_twice_is_sent_again_only_if_it_never_left() -> None:
    assert len(run(UNSAFE, REFUSED, response(200))[0]) == 1
    for came in (BROKEN, response(503, "1"), response(429, "1")):
        with pytest.raises(ClientError):
            run(UNSAFE, came)


def test_a_server_that_is_slow_is_not_asked_twice() -> None:
    with pytest.raises(UnavailableError) as raised:
        run(SAFE, SLOW)
    assert raised.value.kind == "timeout"


def test_what_is_wrong_stays_wrong() -> None:
    with pytest.raises(RejectedError):
        run(SAFE, response(422))
