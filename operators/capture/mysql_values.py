"""Values of MySQL and MariaDB in the binlog, read from their bytes; what they become, `mysql_json` says."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial

from operators.capture import mysql_binlog as binlog
from operators.capture.envelope import to_json
from operators.capture.mysql_binlog import Described
from operators.capture.mysql_json import (
    OWN,
    Convert,
    Decode,
    binary,
    bit,
    bits_,
    decoder_of,
    double,
    geometry,
    instant,
    json_of_binary,
    own,
    parts_of,
    point,
    single,
)

Read = Callable[[bytes, int], tuple[bytes, int]]
"""Reads the value that stands at a place: returns its JSON, and where it ends."""

BINARY = 63
"""Number of the collation of bytes."""

_INTEGERS = {binlog.TINY: 1, binlog.SHORT: 2, binlog.INT24: 3, binlog.LONG: 4, binlog.LONGLONG: 8}
_DIGITS, _SIZES = 9, (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
_NEGATIVE = 0x80
_POINT = 1
_LENGTHS = 255


def reader_of(column: Described, type_: str, charset: str) -> Read:
    """Return what reads values of a column.

    :arg type_: Its type by the catalog; empty if that is not known.
    :arg charset: Its character set; empty for none.
    :raises ValueError: When the type is none that is known here.
    """
    kind = column.type
    if kind in _INTEGERS:
        return partial(_integer, _INTEGERS[kind], not column.unsigned)
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _PRECISE:
        digits = column.meta[0]
        return partial(_PRECISE[kind], digits, (digits + 1) // 2)
    if kind in _TEXTS:
        return _text_reader(column, type_, charset)
    if kind in _MAKERS:
        return _MAKERS[kind](column, decoder_of(charset))
    message = f"the column {column.name} has a type that is not known here ({kind})"
    raise ValueError(message)


def encoding_of(column: Described, type_: str) -> str:
    """Return what texts of the column mean, in the words of `operators/changes/values.py`; empty if they are texts."""
    if column.type == binlog.NEWDECIMAL:
        return "decimal"
    return "json" if column.type == binlog.JSON or type_ == "json" else ""


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
    return instant(int.from_bytes(raw[at : at + 4], "little"), 0, 0), at + 4


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
    parts = parts_of(_micros(raw, end, size)) if digits else b""
    return b'"%04d-%02d-%02dT%02d:%02d:%02d%b"' % (*made, parts), end + size


def _timestamp(digits: int, size: int, raw: bytes, at: int) -> tuple[bytes, int]:
    end = at + 4
    return instant(int.from_bytes(raw[at:end], "big"), _micros(raw, end, size), digits), end + size


def _time(digits: int, size: int, raw: bytes, at: int) -> tuple[bytes, int]:
    end = at + 3 + size
    packed = int.from_bytes(raw[at:end], "big") - (0x800000 << 8 * size)
    clock, parts = divmod(abs(packed), 1 << 8 * size)
    micros = parts * 100 ** (3 - size) if digits else 0
    made = clock >> 12 & 0x3FF, clock >> 6 & 63, clock & 63
    return b'"%b%02d:%02d:%02d%b"' % (b"-" if packed < 0 else b"", *made, parts_of(micros)), end


def _micros(raw: bytes, at: int, size: int) -> int:
    return int.from_bytes(raw[at : at + size], "big") * 100 ** (3 - size) if size else 0


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
        negative = raw[at] < _NEGATIVE
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
    if kind == binlog.BLOB:
        prefix, width = meta[0], 0
    else:
        # Of a fixed length, its kind comes first.
        width = int.from_bytes(meta[1:] if kind == binlog.STRING else meta, "little")
        prefix = 2 if width > _LENGTHS else 1
    if type_ in OWN:
        return partial(_prefixed, prefix, partial(own, OWN[type_], width))
    if column.collation == BINARY:
        padded = width if kind == binlog.STRING else 0
        return partial(_prefixed, prefix, lambda value: binary(value.ljust(padded, b"\0")))
    decode = decoder_of(charset)
    return partial(_prefixed, prefix, lambda value: to_json(decode(value)))


def _bit_reader(column: Described, decode: Decode) -> Read:
    rest, whole = column.meta
    bits = 8 * whole + rest
    return partial(_fixed, (bits + 7) // 8, bit if bits == 1 else bits_)


def _member_reader(column: Described, decode: Decode) -> Read:
    members = [decode(member) for member in column.members]
    return partial(_enum if column.type == binlog.ENUM else _set, column.meta[1], members)


_FIXED: dict[int, Read] = {
    binlog.FLOAT: _float,
    binlog.DOUBLE: _double,
    binlog.TIMESTAMP: _old_timestamp,
    binlog.DATE: _date,
    binlog.TIME: _old_time,
    binlog.DATETIME: _old_datetime,
    binlog.YEAR: _year,
    binlog.NEWDATE: _date,
}
_PRECISE: dict[int, Callable[[int, int, bytes, int], tuple[bytes, int]]] = {
    binlog.TIMESTAMP2: _timestamp,
    binlog.DATETIME2: _datetime,
    binlog.TIME2: _time,
}
_TEXTS = frozenset({binlog.VARCHAR, binlog.BLOB, binlog.VAR_STRING, binlog.STRING})
_MAKERS: dict[int, Callable[[Described, Decode], Read]] = {
    binlog.NEWDECIMAL: lambda column, _: _decimal_reader(*column.meta),
    binlog.BIT: _bit_reader,
    binlog.ENUM: _member_reader,
    binlog.SET: _member_reader,
    binlog.JSON: lambda column, _: partial(_prefixed, column.meta[0], json_of_binary),
    binlog.GEOMETRY: lambda column, _: partial(
        _prefixed, column.meta[0], point if column.geometry == _POINT else geometry
    ),
}
