"""Row images as JSON text for SQLite: numbers keep every digit, and SQLite's paths reach every column.

A number that is not whole comes back as a float where that has the same digits as were written, else as a `Decimal`: no
digit is lost or made up. A column name that JSON or a path of SQLite's could only hold with an escape is
percent-encoded, `%` included; others stay readable.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import msgspec

from events.changes import Row

_HOSTILE = re.compile(r'["\\%\x00-\x1f]')
_encode = msgspec.json.Encoder(decimal_format="number").encode


def real(text: str) -> float | Decimal:
    """Read a number that is not whole: as a float where that has the same digits, else as a Decimal."""
    value = float(text)
    return value if repr(value) == text or _encode(value).decode() == text else Decimal(text)


_decode = msgspec.json.Decoder(Row, float_hook=real).decode


def to_text(image: Row) -> str:
    """Write an image as JSON text."""
    text = _encode(_named(image)).decode()
    # JSON has no word for these; the encoder writes them all the same.
    if "NaN" in text or "Infinity" in text:
        return _encode(finite(_named(image))).decode()
    return text


def from_text(text: str) -> Row:
    """Read what `to_text` wrote."""
    image = _decode(text)
    # Values hold percent signs far more often than names do.
    if "%" in text and any("%" in column for column in image):
        return {_original(column): value for column, value in image.items()}
    return image


def member(column: str) -> str:
    """Return the name under which a column stands in an image's text."""
    return _HOSTILE.sub(lambda match: f"%{ord(match[0]):02X}", column)


def json_path(name: str) -> str:
    """Return SQLite's path to the member `name` of a JSON object; a quotation mark in it cannot be reached."""
    return f'$."{name}"'


_PLAIN: set[str] = set()
_MOST_PLAIN = 10_000


def _named(image: Row) -> Row:
    if image.keys() <= _PLAIN:
        return image
    if all(_is_plain(column) for column in image):
        return image
    return {member(column): value for column, value in image.items()}


def _is_plain(column: str) -> bool:
    # Looking names up in a set costs a tenth of looking into them.
    if _HOSTILE.search(column):
        return False
    if len(_PLAIN) < _MOST_PLAIN:
        _PLAIN.add(column)
    return True


def _original(name: str) -> str:
    return unquote(name)


def finite(value: Any) -> Any:
    """Return `value` with all numbers that JSON has no word for as texts."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, Decimal) and not value.is_finite():
        return str(value)
    return value
