"""Values of rows and profiles as a model reads them: plain, exact, and never more than a model can use.

A value may hold anything. What it looks like is decided by whoever puts it between other texts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from events.clock import to_iso
from serving.printable import json_text

LONGEST = 2_000
"""Characters of one value."""

LONGEST_TEXT = 10_000
"""Characters of one piece of a context."""

LONGEST_TITLE = 200

UNKNOWN = "unknown"
"""What a value is called that is not known."""

DELETED = "deleted at its source; the delete waits for a decision"
"""Said of a row that is still shown."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2})(:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_MOST_ZEROS = 30
_REALS = (float, Decimal)
_NESTED = (list, tuple, dict)


def plain(value: Any) -> str:
    """Write a value: numbers with all their digits, moments as `2026-11-03 09:41 UTC`, nothing as `none`."""
    if value is None:
        return "none"
    if isinstance(value, str):
        found = _MOMENT.fullmatch(value)
        return _moment(found) if found else cut(value)
    if isinstance(value, _REALS):
        return _number(value)
    return cut(json_text(value))


def cut(text: str, longest: int = LONGEST) -> str:
    """Return a text without control characters but newlines, and of a longer one than `longest` the beginning."""
    # A text may be of any length: what is far behind its end here is not looked at.
    begin = text[: 4 * longest].replace("\t", " ")
    begin = _SURROGATE.sub("\ufffd", _CONTROL.sub("", begin))
    whole = len(begin) <= longest and len(text) <= 4 * longest
    return begin if whole else f"{begin[: longest - 1]}…"


def one_line(text: str, longest: int = LONGEST_TITLE) -> str:
    """Return a text as `cut` does, on one line."""
    return cut(" ".join(cut(text, longest).split()), longest)


def kept(value: Any) -> Any:
    """Return a value as it goes to other programs: as it is, of a very long one the beginning as text."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value) if len(value) <= LONGEST else cut(value)
    if isinstance(value, _NESTED):
        text = json_text(value)
        return value if len(text) <= LONGEST else cut(text)
    return value


def columns_text(texts: Mapping[str, str]) -> str:
    """Write columns and their values, which are written already, as `column: value; …`."""
    return "; ".join(f"{one_line(column)}: {text}" for column, text in texts.items())


def minute(millis: int) -> str:
    """Write a moment (ms since epoch) to the minute; as a number if it is beyond what calendars have."""
    try:
        return f"{to_iso(millis)[:16].replace('T', ' ')} UTC"
    except (ValueError, OverflowError, OSError):
        return str(millis)


def warning(*, held: bool, unknown_since: int | None) -> str:
    """Say what speaks against taking a row as it stands; nothing where nothing does.

    :arg held: Whether its source has deleted it, and the delete waits.
    :arg unknown_since: When its time-to-live ended (ms since epoch); None while it lasts.
    """
    unknown = (
        "" if unknown_since is None else f"unknown since {minute(unknown_since)}: what was known before is too old"
    )
    return "; ".join(filter(None, (DELETED if held else "", unknown)))


def same(one: Any, other: Any) -> bool:
    """Tell whether two values of a column say the same: a number is one however it is kept, and truth is no number."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(_exact(one) == _exact(other))


def _exact(value: Any) -> Any:
    return Decimal(repr(value)) if isinstance(value, float) else value


def _number(value: float | Decimal) -> str:
    number = _exact(value)
    exponent = number.as_tuple().exponent
    # Written out, 1e300 would say more than is known, and take a line.
    short = isinstance(exponent, int) and abs(exponent) <= _MOST_ZEROS and abs(number.adjusted()) <= _MOST_ZEROS
    return cut(f"{number:f}" if short else str(number))


def _moment(found: re.Match[str]) -> str:
    day, at, seconds, fraction, zone = found.groups()
    fraction = (fraction or "").rstrip("0")
    exact = f"{seconds}.{fraction}" if fraction else seconds if seconds != ":00" else ""
    return f"{day} {at}{exact}" + {"Z": " UTC", None: ""}.get(zone, f" {zone}")
