"""What a route has at hand: who asks, the service, and threads to ask it in. Nobody gets as far who is not let in.

Requests are let in, and their bodies read, before anything else looks at them, in this order: a caller that is not
known learns nothing about what would be taken.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Concatenate, Literal, ParamSpec, TypeVar

import msgspec
from fastapi import Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.responses import Response
from typing_extensions import override

from serving.access.caller import Caller
from serving.access.limits import Gate as AnswerGate
from serving.errors import TooManyError
from serving.http.limits import Pool, read
from serving.http.logs import trail_of
from serving.http.metrics import Metrics
from serving.http.places import Place
from serving.http.security import PERSON, Gate
from serving.service import Service
from stores.settings import Settings

T = TypeVar("T")
P = ParamSpec("P")

Status = Literal["ok", "starting", "stopping"]
ANSWERS_OF_KEY = 16
"""Answers that one key may have in the making at once."""
_THREADS = min(32, max(4, 2 * (os.cpu_count() or 2)))
"""Reads at the same time: more of them than processors only get in each other's way."""
_WAITING, _WATCHING = 16, 4
_PATIENCE = 30.0
"""Seconds for a place: where all of them ask at once, many wait rather than be turned away."""
_CALLER = "headrace.caller"
_encoder = msgspec.json.Encoder()


class Desk:
    """Everything that the routes of one server share.

    :arg status: Whether the server can be asked.
    """

    def __init__(
        self, settings: Settings, service: Service, gate: Gate, metrics: Metrics, patience: float = _PATIENCE
    ) -> None:
        self.settings = settings
        self.service = service
        self.gate = gate
        self.metrics = metrics
        self.status: Status = "ok"
        self.stopping = asyncio.Event()
        self.reads = Pool(_THREADS, patience)
        # Reads that wait for a store to become fresh, and whoever looks on, must not keep the others waiting.
        self.waits = Pool(_WAITING, patience)
        self.watches = Pool(_WATCHING, patience)
        self._answers = AnswerGate(ANSWERS_OF_KEY)

    def place(self, key: str) -> Place:
        """Return one of the places that a key has for answers in the making.

        :returns: It is taken when it is entered, which raises TooManyError when the key has them all.
        """
        return Place(self._answering(key))

    @contextmanager
    def _answering(self, key: str) -> Iterator[None]:
        with self._answers.enter(key), self.metrics.streams.track_inprogress():
            yield

    def stop(self) -> None:
        """Say that the server stops: streams end, and health tells it."""
        self.status = "stopping"
        self.stopping.set()

    def close(self) -> None:
        """Let go of the threads."""
        for pool in (self.reads, self.waits, self.watches):
            pool.close()


class Asking:
    """A request that was let in.

    :arg caller: Who asks.
    """

    def __init__(self, desk: Desk, caller: Caller) -> None:
        self.desk = desk
        self.caller = caller

    @property
    def service(self) -> Service:
        """What may be asked."""
        return self.desk.service

    async def run(self, pool: Pool, verb: Callable[Concatenate[Caller, P], T], *args: P.args, **named: P.kwargs) -> T:
        """Ask the service one thing, in a thread of `pool`."""

        def call() -> T:
            return verb(self.caller, *args, **named)

        return await pool.run(call)


class OpenRoute(APIRoute):
    """A route for everybody."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, template = super().get_route_handler(), self.path_format

        async def handling(request: Request) -> Response:
            trail_of(request.scope).route = template
            return await handle(request)

        return handling


class GuardedRoute(APIRoute):
    """A route for callers with a key."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, template, has_body = super().get_route_handler(), self.path_format, self.body_field is not None

        async def handling(request: Request) -> Response:
            trail, desk = trail_of(request.scope), desk_of(request)
            trail.route = template
            try:
                caller = desk.gate.admit(request)
            except TooManyError:
                desk.metrics.limited.inc()
                raise
            trail.key = caller.key
            request.scope[_CALLER] = caller
            if has_body:
                request = await read(request, desk.settings.serving.max_body_bytes)
            return await handle(request)

        return handling


def desk_of(request: Request) -> Desk:
    """Return what the routes of the server share."""
    desk: Desk = request.app.state.desk
    return desk


def asking(
    request: Request,
    key: Annotated[
        Any,
        Depends(
            HTTPBearer(auto_error=False, scheme_name="key", description="the application's key: `headrace keys create`")
        ),
    ],
    person: Annotated[
        Any,
        Depends(
            APIKeyHeader(
                name=PERSON,
                auto_error=False,
                scheme_name="person",
                description="a person's token, of `POST /tokens`; where a person's own data are asked for",
            )
        ),
    ],
) -> Asking:
    """Return the request as its route has let it in; the schemes are there to be documented."""
    del key, person
    return Asking(desk_of(request), request.scope[_CALLER])


Asked = Annotated[Asking, Depends(asking)]


def reply(document: Any) -> Response:
    """Return a document as the response."""
    return Response(_encoder.encode(document), media_type="application/json")
