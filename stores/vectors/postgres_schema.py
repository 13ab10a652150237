"""How chunks lie in PostgreSQL: the tables, and what the one row of `headrace_store` says of them.

Everything is in one schema that belongs to Headrace alone: `headrace_store`, `headrace_documents`, `headrace_marks`
and a table of chunks, `headrace_chunks_N`. The row of `headrace_store` names the one that counts, so that a reindex
replaces it by changing that row. Names come into SQL as identifiers that psycopg composes, values as parameters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
from psycopg.sql import SQL, Composed, Identifier
from typing_extensions import LiteralString

from stores.embedders.base import Model

VERSION = 2001
"""Of the layout. Each kind of store has versions of its own, so that none is taken for another."""
MIGRATIONS: dict[int, tuple[LiteralString, ...]] = {}
"""By version, what brings a store of it to the next one: statements with the place of the schema's name."""

STORE, DOCUMENTS, MARKS = "headrace_store", "headrace_documents", "headrace_marks"
INCOMING = "headrace_incoming"
_CHUNKS, _BY_VECTOR = "headrace_chunks_", "headrace_by_vector_"
MOST_INDEXED = 2000
"""The longest vectors that pgvector indexes."""
_INLINE = 1500  # the longest that fit into a page with the rest of their row

SHARED_TABLES: tuple[LiteralString, ...] = (
    """CREATE TABLE {schema}.headrace_store (identity text NOT NULL, version integer NOT NULL,
        generation integer NOT NULL, model jsonb NOT NULL, documents bigint NOT NULL, chunks bigint NOT NULL,
        words bigint NOT NULL, configurations text[] NOT NULL)""",
    # A document's id may be longer than what fits into an index: a digest of it is the key.
    """CREATE TABLE {schema}.headrace_documents (id bytea PRIMARY KEY, alive boolean NOT NULL,
        source text COLLATE "C" NOT NULL, uri text COLLATE "C" NOT NULL, position bigint NOT NULL,
        as_of bigint NOT NULL, applied_at bigint NOT NULL, title text NOT NULL, language text NOT NULL,
        audience text[] NOT NULL, media_type text NOT NULL, metadata text NOT NULL, fingerprint text NOT NULL,
        manifest text[] NOT NULL, since bigint[] NOT NULL)""",
    """CREATE TABLE {schema}.headrace_marks (source text COLLATE "C", partition text COLLATE "C",
        "offset" bigint NOT NULL, event_time bigint, read_at bigint NOT NULL, caught_up boolean NOT NULL,
        applied_at bigint NOT NULL, PRIMARY KEY (source, partition))""",
)

_COLUMNS: LiteralString = """id text COLLATE "C" NOT NULL, document bytea NOT NULL,
    vector {vector}({dimension}) NOT NULL, labels bigint[] NOT NULL, source text COLLATE "C" NOT NULL,
    uri text COLLATE "C" NOT NULL, language text COLLATE "C" NOT NULL, heading text[] NOT NULL, text text NOT NULL"""
# A vector in the row itself, not beside it, is what makes looking at all of them fast.
CHUNK_TABLE = (
    f"CREATE TABLE {{table}} ({_COLUMNS}, words tsvector NOT NULL, length integer NOT NULL, PRIMARY KEY (id)) "
    "WITH (toast_tuple_target = 4080)",
    "ALTER TABLE {table} ALTER COLUMN vector SET STORAGE {storage}",
    # Without lists of what is still to be put into the index: a search reads all of those.
    "CREATE INDEX ON {table} USING gin (words) WITH (fastupdate = off)",
    "CREATE INDEX ON {table} USING gin (labels) WITH (fastupdate = off)",
)
INCOMING_TABLE = (
    f"CREATE TEMPORARY TABLE {INCOMING} ({_COLUMNS}, configuration text, words text) ON COMMIT DELETE ROWS".replace(
        "NOT NULL", ""
    )
)
VECTOR_INDEX = """CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} USING hnsw (vector {operators})
    WITH (m = 16, ef_construction = 100)"""


class Store(msgspec.Struct, frozen=True):
    """What there is: the row of `headrace_store`, and where pgvector lies.

    :arg generation: The number of the table of chunks.
    :arg documents: How many there are.
    :arg chunks: How many there are.
    :arg words: How many words these have together.
    :arg configurations: The text search configurations that they are stemmed by.
    :arg extension: The schema that pgvector is in.
    :arg indexed: Whether there is an index on the vectors.
    """

    schema: str
    identity: str
    version: int
    generation: int
    model: Model
    documents: int
    chunks: int
    words: int
    configurations: tuple[str, ...]
    extension: str
    indexed: bool

    @property
    def table(self) -> Identifier:
        """The table of chunks."""
        return chunk_table(self.schema, self.generation)


def store_query(schema: str) -> Composed:
    """Return the query for what `read_store` reads."""
    return SQL(
        """SELECT identity, version, generation, model, documents, chunks, words, configurations,
        (SELECT nspname FROM pg_extension JOIN pg_namespace AS place ON place.oid = extnamespace
            WHERE extname = 'vector'),
        EXISTS (SELECT FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid WHERE indisvalid
            AND relnamespace = to_regnamespace(quote_ident(%(schema)s)) AND relname = %(by_vector)s || generation),
        set_config('jit', 'off', true) FROM {}"""
    ).format(Identifier(schema, STORE))


def store_values(schema: str) -> dict[str, str]:
    """Return the parameters of `store_query`."""
    return {"schema": schema, "by_vector": _BY_VECTOR}


def store_of(schema: str, row: tuple[Any, ...]) -> Store:
    """Make a store of what `store_query` has returned."""
    model = msgspec.convert(row[3], Model)
    return Store(schema, row[0], row[1], row[2], model, row[4], row[5], row[6], tuple(row[7]), row[8] or "", row[9])


def chunk_table(schema: str, generation: int) -> Identifier:
    """Return the table of chunks of a generation."""
    return Identifier(schema, chunk_table_name(generation))


def chunk_table_name(generation: int) -> str:
    """Return the name of the table of chunks of a generation."""
    return f"{_CHUNKS}{generation}"


def generation_of(table: str) -> int | None:
    """Return which generation a table of chunks is of; None for other tables."""
    beginning, _, number = table.rpartition("_")
    return int(number) if f"{beginning}_" == _CHUNKS and number.isdecimal() else None


def vector_index(generation: int) -> str:
    """Return the name of the index on the vectors of a generation."""
    return f"{_BY_VECTOR}{generation}"


def table_statements(table: Identifier, extension: str, dimension: int) -> list[Composed]:
    """Return the statements that make a table of chunks with its indexes."""
    names = {
        "table": table,
        "vector": Identifier(extension, "vector"),
        "dimension": SQL(f"{dimension:d}"),
        "storage": SQL("PLAIN" if dimension <= _INLINE else "EXTERNAL"),
    }
    return [SQL(statement).format(**names) for statement in CHUNK_TABLE]


def incoming_statement(extension: str, dimension: int) -> Composed:
    """Return the statement that makes the session's table of what is to be written."""
    return SQL(INCOMING_TABLE).format(vector=Identifier(extension, "vector"), dimension=SQL(f"{dimension:d}"))


def document_key(document: str) -> bytes:
    """Return what stands for a document's id, of whatever length: 16 bytes."""
    return hashlib.blake2b(document.encode(), digest_size=16).digest()


def labels_of(audience: Iterable[str]) -> list[int]:
    """Return what stands for an audience's labels, of whatever length, in chunks and their index.

    Two labels may have the same number: what is found is compared with the document's own labels in the end.
    """
    return [
        int.from_bytes(hashlib.blake2b(label.encode(), digest_size=8).digest(), "big", signed=True)
        for label in dict.fromkeys(audience)
    ]
