"""The clients, one that blocks and one that is awaited: what they ask is in `calls`, when they try again in `attempts`.

Connections are pooled and kept open until the client is closed. Threads may share a `Client`, tasks an `AsyncClient`.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import httpx

from serving.client import calls
from serving.client.attempts import Came, Pause, Policy, attempts, unreachable
from serving.client.calls import Call
from serving.client.connection import Connection
from serving.client.events import AnswerEvent, EventReader

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

TokenSource: TypeAlias = str | Callable[[], str]
AsyncTokenSource: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A person's token, or what returns one that is good: it is asked before each request."""

_SECONDS = 30.0
_RETRIES = 2
_LONGEST_PAUSE = 10.0


def _asks(build: Callable[P, Call[T]]) -> Callable[Concatenate[Client, P], T]:
    @wraps(build)
    def ask(self: Client, /, *args: P.args, **named: P.kwargs) -> T:
        return self._ask(build(*args, **named))

    return _signed(ask, build)


def _streams(build: Callable[P, Call[bytes]]) -> Callable[Concatenate[Client, P], Generator[AnswerEvent, None, None]]:
    @wraps(build)
    def ask(self: Client, /, *args: P.args, **named: P.kwargs) -> Generator[AnswerEvent, None, None]:
        return self._stream(build(*args, **named))

    return _signed(ask, build)


def _awaits(build: Callable[P, Call[T]]) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    @wraps(build)
    async def ask(self: AsyncClient, /, *args: P.args, **named: P.kwargs) -> T:
        return await self._ask(build(*args, **named))

    return _signed(ask, build)


def _streams_awaited(
    build: Callable[P, Call[bytes]],
) -> Callable[Concatenate[AsyncClient, P], AsyncGenerator[AnswerEvent, None]]:
    @wraps(build)
    def ask(self: AsyncClient, /, *args: P.args, **named: P.kwargs) -> AsyncGenerator[AnswerEvent, None]:
        return self._stream(build(*args, **named))

    return _signed(ask, build)


def _signed(ask: F, build: Callable[..., Any]) -> F:
    """Give a method the signature of what builds its call, for whoever looks it up."""
    found = inspect.signature(build)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    vars(ask)["__signature__"] = found.replace(parameters=[own, *found.parameters.values()])
    return ask


class Client:
    """Asks a server; each verb blocks until it has answered. Errors are `serving.client.errors.ClientError`.

    :arg url: Address of the server, such as `http://127.0.0.1:8080`.
    :arg key: The application's key.
    :arg person_token: Token of the person that is asked for, or what returns one; a verb's own goes first.
    :arg timeout: Seconds without a sign of the server after which a request has failed.
    :arg retries: How often a request that may be sent twice is sent again.
    :arg longest_pause: Seconds to wait before that at most, whatever the server asks for.
    """

    def __init__(
        self,
        url: str,
        key: str,
        person_token: TokenSource = "",
        *,
        timeout: float = _SECONDS,
        retries: int = _RETRIES,
        longest_pause: float = _LONGEST_PAUSE,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._connection = Connection(url, key, timeout, Policy(retries, longest_pause, jitter))
        self._person_token = person_token
        self._sleep = sleep
        self._http = httpx.Client(**self._connection.options())

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; twice does nothing."""
        self._http.close()

    context = _asks(calls.context)
    kept = _asks(calls.kept)
    kept_bytes = _asks(calls.kept_bytes)
    answer = _asks(calls.answer)
    stream = _streams(calls.stream)
    search = _asks(calls.search)
    profile = _asks(calls.profile)
    graph = _asks(calls.graph)
    tables = _asks(calls.tables)
    rows = _asks(calls.rows)
    kpis = _asks(calls.kpis)
    kpi = _asks(calls.kpi)
    alerts = _asks(calls.alerts)
    feedback = _asks(calls.feedback)
    freshness = _asks(calls.freshness)
    letters = _asks(calls.letters)
    token = _asks(calls.token)

    def _ask(self, call: Call[T]) -> T:
        return call.read(self._respond(call, stream=False).content)

    def _stream(self, call: Call[bytes]) -> Generator[AnswerEvent, None, None]:
        response, reader = self._respond(call, stream=True), EventReader()
        try:
            for piece in response.iter_bytes():
                yield from reader.feed(piece)
        except httpx.HTTPError as error:
            raise unreachable(error) from None
        finally:
            response.close()
        reader.end()

    def _respond(self, call: Call[Any], *, stream: bool) -> httpx.Response:
        steps = attempts(call, self._connection.policy)
        try:
            step = next(steps)
            while True:
                came: Came = None
                if isinstance(step, Pause):
                    self._sleep(step.seconds)
                else:
                    came = self._send(call, stream=stream)
                step = steps.send(came)
        except StopIteration as end:
            response: httpx.Response = end.value
            return response

    def _send(self, call: Call[Any], *, stream: bool) -> Came:
        request = self._http.build_request(**self._connection.arguments(call, self._token(call)))
        try:
            response = self._http.send(request, stream=stream)
            if response.status_code != httpx.codes.OK:
                response.read()
        except httpx.HTTPError as error:
            return error
        return response

    def _token(self, call: Call[Any]) -> str:
        if call.person_token:
            return call.person_token
        return self._person_token() if callable(self._person_token) else self._person_token


class AsyncClient:
    """Asks a server; each verb is awaited. Arguments and errors as of `Client`."""

    def __init__(
        self,
        url: str,
        key: str,
        person_token: AsyncTokenSource = "",
        *,
        timeout: float = _SECONDS,
        retries: int = _RETRIES,
        longest_pause: float = _LONGEST_PAUSE,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._connection = Connection(url, key, timeout, Policy(retries, longest_pause, jitter))
        self._person_token = person_token
        self._sleep = sleep
        self._http = httpx.AsyncClient(**self._connection.options())

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; twice does nothing."""
        await self._http.aclose()

    context = _awaits(calls.context)
    kept = _awaits(calls.kept)
    kept_bytes = _awaits(calls.kept_bytes)
    answer = _awaits(calls.answer)
    stream = _streams_awaited(calls.stream)
    search = _awaits(calls.search)
    profile = _awaits(calls.profile)
    graph = _awaits(calls.graph)
    tables = _awaits(calls.tables)
    rows = _awaits(calls.rows)
    kpis = _awaits(calls.kpis)
    kpi = _awaits(calls.kpi)
    alerts = _awaits(calls.alerts)
    feedback = _awaits(calls.feedback)
    freshness = _awaits(calls.freshness)
    letters = _awaits(calls.letters)
    token = _awaits(calls.token)

    async def _ask(self, call: Call[T]) -> T:
        return call.read((await self._respond(call, stream=False)).content)

    async def _stream(self, call: Call[bytes]) -> AsyncGenerator[AnswerEvent, None]:
        response, reader = await self._respond(call, stream=True), EventReader()
        try:
            async for piece in response.aiter_bytes():
                for event in reader.feed(piece):
                    yield event
        except httpx.HTTPError as error:
            raise unreachable(error) from None
        finally:
            await response.aclose()
        reader.end()

    async def _respond(self, call: Call[Any], *, stream: bool) -> httpx.Response:
        steps = attempts(call, self._connection.policy)
        try:
            step = next(steps)
            while True:
                came: Came = None
                if isinstance(step, Pause):
                    await self._sleep(step.seconds)
                else:
                    came = await self._send(call, stream=stream)
                step = steps.send(came)
        except StopIteration as end:
            response: httpx.Response = end.value
            return response

    async def _send(self, call: Call[Any], *, stream: bool) -> Came:
        request = self._http.build_request(**self._connection.arguments(call, await self._token(call)))
        try:
            response = await self._http.send(request, stream=stream)
            if response.status_code != httpx.codes.OK:
                await response.aread()
        except httpx.HTTPError as error:
            return error
        return response

    async def _token(self, call: Call[Any]) -> str:
        if call.person_token:
            return call.person_token
        found = self._person_token() if callable(self._person_token) else self._person_token
        return found if isinstance(found, str) else await found
