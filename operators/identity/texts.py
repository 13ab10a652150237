"""A value of a row as clean text, and why there may be none.

What comes out of `text_of` is in Unicode's form NFKC, has no control or invisible characters, no blanks around it, and
is neither empty nor longer than 1,000 characters: so that a person's name typed on two keyboards is one text.
"""

from __future__ import annotations

import unicodedata
from decimal import Decimal

import msgspec

MAX_LENGTH = 1_000


class Refusal(msgspec.Struct, frozen=True):
    """Why a value is no identifier, in a few words for people."""

    reason: str


Normalised = str | Refusal
"""What a normaliser makes of a value."""

EMPTY = Refusal("empty")
PLACEHOLDER = Refusal("placeholder")
BLOCKED = Refusal("on the block list")
_NO_TEXT = Refusal("not a text")
_TOO_LONG = Refusal(f"longer than {MAX_LENGTH:,} characters")
_NEGATIVE = Refusal("a negative number")
_FRACTION = Refusal("a number with a fraction")

_EXACT_FLOAT = 2**53
"""From here on floats leave whole numbers out, so that two different ones may have become the same."""
_MAX_BITS = 3_300
"""Of a whole number that surely has less than 1,000 digits."""


def text_of(value: object) -> Normalised:
    """Return a value as clean text; whole numbers count as their digits."""
    text = value if isinstance(value, str) else _number_text(value)
    if isinstance(text, Refusal):
        return text
    if len(text) > MAX_LENGTH:
        return _TOO_LONG
    if not (text.isascii() and text.isprintable()):
        cleaned = _cleaned(text)
        if cleaned is None:
            return _NO_TEXT
        text = cleaned
    return bounded(text.strip()) or EMPTY


def bounded(text: str) -> Normalised:
    """Return `text` unless it has become too long."""
    return text if len(text) <= MAX_LENGTH else _TOO_LONG


def plain_digits(text: str) -> str:
    """Write the decimal digits of all scripts as 0 to 9."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in text)


def plain_dashes(text: str) -> str:
    """Write the dashes of all lengths as `-`."""
    if text.isascii():
        return text
    return "".join("-" if unicodedata.category(letter) == "Pd" or letter == "\u2212" else letter for letter in text)


def _number_text(value: object) -> Normalised:
    if value is None:
        return EMPTY
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return _NO_TEXT
    whole = value if isinstance(value, int) else _whole(value)
    if isinstance(whole, Refusal):
        return whole
    if whole < 0:
        return _NEGATIVE
    return str(whole) if whole.bit_length() <= _MAX_BITS else _TOO_LONG


def _whole(value: float | Decimal) -> int | Refusal:
    if isinstance(value, float) and not abs(value) < _EXACT_FLOAT:
        return _NO_TEXT
    exact = Decimal(value)
    # The exponent goes first: it may stand for millions of digits.
    if not exact.is_finite() or exact.adjusted() >= MAX_LENGTH:
        return _NO_TEXT
    whole = int(exact)
    return whole if exact == whole else _FRACTION


def _cleaned(text: str) -> str | None:
    """Return None where half a character stands alone, which no store can keep."""
    kept: list[str] = []
    for letter in text:
        category = unicodedata.category(letter)
        if category == "Cs":
            return None
        if category != "Cf":
            kept.append(" " if category[0] == "Z" or category == "Cc" else letter)
    return unicodedata.normalize("NFKC", "".join(kept))
