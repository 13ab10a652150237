"""The events of a binlog, taken apart as far as it does not depend on the types of columns.

MySQL's documentation of its source: "Binlog Event", `Table_map_event`, `Rows_event`; MariaDB's knowledge base:
"Replication Protocol" and "Compressed binlog events". An event is its header of 19 bytes and its body, without the
checksum.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

QUERY, ROTATE, FORMAT, XID, LOAD_DATA, TABLE_MAP, HEARTBEAT = 2, 4, 15, 16, 18, 19, 27
GTID, ANONYMOUS_GTID, XA_PREPARE, PARTIAL_UPDATE, PAYLOAD = 33, 34, 38, 39, 40
MARIADB_GTID, QUERY_COMPRESSED = 162, 165
INSERT, UPDATE, DELETE = "insert", "update", "delete"
ROWS = {
    23: INSERT, 24: UPDATE, 25: DELETE, 30: INSERT, 31: UPDATE, 32: DELETE,
    166: INSERT, 167: UPDATE, 168: DELETE, 169: INSERT, 170: UPDATE, 171: DELETE,
}  # fmt: skip
"""Kinds of events that hold rows: of version 1 and 2, and MariaDB's compressed ones of both."""
_VERSION_2 = frozenset({30, 31, 32, 169, 170, 171})
_COMPRESSED = frozenset(range(166, 172))

HEADER = struct.Struct("<IBIIIH")
"""Time (s), kind, server's number, size, place behind it, flags."""

CUT_OFF = "it is cut off, or has more than it should"
OF_SESSION = 4
"""Flag of an event: what it says is of its session alone, or may be."""
STANDALONE, PREPARED_XA = 1, 64
"""Flags of MariaDB's GTIDs: no commit follows; a part of a distributed transaction."""

TINY, SHORT, LONG, FLOAT, DOUBLE, TIMESTAMP, LONGLONG, INT24 = 1, 2, 3, 4, 5, 7, 8, 9
DATE, TIME, DATETIME, YEAR, NEWDATE, VARCHAR, BIT = 10, 11, 12, 13, 14, 15, 16
TIMESTAMP2, DATETIME2, TIME2, JSON, NEWDECIMAL, ENUM, SET = 17, 18, 19, 245, 246, 247, 248
BLOB, VAR_STRING, STRING, GEOMETRY = 252, 253, 254, 255
"""Types of columns."""
_VECTOR, _BLOB_COMPRESSED, _VARCHAR_COMPRESSED = 242, 140, 141
_ONE_BYTE = frozenset({FLOAT, DOUBLE, BLOB, GEOMETRY, JSON, TIMESTAMP2, DATETIME2, TIME2, _VECTOR, _BLOB_COMPRESSED})
_TWO_BYTES = frozenset({VARCHAR, BIT, NEWDECIMAL, STRING, ENUM, SET, VAR_STRING, _VARCHAR_COMPRESSED})
_NUMERIC = frozenset({TINY, SHORT, INT24, LONG, LONGLONG, NEWDECIMAL, FLOAT, DOUBLE, YEAR})
_CHARACTER = frozenset({STRING, VAR_STRING, VARCHAR, BLOB})


class Described(NamedTuple):
    """A column as a table's map describes it.

    :arg type: Number of its type, the real one of enums and sets.
    :arg meta: The bytes that its type has beside it.
    :arg collation: Number of its collation; 0 for none.
    :arg members: Of an enum or set, in the server's bytes.
    :arg geometry: Number of its kind of geometry; -1 for none.
    """

    name: str
    type: int
    meta: bytes
    unsigned: bool
    collation: int
    members: tuple[bytes, ...]
    geometry: int


class Mapped(NamedTuple):
    """A table's map: what rows that follow it are like.

    :arg named: Whether it says the names of columns (binlog_row_metadata=FULL).
    """

    database: str
    table: str
    columns: tuple[Described, ...]
    key: tuple[str, ...]
    named: bool


class Rows(NamedTuple):
    """Rows of one table, still in bytes.

    :arg width: How many columns the table has.
    :arg before: Columns that are there of a row before its change, as bits; all of them unless the image is not full.
    :arg after: The same of rows after it.
    """

    table: int
    kind: str
    width: int
    before: int
    after: int
    data: bytes


def length(payload: bytes, at: int) -> tuple[int, int]:
    """Return the packed number that stands at `at`, and where it ends."""
    first = payload[at]
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first, 0)
    if not size:
        return first, at + 1
    return int.from_bytes(payload[at + 1 : at + 1 + size], "little"), at + 1 + size


def names_of(body: bytes) -> tuple[str, str, int]:
    """Read of a table's map its database and table, and where the rest of it begins."""
    end = 9 + body[8]
    database, at = body[9:end], end + 1
    end = at + 1 + body[at]
    return database.decode(errors="replace"), body[at + 1 : end].decode(errors="replace"), end + 1


def mapped(body: bytes, *, mariadb: bool) -> Mapped:
    """Read a table's map.

    :raises ValueError, IndexError: When it is cut off.
    """
    database, table, at = names_of(body)
    count, at = length(body, at)
    types, at = list(body[at : at + count]), at + count
    size, at = length(body, at)
    metas = list(_metas(types, body[at : at + size]))
    at += size + (count + 7) // 8
    said: dict[int, bytes] = {}
    while at < len(body):
        kind = body[at]
        size, at = length(body, at + 1)
        said[kind], at = body[at : at + size], at + size
    for place, meta in enumerate(metas):
        if types[place] == STRING and meta[0] in (ENUM, SET):
            types[place] = meta[0]
    # MariaDB gives its geometries a character set as well.
    character = _CHARACTER | {GEOMETRY} if mariadb else _CHARACTER
    collations = _collations(types, character, said.get(2), said.get(3))
    collations |= _collations(types, frozenset({ENUM, SET}), said.get(10), said.get(11))
    sets, enums = _members(said.get(5, b"")), _members(said.get(6, b""))
    geometries = iter(list(_numbers(said.get(7, b""))))
    names = [name.decode(errors="replace") for name in _texts(said.get(4, b""))]
    signs = _bits(said.get(1, b""))
    columns = []
    for place, (type_, meta) in enumerate(zip(types, metas, strict=True)):
        unsigned = next(signs, False) if type_ in _NUMERIC else False
        members = next(sets, ()) if type_ == SET else next(enums, ()) if type_ == ENUM else ()
        geometry = next(geometries, -1) if type_ == GEOMETRY else -1
        name = names[place] if place < len(names) else ""
        columns.append(Described(name, type_, meta, unsigned, collations.get(place, 0), members, geometry))
    places = list(_numbers(said.get(8, b""))) or list(_numbers(said.get(9, b"")))[::2]
    key = tuple(columns[place].name for place in sorted(places))
    return Mapped(database, table, tuple(columns), key, len(names) == count)


def rows_of(kind: int, body: bytes) -> Rows:
    """Read what holds rows, up to the rows themselves.

    :raises ValueError, IndexError, zlib.error: When it is cut off.
    """
    table = int.from_bytes(body[:6], "little")
    at = 8
    if kind in _VERSION_2:
        at += int.from_bytes(body[8:10], "little")
    width, at = length(body, at)
    size = (width + 7) // 8
    before = after = int.from_bytes(body[at : at + size], "little")
    at += size
    if ROWS[kind] == UPDATE:
        after, at = int.from_bytes(body[at : at + size], "little"), at + size
    data = _inflated(body[at:]) if kind in _COMPRESSED else body[at:]
    return Rows(table, ROWS[kind], width, before, after, data)


def statement(kind: int, body: bytes) -> tuple[str, str]:
    """Read a statement: the database that was chosen when it ran, and its text."""
    names, status = body[8], int.from_bytes(body[11:13], "little")
    # LOAD DATA has numbers of its file before them.
    at = (26 if kind == LOAD_DATA else 13) + status
    database, at = body[at : at + names], at + names + 1
    text = _inflated(body[at:]) if kind == QUERY_COMPRESSED else body[at:]
    return database.decode(errors="replace"), text.decode(errors="replace")


def mysql_gtid(body: bytes) -> str:
    """Read MySQL's GTID."""
    digits = body[1:17].hex()
    parts = digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]
    return f"{'-'.join(parts)}:{int.from_bytes(body[17:25], 'little')}"


def mariadb_gtid(server: int, body: bytes) -> tuple[int, str, int]:
    """Read MariaDB's GTID: its domain, itself, and its flags."""
    sequence, domain = int.from_bytes(body[:8], "little"), int.from_bytes(body[8:12], "little")
    return domain, f"{domain}-{server}-{sequence}", body[12]


def _inflated(packed: bytes) -> bytes:
    """Return what MariaDB has compressed: a byte whose last three bits say how long the length is, the length, zlib."""
    size = packed[0] & 0x07
    return zlib.decompress(packed[1 + size :])


def _metas(types: list[int], block: bytes) -> Iterator[bytes]:
    at = 0
    for type_ in types:
        size = 1 if type_ in _ONE_BYTE else 2 if type_ in _TWO_BYTES else 0
        meta, at = block[at : at + size], at + size
        if len(meta) < size:
            raise ValueError(CUT_OFF)
        if type_ == STRING and meta[0] & 0x30 != 0x30:  # noqa: PLR2004  # lengths from 256 on borrow two of its bits
            yield bytes((STRING, meta[1], (meta[0] & 0x30 ^ 0x30) >> 4))
        else:
            yield meta


def _collations(types: list[int], among: frozenset[int], default: bytes | None, each: bytes | None) -> dict[int, int]:
    places = [place for place, type_ in enumerate(types) if type_ in among]
    if default:
        first, *pairs = _numbers(default)
        others = dict(zip(pairs[::2], pairs[1::2], strict=True))
        return {place: others.get(nth, first) for nth, place in enumerate(places)}
    return dict(zip(places, _numbers(each or b""), strict=False))


def _members(block: bytes) -> Iterator[tuple[bytes, ...]]:
    at = 0
    while at < len(block):
        count, at = length(block, at)
        members = []
        for _ in range(count):
            size, at = length(block, at)
            members.append(block[at : at + size])
            at += size
        yield tuple(members)


def _texts(block: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(block):
        size, at = length(block, at)
        yield block[at : at + size]
        at += size


def _numbers(block: bytes) -> Iterator[int]:
    at = 0
    while at < len(block):
        number, at = length(block, at)
        yield number


def _bits(block: bytes) -> Iterator[bool]:
    for byte in block:
        for bit in range(7, -1, -1):
            yield bool(byte >> bit & 1)
