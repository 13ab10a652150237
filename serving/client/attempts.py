"""One call from its first try to its end, without opening a connection: what to send, and how long to pause.

A call that may be sent twice is tried again when the server cannot be reached or asks to be asked later; another one
only when it cannot have reached the server. A pause longer than the bound is left to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

import httpx
import msgspec

from serving.client.calls import Call
from serving.client.errors import ClientError, UnavailableError, of_response

T = TypeVar("T")

_FIRST_PAUSE = 0.1
_AGAIN = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE})
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Policy(msgspec.Struct, frozen=True):
    """How often to try, and how long to wait.

    :arg retries: After the first try.
    :arg longest_pause: Seconds between two tries at most.
    :arg jitter: Returns numbers from 0 to 1, so that many clients do not come back at once.
    """

    retries: int
    longest_pause: float
    jitter: Callable[[], float]


class Send(msgspec.Struct, frozen=True):
    """Send the request; then say what came: the response, read, or what was in its way."""


class Pause(msgspec.Struct, frozen=True):
    """Wait so many seconds."""

    seconds: float


Step: TypeAlias = Send | Pause
Came: TypeAlias = httpx.Response | httpx.HTTPError | None


def attempts(call: Call[T], policy: Policy) -> Generator[Step, Came, httpx.Response]:
    """Return the steps of a call; in the end the response that is no error.

    :raises ClientError: When the server refuses it, or there is no response after the last try.
    """
    left = policy.retries
    pause = _FIRST_PAUSE
    while True:
        came = yield Send()
        if isinstance(came, httpx.Response) and came.status_code == httpx.codes.OK:
            return came
        error, after, again = _judged(call, came)
        seconds = pause * (1 + policy.jitter()) if after is None else after
        if not again or left == 0 or seconds > policy.longest_pause:
            raise error
        left -= 1
        pause *= 2
        yield Pause(seconds)


def _judged(call: Call[T], came: Came) -> tuple[ClientError, float | None, bool]:
    """Return the error that came, after how many seconds the server wants to be asked again, and whether to."""
    if isinstance(came, httpx.Response):
        after = _seconds(came.headers.get("Retry-After", ""))
        return of_response(came.status_code, came.content, after), after, call.safe and came.status_code in _AGAIN
    again = isinstance(came, httpx.TransportError) and (call.safe or isinstance(came, _NOT_SENT))
    return unreachable(came), None, again and not isinstance(came, (httpx.ReadTimeout, httpx.UnsupportedProtocol))


def unreachable(error: httpx.HTTPError | None) -> UnavailableError:
    """Return the error of a request that was not answered."""
    if isinstance(error, httpx.TimeoutException):
        detail = "the server did not answer in time"
        return UnavailableError(detail, "ask again, or give it more time: timeout=…", "timeout")
    detail = f"the server cannot be reached: {error}" if str(error) else "the server broke off"
    return UnavailableError(detail, "is `headrace serve` running, and is this its address?", "unreachable")


def _seconds(header: str) -> float | None:
    """Return the seconds of `Retry-After`; a date counts as none."""
    try:
        return max(0.0, float(header))
    except ValueError:
        return None
