"""Verdicts from an OpenAI-compatible chat endpoint: asked beside the flow, at most so many at the same time.

The key goes into one header of requests to that endpoint, and nowhere else: no redirect is followed, and neither
errors nor log lines hold it. The same text is asked once, as long as it is remembered. An endpoint that is down costs
time and no verdict: texts wait until it answers again.
"""

from __future__ import annotations

import asyncio
import logging
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
from stores.sentiment.limits import Breaker, Budget, back_off, pause_of

REMEMBERED = 20_000
"""Texts whose verdict is not asked for again."""
LARGEST_ANSWER = 256 * 1024
_OK = 200
_BUSY = frozenset({408, 425, 429})
_SERVER_ERRORS = 500
_REDIRECTS = range(300, 400)
_LONGEST_SLEEP = 30.0
_HINT = "it stays without a category; see [feedback.sentiment] in the settings"
_OURS = "ok"
"""A text that says nothing: asked to find out whether the endpoint answers anybody."""
_MANY_TROUBLES = 4

_logger = logging.getLogger(__name__)


class _FailedError(Exception):
    """One attempt failed.

    :arg reason: One line.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _RefusedError(_FailedError):
    """It was answered in a way that will not change."""


class _TroubleError(_FailedError):
    """It was not answered: the endpoint is down, or stumbles over the text.

    :arg asked: Seconds that it wants to be left alone.
    :arg is_busy: Whether it said that it had no time: no text is to blame for that.
    """

    others_answered = False
    """Whether others were answered while this one was not."""

    def __init__(self, reason: str, asked: float = 0.0, *, is_busy: bool = False) -> None:
        super().__init__(reason)
        self.asked = asked
        self.is_busy = is_busy


class Endpoint(Judge):
    """A client of one endpoint, on a thread of its own that begins with the first text.

    :arg url: Up to, not including, `/chat/completions`.
    :arg key: Sent as a bearer token; empty: none.
    :arg concurrency: Requests at the same time.
    :arg timeout: Seconds for one whole request, however it dribbles in.
    :arg attempts: How often one text is tried that gets no sensible answer, or none while others are answered. While
        nobody is answered, all texts wait: a pause, up to a minute or what the endpoint asks for, then one tries.
    :arg most_requests_an_hour: What is beyond it waits; 0: no bound. A new process begins a new hour.
    :arg patient: Whether a text waits until an endpoint that is down answers again; if not, each try counts.
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
        patient: bool = True,
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
        self._patient = patient
        self._breaker = Breaker(chance)
        self._clock = clock
        self._chance = chance
        self._now = now
        self._pause = pause
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
        tried, in_trouble = 0, 0
        while True:
            ours_answered = False
            try:
                async with running.places:
                    if in_trouble >= self._attempts:
                        await self._ask_ours(running)
                        ours_answered = True
                    return await self._attempt(text, running)
            except _TroubleError as error:
                failed: _FailedError = error
                pause = 0.0  # there is one for all
                in_trouble += 1
                # Whether the endpoint is down or stumbles over this text is told by how others fare.
                blamed = (ours_answered or error.others_answered) and not error.is_busy
                tried += blamed or not self._patient
            except _FailedError as error:
                failed = error
                tried += 1
                pause = back_off(tried, self._chance)
            if tried >= self._attempts or isinstance(failed, _RefusedError):
                times = "once" if tried == 1 else f"{tried} times"
                detail = f"the endpoint was asked {times} what a text says; {failed.reason}"
                raise RejectedError(detail, _HINT)
            if pause:
                await self._pause(pause)

    async def _ask_ours(self, running: _Running) -> None:
        """Find out whether anybody is answered, before a text is asked that never is: there may be no other one."""
        try:
            await self._attempt(_OURS, running)
        except _TroubleError:
            raise
        except _FailedError:
            return  # whatever it said, it answered

    async def _attempt(self, text: str, running: _Running) -> Verdict:
        body = self._chat.request(text)
        while True:
            options = dict(self._options)
            status, answer = await self._send({**body, **options}, running)
            refused = [name for name in options if status == httpx.codes.BAD_REQUEST and name.encode() in answer]
            if not refused:
                break
            for name in refused:
                self._options.pop(name, None)
        if status != _OK:
            reason = f"it answered {status}" + (": redirects are not followed" if status in _REDIRECTS else "")
            raise _RefusedError(reason)
        try:
            return self._chat.verdict(answer)
        except RejectedError as error:
            raise _FailedError(error.detail) from None

    async def _send(self, body: dict[str, Any], running: _Running) -> tuple[int, bytes]:
        async with running.gate:
            while (wait := max(self._breaker.wait(self._now()), self._budget.wait(self._now()))) > 0:
                await self._pause(min(wait, _LONGEST_SLEEP))
            self._budget.take(self._now())
            if self._breaker.troubles:
                # The gate stays closed until it is known whether the trouble is over.
                return await self._answer(body, running)
        return await self._answer(body, running)

    async def _answer(self, body: dict[str, Any], running: _Running) -> tuple[int, bytes]:
        begun, answers = self._now(), self._breaker.answers
        try:
            found = await self._reached(body, running)
        except _TroubleError as error:
            error.others_answered = self._breaker.answers > answers
            self._breaker.in_trouble(begun, self._now(), error.asked)
            if self._breaker.troubles == _MANY_TROUBLES:
                _logger.warning("the endpoint of feedback.sentiment is in trouble, texts wait: %s", error.reason)
            raise
        except _FailedError:
            self._breaker.answered()
            raise
        self._breaker.answered()
        return found

    async def _reached(self, body: dict[str, Any], running: _Running) -> tuple[int, bytes]:
        try:
            status, headers, answer = await asyncio.wait_for(self._post(running.client, body), timeout=self._timeout)
        except asyncio.TimeoutError:
            reason = f"it did not answer within {self._timeout:g} s"
            raise _TroubleError(reason) from None
        except httpx.HTTPError as error:
            # Its words may hold the address, and with it what is secret there.
            reason = f"it could not be reached: {type(error).__name__}"
            raise _TroubleError(reason) from None
        if status in _BUSY or status >= _SERVER_ERRORS:
            asked = pause_of(headers.get("Retry-After"), self._clock() / 1000)
            reason = f"it answered {status}"
            raise _TroubleError(reason, asked, is_busy=status in _BUSY)
        return status, answer

    async def _post(self, client: httpx.AsyncClient, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        async with client.stream("POST", self._url, json=body) as response:
            answer = bytearray()
            async for piece in response.aiter_bytes():
                answer += piece
                if len(answer) > LARGEST_ANSWER:
                    if response.status_code != _OK:
                        break
                    reason = f"its answer is larger than {LARGEST_ANSWER} bytes"
                    raise _FailedError(reason)
            return response.status_code, response.headers, bytes(answer)


class _Running:
    """The thread with its loop, and what lives there."""

    def __init__(self, client: Callable[[], httpx.AsyncClient], concurrency: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.client = client()
        self.places = asyncio.Semaphore(concurrency)
        self.gate = asyncio.Lock()
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
