"""Why an endpoint gave no answer, in words for whoever reads the answer, and what to do about it.

Invariant: no word of the endpoint's own is repeated, but a code of plain letters: it may hold the key, or what was
asked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from stores.sentiment.limits import pause_of

_REDIRECTS = range(300, 400)
_SERVER_ERRORS = 500
_BUSY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_CODE = re.compile(r"[a-z]+(_[a-z]+){0,5}")
_LONGEST_CODE = 60


class FailedError(Exception):
    """A try came to nothing, or an answer broke off.

    :arg reason: One line, to follow "the model's endpoint".
    :arg passing: Whether another try may do better.
    :arg after: Seconds for which the endpoint asks to be left alone.
    """

    def __init__(self, reason: str, *, passing: bool = False, after: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.passing = passing
        self.after = after


def refusal(status: int, said: bytes, headers: Mapping[str, str], *, key: str, now: float) -> FailedError:
    """Say what an answer means that is none.

    :arg said: The beginning of its body.
    :arg key: What was sent as the key; empty for none.
    :arg now: Seconds since 1970-01-01 UTC, for pauses that are asked for by date.
    """
    if status in _BUSY or status >= _SERVER_ERRORS:
        after = pause_of(headers.get("retry-after"), now)
        said_so = "is busy" if status in _BUSY else "has failed"
        asks = f" and asks to be left alone for {after:.0f} s" if after >= 1 else ""
        return FailedError(f"{said_so} ({status}){asks}", passing=True, after=after)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        verb = "refuses the key" if key else "wants a key"
        return FailedError(f"{verb} ({status}): set HEADRACE_SERVING__ANSWER__KEY")
    if status == HTTPStatus.NOT_FOUND:
        reason = "does not know the model, or is elsewhere (404): correct serving.answer.model or serving.answer.url"
        return FailedError(reason)
    if status in _REDIRECTS:
        return FailedError(f"is elsewhere ({status}), and redirects are not followed: correct serving.answer.url")
    code = code_of(said, key)
    return FailedError(f"refuses the request ({status}{', ' if code else ''}{code}): see [serving.answer]")


def code_of(said: bytes, key: str) -> str:
    """Return the code of an error as OpenAI's API has it, such as `context_length_exceeded`; empty if there is none."""
    try:
        error = msgspec.json.decode(said)["error"]
        code = error.get("code") or error.get("type")
    except (msgspec.DecodeError, RecursionError, AttributeError, KeyError, IndexError, TypeError, ValueError):
        return ""
    if not isinstance(code, str) or len(code) > _LONGEST_CODE or not _CODE.fullmatch(code):
        return ""
    return "" if key and key in code else code
