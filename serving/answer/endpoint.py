"""One request to an OpenAI-compatible endpoint, and what it says, as it says it.

Invariant: the key goes into one header of requests to that endpoint and nowhere else: no redirect is followed, and no
error holds it. Whatever the endpoint sends, what comes out is a few kinds of events or a `FailedError`; no more is
read than an answer of so many tokens can have. How long it takes is up to whoever waits for the next event.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from events.clock import Clock
from events.errors import SettingsError
from serving.answer.completion import Completion, Heard
from serving.answer.failures import FailedError, refusal
from stores.serving_settings import AnswerSettings

CONNECT_SECONDS = 5.0
_LARGEST_REFUSAL = 16 * 1024
_REFUSED_OPTIONS = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})


class Endpoint:
    """A client of one endpoint.

    Proxies of the environment (`HTTPS_PROXY`, `NO_PROXY`) are used for https alone, where they see nothing but the
    host's name: an address without it is near, and what is sent there is nobody else's business.

    :raises SettingsError: When the address or the key cannot be used.
    """

    def __init__(self, settings: AnswerSettings, clock: Clock) -> None:
        self._url = completions_url(settings.url)
        self._key = settings.key.get_secret_value() if settings.key else ""
        if not (self._key.isascii() and self._key.isprintable()):
            detail = "the key of serving.answer has characters that no header can carry"
            raise SettingsError(detail, "correct HEADRACE_SERVING__ANSWER__KEY")
        self._model = settings.model
        self._most_tokens = settings.max_tokens
        self._clock = clock
        # What some endpoints refuse to be told, or by another name; kept as an answer has shown it to be right.
        self._options: dict[str, Any] = {"max_tokens": settings.max_tokens, "stream_options": {"include_usage": True}}
        if settings.temperature is not None:
            self._options["temperature"] = settings.temperature
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[Heard, None]:
        """Ask once, and yield what is said. Closing the generator closes the connection.

        :raises FailedError: When there is no answer, or it breaks off.
        """
        options = dict(self._options)
        try:
            while True:
                body = {"model": self._model, "messages": list(messages), "stream": True, **options}
                content = json.dumps(body).encode()
                async with self._here().stream("POST", self._url, content=content) as response:
                    if response.status_code == HTTPStatus.OK:
                        self._options = options
                        completion = self._completion(response)
                        async for piece in response.aiter_raw():
                            for heard in completion.feed(piece):
                                yield heard
                        for heard in completion.end():
                            yield heard
                        return
                    said = await _beginning(response)
                    if not self._adapt(options, response.status_code, said):
                        headers, now = response.headers, self._clock() / 1000
                        raise refusal(response.status_code, said, headers, key=self._key, now=now)
        except httpx.ConnectTimeout:
            reason = f"could not be reached within {CONNECT_SECONDS:g} s: is serving.answer.url right, is it running?"
            raise FailedError(reason, passing=True) from None
        except httpx.ConnectError:
            reason = "could not be reached: is serving.answer.url right, is it running?"
            raise FailedError(reason, passing=True) from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            # Its words may hold the address, and with it what is secret there.
            reason = f"broke off ({type(error).__name__})"
            raise FailedError(reason, passing=True) from None

    async def aclose(self) -> None:
        """Let go of all connections. Closing twice does nothing."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    def _here(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
            # Compressed, a few bytes could be gigabytes.
            headers |= {"Accept-Encoding": "identity", "User-Agent": "headrace"}
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            is_far = self._url.startswith("https:")
            # Making a connection costs far ones several journeys, and near ones nothing.
            limits = httpx.Limits(max_connections=100, max_keepalive_connections=None if is_far else 0)
            timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
            self._client = httpx.AsyncClient(
                headers=headers, timeout=timeout, limits=limits, follow_redirects=False, trust_env=is_far
            )
            self._loop = loop
        return self._client

    def _completion(self, response: httpx.Response) -> Completion:
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            reason = "sends a compressed answer, which was not asked for"
            raise FailedError(reason)
        return Completion(self._most_tokens)

    def _adapt(self, options: dict[str, Any], status: int, said: bytes) -> bool:
        """Take out of the options what the endpoint may have refused; return whether there was anything."""
        if status not in _REFUSED_OPTIONS:
            return False
        if b"max_completion_tokens" in said and "max_tokens" in options:
            options["max_completion_tokens"] = options.pop("max_tokens")
            return True
        if b"temperature" in said and "temperature" in options:
            del options["temperature"]
            return True
        # Not all say what they do not know.
        return options.pop("stream_options", None) is not None


def completions_url(url: str) -> str:
    """Return the address of chat completions at an endpoint.

    :raises SettingsError: When it is no address, or holds a secret.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        detail = "serving.answer.url is not the address of an endpoint"
        raise SettingsError(detail, "use such as http://127.0.0.1:8000/v1")
    if parts.username or parts.password:
        detail = "serving.answer.url holds a name or a password"
        raise SettingsError(detail, "put the key into HEADRACE_SERVING__ANSWER__KEY instead")
    path = parts.path.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


async def _beginning(response: httpx.Response) -> bytes:
    said = bytearray()
    async for piece in response.aiter_raw():
        said += piece
        if len(said) >= _LARGEST_REFUSAL:
            break
    return bytes(said[:_LARGEST_REFUSAL])
