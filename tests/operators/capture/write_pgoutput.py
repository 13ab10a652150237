"""Writes pgoutput, protocol version 1, as PostgreSQL's documentation says that a server does.

Tuples are lists of texts; None is null, `TOAST` a value that was not sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

from events.capture import TypeInfo

TOAST = object()
EPOCH_SECONDS = 946_684_800

Values = Sequence[object]


class Catalog:
    """Knows the keys and types that it is given."""

    database = "shop"

    def __init__(
        self, keys: dict[str, tuple[str, ...]] | None = None, types: dict[int, TypeInfo] | None = None
    ) -> None:
        self.keys = keys or {}
        self.types = types or {}

    def key_of(self, relation: int, schema: str, table: str) -> tuple[str, ...]:
        return self.keys.get(f"{schema}.{table}", ())

    def type_of(self, oid: int) -> TypeInfo:
        return self.types.get(oid, TypeInfo("", oid))


def begin(commit: int, xid: int = 700, at: int = 1_767_225_600_000) -> bytes:
    return b"B" + pack(">qqi", commit, (at - EPOCH_SECONDS * 1000) * 1000, xid)


def end(commit: int, behind: int) -> bytes:
    return b"C\0" + pack(">qqq", commit, behind, 0)


def transaction(commit: int, *changes: bytes, xid: int = 700, at: int = 1_767_225_600_000) -> list[bytes]:
    """A whole one, whose commit's record has 40 bytes."""
    return [begin(commit, xid, at), *changes, end(commit, commit + 40)]


def relation(
    oid: int,
    table: str,
    columns: Sequence[tuple[str, int] | tuple[str, int, int]],
    *,
    identity: str = "d",
    key: Sequence[str] = ("id",),
    schema: str = "public",
) -> bytes:
    out = b"R" + pack(">i", oid) + _text(schema) + _text(table) + identity.encode() + pack(">h", len(columns))
    for name, type_, *modifier in columns:
        flagged = identity == "f" or (identity != "n" and name in key)
        out += pack(">b", flagged) + _text(name) + pack(">ii", type_, modifier[0] if modifier else -1)
    return out


def insert(oid: int, row: Values) -> bytes:
    return b"I" + pack(">i", oid) + b"N" + tuple_(row)


def update(oid: int, row: Values, *, key: Values | None = None, old: Values | None = None) -> bytes:
    before = b"K" + tuple_(key) if key is not None else b"O" + tuple_(old) if old is not None else b""
    return b"U" + pack(">i", oid) + before + b"N" + tuple_(row)


def delete(oid: int, *, key: Values | None = None, old: Values | None = None) -> bytes:
    return b"D" + pack(">i", oid) + (b"K" + tuple_(key) if key is not None else b"O" + tuple_(old or ()))


def truncate(*oids: int) -> bytes:
    return b"T" + pack(">ib", len(oids), 0) + b"".join(pack(">i", oid) for oid in oids)


def message(lsn: int, prefix: str, content: bytes, *, transactional: bool) -> bytes:
    return b"M" + pack(">bq", transactional, lsn) + _text(prefix) + pack(">i", len(content)) + content


def tuple_(values: Values) -> bytes:
    out = pack(">h", len(values))
    for value in values:
        if value is None:
            out += b"n"
        elif value is TOAST:
            out += b"u"
        else:
            raw = value if isinstance(value, bytes) else str(value).encode()
            out += b"t" + pack(">i", len(raw)) + raw
    return out


def _text(value: str) -> bytes:
    return value.encode() + b"\0"
