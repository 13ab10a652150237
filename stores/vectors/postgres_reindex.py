"""Change the model of a store in PostgreSQL: every chunk is embedded again, beside the running readers.

The table with the new vectors is built next to the active one and takes its place when it is complete, in one commit.
A reindex that is interrupted leaves the store as it was; the next one begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import msgspec
from psycopg.sql import SQL, Identifier

from events.documents import embedded_text
from events.errors import StoreError
from stores.embedders.base import Model
from stores.rows.postgres_image import from_text
from stores.rows.postgres_session import Session, told
from stores.vectors import postgres_schema as lies
from stores.vectors import postgres_store as places
from stores.vectors.plan import Embed, check_vector
from stores.vectors.postgres_index import build_index
from stores.vectors.postgres_schema import Store
from stores.vectors.postgres_values import vector_bytes

_BATCH = 512
_PATIENCE_MILLIS = 2000


def reindex(
    dsn: str,
    schema: str,
    model: Model,
    *,
    embed: Embed,
    progress: Callable[[int, int], None] = lambda done, total: None,
    index_above: int = 20_000,
    patience_millis: int = _PATIENCE_MILLIS,
) -> int:
    """Embed all chunks of the store in `schema` with `model`, and make that the store's model.

    :arg embed: Texts to vectors of `model`, each as float32 little-endian bytes.
    :arg progress: Told after each batch how many chunks are done, and of how many.
    :arg index_above: Chunks above which the vectors are indexed, before the new ones take their place.
    :return: The number of chunks.
    :raises StoreError: When there is no store, or a flow is writing it.
    """
    with closing(places.taken(dsn, schema, patience_millis)) as db, told(db, places.HINT):
        store = places.read_store(db, schema) if lies.STORE in places.tables(db, schema) else None
        if store is None:
            detail = f"there is no vector store in the schema {schema!r}"
            raise StoreError(detail, "run the knowledge flow; it makes one")
        places.drop_others(db, store)
        rebuilt = msgspec.structs.replace(store, generation=store.generation + 1, model=model)
        with db.transaction():
            places.make_table(db, schema, rebuilt.generation, model)
        done = _fill(db, store, rebuilt, embed, progress)
        if done > index_above and model.dimension <= lies.MOST_INDEXED:
            build_index(db, rebuilt)
        # The table that was active stays for those who are reading it: the next writer, or reindex, drops it.
        switch = SQL("UPDATE {} SET generation = %s, model = %s").format(Identifier(schema, lies.STORE))
        db.execute(switch, (rebuilt.generation, msgspec.json.encode(model).decode()))
        return done


def _fill(db: Session, store: Store, rebuilt: Store, embed: Embed, progress: Callable[[int, int], None]) -> int:
    """Fill the new table, and return with how many chunks."""
    db.execute(lies.incoming_statement(store.extension, rebuilt.model.dimension))
    done = 0
    for names, texts in _batches(db, store):
        vectors = embed(texts)
        for name, vector in zip(names, vectors, strict=True):
            check_vector(name, name, vector, rebuilt.model.dimension)
        _copy(db, store, rebuilt, names, vectors)
        done += len(names)
        progress(done, store.chunks)
    return done


def _batches(db: Session, store: Store) -> Iterator[tuple[list[str], list[str]]]:
    """Yield the ids of all chunks, as they are stored, and the texts that are embedded for them."""
    query = SQL("SELECT id, heading, text FROM {} WHERE id > %s ORDER BY id LIMIT %s").format(store.table)
    last = ""
    while rows := db.execute(query, (last, _BATCH)).fetchall():
        texts = [embedded_text(tuple(map(from_text, heading)), from_text(text)) for _, heading, text in rows]
        yield [name for name, _, _ in rows], texts
        last = rows[-1][0]


def _copy(db: Session, store: Store, rebuilt: Store, names: list[str], vectors: Sequence[bytes]) -> None:
    """Put chunks into the new table, all of them but the vectors as they are in the old one."""
    incoming = Identifier(lies.INCOMING)
    with db.transaction(), db.cursor() as cursor:
        query = SQL("COPY {} (id, vector) FROM STDIN WITH (FORMAT BINARY)").format(incoming)
        with cursor.copy(query) as copy:
            copy.set_types(["text", "bytea"])
            for name, vector in zip(names, vectors, strict=True):
                copy.write_row((name, vector_bytes(vector)))
        query = SQL(
            """INSERT INTO {new} (id, document, vector, labels, source, uri, language, heading, text, words, length)
            SELECT id, old.document, new.vector, old.labels, old.source, old.uri, old.language, old.heading,
                old.text, old.words, old.length FROM {incoming} AS new JOIN {old} AS old USING (id)"""
        ).format(new=rebuilt.table, incoming=incoming, old=store.table)
        cursor.execute(query)
