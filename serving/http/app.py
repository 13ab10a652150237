"""The HTTP interface as one application: what is asked at which address, and everything that a request passes before.

From outside to inside: the log, headers for browsers, the server's own names, plain heads, errors, then the routes.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from events.clock import Clock
from serving.access.keys import Keys
from serving.access.limits import RateLimit, steady_clock
from serving.access.tokens import Tokens
from serving.http import routes_context, routes_data, routes_insight
from serving.http.asking import Desk
from serving.http.errors import handle
from serving.http.logs import RequestLog, trail_of
from serving.http.metrics import Metrics
from serving.http.routes_page import page_routes
from serving.http.security import FAILURES_PER_MINUTE, Gate, OwnHosts, PlainHeads, SafeHeaders
from serving.http.shapes import bounded
from serving.service import Service
from stores.settings import Settings

if TYPE_CHECKING:
    from serving.mcp.app import McpApp

MCP = "/mcp"
OWN_HOSTS = ("localhost", "127.0.0.1", "::1")
_ANY = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  # told apart, not listened to
_ABOUT = """Fresh context for generative-AI applications: what is known of a question and of who asks it, each piece
with where it is from and how old it is. Every request but `GET /health` needs an application's key; a person's own
data need that person's token beside it. Times are ISO 8601 in UTC, ages and lags milliseconds."""

Beside = Callable[[Desk], AbstractAsyncContextManager[None]]


def build_app(
    settings: Settings,
    service: Service,
    keys: Keys,
    tokens: Tokens,
    clock: Clock,
    *,
    page: bool = True,
    pace: Clock = steady_clock,
    beside: Beside | None = None,
) -> FastAPI:
    """Return the application.

    :arg page: Whether the web page is served.
    :arg pace: Milliseconds that only ever grow, for rate limits.
    :arg beside: What goes on for as long as the application runs.
    """
    limit = RateLimit(settings.serving.requests_per_minute, pace)
    failures = RateLimit(FAILURES_PER_MINUTE, pace, remedy="ask with a key that is good")
    metrics = Metrics(service.overview)
    desk = Desk(settings, service, Gate(keys, tokens, limit, failures), metrics)
    mcp = _mcp(desk, own_hosts(settings))

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(mcp.living())
            if beside is not None:
                await stack.enter_async_context(beside(desk))
            stack.callback(desk.close)
            yield

    app = FastAPI(
        title="Headrace",
        description=_ABOUT,
        version=_version(),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=living,
        generate_unique_id_function=_operation,
        separate_input_output_schemas=False,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.desk = desk
    handle(app)
    for router in (routes_context.router, routes_data.router, routes_insight.router, routes_insight.health_router):
        app.include_router(router)
    if page:
        app.include_router(page_routes())
    app.router.routes.append(Route(MCP, _Told(mcp, MCP), include_in_schema=False))
    _bound_openapi(app, settings)
    # The last one added is the outermost.
    app.add_middleware(PlainHeads)
    app.add_middleware(OwnHosts, hosts=own_hosts(settings))
    app.add_middleware(SafeHeaders)
    app.add_middleware(RequestLog, clock=clock, new_id=_request_id, counting=metrics)
    return app


def own_hosts(settings: Settings) -> tuple[str, ...]:
    """Return the names by which the server may be called."""
    host = () if settings.serving.host in _ANY else (settings.serving.host,)
    return (*settings.serving.hosts, *host, *OWN_HOSTS)


class _Told:
    """An application within this one, whose requests are told by where it is mounted."""

    def __init__(self, app: ASGIApp, route: str) -> None:
        self._app = app
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            trail_of(scope).route = self._route
        await self._app(scope, receive, send)


def _mcp(desk: Desk, hosts: tuple[str, ...]) -> McpApp:
    """Return the application that speaks MCP at `/mcp`; it lets requests in by itself."""
    from serving.mcp.app import McpApp

    return McpApp(desk, hosts)


def _bound_openapi(app: FastAPI, settings: Settings) -> None:
    made = app.openapi
    known: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not known:
            known.update(bounded(made(), settings.serving.max_question_chars))
        return known

    # FastAPI's own way to amend the document is to replace this method.
    setattr(app, "openapi", openapi)  # noqa: B010


def _operation(route: APIRoute) -> str:
    return route.name


def _request_id() -> str:
    return secrets.token_hex(8)


def _version() -> str:
    try:
        return version("headrace")
    except PackageNotFoundError:
        return "0"
