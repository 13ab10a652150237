"""What a request may cost at most: bytes, depth and time of its body, threads, and time to wait for a thread.

A body is read whole and checked before anything looks at it: JSON that two readers could take for two things, such as
an object with the same key twice, is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, NoReturn, TypeVar

import anyio
from starlette.requests import Request
from starlette.types import Receive, Scope
from typing_extensions import override

from events.errors import RejectedError
from serving.errors import TooLargeError
from serving.http.errors import BusyError, SlowError

T = TypeVar("T")

DEEPEST = 16
"""Objects and lists within each other; what is asked for needs four."""
BODY_SECONDS = 20.0
# Never fails once it has begun, so that it takes time in proportion to the body.
_STRING = re.compile(rb'"(?:[^"\\]+|\\.)*"?', re.DOTALL)
_EXACT = 2**53
_BRACKET = re.compile(rb"[\[\]{}]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_JSON = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_HINT = "send one JSON object in UTF-8, with the header `Content-Type: application/json`"


class Pool:
    """Threads for what would hold up everything else.

    :arg most: How many there are.
    :arg seconds: How long to wait for one.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._seconds = seconds
        self._free = asyncio.Semaphore(most)
        self._most = most
        self._threads: ThreadPoolExecutor | None = None

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Run a call in a thread, and return what it returns.

        :raises BusyError: When no thread becomes free in time.
        """
        return await asyncio.wrap_future(await self.begin(call, *args))

    async def begin(self, call: Callable[..., T], *args: Any) -> Future[T]:
        """Begin a call in a thread.

        :raises BusyError: When no thread becomes free in time.
        """
        try:
            with anyio.fail_after(self._seconds):
                await self._free.acquire()
        except TimeoutError:
            detail = "there is too much to do at the moment"
            raise BusyError(detail, "ask again in a moment") from None
        loop = asyncio.get_running_loop()
        self._threads = self._threads or ThreadPoolExecutor(self._most, thread_name_prefix="headrace")
        called = self._threads.submit(call, *args)
        # A call cannot be stopped: its thread is free when it has ended, not when whoever waited for it has left.
        called.add_done_callback(partial(self._release, loop))
        return called

    def close(self) -> None:
        """Let go of the threads; those that work come to the end of it. The next call begins new ones."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
        self._threads = None

    def _release(self, loop: asyncio.AbstractEventLoop, called: Future[Any]) -> None:
        del called
        # Without its loop nobody waits for a thread any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._free.release)


class ReadRequest(Request):
    """A request whose body has been read and checked.

    :arg raw: The body.
    :arg value: The JSON in it.
    """

    def __init__(self, scope: Scope, receive: Receive, raw: bytes, value: Any) -> None:
        super().__init__(scope, receive)
        self._raw = raw
        self._value = value

    @override
    async def body(self) -> bytes:
        return self._raw

    @override
    async def json(self) -> Any:
        return self._value


async def read(request: Request, most: int, seconds: float = BODY_SECONDS) -> ReadRequest:
    """Read the JSON body of a request.

    :arg most: Bytes that are taken.
    :arg seconds: Time for all of it.
    :raises TooLargeError: When it is larger, whatever it says of its length.
    :raises SlowError: When it takes longer.
    :raises RejectedError: When it is no JSON, or could be taken for two things.
    """
    if not _JSON.fullmatch(request.headers.get("content-type", "")):
        detail = "the body is not said to be JSON"
        raise RejectedError(detail, _HINT)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > len(str(most)) or int(length) > most):
        raise _too_large(most)
    raw = bytearray()
    try:
        with anyio.fail_after(seconds):
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > most:
                    raise _too_large(most)
    except TimeoutError:
        detail = f"the request did not arrive within {seconds:g} s"
        raise SlowError(detail, "send it at once") from None
    whole = bytes(raw)
    return ReadRequest(request.scope, request.receive, whole, strict_json(whole) if whole.strip() else None)


def strict_json(raw: bytes) -> Any:
    """Read JSON that every reader takes for the same thing.

    :raises RejectedError: When it is none: also with a key twice, numbers without end, text that is no Unicode,
        the character U+0000, or too deep.
    """
    if _depth(raw) > DEEPEST:
        detail = f"the JSON is more than {DEEPEST} levels deep"
        raise RejectedError(detail, _HINT)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        detail = "the body is not UTF-8"
        raise RejectedError(detail, _HINT) from None
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number, parse_float=_float)
    except RecursionError:
        detail = "the JSON is too deep"
        raise RejectedError(detail, _HINT) from None
    except ValueError as error:
        # Also of whole numbers with thousands of digits.
        at = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        detail = f"the body is not JSON{at}"
        raise RejectedError(detail, _HINT) from None
    if "\\u" in text or "\0" in text:
        _check_texts(value)
    return value


def check_text(text: str, what: str) -> None:
    """Check that a text can be stored and sent everywhere.

    :raises RejectedError: When it is no Unicode, or holds U+0000.
    """
    if "\0" in text or _SURROGATE.search(text):
        detail = f"{what} holds a character that is none"
        raise RejectedError(detail, "send text without U+0000 and without halves of surrogate pairs")


def _too_large(most: int) -> TooLargeError:
    detail = f"the request is larger than {most:,} bytes"
    return TooLargeError(detail, "send less; see serving.max_body_bytes")


def _depth(raw: bytes) -> int:
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            check_text(name, "a key")
            detail = f"the JSON has the key {name[:100]!r} twice in one object"
            raise RejectedError(detail, _HINT)
        found[name] = value
    return found


def _no_number(text: str) -> NoReturn:
    detail = f"{text} is not JSON"
    raise RejectedError(detail, _HINT)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _no_number(text[:40])
    # To JSON 1.0 and 1 are one number.
    return int(number) if number.is_integer() and abs(number) <= _EXACT else number


def _check_texts(value: Any) -> None:
    if isinstance(value, str):
        check_text(value, "the JSON")
    elif isinstance(value, list):
        for one in value:
            _check_texts(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            _check_texts(name)
            _check_texts(one)
