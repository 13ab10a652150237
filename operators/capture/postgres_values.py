"""Values of PostgreSQL, from their text forms to the JSON that Debezium's events have for them, by type.

An event without a schema must say by itself what its values are. So it is written as Debezium writes it with
`decimal.handling.mode=string`, `time.precision.mode=isostring`, `interval.handling.mode=string` and
`include.unknown.datatypes=true`, and its defaults for all else; and `source.columns` names the columns whose texts are
numbers or JSON (`ENCODINGS`), so that rows come out as they do of Debezium's events with a schema:

    boolean, bit(1)                            true, false
    smallint, integer, bigint, oid             numbers
    real, double precision                     numbers; "NaN", "Infinity", "-Infinity"
    numeric, money                             text with every digit: "12.50"; within a key, a number
    date, time, timestamp                      ISO 8601 without a zone: "2024-05-01T12:00:00"; "infinity", "-infinity"
    timestamptz                                ISO 8601 in UTC, all its digits: "2024-05-01T12:00:00.500000Z"
    timetz                                     ISO 8601 in UTC: "12:00:00.5Z"
    interval                                   ISO 8601 duration, all its parts: "P0Y2M3DT4H5M6.5S"
    bytea; bit(n), bit varying                 base64; the same of the bits' bytes, lowest first
    json, jsonb, hstore                        JSON as text
    arrays                                     lists
    point                                      {"x": 1.0, "y": 2.0, "wkb": base64, "srid": null}
    vector, halfvec                            lists of numbers
    enums, uuid, inet, ranges and all others   PostgreSQL's text

One thing is left out: the `Z` that `isostring` appends to dates and times that have no zone. It is not true, and a
reader without configuration would show it; the encodings `iso-date`, `iso-time` and `iso-timestamp` read both.

A text that its type does not explain stays text: nothing that a server may send stops a capture.
"""

from __future__ import annotations

import base64
import math
import re
import struct
from binascii import unhexlify
from functools import partial
from typing import Any

import msgspec

from events.capture import Catalog
from operators.capture.envelope import NULL, Convert, text, to_json
from operators.capture.postgres_times import MICROS, date, instant, interval, time, timestamp

_MAX_DEPTH = 6
"""Dimensions of PostgreSQL's widest array, and more domains of arrays of domains than anybody has."""


def converter_of(type_: int, modifier: int, catalog: Catalog, depth: int = 0) -> Convert | None:
    """Return what converts values of a type, by its object id and the column's modifier; None: they are JSON."""
    if type_ in _KNOWN:
        return _fitted(type_, modifier)
    if depth > _MAX_DEPTH:
        return text
    said = catalog.type_of(type_)
    if said.base != type_ and said.base in _KNOWN:
        return _fitted(said.base, modifier)
    if said.element and not said.enum:
        return partial(_array, converter_of(said.element, modifier, catalog, depth + 1))
    return text if said.enum else _BY_NAME.get(said.name, text)


def _fitted(type_: int, modifier: int) -> Convert | None:
    """Return what converts values of one of PostgreSQL's own types, in a column of that size."""
    if type_ == _BIT and modifier == 1:
        return _bit
    if type_ == _TIMESTAMPTZ and 0 <= modifier < MICROS:
        return partial(instant, modifier)
    return _KNOWN[type_]


def decimal(raw: bytes) -> bytes:
    """Write a decimal number: its digits as text."""
    return b'"%b"' % raw


def _json(raw: bytes) -> bytes:
    return text(raw)


def _boolean(raw: bytes) -> bytes:
    if raw == b"t":
        return b"true"
    return b"false" if raw == b"f" else text(raw)


def _bit(raw: bytes) -> bytes:
    if raw == b"1":
        return b"true"
    return b"false" if raw == b"0" else text(raw)


def _bits(raw: bytes) -> bytes:
    try:
        number = int(raw, 2)
        return _base64(number.to_bytes((number.bit_length() + 7) // 8, "little"))
    except (ValueError, OverflowError):
        return text(raw)


def _number(raw: bytes) -> bytes:
    try:
        value = float(raw)
    except ValueError:
        return text(raw)
    return repr(value).encode() if math.isfinite(value) else text(raw)


def _bytes(raw: bytes) -> bytes:
    if not raw.startswith(b"\\x"):
        return text(raw)
    try:
        return _base64(unhexlify(raw[2:]))
    except ValueError:
        return text(raw)


def _base64(raw: bytes) -> bytes:
    return b'"%b"' % base64.b64encode(raw)


_MONEY = re.compile(rb"(-?)\$?([\d,]+(?:\.\d+)?)", re.ASCII)


def _money(raw: bytes) -> bytes:
    found = _MONEY.fullmatch(raw)
    return b'"%b%b"' % (found[1], found[2].replace(b",", b"")) if found else text(raw)


_POINT = re.compile(rb"\(([^,()]+),([^,()]+)\)")
_WKB_POINT = struct.Struct("<BIdd")


def _point(raw: bytes) -> bytes:
    found = _POINT.fullmatch(raw)
    if found is None:
        return text(raw)
    x, y = _number(found[1]), _number(found[2])
    try:
        wkb = _WKB_POINT.pack(1, 1, float(found[1]), float(found[2]))
    except ValueError:
        return text(raw)
    return b'{"x":%b,"y":%b,"wkb":%b,"srid":null}' % (x, y, _base64(wkb))


_VECTOR = re.compile(rb"\[[-+0-9.eE,]*\]")


def _vector(raw: bytes) -> bytes:
    if not _VECTOR.fullmatch(raw):
        return text(raw)
    try:
        return to_json([float(number) for number in raw[1:-1].split(b",")]) if len(raw) > len("[]") else b"[]"
    except ValueError:
        return text(raw)


_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_PAIR = re.compile(rf"{_QUOTED}=>(?:NULL|{_QUOTED})(?:, |$)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _hstore(raw: bytes) -> bytes:
    whole = raw.decode(errors="backslashreplace")
    made: dict[str, str | None] = {}
    at = 0
    while at < len(whole):
        found = _PAIR.match(whole, at)
        if found is None:
            return text(raw)
        made[_unescaped(found[1])] = None if found[2] is None else _unescaped(found[2])
        at = found.end()
    return text(to_json(made))


def _unescaped(quoted: str) -> str:
    return _ESCAPED.sub(r"\1", quoted) if "\\" in quoted else quoted


_TOKEN = re.compile(r'[{}]|"((?:[^"\\]|\\.)*)"|[^{},"]+', re.DOTALL)
_BOUNDS = re.compile(r"(?:\[-?\d+:-?\d+\])+=", re.ASCII)


def _array(convert: Convert | None, raw: bytes) -> bytes:
    """Write an array as a list, or lists of lists; where it does not begin at 1 is not written."""
    whole = raw.decode(errors="surrogateescape")
    bounds = _BOUNDS.match(whole)
    at = bounds.end() if bounds else 0
    stack: list[list[Any]] = [[]]
    while at < len(whole):
        found = _TOKEN.match(whole, at)
        if found is None or (whole[at] != "{" and len(stack) == 1):
            return text(raw)
        token, quoted = found[0], found[1]
        if token == "{":  # noqa: S105  # a brace
            stack.append([])
            if len(stack) > _MAX_DEPTH + 1:
                return text(raw)
        elif token == "}":  # noqa: S105  # a brace
            done = stack.pop()
            stack[-1].append(done)
        elif quoted is None and token.upper() == "NULL":
            stack[-1].append(msgspec.Raw(NULL))
        else:
            value = _unescaped(token if quoted is None else quoted)
            element = value.encode(errors="surrogateescape")
            stack[-1].append(msgspec.Raw(element if convert is None else convert(element)))
        at = found.end()
        if whole.startswith(",", at):
            at += 1
    if len(stack) != 1 or len(stack[0]) != 1:
        return text(raw)
    return to_json(stack[0][0])


_BIT, _TIMESTAMPTZ = 1560, 1184
_TEXTS = (18, 19, 25, 142, 603, 650, 829, 869, 1020, 1042, 1043, 2950)
"""char, name, text, xml, box, cidr, macaddr, inet, box[], bpchar, varchar, uuid."""

_KNOWN: dict[int, Convert | None] = {
    16: _boolean,
    17: _bytes,
    20: None,
    21: None,
    23: None,
    26: None,
    114: _json,
    600: _point,
    700: _number,
    701: _number,
    790: _money,
    1082: date,
    1083: time,
    1114: timestamp,
    _TIMESTAMPTZ: partial(instant, MICROS),
    1186: interval,
    1266: time,
    _BIT: _bits,
    1562: _bits,
    1700: decimal,
    3802: _json,
    **dict.fromkeys(_TEXTS, text),
}
"""By the object ids that PostgreSQL's own types have in every database (`pg_type.dat`)."""

_BY_NAME: dict[str, Convert] = {"hstore": _hstore, "vector": _vector, "halfvec": _vector}
"""Types of extensions, whose object ids differ between databases."""

ENCODINGS: dict[Convert | None, str] = {decimal: "decimal", _money: "decimal", _json: "json", _hstore: "json"}
"""What a text means that is not to stay one, in the words of `operators/changes/values.py`."""
