"""The protocol over HTTP: each request says by its headers who asks, and is answered by itself.

There are no sessions that anybody could take over, and no streams that stay open: a request is let in like any other of
the HTTP interface, by the same keys, tokens and limits, or it does not reach the protocol at all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from events.errors import HeadraceError
from serving.access.caller import Caller
from serving.errors import ForbiddenError, TooManyError, UnknownCallerError
from serving.http.asking import Desk
from serving.http.errors import BusyError, refusal, response
from serving.http.limits import read
from serving.http.logs import trail_of
from serving.mcp.server import Asked, build_server

_CALLER = "headrace.caller"


class McpApp:
    """The application, to be mounted at `/mcp` within the log and the check of hosts; `living` while it is served.

    :arg desk: What all routes of the server share.
    :arg hosts: The server's own names: pages of other ones may not ask.
    """

    def __init__(self, desk: Desk, hosts: Iterable[str]) -> None:
        self._desk = desk
        self._hosts = frozenset(host.lower().strip("[]") for host in hosts)
        self._server = build_server(desk.service, _caller, self._run, noted=desk.metrics.context)
        self._manager: StreamableHTTPSessionManager | None = None

    @asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """Answer requests while the block lasts."""
        manager = StreamableHTTPSessionManager(
            self._server,
            json_response=True,
            stateless=True,
            max_request_body_size=self._desk.settings.serving.max_body_bytes,
        )
        async with manager.run():
            self._manager = manager
            try:
                yield
            finally:
                self._manager = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        if request.method != "POST":
            said = {"kind": "method", "detail": "this address takes POST only", "hint": "it opens no streams"}
            await response(HTTPStatus.METHOD_NOT_ALLOWED, said, {"Allow": "POST"})(scope, receive, send)
            return
        try:
            manager = self._open()
            self._check_origin(request)
            scope[_CALLER] = self._admit(request)
            body = await (await read(request, self._desk.settings.serving.max_body_bytes)).body()
        except HeadraceError as error:
            await refusal(error)(scope, receive, send)
            return
        await manager.handle_request(scope, _again(body, receive), send)

    def _open(self) -> StreamableHTTPSessionManager:
        if self._manager is None:
            detail = "the server is not ready"
            raise BusyError(detail, "ask again in a moment")
        return self._manager

    def _check_origin(self, request: Request) -> None:
        """Refuse browsers' requests from pages of others, whatever name they have found for this server."""
        for origin in request.headers.getlist("origin"):
            try:
                host = urlsplit(origin).hostname
            except ValueError:
                host = None
            if host not in self._hosts:
                detail = "the request comes from another site's page"
                raise ForbiddenError(detail, "add its host to serving.hosts in headrace.toml")

    def _admit(self, request: Request) -> Caller:
        try:
            caller = self._desk.gate.admit(request)
        except TooManyError:
            self._desk.metrics.limited.inc()
            raise
        trail_of(request.scope).key = caller.key
        return caller

    async def _run(self, waits: bool, call: Callable[[], Any]) -> Any:
        return await (self._desk.waits if waits else self._desk.reads).run(call)


def _caller(asked: Asked) -> Caller:
    """Return who was let in with the request; the protocol hands it on with the message."""
    if not isinstance(asked.request, Request):
        detail = "it is not said who asks"
        raise UnknownCallerError(detail, "ask over HTTP, with a key")
    caller: Caller = asked.request.scope[_CALLER]
    return caller


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what hands out a body that has been read already."""
    read_once = False

    async def receiving() -> Message:
        nonlocal read_once
        if read_once:
            return await receive()
        read_once = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving
