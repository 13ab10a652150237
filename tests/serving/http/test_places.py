"""A place is free again when it has been left and nothing works in it any more, whichever comes last."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import pytest

from serving.access.limits import Gate
from serving.errors import TooManyError
from serving.http.errors import BusyError
from serving.http.limits import Pool
from serving.http.places import Place


async def _until_free(gate: Gate) -> None:
    while len(gate):
        await asyncio.sleep(0)


def test_a_place_in_which_nothing_works_is_free_when_it_is_left() -> None:
    async def use() -> int:
        with Place(gate.enter("k")) as place:
            return await place.run(Pool(1, 1), len, "four")

    gate = Gate(1)
    assert asyncio.run(asyncio.wait_for(use(), 20)) == 4
    assert len(gate) == 0


def test_a_place_that_is_left_while_a_thread_works_in_it_is_free_when_that_has_ended() -> None:
    async def use() -> None:
        gate, pool = Gate(1), Pool(1, 1)
        begun, go = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            assert go.wait(20)

        with Place(gate.enter("k")) as place:
            working = asyncio.create_task(place.run(pool, work))
            while not begun.is_set():
                await asyncio.sleep(0)
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
        with pytest.raises(TooManyError), Place(gate.enter("k")):
            pass
        go.set()
        await _until_free(gate)

    asyncio.run(asyncio.wait_for(use(), 20))


def test_a_call_that_finds_no_thread_or_fails_holds_no_place() -> None:
    async def use() -> None:
        gate, pool, go = Gate(1), Pool(1, 0.01), threading.Event()
        busy = asyncio.create_task(pool.run(go.wait, 20))
        await asyncio.sleep(0)
        with Place(gate.enter("k")) as place:
            with pytest.raises(BusyError):
                await place.run(pool, int)
            go.set()
            await busy
            with pytest.raises(ValueError, match="literal"):
                await place.run(pool, int, "no number")
        await _until_free(gate)

    asyncio.run(asyncio.wait_for(use(), 20))
