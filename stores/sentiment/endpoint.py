"""Verdicts from an OpenAI-compatible chat endpoint: asked beside the flow, at most so many at the same time.

The key goes into one header of requests to that endpoint, and nowhere else: no redirect is followed, and neither
errors nor log lines hold it. The same text is asked once, as long as it is remembered.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from events.clock import Clock
from events.errors import RejectedError, SettingsError
from events.feedback import Verdict
from stores.sentiment.base import Judge
from stores.sentiment.chat import Chat
from stores.sentiment.limits import Budget, back_off, pause_of

REMEMBERED = 20_000
"""Texts whose verdict is not asked for again."""
LARGEST_ANSWER = 256 * 1024
_OK = 200
_PAUSING = frozenset({429, 503})
_PASSING = frozenset({408, 425, 429})
_SERVER_ERRORS = 500
_REDIRECTS = range(300, 400)
_LONGEST_SLEEP = 30.0
_HINT = "it stays without a category; see [feedback.sentiment] in the settings"


class _FailedError(Exception):
    """One attempt failed.

    :arg reason: One line.
    :arg again: Whether another one may succeed.
    """

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again


class Endpoint(Judge):
    """A client of one endpoint, on a thread of its own that begins with the first text.

    :arg url: Up to, not including, `/chat/completions`.
    :arg key: Sent as a bearer token; empty: none.
    :arg concurrency: Requests at the same time.
    :arg timeout: Seconds for one whole request, however it dribbles in.
    :arg attempts: How often one text is tried. A pause that the endpoint asks for holds back all texts.
    :arg most_requests_an_hour: What is beyond it waits; 0: no bound. A new process begins a new hour.
    :arg clock: The present, for pauses that are asked for by date.
    :arg chance: Returns a number from 0 to below 1.
    :arg now: Seconds that only ever grow.
    :arg pause: Waits some seconds.
    :raises SettingsError: When the URL or the key cannot be used.
    """

    def __init__(
        self,
        url: str,
        chat: Chat,
        *,
        key: str = "",
        concurrency: int = 8,
        timeout: float = 20.0,
        attempts: int = 5,
        most_requests_an_hour: int = 0,
        clock: Clock,
        chance: Callable[[], float],
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url = _completions_of(url)
        if not (key.isascii() and key.isprintable()):
            detail = "the key of feedback.sentiment has characters that no header can carry"
            raise SettingsError(detail, "correct HEADRACE_FEEDBACK__SENTIMENT__KEY")
        self._key = key
        self._chat = chat
        self._concurrency = concurrency
        self._timeout = timeout
        self._attempts = attempts
        self._budget = Budget(most_requests_an_hour)
        self._clock = clock
        self._chance = chance
        self._now = now
        self._pause = pause
        self._held_until = 0.0
        # What some models refuse to be told; left out from the first refusal on.
        self._options: dict[str, Any] = {"temperature": 0, "max_tokens": 300}
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Verdict] = OrderedDict()
        self._asked: dict[str, Future[Verdict]] = {}
        self._running: _Running | None = None
        self._closed = False

    @property
    def model(self) -> str:
        """Name of the endpoint's model, with a digest of what it is asked."""
        return self._chat.model

    def submit(self, text: str) -> Future[Verdict]:
        """Ask for a verdict, unless it is known or asked for already."""
        with self._lock:
            if text in self._known:
                self._known.move_to_end(text)
                known: Future[Verdict] = Future()
                known.set_result(self._known[text])
                return known
            if text in self._asked:
                return self._asked[text]
            if self._closed:
                detail = "the endpoint has been closed"
                raise RejectedError(detail)
            if self._running is None:
                self._running = _Running(self._client, self._concurrency)
            future = asyncio.run_coroutine_threadsafe(self._judge(text, self._running), self._running.loop)
            self._asked[text] = future
        future.add_done_callback(lambda done: self._note(text, done))
        return future

    def close(self) -> None:
        """Cancel what is open, and end the thread."""
        with self._lock:
            self._closed = True
            running, self._running = self._running, None
        if running is not None:
            running.stop()

    def _note(self, text: str, done: Future[Verdict]) -> None:
        with self._lock:
            self._asked.pop(text, None)
            if not done.cancelled() and done.exception() is None:
                self._known[text] = done.result()
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)

    def _client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Limits(max_connections=self._concurrency, max_keepalive_connections=self._concurrency)
        return httpx.AsyncClient(headers=headers, timeout=self._timeout, limits=limits, follow_redirects=False)

    async def _judge(self, text: str, running: _Running) -> Verdict:
        attempt = 1
        while True:
            try:
                async with running.places:
                    return await self._attempt(text, running.client)
            except _FailedError as error:
                if not error.again or attempt >= self._attempts:
                    times = "once" if attempt == 1 else f"{attempt} times"
                    detail = f"the endpoint was asked {times} what a text says; {error.reason}"
                    raise RejectedError(detail, _HINT) from None
            await self._pause(back_off(attempt, self._chance))
            attempt += 1

    async def _attempt(self, text: str, client: httpx.AsyncClient) -> Verdict:
        body = self._chat.request(text)
        while True:
            await self._admitted()
            options = dict(self._options)
            try:
                status, headers, answer = await asyncio.wait_for(
                    self._post(client, {**body, **options}), timeout=self._timeout
                )
            except asyncio.TimeoutError:
                reason = f"it did not answer within {self._timeout:g} s"
                raise _FailedError(reason) from None
            except httpx.HTTPError as error:
                # Its words may hold the address, and with it what is secret there.
                reason = f"it could not be reached: {type(error).__name__}"
                raise _FailedError(reason) from None
            refused = [name for name in options if status == httpx.codes.BAD_REQUEST and name.encode() in answer]
            if not refused:
                break
            for name in refused:
                self._options.pop(name, None)
        if status != _OK:
            raise self._refusal(status, headers)
        try:
            return self._chat.verdict(answer)
        except RejectedError as error:
            raise _FailedError(error.detail) from None

    async def _admitted(self) -> None:
        while (wait := max(self._held_until - self._now(), self._budget.wait(self._now()))) > 0:
            await self._pause(min(wait, _LONGEST_SLEEP))
        self._budget.take(self._now())

    async def _post(self, client: httpx.AsyncClient, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        async with client.stream("POST", self._url, json=body) as response:
            answer = bytearray()
            async for piece in response.aiter_bytes():
                answer += piece
                if len(answer) > LARGEST_ANSWER:
                    reason = f"its answer is larger than {LARGEST_ANSWER} bytes"
                    raise _FailedError(reason)
            return response.status_code, response.headers, bytes(answer)

    def _refusal(self, status: int, headers: httpx.Headers) -> _FailedError:
        if status in _PAUSING:
            asked = pause_of(headers.get("Retry-After"), self._clock() / 1000)
            self._held_until = max(self._held_until, self._now() + asked)
        if status in _REDIRECTS:
            return _FailedError(f"it answered {status}: redirects are not followed", again=False)
        again = status in _PASSING or status >= _SERVER_ERRORS
        return _FailedError(f"it answered {status}", again=again)


class _Running:
    """The thread with its loop, and what lives there."""

    def __init__(self, client: Callable[[], httpx.AsyncClient], concurrency: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = client()
        self.places = asyncio.Semaphore(concurrency)
        self._thread = threading.Thread(target=self.loop.run_forever, name="sentiment-endpoint", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _end(self) -> None:
        open_ = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in open_:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*open_, return_exceptions=True)
        await self.client.aclose()


def _completions_of(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        detail = "feedback.sentiment.url is not the address of an endpoint"
        raise SettingsError(detail, "use such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        detail = "feedback.sentiment.url holds a name or a password"
        raise SettingsError(detail, "put the key into HEADRACE_FEEDBACK__SENTIMENT__KEY instead")
    path = parts.path.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
