r"""Values of MySQL and MariaDB as JSON of events, whether they were streamed or read.

As those of PostgreSQL (`postgres_values`): an event without a schema must say by itself what its values are, and a row
must look the same whether it was read or streamed. `source.columns` names the columns whose texts are numbers or JSON:

    tinyint … bigint, unsigned ones, year      numbers
    float, double                              numbers, as short as tells them apart
    decimal                                    text with every digit: "12.50"; within a key, a number
    bit(1)                                     true, false
    bit(n)                                     base64 of its bytes, lowest first
    date, time, datetime                       ISO 8601 without a zone: "2024-05-01T12:00:00.500"; "-838:59:59"
    timestamp                                  ISO 8601 in UTC, all its digits: "2024-05-01T12:00:00.500000Z"
    char, varchar, text, enum, set             text; a set's members with commas between them
    binary, varbinary, blob                    base64; `binary` with all its bytes
    json                                       JSON as text
    point                                      {"x": 1.0, "y": 2.0, "wkb": base64, "srid": null}
    other geometries                           {"wkb": base64, "srid": null}
    uuid, inet4, inet6 (MariaDB)               text

Dates that are none, `0000-00-00`, stay as the database writes them. Texts in bytes that are none of their character set
are written as `\xff`: nothing that a server may send stops a capture but a type that nobody here knows.
"""

from __future__ import annotations

import ipaddress
import re
import struct
import uuid
from base64 import b64encode
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import msgspec

from events.binlog import BinlogColumn
from operators.capture.envelope import to_json

Convert = Callable[[Any], bytes]
"""Makes JSON of a value, other than null: of a text, or of bytes where it is no text."""
Decode = Callable[[bytes], str]

_CODECS = {
    "latin1": "cp1252", "latin2": "iso8859_2", "latin5": "iso8859_9", "latin7": "iso8859_13", "greek": "iso8859_7",
    "hebrew": "iso8859_8", "ascii": "ascii", "ucs2": "utf_16_be", "utf16": "utf_16_be", "utf16le": "utf_16_le",
    "utf32": "utf_32_be", "koi8r": "koi8_r", "koi8u": "koi8_u", "cp1250": "cp1250", "cp1251": "cp1251",
    "cp1256": "cp1256", "cp1257": "cp1257", "cp850": "cp850", "cp852": "cp852", "cp866": "cp866", "cp932": "cp932",
    "sjis": "cp932", "ujis": "euc_jp", "eucjpms": "euc_jp", "euckr": "euc_kr", "gb2312": "gb2312", "gbk": "gbk",
    "gb18030": "gb18030", "big5": "big5", "tis620": "tis_620", "macroman": "mac_roman", "macce": "mac_latin2",
}  # fmt: skip
"""Python's names of the character sets of MySQL; all others are UTF-8."""

_MICROS = 6
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SRID = struct.Struct("<I")
_WKB_POINT = struct.Struct("<BIdd")


def converter_of(column: BinlogColumn) -> Convert:
    """Return what converts values of a column that were read by SELECT, in a session in UTC and UTF-8."""
    found = _CONVERTS.get(column.type)
    if column.type == "bit":
        return bit if column.declared == "bit(1)" else bits_
    if column.type == "timestamp":
        digits = re.search(r"\((\d)\)", column.declared)
        return partial(instant_text, int(digits[1]) if digits else 0)
    return found or (geometry if column.type in _GEOMETRIES else text)


def decoder_of(charset: str) -> Decode:
    """Return what makes text of bytes in a character set of MySQL."""
    codec = _CODECS.get(charset, "utf_8")
    return _western if codec == "cp1252" else partial(_decoded, codec)


def text(value: Any) -> bytes:
    """Write a text."""
    return to_json(value if isinstance(value, str) else _decoded("utf_8", value))


def decimal(value: str) -> bytes:
    """Write a decimal number: its digits as text, without what ZEROFILL has put before them."""
    sign, digits = ("-", value[1:]) if value.startswith("-") else ("", value)
    whole, point_, parts = digits.partition(".")
    return f'"{sign}{whole.lstrip("0") or "0"}{point_}{parts}"'.encode()


def binary(value: bytes | str) -> bytes:
    """Write bytes as base64."""
    return b'"%b"' % b64encode(value if isinstance(value, bytes) else value.encode(errors="surrogateescape"))


def bit(value: bytes) -> bytes:
    """Write a single bit."""
    return b"true" if any(value) else b"false"


def bits_(value: bytes) -> bytes:
    """Write bits, which MySQL writes highest first."""
    return binary(value[::-1])


def geometry(value: bytes) -> bytes:
    """Write a geometry: four bytes of its reference system, and WKB."""
    srid = _SRID.unpack_from(value)[0] if len(value) >= _SRID.size else 0
    return b'{"wkb":%b,"srid":%b}' % (binary(value[_SRID.size :]), to_json(srid or None))


def point(value: bytes) -> bytes:
    """Write a point; of one that is none in little-endian WKB, nothing but the WKB."""
    if len(value) != _SRID.size + _WKB_POINT.size or value[4:9] != b"\1\1\0\0\0":
        return geometry(value)
    _, _, x, y = _WKB_POINT.unpack_from(value, _SRID.size)
    return b'{"x":%b,"y":%b,%b' % (to_json(x), to_json(y), geometry(value)[1:])


def single(value: float) -> bytes:
    """Write a number of single precision in as few digits as tell it apart from its neighbours."""
    for digits in range(6, 9):
        written = f"{value:.{digits}g}"
        if struct.unpack("<f", struct.pack("<f", float(written)))[0] == value:
            break
    else:
        written = f"{value:.9g}"
    return repr(float(written)).encode()


def double(value: float | str) -> bytes:
    """Write a number of double precision."""
    return repr(float(value)).encode()


def moment(value: str) -> bytes:
    """Write a date and a time that have no zone; of parts of a second none, three digits or six."""
    day, _, rest = value.partition(" ")
    return f'"{day}T{clock(rest)}"'.encode() if rest else f'"{day}"'.encode()


def parts_of(micros: int) -> bytes:
    """Return parts of a second in three digits or six, with the point; nothing if there are none."""
    if not micros:
        return b""
    return b".%06d" % micros if micros % 1000 else b".%03d" % (micros // 1000)


def clock(value: str) -> str:
    """Return a time as SELECT gives it, without digits that say nothing."""
    whole, _, parts = value.partition(".")
    return whole + parts_of(int(f"{parts:0<{_MICROS}}")).decode() if parts else whole


def instant(seconds: int, micros: int, digits: int) -> bytes:
    """Write a moment in UTC with so many digits behind the point; zero is MySQL's word for none."""
    if not seconds and not micros:
        written = "0000-00-00T00:00:00"
    else:
        written = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    parts = f".{micros:06d}"[: digits + 1] if digits else ""
    return f'"{written}{parts}Z"'.encode()


def instant_text(digits: int, value: str) -> bytes:
    """Write a moment in UTC as SELECT gives it."""
    whole, _, parts = value.replace(" ", "T").partition(".")
    return f'"{whole}.{parts:0<{digits}}Z"'.encode() if digits else f'"{whole}Z"'.encode()


def own(written: Callable[[bytes], str], width: int, value: bytes) -> bytes:
    """Write a value of one of MariaDB's own types."""
    # Zeros at the end are not stored.
    try:
        return to_json(written(value.ljust(width, b"\0")))
    except ValueError:
        return binary(value)


def uuid_text(value: bytes) -> str:
    """Return a UUID as text."""
    return str(uuid.UUID(bytes=value))


def address_text(value: bytes) -> str:
    """Return an address of IPv4 or IPv6 as text."""
    return str(ipaddress.ip_address(value))


def json_of_binary(raw: bytes) -> bytes:
    """Write MySQL's JSON, which it stores in a form of its own."""
    from pymysqlreplication.json_binary import parse_json

    return to_json(msgspec.json.encode(_plain(parse_json(raw[0], raw[1:])) if raw else None).decode())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, bytes):
        return _decoded("utf_8", value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _decoded(codec: str, raw: bytes) -> str:
    return raw.decode(codec, "backslashreplace")


def _western(raw: bytes) -> str:
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        # MySQL's latin1 has the five bytes as well that cp1252 leaves out.
        return "".join(bytes((byte,)).decode("latin_1" if byte in _UNUSED else "cp1252") for byte in raw)


_UNUSED = frozenset(b"\x81\x8d\x8f\x90\x9d")
_BINARIES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")
_GEOMETRIES = frozenset(
    {"geometry", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection"}
    | {"geomcollection"}
)
_CONVERTS: dict[str, Convert] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), lambda value: b"%d" % int(value)),
    "decimal": decimal,
    "float": lambda value: single(float(value)),
    "double": double,
    "date": text,
    "datetime": moment,
    "time": lambda value: f'"{clock(value)}"'.encode(),
    "point": point,
    **dict.fromkeys(_BINARIES, binary),
}
OWN: dict[str, Callable[[bytes], str]] = {"uuid": uuid_text, "inet6": address_text, "inet4": address_text}
"""Types of MariaDB that are bytes to the binlog."""
