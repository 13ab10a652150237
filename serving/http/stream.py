"""An answer as server-sent events, while it is written.

However it ends (whole, by an error, because the client has gone or the server stops), whoever writes it is closed, and
with it the request to the model.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TypeVar

import anyio
import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from events.errors import HeadraceError
from serving.answer.parts import Token
from serving.http.errors import BusyError, bug_said, told
from serving.http.logs import Trail, log_bug, trail_of
from serving.service import AnswerEvent, Served, given_json

T = TypeVar("T")

HEARTBEAT_SECONDS = 10.0
_QUEUED = 256
_SEND_SECONDS = 30.0
_encode = msgspec.json.Encoder().encode
_HEARTBEAT = b": still here\n\n"


class Told:
    """Pulls the events of an answer in a task of its own, from beginning to end; `close` ends it at any moment.

    :arg place: Entered at once, and left when it is closed.
    """

    def __init__(self, events: AsyncIterator[AnswerEvent], place: AbstractContextManager[object]) -> None:
        self._places = contextlib.ExitStack()
        self._places.enter_context(place)
        # As much is written ahead as a slow reader may lag behind.
        self._queue: asyncio.Queue[AnswerEvent | Exception | None] = asyncio.Queue(_QUEUED)
        self._task = asyncio.create_task(self._pull(events))

    async def next(self) -> AnswerEvent | None:
        """Return the next event; None after the last one. Raises what ended the events."""
        found = await self._queue.get()
        if isinstance(found, Exception):
            raise found
        return found

    async def close(self) -> None:
        """End it; twice does nothing."""
        self._task.cancel()
        try:
            # Not awaited by itself: whether the task or whoever closes it is cancelled must not be mixed up.
            await asyncio.wait([self._task])
        finally:
            self._places.close()

    async def _pull(self, events: AsyncIterator[AnswerEvent]) -> None:
        end: Exception | None = None
        try:
            async for event in events:
                await self._queue.put(event)
        except Exception as error:  # raised where the events are read
            end = error
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()
        await self._queue.put(end)


class EventStream(Response):
    """Sends the events of an answer.

    :arg first: The first of them.
    :arg rest: The others; closed in the end.
    :arg stopping: Set when the server stops.
    :arg noted: Called with each event that was sent.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        first: AnswerEvent,
        rest: Told,
        stopping: asyncio.Event,
        noted: Callable[[AnswerEvent], None],
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self.headers["X-Accel-Buffering"] = "no"
        self._first = first
        self._rest = rest
        self._stopping = stopping
        self._noted = noted
        self._heartbeat = heartbeat

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = self._send(send, trail_of(scope))
        tasks = [asyncio.create_task(sending), asyncio.create_task(gone(receive))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not tasks[0].done():
                raise ClientDisconnect
            await tasks[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._rest.close()

    async def _send(self, send: Send, trail: Trail) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with contextlib.aclosing(self._chunks(trail)) as chunks:
            async for chunk in chunks:
                try:
                    with anyio.fail_after(_SEND_SECONDS):
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                except TimeoutError:
                    raise ClientDisconnect from None
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _chunks(self, trail: Trail) -> AsyncGenerator[bytes, None]:
        yield encoded(self._first)
        self._noted(self._first)
        stopping = asyncio.create_task(self._stopping.wait())
        following = asyncio.create_task(self._rest.next())
        try:
            while True:
                await asyncio.wait({stopping, following}, timeout=self._heartbeat, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    event = following.result()
                    if event is None:
                        return
                    yield encoded(event)
                    self._noted(event)
                    following = asyncio.create_task(self._rest.next())
                elif stopping.done():
                    detail = "the server stops"
                    yield event_bytes("error", _encode(told(BusyError(detail, "ask again in a moment"))))
                    return
                else:
                    yield _HEARTBEAT
        except HeadraceError as error:
            yield event_bytes("error", _encode(told(error)))
        except Exception as error:  # the status is sent: all that is left is to say so in the stream
            log_bug(error, trail)
            yield event_bytes("error", _encode(bug_said(trail.id)))
        finally:
            for task in (stopping, following):
                task.cancel()
            await asyncio.gather(stopping, following, return_exceptions=True)


async def gone(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_there(receive: Receive, work: Awaitable[T]) -> T:
    """Return what comes of `work`; end it when the client goes.

    :raises ClientDisconnect: When the client has gone.
    """
    done, left = asyncio.ensure_future(work), asyncio.create_task(gone(receive))
    try:
        await asyncio.wait({done, left}, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise ClientDisconnect
        return await done
    finally:
        for task in (done, left):
            task.cancel()
        await asyncio.gather(done, left, return_exceptions=True)


def event_bytes(name: str, data: bytes) -> bytes:
    """Write one event. JSON has no line ends of its own."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def encoded(event: AnswerEvent) -> bytes:
    """Write an event of an answer."""
    if isinstance(event, Served):
        return event_bytes("context", event.body)
    if isinstance(event, Token):
        return event_bytes("token", _encode({"text": event.text}))
    return event_bytes("answer", _encode(given_json(event)))
