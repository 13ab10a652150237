"""The canonical key: one primary key, one text, however its columns were written.

Columns are in the order of their names, numbers that are equal are written alike (`1`, `1.0` and `1E0` are `1`), and a
number is never a text. Two events are of one row exactly if source, table and this text are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from events.errors import RejectedError

MAX_DIGITS = 1000
"""Longest number that can be part of a key, in digits before or after the point."""

_REMEDY = "name the columns of the primary key as `key` in [[tables.live]], or leave out the event"
_BITS = (10**MAX_DIGITS).bit_length() - 1
_encode = msgspec.json.Encoder(order="sorted").encode


def canonical_key(columns: Mapping[str, Any]) -> str:
    """Write the columns of a primary key as compact JSON, such as `{"id":101}`.

    :arg columns: Values by column: bool, int, finite float, Decimal or str.
    :raises RejectedError: When there is no column, or a value is none that can be told from others.
    """
    parts = columns
    for column, value in columns.items():
        kind = type(value)
        if not (kind is str or kind is bool or (kind is int and value.bit_length() <= _BITS)):
            parts = {**parts, column: _number(column, value)}
    if not parts:
        message = "the event has no primary key"
        raise RejectedError(message, _REMEDY)
    try:
        return _encode(parts).decode()
    except UnicodeEncodeError:
        message = "the primary key has a lone surrogate, which is no text"
        raise RejectedError(message, "correct the value at its source") from None


def _number(column: str, value: Any) -> int | msgspec.Raw:
    """Return a float or a Decimal as the number that JSON is to have for it."""
    if value is None:
        message = f"the key column {column!r} has no value"
        raise RejectedError(message, _REMEDY)
    if isinstance(value, int):
        message = f"the key column {column!r} is a number of more than {MAX_DIGITS} digits"
        raise RejectedError(message, _REMEDY)
    if not isinstance(value, float | Decimal):
        message = f"the key column {column!r} holds a {type(value).__name__}, not one number, text or truth value"
        raise RejectedError(message, _REMEDY)
    # The shortest text of a float is what other programs write for it.
    exact = Decimal(repr(value)) if isinstance(value, float) else value
    if not exact.is_finite() or abs(exact.adjusted()) >= MAX_DIGITS or len(exact.as_tuple().digits) > MAX_DIGITS:
        message = f"the key column {column!r} is not a number that a key can hold"
        raise RejectedError(message, _REMEDY)
    if exact == exact.to_integral_value():
        return int(exact)
    plain = f"{exact:f}"
    return msgspec.Raw(plain.rstrip("0").encode())
