"""Documents, chunks, marks and vectors as PostgreSQL holds them."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from events.context import FoundChunk
from events.documents import Chunk, DocumentChange, document_id
from events.log import Applied
from stores.rows.postgres_image import from_text, to_text
from stores.vectors.held import Held
from stores.vectors.postgres_schema import document_key, labels_of
from stores.vectors.postgres_words import CONFIGURATIONS, SIMPLE, plain_words

STATE = (
    "alive", "source", "uri", "position", "as_of", "applied_at", "title", "language", "audience", "media_type",
    "metadata", "fingerprint", "manifest", "since",
)  # fmt: skip
"""Of documents, in the order of `held_of` and `state_values`."""
ITEM = """piece.id, piece.text, piece.heading, document.title, document.source, document.uri, document.position,
    document.as_of, document.applied_at"""
"""What `item_of` reads, before `since`, the ordinal and the score."""
MARK = 'source, partition, "offset", event_time, read_at, caught_up, applied_at'
"""What `applied_of` reads."""

INCOMING = {
    "id": "text", "document": "bytea", "vector": "bytea", "labels": "int8[]", "source": "text", "uri": "text",
    "language": "text", "heading": "text[]", "text": "text", "configuration": "text",
    "words": "text",
}  # fmt: skip
"""Columns that are copied in, in the order of `chunk_values`, each with the type of what is sent: a vector goes as
the very bytes that PostgreSQL reads it from."""


def vector_bytes(vector: bytes) -> bytes:
    """Return a vector of float32 little-endian bytes as pgvector receives it in binary."""
    numbers = np.frombuffer(vector, dtype="<f4")
    return struct.pack(">HH", len(numbers), 0) + numbers.astype(">f4").tobytes()


def vector_text(vector: Sequence[float]) -> str:
    """Return a vector as pgvector reads it from text."""
    return "[" + ",".join(map(repr, map(float, vector))) + "]"


def chunk_values(
    change: DocumentChange, chunk: Chunk, language: str, vector: bytes | None, there: frozenset[str]
) -> tuple[Any, ...]:
    """Return what is copied in of a chunk, by INCOMING; a chunk whose vector is there already comes without.

    :arg there: The text search configurations that the server has.
    """
    configuration = CONFIGURATIONS.get(language, SIMPLE)
    return (
        to_text(chunk.id),
        document_key(change.document),
        None if vector is None else vector_bytes(vector),
        labels_of(change.audience),
        to_text(change.source),
        to_text(change.uri),
        to_text(language),
        [to_text(part) for part in chunk.heading],
        to_text(chunk.text),
        configuration if configuration in there else SIMPLE,
        plain_words(chunk.embedded),
    )


def state_values(held: Held) -> tuple[Any, ...]:
    """Return what is stored of a document: its key, then by STATE."""
    return (
        document_key(document_id(held.source, held.uri)),
        held.alive,
        to_text(held.source),
        to_text(held.uri),
        held.position,
        held.as_of,
        held.applied_at,
        to_text(held.title),
        to_text(held.language),
        [to_text(label) for label in held.audience],
        to_text(held.media_type),
        json.dumps(held.metadata, sort_keys=True),
        to_text(held.fingerprint),
        [to_text(chunk_id) for chunk_id in held.manifest],
        list(held.since),
    )


def held_of(row: Sequence[Any]) -> Held:
    """Make a document of its columns by STATE."""
    return Held(
        alive=row[0],
        source=from_text(row[1]),
        uri=from_text(row[2]),
        position=row[3],
        as_of=row[4],
        applied_at=row[5],
        title=from_text(row[6]),
        language=from_text(row[7]),
        audience=tuple(map(from_text, row[8])),
        media_type=from_text(row[9]),
        metadata=json.loads(row[10]),
        fingerprint=from_text(row[11]),
        manifest=tuple(map(from_text, row[12])),
        since=tuple(row[13]),
    )


def item_of(row: Sequence[Any], score: float) -> FoundChunk:
    """Make an item of what a query for ITEM, `since` and the ordinal, which counts from 1, has returned."""
    return FoundChunk(
        id=from_text(row[0]),
        text=from_text(row[1]),
        title=from_text(row[3]),
        heading=tuple(map(from_text, row[2])),
        source=from_text(row[4]),
        uri=from_text(row[5]),
        position=row[6],
        as_of=row[7],
        since=row[9],
        applied_at=row[8],
        ordinal=row[10] - 1,
        score=score,
    )


def mark_values(applied: Applied) -> tuple[Any, ...]:
    """Return what is stored of a mark, by MARK."""
    return (
        to_text(applied.source),
        to_text(applied.partition),
        applied.offset,
        applied.event_time,
        applied.read_at,
        applied.caught_up,
        applied.applied_at,
    )


def applied_of(row: Sequence[Any]) -> Applied:
    """Make a mark of what a query for MARK has returned."""
    return Applied(
        source=from_text(row[0]),
        partition=from_text(row[1]),
        offset=row[2],
        event_time=row[3],
        read_at=row[4],
        caught_up=row[5],
        applied_at=row[6],
    )
