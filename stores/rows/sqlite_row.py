"""Stored rows as values of SQLite, and back."""

from __future__ import annotations

from typing import Any

import msgspec

from events.changes import Standing, pack_position, position_text, unpack_position
from stores.rows.base import Gaps, Kept, Known, RowId, StoredRow
from stores.rows.sqlite_image import from_text, to_text
from stores.rows.sqlite_schema import COLUMNS, STANDING_COLUMNS

KNOWN = (*STANDING_COLUMNS, "gaps", "image IS NOT NULL")
"""What is read of a row where its image is not needed."""
KEPT = (*COLUMNS, "history")
"""What is read of a row where it matters what it was."""

_gaps = msgspec.json.Decoder(Gaps).decode
_NO_GAPS: Gaps = {}


def stored_row(row: tuple[Any, ...]) -> StoredRow:
    """Read a row of the columns COLUMNS."""
    (
        key,
        source,
        state,
        position,
        stream,
        partition,
        offset,
        as_of,
        gaps,
        _,
        applied_at,
        initiator,
        transaction,
        image,
    ) = row
    return StoredRow(
        source,
        key,
        None if image is None else from_text(image),
        state,
        Standing(unpack_position(position), stream, partition, offset),
        as_of,
        applied_at,
        initiator,
        transaction,
        {} if gaps is None else _gaps(gaps),
    )


def known_row(row: tuple[Any, ...]) -> tuple[RowId, Known]:
    """Read a row of the columns KNOWN."""
    key, source, state, position, stream, partition, offset, as_of, gaps, imaged = row
    standing = Standing(unpack_position(position), stream, partition, offset)
    return (source, key), Known(state, standing, as_of, bool(imaged), _NO_GAPS if gaps is None else _gaps(gaps))


def kept_row(row: tuple[Any, ...]) -> tuple[RowId, Kept]:
    """Read a row of the columns KEPT."""
    stored = stored_row(row[:-1])
    return stored.id, Kept(stored, row[-1] or "")


def values(row: StoredRow) -> tuple[Any, ...]:
    """Write a row as values of the columns COLUMNS."""
    standing = row.standing
    position = standing.position
    return (
        row.key,
        row.source,
        row.state,
        pack_position(position),
        standing.stream,
        standing.partition,
        standing.offset,
        row.as_of,
        msgspec.json.encode(row.gaps).decode() if row.gaps else None,
        position_text(position),
        row.applied_at,
        row.initiator,
        row.transaction,
        None if row.image is None else to_text(row.image),
    )
