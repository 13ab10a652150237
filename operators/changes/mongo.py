"""MongoDB's Extended JSON, versions 1 and 2, as plain values of a row.

Each special form becomes what the other databases' values are: an ObjectId and a UUID their text, a date ISO 8601 in
UTC, a Decimal128 a Decimal, binary data base64 text. What has no plain counterpart, such as a code or a regular
expression, becomes the text that names it. (MongoDB specification "MongoDB Extended JSON".)
"""

from __future__ import annotations

import base64
import math
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from events.changes import Row
from events.errors import RejectedError
from operators.changes.duplicate_keys import read_json, reject_depth
from operators.changes.temporal import timestamp_text, utc_text
from operators.changes.values import decimal_of_text, unbase64

_REMEDY = "let the connector write documents as Extended JSON"
_UUID_SUBTYPES = {4}
_encode_sorted = msgspec.json.Encoder(order="sorted", decimal_format="number").encode


def read_document(text: str) -> Row:
    """Return the document that `text` holds.

    :raises RejectedError: When it is no document in Extended JSON.
    """
    document = read_value(text)
    if type(document) is not dict:
        message = "the document is no object"
        raise RejectedError(message, _REMEDY)
    return document


def read_value(text: str) -> Any:
    """Return the value that `text` holds, such as the `id` of an event's key.

    :raises RejectedError: When it is no Extended JSON.
    """
    try:
        value = read_json(text.encode())
        reject_depth(value)
        return plain(value)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        message = f"not Extended JSON: {error}"
        raise RejectedError(message, _REMEDY) from None


def key_value(value: Any) -> Any:
    """Return an `_id` as one value: one that is a document or a list becomes its JSON text, keys in order."""
    return _encode_sorted(value).decode() if type(value) is dict or type(value) is list else value


def document_key(named: Row) -> Row:
    """Return the key of a document as its own column, from the `id` that the key of a record calls it."""
    identifier = named["id"]
    return {"_id": key_value(read_value(identifier) if type(identifier) is str else identifier)}


def plain(value: Any) -> Any:
    """Return a decoded value without special forms.

    :raises ValueError: When one holds what it cannot.
    """
    kind = type(value)
    if kind is list:
        return [plain(element) for element in value]
    if kind is not dict:
        return value
    # Special forms have one or two members, whose names begin with a dollar sign.
    for name in value if len(value) <= 2 else ():  # noqa: PLR2004
        read = _FORMS.get(name)
        if read is not None:
            return read(value)
    return {name: plain(member) for name, member in value.items()}


def _whole(value: Any) -> int:
    return int(_text(value)) if type(value) is not int else value


def _text(value: Any) -> str:
    if type(value) is not str:
        message = f"{str(value)[:40]!r} is not text"
        raise ValueError(message)
    return value


def _double(form: dict[str, Any]) -> float | str:
    value = form["$numberDouble"]
    if value in {"NaN", "Infinity", "-Infinity"}:
        return str(value)
    number = float(value)
    if not math.isfinite(number):
        message = f"{str(value)[:40]!r} is not a number"
        raise ValueError(message)
    return number


def _decimal(form: dict[str, Any]) -> Decimal | str:
    return decimal_of_text(form["$numberDecimal"])


def _date(form: dict[str, Any]) -> str:
    value = form["$date"]
    if type(value) is dict:
        value = _whole(value["$numberLong"])
    return utc_text(value) if type(value) is str else f"{timestamp_text(_whole(value), 1000)}Z"


def _binary(form: dict[str, Any]) -> str:
    value, subtype = form["$binary"], form.get("$type")
    if type(value) is dict:
        value, subtype = value["base64"], value.get("subType")
    content = unbase64(_text(value))
    kind = int(subtype, 16) if type(subtype) is str else subtype
    if kind in _UUID_SUBTYPES:
        return str(uuid.UUID(bytes=content))
    return base64.b64encode(content).decode()


def _legacy_regex(form: dict[str, Any]) -> Any:
    # {"$regex": …} is a query's operator as well: a regular expression only with text in it.
    if type(form["$regex"]) is not str:
        return {name: plain(member) for name, member in form.items()}
    return f"/{form['$regex']}/{form.get('$options', '')}"


def _regex(form: dict[str, Any]) -> str:
    return f"/{_text(form['$regularExpression']['pattern'])}/{form['$regularExpression'].get('options', '')}"


_FORMS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "$oid": lambda form: _text(form["$oid"]),
    "$numberLong": lambda form: _whole(form["$numberLong"]),
    "$numberInt": lambda form: _whole(form["$numberInt"]),
    "$numberDouble": _double,
    "$numberDecimal": _decimal,
    "$date": _date,
    "$binary": _binary,
    "$uuid": lambda form: str(uuid.UUID(_text(form["$uuid"]))),
    "$timestamp": lambda form: {"t": _whole(form["$timestamp"]["t"]), "i": _whole(form["$timestamp"]["i"])},
    "$regularExpression": _regex,
    "$regex": _legacy_regex,
    "$symbol": lambda form: _text(form["$symbol"]),
    "$code": lambda form: _text(form["$code"]),
    "$minKey": lambda _: "MinKey",
    "$maxKey": lambda _: "MaxKey",
    "$undefined": lambda _: None,
}
