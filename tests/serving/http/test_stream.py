"""Server-sent events: they say that the server is still there, and end what writes them however they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import nullcontext
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from events.context import Context
from serving.answer.parts import Token
from serving.http.logs import Trail
from serving.http.stream import EventStream, Told, event_bytes, while_there
from serving.service import AnswerEvent, Served

_CONTEXT = Context(
    id="c1", conversation="", person="", question="?", audiences=(), at=0, items=(), block="", tokens=0, budget=0,
    tokenizer="", left_out={}, cuts=(),
)  # fmt: skip
_FIRST = Served(_CONTEXT, b"{}")


class Line:
    """The two ends of one request.

    :arg gone_after: The client goes when it has been sent so many messages.
    """

    def __init__(self, gone_after: int = 1000) -> None:
        self.sent: list[MutableMapping[str, Any]] = []
        self._left = asyncio.Event()
        self._gone_after = gone_after

    async def receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)
        if len(self.sent) >= self._gone_after:
            self._left.set()

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()


class Writer:
    """Writes one token a step, and knows whether it was closed.

    :arg steps: How many; after them it stalls if it is told to.
    """

    def __init__(self, steps: int, *, stall: bool) -> None:
        self.closed = False
        self._steps = steps
        self._stall = stall

    async def events(self) -> AsyncIterator[AnswerEvent]:
        try:
            for step in range(self._steps):
                yield Token(str(step))
            if self._stall:
                await asyncio.Event().wait()
        finally:
            self.closed = True


async def _stream(writer: Writer, line: Line, stopping: asyncio.Event, heartbeat: float = 60) -> None:
    told = Told(writer.events(), nullcontext())
    stream = EventStream(_FIRST, told, stopping, lambda event: None, heartbeat)
    scope = {"type": "http", "headrace.trail": Trail("r1")}
    await asyncio.wait_for(stream(scope, line.receive, line.send), 20)


def test_all_events_are_sent_in_their_order() -> None:
    async def run() -> tuple[Writer, Line]:
        writer, line = Writer(2, stall=False), Line()
        await _stream(writer, line, asyncio.Event())
        return writer, line

    writer, line = asyncio.run(run())
    assert line.text == (
        'event: context\ndata: {}\n\nevent: token\ndata: {"text":"0"}\n\nevent: token\ndata: {"text":"1"}\n\n'
    )
    assert line.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert writer.closed


def test_while_nothing_is_written_the_server_says_that_it_is_still_there() -> None:
    async def run() -> tuple[Writer, Line]:
        writer, line = Writer(1, stall=True), Line(gone_after=6)
        with pytest.raises(ClientDisconnect):
            await _stream(writer, line, asyncio.Event(), heartbeat=0.01)
        return writer, line

    writer, line = asyncio.run(run())
    assert line.text.endswith(": still here\n\n" * 3)
    assert writer.closed


def test_when_the_client_goes_what_writes_is_closed() -> None:
    async def run() -> Writer:
        writer = Writer(1, stall=True)
        with pytest.raises(ClientDisconnect):
            await _stream(writer, Line(gone_after=3), asyncio.Event())
        return writer

    assert asyncio.run(run()).closed


def test_when_the_server_stops_the_stream_says_so_and_ends() -> None:
    async def run() -> tuple[Writer, Line]:
        writer, line, stopping = Writer(1, stall=True), Line(), asyncio.Event()
        stream = asyncio.create_task(_stream(writer, line, stopping))
        while "token" not in line.text:
            await asyncio.sleep(0)
        stopping.set()
        await stream
        return writer, line

    writer, line = asyncio.run(run())
    name, data = line.text.split("\n\n")[-2].splitlines()
    assert name == "event: error"
    assert '"kind":"busy"' in data
    assert not line.sent[-1]["more_body"]
    assert writer.closed


def test_work_ends_when_nobody_waits_for_it_any_more() -> None:
    async def run() -> bool:
        ended = False

        async def work() -> None:
            nonlocal ended
            try:
                await asyncio.Event().wait()
            finally:
                ended = True

        line = Line(gone_after=1)
        waiting = asyncio.create_task(while_there(line.receive, work()))
        await asyncio.sleep(0)
        await line.send({})
        with pytest.raises(ClientDisconnect):
            await waiting
        return ended

    assert asyncio.run(run())


def test_what_comes_of_work_is_returned_and_what_it_raises_is_raised() -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    async def run() -> str:
        with pytest.raises(ZeroDivisionError):
            await while_there(Line().receive, fails())
        return await while_there(Line().receive, asyncio.sleep(0, "done"))

    assert asyncio.run(run()) == "done"


def test_an_event_is_a_name_and_a_line() -> None:
    assert event_bytes("token", b"{}") == b"event: token\ndata: {}\n\n"
