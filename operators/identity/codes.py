"""Numbers that somebody gives out: of customers, loyalty cards, devices, documents; and postcodes.

Case and separators are no part of a code. Leading zeros are: a code is not a quantity. No code that comes out holds
`|`, which stands between the parts of an identifier.
"""

from __future__ import annotations

import re
import unicodedata

from operators.identity.placeholders import is_placeholder, is_run, is_word
from operators.identity.texts import PLACEHOLDER, Normalised, Refusal, plain_dashes, plain_digits

_SEPARATORS = re.compile(r"[\s\-_.|]+")
_NEGATIVE_NUMBER = re.compile(r"-\d+")
_SHORTEST = 4
_SHARED_BY_DEVICES = frozenset({"9774D56D682E549C"})
"""Ids that many devices have: the ANDROID_ID of a faulty Android 2.2 (Android issue 10603)."""

_POSTCODE = re.compile(r"[A-Z0-9]{2,10}", re.ASCII)
_NO_PLACES = ({"0"}, {"9"}, {"X"})
_NO_POSTCODES = frozenset({"12345", "123456", "1234567", "12345678"})

_NEGATIVE = Refusal("a negative number")
_TOO_SHORT = Refusal(f"fewer than {_SHORTEST} characters")
_NOT_A_POSTCODE = Refusal("not a postcode")


def code(text: str) -> Normalised:
    """Return a code in capitals, without blanks and without `-`, `_`, `.` and `|`."""
    if is_placeholder(text):
        return PLACEHOLDER
    text = plain_dashes(text)
    if _NEGATIVE_NUMBER.fullmatch(text):
        return _NEGATIVE
    made = _SEPARATORS.sub("", _capitals(text))
    if not made.isascii():
        # An accent that stood alone may have got a letter before it.
        made = unicodedata.normalize("NFKC", made)
    if len(made) < _SHORTEST:
        return _TOO_SHORT
    return PLACEHOLDER if is_run(made) or made in _SHARED_BY_DEVICES else made


def document(text: str) -> Normalised:
    """Return the number of a document as a code, without the `<` that fill machine-readable lines (ICAO 9303-3)."""
    return code(text.replace("<", " ").strip())


def postcode(text: str) -> Normalised:
    """Return a postcode in capitals, without blanks and dashes. As a number it has lost its leading zeros for good."""
    made = _SEPARATORS.sub("", _capitals(plain_dashes(text)))
    if made in _NO_POSTCODES or set(made) in _NO_PLACES or is_word(made):
        return PLACEHOLDER
    # Every country's postcodes have a digit.
    return made if _POSTCODE.fullmatch(made) and not made.isalpha() else _NOT_A_POSTCODE


def _capitals(text: str) -> str:
    if text.isascii():
        return text.upper()
    return unicodedata.normalize("NFKC", plain_digits(text).upper())
