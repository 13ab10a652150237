"""What all formats of feedback have in common: strict JSON, moments, and ids where none was given.

Nothing is guessed, and nothing is repaired but control characters in texts: what is wrong is refused with the remedy.
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from json import loads
from typing import Any

import msgspec

from events.clock import to_iso
from events.errors import RejectedError
from operators.changes import duplicate_keys
from operators.moments import moment_of

EARLIEST = 946_684_800_000
"""2000-01-01: an older event is a clock that was never set, or another unit of time."""
_BEGIN, _DAY = datetime(1970, 1, 1), 86_400_000  # noqa: DTZ001 - both sides of the difference are in UTC
_SECONDS, _MICROS = 20_000_000_000, 10**15
_MOMENT_REMEDY = "write it as 2026-01-31T12:00:00Z, or in milliseconds since 1970-01-01 UTC"
_LONE = re.compile(r"[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Origin(msgspec.Struct, frozen=True):
    """What is known of an event beside what it says itself.

    :arg time: When the log took it in, for events without a time (ms since epoch).
    :arg latest: No event is later than this (ms since epoch).
    :arg application: Of events that name none.
    """

    time: int
    latest: int
    application: str = ""


def read_json(raw: bytes) -> Any:
    """Read JSON of any shape.

    :raises RejectedError: When it is not JSON, not UTF-8, nested too deeply, or says one key of an object twice.
    """
    try:
        value = duplicate_keys.read_json(raw)
    except RejectedError:
        if b"\\u" in raw and _has_half_a_character(raw):
            message = "a text has half a character (a lone surrogate)"
            raise RejectedError(message, "cut texts between characters, not within one") from None
        raise
    # Each level opens once: few openings are no depth.
    if raw.count(b"{") + raw.count(b"[") > duplicate_keys.MAX_DEPTH:
        duplicate_keys.reject_depth(value)
    return value


def _has_half_a_character(raw: bytes) -> bool:
    try:
        return bool(_LONE.search(repr_of(loads(raw))))
    except (ValueError, RecursionError):
        return False


def repr_of(value: Any) -> str:
    """Return all keys and texts in `value` as one text."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return " ".join(f"{key} {repr_of(below)}" for key, below in value.items())
    return " ".join(map(repr_of, value)) if isinstance(value, list) else ""


def moment(value: Any, what: str) -> int:
    """Return a moment in milliseconds since 1970, rounded down: a number is one already, a text is ISO 8601.

    :arg what: The field, for the error.
    :raises RejectedError: When it is none.
    """
    if isinstance(value, str):
        found = _usual(value) or moment_of(value)
        if found is None:
            message = f"`{what}` is no moment: {value[:40]!r}"
            raise RejectedError(message, _MOMENT_REMEDY)
        return found
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        message = f"`{what}` is neither a text nor a number"
        raise RejectedError(message, _MOMENT_REMEDY)
    return value if isinstance(value, int) else int(value // 1)


def _usual(text: str) -> int | None:
    """Read `2026-01-31T12:00:00Z`, with milliseconds or without, five times as fast as any form; None for others."""
    length = len(text) - 1
    if length not in {19, 23} or text[4] + text[10] + text[13] + text[length] != "-T:Z":
        return None
    try:
        since = datetime.fromisoformat(text[:length]) - _BEGIN
    except ValueError:
        return None
    return since.days * _DAY + since.seconds * 1000 + since.microseconds // 1000


def checked_time(millis: int, latest: int) -> int:
    """Return `millis` if an event can be of that time.

    :raises RejectedError: When it is before the year 2000 or after `latest`.
    """
    if EARLIEST <= millis <= latest:
        return millis
    message, hint = f"`time` is {_written(millis)}, before the year 2000", "correct the clock of whoever sent it"
    if EARLIEST // 1000 <= millis < _SECONDS:
        hint = "it looks like seconds: numbers are milliseconds since 1970-01-01 UTC"
    elif millis > latest:
        message = f"`time` is {_written(millis)}, which is yet to come"
        hint = "correct the clock of whoever sent it, or raise feedback.ahead_seconds"
        if millis > _MICROS:
            hint = "numbers are milliseconds since 1970-01-01 UTC, not micro- or nanoseconds"
    raise RejectedError(message, hint)


def _written(millis: int) -> str:
    try:
        return to_iso(millis)
    except (ValueError, OverflowError, OSError):
        return str(millis)[:40]


def is_suspect(raw: bytes) -> bool:
    r"""Tell whether `raw`, as valid JSON, may have control characters: those below 32 are in it as `\u...` only."""
    return b"\\" in raw or b"\x7f" in raw or b"\xc2" in raw


def has_control(name: str) -> bool:
    """Tell whether a name or an id has a control character."""
    return _CONTROL.search(name) is not None


def seen(text: str) -> str:
    """Return `text` without control characters other than tabulators and ends of lines."""
    return _UNSEEN.sub("", text) if _UNSEEN.search(text) else text


def digest(*parts: str) -> str:
    """Return an id made of `parts`: the same for the same parts in the same order."""
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=12).hexdigest()
