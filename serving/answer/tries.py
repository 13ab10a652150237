"""Asking an endpoint until it begins to speak, or the time for that is up, and listening as long as it does.

Invariant: nobody waits longer than the settings allow, whatever the endpoint does. Once a word has been said there is
no second try: an answer is of one piece, or cut.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress

import anyio

from serving.answer.breaker import Breaker, Permit
from serving.answer.completion import Heard
from serving.answer.endpoint import Endpoint
from serving.answer.failures import FailedError
from serving.answer.thoughts import Thoughts
from stores.sentiment.limits import back_off
from stores.serving_settings import AnswerSettings

Messages = Sequence[Mapping[str, str]]
_BROKE_OFF = "broke off"
_OVER = "over"
LINGER_SECONDS = 1.0
"""How long the usage may come after the end of the text."""
END_SECONDS = 0.1
"""How long the connection may take to end after the last event; else it is closed."""


class Tries:
    """Asks one endpoint.

    :arg chance: Returns a number from 0 to below 1.
    :arg now: Seconds that only ever grow.
    :arg pause: Waits some seconds.
    """

    def __init__(
        self,
        settings: AnswerSettings,
        endpoint: Endpoint,
        *,
        chance: Callable[[], float],
        now: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._chance = chance
        self._now = now
        self._pause = pause
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_seconds, now)

    async def say(self, messages: Messages, begun: float) -> AsyncGenerator[Heard, None]:
        """Yield what is said: texts, and what else is told; the last one tells why it has ended.

        :arg begun: When the time of the answer began.
        :raises FailedError: When there is no answer, or it breaks off.
        """
        all_by = begun + self._settings.seconds
        first_by = min(all_by, begun + self._settings.first_token_seconds)
        tried = 0
        while True:
            permit = self._enter()
            tried += 1
            has_spoken = False
            try:
                async with aclosing(self._listen(permit, messages, first_by, all_by)) as said:
                    async for heard in said:
                        has_spoken = has_spoken or bool(heard.text)
                        yield heard
                return
            except FailedError as error:
                permit.failed(error.reason)
                if has_spoken or not error.passing:
                    raise
                pause = max(error.after, back_off(tried, self._chance))
                if tried > self._settings.retries or self._now() + pause >= first_by:
                    times = f", asked {tried} times" if tried > 1 else ""
                    reason = error.reason + times
                    raise FailedError(reason) from None
            finally:
                permit.release()
            await self._pause(pause)

    def _enter(self) -> Permit:
        permit = self._breaker.enter()
        if permit is None:
            wait = self._breaker.wait()
            until = f"another {wait:.0f} s" if wait >= 1 else "a moment"
            reason = f"is left alone for {until}, as it failed again and again; the last time it {self._breaker.reason}"
            raise FailedError(reason)
        return permit

    async def _listen(
        self, permit: Permit, messages: Messages, first_by: float, all_by: float
    ) -> AsyncGenerator[Heard, None]:
        thoughts, has_spoken, finish = Thoughts(), False, ""
        by, late = first_by, self._late_first(first_by >= all_by)
        async with aclosing(self._endpoint.ask(messages)) as heard:
            while not finish and (told := await self._next(heard, thoughts, by, late)) is not None:
                finish = _OVER if told.is_over else told.finish
                if told.text:
                    has_spoken = True
                    permit.answering()
                yield told
                if told.text:
                    by = min(all_by, self._now() + self._settings.stall_seconds)
                    late = self._late_all() if by == all_by else self._late_next()
            if rest := thoughts.rest():
                has_spoken = True
                yield Heard(rest)
            if not has_spoken:
                raise self._silence(permit, finish)
            if not finish:
                raise FailedError(_BROKE_OFF)
            async for told in self._lingering(heard, all_by, is_over=finish == _OVER):
                yield told
        permit.succeeded()

    async def _next(self, said: AsyncGenerator[Heard, None], thoughts: Thoughts, by: float, late: str) -> Heard | None:
        """Return the next text, or what else is told; None: the bytes are at an end."""
        if self._now() >= by:
            raise FailedError(late)
        try:
            with anyio.fail_after(by - self._now()):
                async for heard in said:
                    text = thoughts.said(heard.text)
                    if text or heard.finish or heard.is_over or heard.tokens_out is not None:
                        return Heard(text, heard.finish, heard.tokens_in, heard.tokens_out, heard.is_over)
        except TimeoutError:
            raise FailedError(late) from None
        return None

    async def _lingering(
        self, said: AsyncGenerator[Heard, None], all_by: float, *, is_over: bool
    ) -> AsyncGenerator[Heard, None]:
        """Yield what comes after the end of the text: the usage, if anything. Nothing of it is worth an error."""
        by = min(all_by, self._now() + (END_SECONDS if is_over else LINGER_SECONDS))
        with suppress(FailedError):
            while (told := await self._next(said, Thoughts(), by, "")) is not None:
                yield Heard(tokens_in=told.tokens_in, tokens_out=told.tokens_out)
                if told.is_over:
                    by = min(by, self._now() + END_SECONDS)

    def _silence(self, permit: Permit, finish: str) -> FailedError:
        if finish == "length":
            permit.succeeded()
            return FailedError(
                f"said nothing within the {self._settings.max_tokens} tokens of serving.answer.max_tokens"
            )
        if finish == "content_filter":
            permit.succeeded()
            return FailedError("let no answer through its filter")
        return FailedError("said nothing", passing=True)

    def _late_first(self, is_all: bool) -> str:
        settings = self._settings
        return self._late_all() if is_all else f"did not begin to answer within {settings.first_token_seconds:g} s"

    def _late_next(self) -> str:
        return f"fell silent for {self._settings.stall_seconds:g} s"

    def _late_all(self) -> str:
        return f"took longer than {self._settings.seconds:g} s"
