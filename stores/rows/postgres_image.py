"""Rows as PostgreSQL holds them: images as jsonb, and texts that it could not hold otherwise.

PostgreSQL has no character NUL. It is stored as U+0001 U+FDD0, and U+0001, which thereby means something, as U+0001
U+FDD1. Distinct texts stay distinct and in their order; texts without the two, all in practice, are untouched. jsonb
keeps every digit of a number; those of more digits than its `numeric` can hold are kept as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from events.changes import Row, Standing, pack_position, position_text, unpack_position
from stores.rows.base import LIVE, Gaps, Kept, RowId, StoredRow

COLUMNS = (
    "source", "key", "ident", "state", "image", "position", "place", "stream", "partition", "offset", "as_of",
    "applied_at", "initiator", "transaction", "gaps", "gone_at",
)  # fmt: skip
"""Of the tables that hold rows, in the order of `put_values`."""
STANDING = 'source, key, state, position, stream, partition, "offset", as_of'
"""What `standing_of` reads."""
ROW = STANDING + ", image::text, applied_at, initiator, transaction, gaps"
"""What `stored_row` reads."""
KEPT = ROW + ", history"
"""What `kept_row` reads."""

_NUL, _SOH = "\x01\ufdd0", "\x01\ufdd1"
_ESCAPED = re.compile(rb"(?<!\\)((?:\\\\)*)\\u000([01])")
_STORED = re.compile(r"(?<!\\)((?:\\\\)*)\\u0001([\ufdd0\ufdd1])")
_MARKS = {b"0": "\ufdd0".encode(), b"1": "\ufdd1".encode()}
_DIGITS = {"\ufdd0": "0", "\ufdd1": "1"}


def to_text(text: str) -> str:
    """Write a text as PostgreSQL can hold it."""
    return text.replace("\x01", _SOH).replace("\0", _NUL) if "\0" in text or "\x01" in text else text


def from_text(stored: str) -> str:
    """Read what `to_text` wrote."""
    return stored.replace(_NUL, "\0").replace(_SOH, "\x01") if "\x01" in stored else stored


def to_json(text: bytes) -> str:
    """Do to all texts within JSON what `to_text` does."""
    if b"\\u000" in text:
        text = _ESCAPED.sub(lambda match: match[1] + rb"\u0001" + _MARKS[match[2]], text)
    return text.decode()


def from_json(stored: str) -> str:
    """Read what `to_json` wrote."""
    if "\\u0001" in stored:
        return _STORED.sub(lambda match: match[1] + "\\u000" + _DIGITS[match[2]], stored)
    return stored


_encode = msgspec.json.Encoder(decimal_format="number").encode


_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_INT_DIGITS = 4000  # Python refuses to read longer ones


def json_of(stored: str) -> Any:
    """Read what jsonb holds; numbers that are not whole come back as Decimal, with the digits that they had."""
    text = from_json(stored)
    try:
        return _decode(text)
    except msgspec.DecodeError:  # such as 1e5000, which jsonb writes out
        return json.loads(text, parse_float=Decimal, parse_int=whole)


def whole(digits: str) -> int | Decimal:
    """Read a whole number; one that is too long for an int is a Decimal."""
    return int(digits) if len(digits) <= _INT_DIGITS else Decimal(digits)


def image_text(image: Row | None) -> str | None:
    """Write a row as it is stored."""
    return None if image is None else to_json(_encode(image))


def key_text(key: str) -> str:
    """Write a key as it is stored."""
    return to_text(to_json(key.encode()))


def key_of(stored: str) -> str:
    """Read what `key_text` wrote."""
    return from_json(from_text(stored))


def image_of(stored: str | None) -> Row | None:
    """Read what `image_text` wrote."""
    return None if stored is None else json_of(stored)


_BEFORE_POINT, _AFTER_POINT = 131_072, 16_383


def holdable(value: Any) -> Any:
    """Return `value` with all numbers that PostgreSQL's `numeric` cannot hold as texts."""
    if isinstance(value, Mapping):
        return {name: holdable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [holdable(part) for part in value]
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        fits = isinstance(exponent, int) and exponent >= -_AFTER_POINT and value.adjusted() < _BEFORE_POINT
        return value if fits else str(value)
    return value


def stored_row(row: Sequence[Any]) -> StoredRow:
    """Make a row of what a query for `ROW` has returned."""
    return StoredRow(
        source=from_text(row[0]),
        key=key_of(row[1]),
        image=image_of(row[8]),
        state=row[2],
        standing=standing_of(row),
        as_of=row[7],
        applied_at=row[9],
        initiator=from_text(row[10]),
        transaction=from_text(row[11]),
        gaps=gaps_of(row[12]),
    )


def kept_row(row: Sequence[Any]) -> tuple[RowId, Kept]:
    """Make a row with its history of what a query for `KEPT` has returned."""
    stored = stored_row(row)
    return stored.id, Kept(stored, row[-1] or "")


def standing_of(row: Sequence[Any]) -> Standing:
    """Read the standing of what a query for `STANDING`, and perhaps more, has returned."""
    return Standing(unpack_position(row[3]), from_text(row[4]), row[5], row[6])


_decode_gaps = msgspec.json.Decoder(Gaps).decode


def gaps_of(stored: str | None) -> Gaps:
    """Read gaps; null stands for none."""
    return {} if stored is None else _decode_gaps(stored)


def put_values(row: StoredRow) -> tuple[Any, ...]:
    """Return what is stored of a row, by COLUMNS."""
    standing, key = row.standing, key_text(row.key)
    return (
        to_text(row.source),
        key,
        key,
        row.state,
        image_text(row.image),
        pack_position(standing.position),
        position_text(standing.position),
        to_text(standing.stream),
        standing.partition,
        standing.offset,
        row.as_of,
        row.applied_at,
        to_text(row.initiator),
        to_text(row.transaction),
        msgspec.json.encode(row.gaps).decode() if row.gaps else None,
        None if row.state == LIVE else row.as_of,
    )


def safe_values(row: StoredRow) -> tuple[Any, ...]:
    """Return what `put_values` does, of a row with something that jsonb refuses."""
    values = list(put_values(row))
    try:
        values[2] = image_text(holdable(image_of(values[1])))
    except msgspec.DecodeError:
        values[2] = None
    values[4] = image_text(holdable(row.image))
    return tuple(values)
