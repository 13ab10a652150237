"""The messages of pgoutput that frame and explain changes, taken apart.

PostgreSQL's documentation: "Logical Replication Message Formats", protocol version 1. Changes themselves are read by
`Table.values`: nearly all messages are changes, and what a table is like says how.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from events.capture import Column

BEGIN, COMMIT, RELATION, INSERT, UPDATE, DELETE = b"BCRIUD"
TRUNCATE, MESSAGE, TYPE, ORIGIN = b"TMYO"
NEW, OLD, KEY = b"NOK"
"""Kinds of tuples: the row after a change, the whole row before it, its replica identity before it."""

EPOCH_MICROS = 946_684_800_000_000
"""2000-01-01, from where PostgreSQL counts, in µs since 1970-01-01."""

CUT_OFF = "it is cut off, or has more than it should"

_BEGIN = struct.Struct(">qqI")
_COMMIT = struct.Struct(">Bqqq")
_COLUMN = struct.Struct(">Ii")
_TRUNCATE = struct.Struct(">IB")
_MESSAGE = struct.Struct(">Bq")
_INT = struct.Struct(">I")
_FLAGGED = 1


class Begun(NamedTuple):
    """A transaction begins: where its commit's record begins, when that was (µs since 1970-01-01), its id."""

    commit: int
    micros: int
    xid: int


class Described(NamedTuple):
    """What a table is like.

    :arg identity: `pg_class.relreplident`.
    :arg flagged: Columns of its replica identity; all of them if that is the whole row.
    """

    oid: int
    schema: str
    table: str
    identity: str
    columns: tuple[Column, ...]
    flagged: tuple[str, ...]


class Said(NamedTuple):
    """A logical message."""

    lsn: int
    prefix: bytes
    content: bytes


def begun(payload: bytes) -> Begun:
    """Read BEGIN.

    :raises struct.error: When it is cut off.
    """
    commit, moment, xid = _BEGIN.unpack(payload[1:])
    return Begun(commit, moment + EPOCH_MICROS, xid)


def committed(payload: bytes) -> tuple[int, int]:
    """Read COMMIT: where its record begins, and the LSN behind it.

    :raises struct.error: When it is cut off.
    """
    _, commit, end, _ = _COMMIT.unpack(payload[1:])
    return commit, end


def described(payload: bytes) -> Described:
    """Read RELATION.

    :raises ValueError, IndexError, struct.error: When it is cut off.
    """
    (oid,) = _INT.unpack_from(payload, 1)
    schema, at = _name(payload, 1 + _INT.size)
    table, at = _name(payload, at)
    identity, count, at = chr(payload[at]), int.from_bytes(payload[at + 1 : at + 3], "big"), at + 3
    columns, flagged = [], []
    for _ in range(count):
        flags = payload[at]
        name, at = _name(payload, at + 1)
        columns.append(Column(name, *_COLUMN.unpack_from(payload, at)))
        at += _COLUMN.size
        if flags & _FLAGGED:
            flagged.append(name)
    if at != len(payload):
        raise ValueError(CUT_OFF)
    # The server leaves the schema out that is its own.
    return Described(oid, schema or "pg_catalog", table, identity, tuple(columns), tuple(flagged))


def truncated(payload: bytes) -> list[int]:
    """Read TRUNCATE: the tables.

    :raises ValueError, struct.error: When it is cut off.
    """
    count, _ = _TRUNCATE.unpack_from(payload, 1)
    at = 1 + _TRUNCATE.size
    if len(payload) != at + _INT.size * count:
        raise ValueError(CUT_OFF)
    return [oid for (oid,) in _INT.iter_unpack(payload[at:])]


def said(payload: bytes) -> Said:
    """Read MESSAGE.

    :raises ValueError, struct.error: When it is cut off.
    """
    _, lsn = _MESSAGE.unpack_from(payload, 1)
    begin = 1 + _MESSAGE.size
    end = payload.index(0, begin)
    at = end + 1 + _INT.size
    content = payload[at:]
    if len(content) != int.from_bytes(payload[end + 1 : at], "big"):
        raise ValueError(CUT_OFF)
    return Said(lsn, payload[begin:end], content)


def _name(payload: bytes, at: int) -> tuple[str, int]:
    """Return the text that begins at `at` and ends with a zero, and where what comes after it begins."""
    end = payload.index(0, at)
    return payload[at:end].decode(errors="backslashreplace"), end + 1
