"""What an OpenAI-compatible endpoint says, streamed or at once, read with patience: text, reason of the end, usage.

After OpenAI's API reference (chat completions: the chat completion object, the chat completion chunk object).
Invariant: whatever the bytes are, what comes out is text without control characters and half characters, or a
`FailedError`.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from serving.answer.failures import FailedError
from serving.answer.sse import Events, OversizedError

_OVER = b"[DONE]"
_SPACE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_MOST_TOKENS = 10**12
_GARBLED = "sends what is no answer"
_TOO_MUCH = "sends far more than the tokens of serving.answer.max_tokens"
_BASE_BYTES, _BYTES_PER_TOKEN = 256 * 1024, 4096
"""A token comes in an event of a few hundred bytes, most of them always the same; thoughts come beside it."""
_CHARACTERS_PER_TOKEN = 40


class Heard(msgspec.Struct, frozen=True):
    """What one event says.

    :arg finish: Why the model has ended: `stop`, `length`, `content_filter`, or whatever the endpoint calls it.
    :arg is_over: Whether nothing comes after it.
    """

    text: str = ""
    finish: str = ""
    tokens_in: int | None = None
    tokens_out: int | None = None
    is_over: bool = False


class Completion:
    """Reads one answer.

    :arg most_tokens: Tokens that the model was allowed. What is far more than they can have is refused.
    """

    def __init__(self, most_tokens: int) -> None:
        self._bytes = _BASE_BYTES + most_tokens * _BYTES_PER_TOKEN
        self._characters = most_tokens * _CHARACTERS_PER_TOKEN
        self._events: Events | None = None
        self._document = bytearray()

    def feed(self, piece: bytes) -> list[Heard]:
        """Return what `piece` ends.

        :raises FailedError: When it cannot be understood, or is too large, or tells of an error.
        """
        self._bytes -= len(piece)
        if self._bytes < 0:
            raise FailedError(_TOO_MUCH)
        if self._events is None:
            self._document += piece
            beginning = self._document.removeprefix(_BOM).lstrip(_SPACE)
            # Only an answer that comes at once begins so, whatever the header says of its type.
            if beginning.startswith(b"{") or (not beginning and len(self._document) < len(_SPACE)):
                return []
            self._events, piece = Events(), bytes(self._document)
            self._document.clear()
        try:
            return self._heard(self._events.feed(piece))
        except OversizedError:
            raise FailedError(_GARBLED, passing=True) from None

    def end(self) -> list[Heard]:
        """Return what the end of the bytes ends.

        :raises FailedError: As `feed` does.
        """
        if self._events is not None:
            return self._heard(self._events.end())
        return self._heard([bytes(self._document).removeprefix(_BOM)])

    def _heard(self, events: list[bytes]) -> list[Heard]:
        found = [_heard(data) for data in events if data.strip()]
        self._characters -= sum(len(heard.text) for heard in found)
        if self._characters < 0:
            raise FailedError(_TOO_MUCH)
        return found


def _heard(data: bytes) -> Heard:
    if data.strip() == _OVER:
        return Heard(is_over=True)
    try:
        told = json.loads(data.decode("utf-8", "replace"))  # lets half characters pass, which are taken out below
    except (RecursionError, ValueError):
        raise FailedError(_GARBLED, passing=True) from None
    if not isinstance(told, dict):
        raise FailedError(_GARBLED, passing=True)
    if told.get("error"):
        reason = "tells of an error"
        raise FailedError(reason, passing=True)
    text, finish = "", ""
    choices = told.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        text, finish = _choice(choices[0])
    usage = told.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Heard(text, finish, _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))


def _choice(choice: dict[str, Any]) -> tuple[str, str]:
    said: dict[str, Any] = next((choice[it] for it in ("delta", "message") if isinstance(choice.get(it), dict)), {})
    finish = choice.get("finish_reason")
    return _text(said.get("content")), finish if isinstance(finish, str) else ""


def _text(content: Any) -> str:
    if isinstance(content, list):  # some say it in typed parts, thoughts among them
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        return "".join(_text(part.get("text")) for part in parts)
    return _UNSHOWN.sub("", content) if isinstance(content, str) else ""


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None
