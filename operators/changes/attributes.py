"""The typed values of DynamoDB, such as `{"N": "3.14"}`, and what a row has for them.

Read with `AttributeValue` in the API reference of DynamoDB Streams. A number is an int where it is written without
point and exponent, else a Decimal; a set is a sorted list; binary is base64 text. A type that holds null, as some
producers write, is null.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from events.changes import Row
from events.errors import RejectedError

_WHOLE = re.compile(r"[+-]?\d{1,200}")
_MAX_WRITTEN = 200
_MAX_EXPONENT = 130
"""DynamoDB's numbers have up to 38 digits and lie between 1E-130 and 9.99E+125."""


def item_of(image: Row) -> Row:
    """Return the item whose typed attributes `image` holds.

    :raises RejectedError: When an attribute is not of its type; names it.
    """
    return {column: _plain(column, value) for column, value in image.items()}


def _plain(column: str, attribute: Any) -> Any:
    """Return the value of a typed attribute such as `{"N": "3.14"}`."""
    if type(attribute) is not dict or len(attribute) != 1:
        message = f"the attribute {column!r} is not one value with its type"
        raise RejectedError(message, 'write it as DynamoDB does, such as {"S": "text"}')
    ((kind, value),) = attribute.items()
    if value is None:
        return None
    read = _TYPES.get(kind)
    if read is None:
        message = f"the attribute {column!r} has the type {kind[:40]!r}, which DynamoDB does not have"
        raise RejectedError(message, f"write it as one of {', '.join(_TYPES)}")
    return read(column, value)


def _unfit(column: str, kind: str) -> RejectedError:
    return RejectedError(f"the attribute {column!r} is not of its type {kind}", "correct the event")


def _text(column: str, value: Any) -> str:
    if type(value) is not str:
        raise _unfit(column, "S")
    return value


def _number(column: str, value: Any) -> int | Decimal:
    if type(value) is int:
        return value
    written = repr(value) if type(value) is float else value
    if type(written) is not str or not written.isascii():
        raise _unfit(column, "N")
    if _WHOLE.fullmatch(written):
        return int(written)
    try:
        number = Decimal(written)
    except InvalidOperation:
        raise _unfit(column, "N") from None
    if not number.is_finite() or len(written) > _MAX_WRITTEN or abs(number.adjusted()) > _MAX_EXPONENT:
        raise _unfit(column, "N")
    return number


def _binary(column: str, value: Any) -> str:
    if type(value) is not str:
        raise _unfit(column, "B")
    try:
        base64.b64decode(value, validate=True)
    except ValueError:
        raise _unfit(column, "B") from None
    return value


def _truth(column: str, value: Any) -> bool:
    if type(value) is not bool:
        raise _unfit(column, "BOOL")
    return value


def _null(column: str, value: Any) -> None:
    if value is not True:
        raise _unfit(column, "NULL")


def _set_of(read: Callable[[str, Any], Any], kind: str) -> Callable[[str, Any], list[Any]]:
    def read_set(column: str, value: Any) -> list[Any]:
        if type(value) is not list:
            raise _unfit(column, kind)
        return sorted(read(column, item) for item in value)

    return read_set


def _list(column: str, value: Any) -> list[Any]:
    if type(value) is not list:
        raise _unfit(column, "L")
    return [_plain(column, item) for item in value]


def _map(column: str, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise _unfit(column, "M")
    return {name: _plain(column, item) for name, item in value.items()}


_TYPES: dict[str, Callable[[str, Any], Any]] = {
    "S": _text,
    "N": _number,
    "B": _binary,
    "BOOL": _truth,
    "NULL": _null,
    "L": _list,
    "M": _map,
    "SS": _set_of(_text, "SS"),
    "NS": _set_of(_number, "NS"),
    "BS": _set_of(_binary, "BS"),
}
