"""Values of MySQL and MariaDB, from their bytes in the binlog or as SELECT gives them, to the JSON of events.

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
are written as `\\xff`: nothing that a server may send stops a capture but a type that nobody here knows.
"""

from __future__ import annotations

import ipaddress
import re
import struct
import uuid
from base64 import b64encode
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import msgspec

from events.binlog import BinlogColumn
from operators.capture.envelope import to_json
from operators.capture.mysql_binlog import Described

Read = Callable[[bytes, int], tuple[bytes, int]]
"""Reads the value that stands at a place in the binlog: returns its JSON, and where it ends."""
Convert = Callable[[Any], bytes]
"""Makes JSON of a value, other than null, that was read by SELECT: text, or bytes where it is no text."""
Decode = Callable[[bytes], str]

BINARY = 63
"""Number of the collation of bytes."""

_CODECS = {
    "latin1": "cp1252", "latin2": "iso8859_2", "latin5": "iso8859_9", "latin7": "iso8859_13", "greek": "iso8859_7",
    "hebrew": "iso8859_8", "ascii": "ascii", "ucs2": "utf_16_be", "utf16": "utf_16_be", "utf16le": "utf_16_le",
    "utf32": "utf_32_be", "koi8r": "koi8_r", "koi8u": "koi8_u", "cp1250": "cp1250", "cp1251": "cp1251",
    "cp1256": "cp1256", "cp1257": "cp1257", "cp850": "cp850", "cp852": "cp852", "cp866": "cp866", "cp932": "cp932",
    "sjis": "cp932", "ujis": "euc_jp", "eucjpms": "euc_jp", "euckr": "euc_kr", "gb2312": "gb2312", "gbk": "gbk",
    "gb18030": "gb18030", "big5": "big5", "tis620": "tis_620", "macroman": "mac_roman", "macce": "mac_latin2",
}  # fmt: skip
"""Python's names of the character sets of MySQL; all others are UTF-8."""

_INTEGERS = {1: 1, 2: 2, 9: 3, 3: 4, 8: 8}
_DIGITS, _SIZES = 9, (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
_MICROS, _MILLIS, _FRACTION = 6, 3, 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SRID = struct.Struct("<I")
_WKB_POINT = struct.Struct("<BIdd")
_POINT = 1
_LENGTHS = 255


def reader_of(column: Described, type_: str, charset: str) -> Read:
    """Return what reads values of a column in the binlog.

    :arg type_: Its type by the catalog; empty if that is not known.
    :arg charset: Its character set; empty for none.
    :raises ValueError: When the type is none that is known here.
    """
    kind, meta = column.type, column.meta
    if kind in _INTEGERS:
        return partial(_integer, _INTEGERS[kind], not column.unsigned)
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _PRECISE:
        return partial(_PRECISE[kind], meta[0], (meta[0] + 1) // 2)
    if kind == 246:  # noqa: PLR2004
        return _decimal_reader(meta[0], meta[1])
    if kind == 16:  # noqa: PLR2004
        bits = meta[1] * 8 + meta[0]
        return partial(_fixed, (bits + 7) // 8, bit if bits == 1 else bits_)
    if kind in (247, 248):
        members = [decoder_of(charset)(member) for member in column.members]
        return partial(_enum if kind == 247 else _set, meta[1], members)  # noqa: PLR2004
    if kind == 255:  # noqa: PLR2004
        return partial(_prefixed, meta[0], point if column.geometry == _POINT else geometry)
    if kind == 245:  # noqa: PLR2004
        return partial(_prefixed, meta[0], _json_of_binary)
    if kind in (15, 252, 253, 254):
        return _text_reader(column, type_, charset)
    message = f"the column {column.name} has a type that is not known here ({kind})"
    raise ValueError(message)


def converter_of(column: BinlogColumn) -> Convert:
    """Return what converts values of a column that were read by SELECT, in a session in UTC and UTF-8."""
    found = _CONVERTS.get(column.type)
    if column.type == "bit":
        return bit if column.declared == "bit(1)" else bits_
    if column.type == "timestamp":
        digits = re.search(r"\((\d)\)", column.declared)
        return partial(_instant_text, int(digits[1]) if digits else 0)
    return found or (geometry if column.type in _GEOMETRIES else text)


def encoding_of(column: Described, type_: str) -> str:
    """Return what texts of the column mean, in the words of `operators/changes/values.py`; empty if they are texts."""
    if column.type == 246:  # noqa: PLR2004
        return "decimal"
    return "json" if column.type == 245 or type_ == "json" else ""  # noqa: PLR2004


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
    day, _, clock = value.partition(" ")
    return f'"{day}T{_clock(clock)}"'.encode() if clock else f'"{day}"'.encode()


def _integer(size: int, signed: bool, raw: bytes, at: int) -> tuple[bytes, int]:
    end = at + size
    return b"%d" % int.from_bytes(raw[at:end], "little", signed=signed), end


def _float(raw: bytes, at: int) -> tuple[bytes, int]:
    return single(struct.unpack_from("<f", raw, at)[0]), at + 4


def _double(raw: bytes, at: int) -> tuple[bytes, int]:
    return double(struct.unpack_from("<d", raw, at)[0]), at + 8


def _year(raw: bytes, at: int) -> tuple[bytes, int]:
    return b"%d" % (raw[at] and 1900 + raw[at]), at + 1


def _date(raw: bytes, at: int) -> tuple[bytes, int]:
    days = int.from_bytes(raw[at : at + 3], "little")
    return b'"%04d-%02d-%02d"' % (days >> 9, days >> 5 & 15, days & 31), at + 3


def _old_timestamp(raw: bytes, at: int) -> tuple[bytes, int]:
    return _instant(int.from_bytes(raw[at : at + 4], "little"), 0, 0), at + 4


def _old_datetime(raw: bytes, at: int) -> tuple[bytes, int]:
    digits = b"%014d" % int.from_bytes(raw[at : at + 8], "little")
    parts = digits[:4], digits[4:6], digits[6:8], digits[8:10], digits[10:12], digits[12:]
    return b'"%b-%b-%bT%b:%b:%b"' % parts, at + 8


def _old_time(raw: bytes, at: int) -> tuple[bytes, int]:
    clock = int.from_bytes(raw[at : at + 3], "little", signed=True)
    hours, rest = divmod(abs(clock), 10_000)
    return b'"%b%02d:%02d:%02d"' % (b"-" if clock < 0 else b"", hours, *divmod(rest, 100)), at + 3


def _datetime(digits: int, size: int, raw: bytes, at: int) -> tuple[bytes, int]:
    end = at + 5
    packed = int.from_bytes(raw[at:end], "big") - 0x8000000000
    months, days = divmod(packed >> 22, 13), packed >> 17 & 31
    made = (*months, days, packed >> 12 & 31, packed >> 6 & 63, packed & 63)
    parts = _parts(_micros(raw, end, size)) if digits else b""
    return b'"%04d-%02d-%02dT%02d:%02d:%02d%b"' % (*made, parts), end + size


def _timestamp(digits: int, size: int, raw: bytes, at: int) -> tuple[bytes, int]:
    end = at + 4
    return _instant(int.from_bytes(raw[at:end], "big"), _micros(raw, end, size), digits), end + size


def _time(digits: int, size: int, raw: bytes, at: int) -> tuple[bytes, int]:
    end = at + 3 + size
    packed = int.from_bytes(raw[at:end], "big") - (0x800000 << 8 * size)
    clock, parts = divmod(abs(packed), 1 << 8 * size)
    micros = parts * 100 ** (3 - size) if digits else 0
    made = clock >> 12 & 0x3FF, clock >> 6 & 63, clock & 63
    return b'"%b%02d:%02d:%02d%b"' % (b"-" if packed < 0 else b"", *made, _parts(micros)), end


def _micros(raw: bytes, at: int, size: int) -> int:
    return int.from_bytes(raw[at : at + size], "big") * 100 ** (3 - size) if size else 0


def _parts(micros: int) -> bytes:
    if not micros:
        return b""
    return b".%06d" % micros if micros % 1000 else b".%03d" % (micros // 1000)


def _clock(clock: str) -> str:
    whole, _, parts = clock.partition(".")
    return whole + _parts(int(f"{parts:0<{_MICROS}}")).decode() if parts else whole


def _instant(seconds: int, micros: int, digits: int) -> bytes:
    if not seconds and not micros:
        written = "0000-00-00T00:00:00"
    else:
        written = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    parts = f".{micros:06d}"[: digits + 1] if digits else ""
    return f'"{written}{parts}Z"'.encode()


def _instant_text(digits: int, value: str) -> bytes:
    whole, _, parts = value.replace(" ", "T").partition(".")
    return f'"{whole}.{parts:0<{digits}}Z"'.encode() if digits else f'"{whole}Z"'.encode()


def _decimal_reader(precision: int, scale: int) -> Read:
    """Return what reads decimals: nine digits in four bytes, the sign in the first bit, negative ones inverted."""
    wholes, first = divmod(precision - scale, _DIGITS)
    parts, last = divmod(scale, _DIGITS)
    widths = [(_SIZES[first], first)] * bool(first) + [(4, _DIGITS)] * wholes
    fractions = [(4, _DIGITS)] * parts + [(_SIZES[last], last)] * bool(last)
    whole_size = sum(size for size, _ in widths)
    size = whole_size + sum(size for size, _ in fractions)
    inverted = (1 << 8 * size) - 1

    def read(raw: bytes, at: int) -> tuple[bytes, int]:
        end = at + size
        number = int.from_bytes(raw[at:end], "big") ^ (0x80 << 8 * (size - 1))
        negative = raw[at] < 0x80  # noqa: PLR2004  # a sign bit
        packed = (number ^ inverted if negative else number).to_bytes(size, "big")
        digits, spot = "", 0
        for width, count in (*widths, *fractions):
            digits += f"{int.from_bytes(packed[spot : spot + width], 'big'):0{count}d}"
            spot += width
        whole = digits[: precision - scale].lstrip("0") or "0"
        fraction = f".{digits[precision - scale :]}" if scale else ""
        return f'"{"-" if negative else ""}{whole}{fraction}"'.encode(), end

    return read


def _fixed(size: int, convert: Convert, raw: bytes, at: int) -> tuple[bytes, int]:
    return convert(raw[at : at + size]), at + size


def _prefixed(size: int, convert: Convert, raw: bytes, at: int) -> tuple[bytes, int]:
    begin = at + size
    end = begin + int.from_bytes(raw[at:begin], "little")
    return convert(raw[begin:end]), end


def _enum(size: int, members: Sequence[str], raw: bytes, at: int) -> tuple[bytes, int]:
    number, end = int.from_bytes(raw[at : at + size], "little"), at + size
    # 0 is what the server stores for a value that is none of them.
    return to_json(members[number - 1] if 0 < number <= len(members) else ""), end


def _set(size: int, members: Sequence[str], raw: bytes, at: int) -> tuple[bytes, int]:
    number, end = int.from_bytes(raw[at : at + size], "little"), at + size
    return to_json(",".join(member for nth, member in enumerate(members) if number >> nth & 1)), end


def _text_reader(column: Described, type_: str, charset: str) -> Read:
    kind, meta = column.type, column.meta
    if kind == 252:  # noqa: PLR2004
        prefix, width = meta[0], 0
    else:
        # Of a fixed length, its kind comes first, and what it has beyond 255 behind it.
        width = meta[1] + (meta[2] << 8 if len(meta) > 2 else 0) if kind == 254 else int.from_bytes(meta, "little")  # noqa: PLR2004
        prefix = 2 if width > _LENGTHS else 1
    if type_ in _OWN:
        return partial(_prefixed, prefix, partial(_own, _OWN[type_], width))
    if column.collation == BINARY:
        padded = width if kind == 254 else 0  # noqa: PLR2004
        return partial(_prefixed, prefix, lambda value: binary(value.ljust(padded, b"\0")))
    decode = decoder_of(charset)
    return partial(_prefixed, prefix, lambda value: to_json(decode(value)))


def _own(written: Callable[[bytes], str], width: int, value: bytes) -> bytes:
    # Zeros at the end are not stored.
    try:
        return to_json(written(value.ljust(width, b"\0")))
    except ValueError:
        return binary(value)


def _uuid(value: bytes) -> str:
    return str(uuid.UUID(bytes=value))


def _address(value: bytes) -> str:
    return str(ipaddress.ip_address(value))


def _json_of_binary(raw: bytes) -> bytes:
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
_FIXED: dict[int, Read] = {
    4: _float,
    5: _double,
    7: _old_timestamp,
    10: _date,
    11: _old_time,
    12: _old_datetime,
    13: _year,
    14: _date,
}
_PRECISE: dict[int, Callable[[int, int, bytes, int], tuple[bytes, int]]] = {17: _timestamp, 18: _datetime, 19: _time}
_OWN: dict[str, Callable[[bytes], str]] = {"uuid": _uuid, "inet6": _address, "inet4": _address}

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
    "time": lambda value: f'"{_clock(value)}"'.encode(),
    "point": point,
    **dict.fromkeys(_BINARIES, binary),
}
