"""Answers from a context: a model's where there is one, else put together from the context, and said to be so.

Invariant: whatever the endpoint does, an answer ends within the time of the settings, with exactly one `Answer`, whose
text is what the tokens before it said. What breaks off is kept as far as it came, and never goes on as something else.
"""

from __future__ import annotations

import asyncio
import random as system_random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from events.clock import Clock
from events.context import Context
from serving.answer.citations import cited
from serving.answer.endpoint import Endpoint
from serving.answer.extracting import Extracting
from serving.answer.failures import FailedError
from serving.answer.parts import EXTRACTIVE, Answer, AnswerPart, Citation, Token
from serving.answer.prompt import messages
from serving.answer.tries import Tries
from serving.context.request import Said
from stores.embedders.base import Embedder
from stores.serving_settings import AnswerSettings


class Answerer:
    """Answers questions, any number at once. Belongs to the event loop of its first answer until it is closed.

    :arg embedder: Lets answers without a model look at the meaning of what the context says; None: at its words only.
    :arg random: Returns a number from 0 to below 1, so that not all who wait come back at once.
    :arg now: Seconds that only ever grow.
    :arg pause: Waits some seconds.
    :raises SettingsError: When the address or the key of the endpoint cannot be used.
    """

    def __init__(
        self,
        settings: AnswerSettings,
        clock: Clock,
        *,
        embedder: Embedder | None = None,
        random: Callable[[], float] = system_random.random,
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._now = now
        self._extracting = Extracting(embedder)
        self._endpoint = Endpoint(settings, clock) if settings.url else None
        self._tries = (
            Tries(settings, self._endpoint, chance=random, now=now, pause=pause) if self._endpoint is not None else None
        )

    async def stream(self, context: Context, history: Sequence[Said] = ()) -> AsyncGenerator[AnswerPart, None]:
        """Answer the question of a context: tokens as they come, and last the whole answer.

        Closing the generator, or cancelling who waits for it, closes the connection to the endpoint.

        :arg history: The conversation before the question, oldest first.
        """
        writing = _Writing(self._now)
        reason = ""
        if self._tries is not None:
            told = messages(context, history, self._settings.instructions)
            try:
                async with aclosing(self._tries.say(told, writing.begun)) as said:
                    async for heard in said:
                        writing.tokens_in = heard.tokens_in if heard.tokens_in is not None else writing.tokens_in
                        writing.tokens_out = heard.tokens_out if heard.tokens_out is not None else writing.tokens_out
                        reason = _cut_by(heard.finish, self._settings.max_tokens) or reason
                        if heard.text:
                            yield writing.token(heard.text)
            except FailedError as error:
                cut = "the answer is cut: " if writing.texts else ""
                reason = f"{cut}the model's endpoint {error.reason}"
        if writing.texts:
            citations, unknown = cited(writing.text, context.items)
            yield writing.answer(citations, self._settings.model, reason, unknown)
            return
        extracted = await self._extracting.extract(context, degraded=self._tries is not None)
        for line in extracted.text.splitlines(keepends=True):
            yield writing.token(line)
        yield writing.answer(extracted.citations, EXTRACTIVE, reason)

    async def aclose(self) -> None:
        """Let go of all connections. Closing twice does nothing."""
        if self._endpoint is not None:
            await self._endpoint.aclose()


class _Writing:
    """What there is of an answer so far."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.begun = now()
        self.texts: list[str] = []
        self.tokens_in: int | None = None
        self.tokens_out: int | None = None
        self._first_token = 0.0

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def token(self, text: str) -> Token:
        if not self.texts:
            self._first_token = self._millis()
        self.texts.append(text)
        return Token(text)

    def answer(
        self, citations: tuple[Citation, ...], model: str, degraded: str, unknown: tuple[int, ...] = ()
    ) -> Answer:
        return Answer(
            text=self.text,
            citations=citations,
            model=model,
            latency=self._millis(),
            first_token=self._first_token,
            degraded=degraded,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            unknown=unknown,
        )

    def _millis(self) -> float:
        return round((self._now() - self.begun) * 1000, 3)


def _cut_by(finish: str, most: int) -> str:
    if finish == "length":
        return f"the answer is cut: it has more than the {most} tokens of serving.answer.max_tokens"
    if finish == "content_filter":
        return "the answer is cut: the endpoint's filter let no more of it through"
    return ""
