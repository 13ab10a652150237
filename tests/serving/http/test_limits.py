"""What a request may cost: its body is JSON that can be taken one way only, and threads are there for so many."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from events.errors import RejectedError
from serving.errors import TooLargeError
from serving.http.errors import BusyError, SlowError
from serving.http.limits import DEEPEST, Pool, read, strict_json

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), inner, max_size=3
    ),
    max_leaves=8,
)  # fmt: skip


@given(_VALUES, st.booleans())
def test_json_is_read_as_it_was_written(value: Any, ascii_only: bool) -> None:
    assert strict_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(RejectedError):
        json.dumps(strict_json(raw), allow_nan=False).encode()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"a": 1, "a": 2}', "the key 'a' twice"),
        (b'{"x": {"a": 1, "\\u0061": 2}}', "the key 'a' twice"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": 1e999}', "1e999 is not JSON"),
        (b'{"a": "\\ud800"}', "a character that is none"),
        (b'{"\\udfff": 1}', "a character that is none"),
        (b'{"a": ["\\u0000"]}', "a character that is none"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b'\xff\xfe{\x00}\x00', "not UTF-8"),
        (b'\xef\xbb\xbf{}', "not JSON"),
        (b"{", "not JSON at character 1"),
        (b"", "not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "levels deep"),
        (b'{"a":' * 100_000, "levels deep"),
    ],
)  # fmt: skip
def test_what_could_be_taken_for_two_things_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(RejectedError, match=why):
        strict_json(raw)


def test_brackets_in_texts_are_not_deep() -> None:
    text = "[{" * 1000 + '\\"'
    assert strict_json(json.dumps([text]).encode()) == [text]


def test_a_number_is_the_same_however_it_is_written() -> None:
    found = strict_json(b"[1.0, 1e2, 0.5, 9007199254740994.0]")
    assert found == [1, 100, 0.5, 9007199254740994.0]
    assert list(map(type, found)) == [int, int, float, float]


@pytest.mark.parametrize(
    "raw",
    [b'"' + b'\\"' * 100_000, b"[" + b'"a",' * 60_000, b'{"a":1,' * 8 + b'"k' * 80_000, b"\\" * 250_000],
)
def test_hostile_bodies_are_refused_in_time_that_grows_with_their_length(raw: bytes) -> None:
    began = time.perf_counter()
    with pytest.raises(RejectedError):
        strict_json(raw)
    assert time.perf_counter() - began < 2


def test_an_object_with_very_many_keys_is_read_quickly() -> None:
    began = time.perf_counter()
    raw = json.dumps({f"k{number}": 1 for number in range(20_000)})[:-1] + ', "k19999": 2}'
    with pytest.raises(RejectedError, match="twice"):
        strict_json(raw.encode())
    assert time.perf_counter() - began < 2


def _request(chunks: list[bytes], headers: dict[str, str], *, stall: bool = False) -> Request:
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        if stall and not left:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or stall}

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


_JSON = {"Content-Type": "application/json"}


def test_a_body_is_read_in_pieces_up_to_its_bound() -> None:
    found = asyncio.run(read(_request([b'{"a":', b" 1}"], _JSON), most=8))
    assert asyncio.run(found.json()) == {"a": 1}
    with pytest.raises(TooLargeError, match="larger than 7 bytes"):
        asyncio.run(read(_request([b'{"a":', b" 1}"], _JSON), most=7))


@pytest.mark.parametrize("length", ["8", "99999999999999999999999999"])
def test_a_body_that_is_announced_as_too_large_is_not_read(length: str) -> None:
    with pytest.raises(TooLargeError):
        asyncio.run(read(_request([], {**_JSON, "Content-Length": length}), most=7))


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    with pytest.raises(SlowError):
        asyncio.run(read(_request([b"{"], _JSON, stall=True), most=100, seconds=0.01))


@pytest.mark.parametrize("media", ["", "text/plain", "application/xml", "application/x-www-form-urlencoded", "json"])
def test_a_body_that_is_not_said_to_be_json_is_refused(media: str) -> None:
    with pytest.raises(RejectedError, match="not said to be JSON"):
        asyncio.run(read(_request([b"{}"], {"Content-Type": media}), most=100))


@pytest.mark.parametrize("media", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.a+json"])
def test_a_body_that_is_said_to_be_json_is_read(media: str) -> None:
    assert asyncio.run(read(_request([b"{}"], {"Content-Type": media}), most=100))


def test_more_than_there_are_threads_for_waits_and_then_is_told_so() -> None:
    async def ask() -> list[Any]:
        pool, go = Pool(2, 0.05), threading.Event()
        busy = [asyncio.create_task(pool.run(go.wait, 20)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await pool.run(int)
        go.set()
        found: list[Any] = [await task for task in busy]
        return [*found, await pool.run(int, "7")]

    assert asyncio.run(ask()) == [True, True, 7]


def test_whoever_leaves_early_keeps_the_thread_for_as_long_as_it_works() -> None:
    async def ask() -> None:
        pool, go, begun = Pool(1, 0.05), threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            go.wait(20)

        left = asyncio.create_task(pool.run(work))
        while not begun.is_set():
            await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(BusyError):
            await pool.run(int)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await left
        assert await pool.run(int, "7") == 7

    asyncio.run(ask())
