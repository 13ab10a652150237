"""The one table of the LanceDB store: what its rows are, and how they are written and read.

Rows of five kinds live in it, so that one merge of rows is one version and a commit is whole or absent: `chunk`;
`document` with its manifest; `deleted`, a document that is remembered only by its position; `gone`, a chunk that
maintenance will remove; `mark`, how far a source is applied. Only chunks have a vector and words: all other rows
are invisible to a search.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from events.context import FoundChunk
from events.documents import Chunk, DocumentChange, document_id
from events.log import Applied
from stores.vectors.held import RESERVED, Held

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.table import Table
else:
    Table = Any

CHUNK, DOCUMENT, DELETED, GONE, MARK = "chunk", "document", "deleted", "gone", "mark"

DOCUMENT_ID, MARK_ID = RESERVED
"""Beginnings of the ids of document and mark rows; no chunk's id may begin so."""

Row = dict[str, Any]

_BLOCK = 1_000  # ids in one filter

CHUNK_COLUMNS = ["id", "kind", "document", "heading", "text"]
STATE_COLUMNS = [
    *("id", "kind", "document", "source", "uri", "title", "language", "audience", "media_type", "metadata"),
    *("fingerprint", "position", "as_of", "applied_at", "manifest", "since"),
]
SHOWN_COLUMNS = [
    *("id", "kind", "document", "source", "uri", "title"),
    *("position", "as_of", "applied_at", "manifest", "since"),
]
"""What a search tells of a document: each column more is time."""
MARK_COLUMNS = ["source", "uri", "offset", "event_time", "read_at", "caught_up", "applied_at"]


def table_schema(dimension: int) -> pa.Schema:
    """Return the table's columns for vectors of `dimension`."""
    import pyarrow as pa

    text, texts, number = pa.string(), pa.list_(pa.string()), pa.int64()
    return pa.schema(
        [
            pa.field("id", text, nullable=False),
            ("kind", text),
            ("document", text),
            ("source", text),
            ("uri", text),  # of a mark: the partition
            ("title", text),
            ("heading", texts),
            ("text", text),
            ("words", text),  # what is searched by words: the headings and the text
            ("vector", pa.list_(pa.float32(), dimension)),
            ("audience", texts),
            ("language", text),
            ("media_type", text),
            ("metadata", text),
            ("fingerprint", text),
            ("manifest", texts),
            ("since", pa.list_(number)),
            ("position", number),
            ("as_of", number),
            ("applied_at", number),
            ("offset", number),
            ("event_time", number),
            ("read_at", number),
            ("caught_up", pa.bool_()),
        ]
    )


def chunk_row(change: DocumentChange, chunk: Chunk, language: str, vector: bytes) -> Row:
    """Return the row of a chunk. What changes with its document alone is not in it: it stays when others change."""
    return {
        "id": chunk.id,
        "kind": CHUNK,
        "document": change.document,
        "source": change.source,
        "uri": change.uri,
        "heading": list(chunk.heading),
        "text": chunk.text,
        "words": chunk.embedded,
        "vector": vector,
        "audience": list(change.audience),
        "language": language,
    }


def gone_row(chunk_id: str, document: str) -> Row:
    """Return the row that takes a chunk's place until maintenance removes it."""
    return {"id": chunk_id, "kind": GONE, "document": document}


def document_row(held: Held) -> Row:
    """Return the row of a document, alive or deleted."""
    document = document_id(held.source, held.uri)
    return {
        "id": DOCUMENT_ID + document,
        "kind": DOCUMENT if held.alive else DELETED,
        "document": document,
        "source": held.source,
        "uri": held.uri,
        "title": held.title,
        "language": held.language,
        "audience": list(held.audience),
        "media_type": held.media_type,
        "metadata": json.dumps(held.metadata, ensure_ascii=False, sort_keys=True),
        "fingerprint": held.fingerprint,
        "manifest": list(held.manifest),
        "since": list(held.since),
        "position": held.position,
        "as_of": held.as_of,
        "applied_at": held.applied_at,
    }


def mark_row(applied: Applied) -> Row:
    """Return the row of a mark."""
    return {
        "id": f"{MARK_ID}{applied.source}/{applied.partition}",
        "kind": MARK,
        "source": applied.source,
        "uri": applied.partition,
        "offset": applied.offset,
        "event_time": applied.event_time,
        "read_at": applied.read_at,
        "caught_up": applied.caught_up,
        "applied_at": applied.applied_at,
    }


def to_held(row: Row) -> Held:
    """Read a document's row (`STATE_COLUMNS`)."""
    return Held(
        alive=row["kind"] == DOCUMENT,
        source=row["source"],
        uri=row["uri"],
        position=row["position"],
        as_of=row["as_of"],
        applied_at=row["applied_at"],
        title=row["title"],
        language=row["language"],
        audience=tuple(row["audience"]),
        media_type=row["media_type"],
        metadata=json.loads(row["metadata"]),
        fingerprint=row["fingerprint"],
        manifest=tuple(row["manifest"]),
        since=tuple(row["since"]),
    )


def to_shown(row: Row) -> Held:
    """Read of a document's row what is told with its chunks (`SHOWN_COLUMNS`)."""
    return Held(
        alive=row["kind"] == DOCUMENT,
        source=row["source"],
        uri=row["uri"],
        position=row["position"],
        as_of=row["as_of"],
        applied_at=row["applied_at"],
        title=row["title"],
        manifest=tuple(row["manifest"]),
        since=tuple(row["since"]),
    )


def to_applied(row: Row) -> Applied:
    """Read a mark's row (`MARK_COLUMNS`)."""
    return Applied(
        source=row["source"],
        partition=row["uri"],
        offset=row["offset"],
        event_time=row["event_time"],
        read_at=row["read_at"],
        caught_up=row["caught_up"],
        applied_at=row["applied_at"],
    )


def to_item(row: Row, held: Held, ordinal: int, score: float) -> FoundChunk:
    """Join a chunk's row (`CHUNK_COLUMNS`) with its document: the text is as old as the document's newest change."""
    return FoundChunk(
        id=row["id"],
        text=row["text"],
        title=held.title,
        heading=tuple(row["heading"]),
        source=held.source,
        uri=held.uri,
        position=held.position,
        as_of=held.as_of,
        since=held.since[ordinal],
        applied_at=held.applied_at,
        ordinal=ordinal,
        score=score,
    )


def to_table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Lay rows out in columns; what a row does not name is NULL. Vectors are float32 little-endian bytes."""
    import numpy as np
    import pyarrow as pa

    vectors = schema.field("vector").type
    columns: list[pa.Array] = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        if field.type != vectors:
            columns.append(pa.array(values, field.type))
            continue
        blank = bytes(4 * vectors.list_size)
        numbers = np.frombuffer(b"".join(value or blank for value in values), dtype="<f4")
        absent = pa.array([value is None for value in values])
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(numbers), type=vectors, mask=absent))
    return pa.Table.from_arrays(columns, schema=schema)


def literal(value: str) -> str:
    """Quote a string for a filter: the one place where values become part of SQL.

    In DataFusion's SQL nothing but the quote itself is special within quotes.
    """
    return "'" + value.replace("'", "''") + "'"


def one_of(column: str, values: Iterable[str]) -> str:
    """Return the filter that `column` is one of `values`."""
    return f"{column} IN ({', '.join(map(literal, values))})"


def shares_one(column: str, values: Iterable[str]) -> str:
    """Return the filter that the list in `column` shares an element with `values`."""
    return f"array_has_any({column}, [{', '.join(map(literal, values))}])"


def begins(column: str, prefix: str) -> str:
    """Return the filter that `column` begins with `prefix`."""
    return f"starts_with({column}, {literal(prefix)})"


def rows_by_id(table: Table, ids: Sequence[str], columns: Sequence[str]) -> list[Row]:
    """Look rows up by their ids; those that are not there are left out."""
    rows: list[Row] = []
    for start in range(0, len(ids), _BLOCK):
        block = one_of("id", ids[start : start + _BLOCK])
        rows.extend(table.search().where(block).select(list(columns)).to_arrow().to_pylist())
    return rows
