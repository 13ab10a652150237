"""The writer of the vector store in PostgreSQL: every call is one transaction, and so one commit or none.

One session holds the store by an advisory lock; the connection must reach PostgreSQL itself or a pooler in session
mode. A lost connection is an error here: the flow ends, and its next run goes on from its recovery.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from psycopg.sql import SQL, Identifier
from typing_extensions import override

from events.clock import Clock
from events.documents import DocumentUpdate
from events.errors import StoreError
from events.log import Applied, Mark
from stores.embedders.base import Model
from stores.rows.postgres_image import to_text
from stores.rows.postgres_session import told
from stores.vectors import postgres_schema as lies
from stores.vectors import postgres_store as places
from stores.vectors.base import VectorWriter, WriteReport
from stores.vectors.held import Held
from stores.vectors.models import check_model
from stores.vectors.plan import Embed, Holdings, Plan, changed_marks, check_update, fresh_vectors, plan
from stores.vectors.postgres_index import IndexBuilder
from stores.vectors.postgres_schema import document_key
from stores.vectors.postgres_values import (
    INCOMING,
    MARK,
    STATE,
    applied_of,
    chunk_values,
    held_of,
    mark_values,
    state_values,
)

_PATIENCE_MILLIS = 2000
_WORDS = SQL("to_tsvector(('pg_catalog.' || said.configuration)::regconfig, said.words)")
_LENGTH = SQL("(SELECT coalesce(sum(cardinality(positions)), 0) FROM unnest({}))").format(_WORDS)
"""How many words a text has, without those that every text has."""
_FEW = 1000
"""Chunks that are searched soon enough without statistics."""
_HINT = "look at the space and the rights of the database; then start again"


class PostgresVectors(VectorWriter):
    """The one writer of the store in a schema, which it makes if it is not there.

    :arg dsn: Connection string.
    :arg schema: Schema that belongs to Headrace alone; made if need be.
    :arg model: The model of all vectors, those handed over and those of `embed`.
    :arg embed: Embeds chunks that the store lacks though nobody sent their vectors: see `LanceWriter`.
    :arg clock: Tells `applied_at`.
    :arg index_above: Chunks above which a vector index is built.
    :arg patience_millis: How long to wait for the lock of a writer that may be about to go.
    :arg new_id: Makes the identity of a new store.
    """

    def __init__(
        self,
        dsn: str,
        schema: str,
        model: Model,
        *,
        embed: Embed,
        clock: Clock,
        index_above: int = 20_000,
        patience_millis: int = _PATIENCE_MILLIS,
        new_id: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._model = model
        self._embed = embed
        self._clock = clock
        self._open = True
        self._db = db = places.taken(dsn, schema, patience_millis)
        try:
            with told(db, places.HINT):
                self._store = places.open_store(db, schema, model, new_id)
                check_model(self._store.model, model)
                places.drop_others(db, self._store)
                db.execute(lies.incoming_statement(self._store.extension, model.dimension))
                self._configurations = places.configurations(db)
                self._holdings = Holdings(complete=not self._remembers())
                self._marks = {(mark.source, mark.partition): mark for mark in self._read_marks()}
        except BaseException:
            db.close()
            raise
        self._used = set(self._store.configurations)
        self._chunks = self._store.chunks
        self._counted = 0
        self._index = IndexBuilder(dsn, self._store, above=index_above)
        self._index.grown(self._chunks)

    @override
    def write(self, updates: Sequence[DocumentUpdate], marks: Sequence[Mark] = ()) -> WriteReport:
        """Bring the documents to the state of the updates and note the marks as applied, in one commit.

        :raises RejectedError: When an update cannot be stored, naming the document; nothing has been written then.
        :raises StoreError: When the commit failed.
        """
        if not self._open:
            detail = "the vector store's writer is closed"
            raise StoreError(detail, "open another one")
        for update in updates:
            check_update(update, self._model.dimension)
        now = self._clock()
        held = self._held(updates)
        outcome = plan(updates, held, now)
        applied = changed_marks(self._marks, marks, now)
        if outcome.heads or applied:
            vectors = fresh_vectors(outcome, updates, self._embed, self._model.dimension)
            self._commit(outcome, vectors, held, applied)
        return WriteReport(written=len(outcome.fresh), removed=len(outcome.gone), stale=len(outcome.stale))

    @override
    def progress(self) -> int:
        """Return when marks were noted last (ms since epoch)."""
        return max((mark.applied_at for mark in self._marks.values()), default=0)

    @override
    def identity(self) -> str:
        """Return the id that this store got when it was made."""
        return self._store.identity

    @override
    def close(self) -> None:
        """Finish the index if one is being built, and let go of the store. Closing twice does nothing."""
        self._open = False
        self._index.close()
        self._db.close()

    def _commit(
        self,
        outcome: Plan,
        vectors: Mapping[str, bytes],
        held: Mapping[str, Held | None],
        applied: Sequence[Applied],
    ) -> None:
        rows = self._rows(outcome, vectors)
        used = self._used.union(row[-2] for row in rows)
        changes = [(head, held[document]) for document, head in outcome.heads.items()]
        documents = sum(head.alive - (before is not None and before.alive) for head, before in changes)
        try:
            with told(self._db, _HINT), self._db.transaction():
                chunks, words = self._put_chunks(outcome, rows)
                self._put_documents(outcome.heads.values())
                self._put_marks(applied)
                if documents or chunks or words or used != self._used:
                    count = SQL(
                        """UPDATE {} SET documents = documents + %s, chunks = chunks + %s, words = words + %s,
                        configurations = %s"""
                    ).format(self._shared(lies.STORE))
                    self._db.execute(count, (documents, chunks, words, sorted(used)))
        except BaseException:
            # Nobody knows whether it took place.
            self._holdings.forget()
            self._marks.clear()
            raise
        self._used = used
        self._chunks += chunks
        self._holdings.learn(outcome.heads)
        self._marks.update(((mark.source, mark.partition), mark) for mark in applied)
        self._index.grown(self._chunks)
        self._count()

    def _count(self) -> None:
        """Let PostgreSQL count which words are common, after the store has grown a lot: searches lean on it."""
        if self._chunks > max(_FEW, 2 * self._counted):
            self._counted = self._chunks
            # Not to wait: an index that is being built waits for this very session, and counts by itself in the end.
            with told(self._db):
                self._db.execute(
                    SQL("ANALYZE (SKIP_LOCKED) {} (words, labels, source, language)").format(self._store.table)
                )

    def _rows(self, outcome: Plan, vectors: Mapping[str, bytes]) -> list[tuple[Any, ...]]:
        """Return the rows of the fresh and the restated chunks, by INCOMING."""
        pieces = [(change, chunk, vectors[chunk.id]) for change, chunk in outcome.fresh]
        restated = [(change, chunk, None) for change, chunk in outcome.restated]
        rows = {
            chunk.id: chunk_values(change, chunk, outcome.heads[change.document].language, vector, self._configurations)
            for change, chunk, vector in [*restated, *pieces]
        }
        return list(rows.values())

    def _put_chunks(self, outcome: Plan, rows: Sequence[tuple[Any, ...]]) -> tuple[int, int]:
        """Write chunks and remove those that are gone; return by how many chunks and words there are more."""
        db, names = self._db, {"table": self._store.table, "incoming": Identifier(lies.INCOMING)}
        chunks = words = 0
        if rows:
            copying = SQL("COPY {incoming} ({columns}) FROM STDIN WITH (FORMAT BINARY)")
            columns = SQL(", ").join(map(Identifier, INCOMING))
            with db.cursor() as cursor, cursor.copy(copying.format(columns=columns, **names)) as copy:
                copy.set_types(list(INCOMING.values()))
                for row in rows:
                    copy.write_row(row)
        replaced = [*(chunk_id for chunk_id, _ in outcome.gone), *(chunk.id for _, chunk in outcome.fresh)]
        if replaced:
            query = SQL(
                """WITH gone AS (DELETE FROM {table} WHERE id = ANY(%b::text[]) RETURNING length)
                SELECT count(*), coalesce(sum(length), 0)::bigint FROM gone"""
            ).format(**names)
            count, length = db.execute(query, ([to_text(name) for name in replaced],)).fetchall()[0]
            chunks, words = -count, -length
        if outcome.fresh:
            query = SQL(
                """WITH come AS (INSERT INTO {table} (id, document, vector, labels, source, uri, language, heading,
                    text, words, length)
                SELECT id, document, vector, labels, source, uri, language, heading, text, {words}, {length}
                FROM {incoming} AS said WHERE vector IS NOT NULL RETURNING length)
                SELECT count(*), coalesce(sum(length), 0)::bigint FROM come"""
            ).format(**names, words=_WORDS, length=_LENGTH)
            count, length = db.execute(query).fetchall()[0]
            chunks, words = chunks + count, words + length
        if outcome.restated:
            query = SQL(
                """WITH before AS (SELECT id, length FROM {table} WHERE id IN (SELECT id FROM {incoming})),
                become AS (UPDATE {table} AS piece
                    SET labels = said.labels, language = said.language, words = {words}, length = {length}
                    FROM {incoming} AS said WHERE said.vector IS NULL AND piece.id = said.id
                    RETURNING piece.id, piece.length)
                SELECT coalesce(sum(become.length - before.length), 0)::bigint FROM before JOIN become USING (id)"""
            ).format(**names, words=_WORDS, length=_LENGTH)
            words += db.execute(query).fetchall()[0][0]
        return chunks, words

    def _put_documents(self, heads: Iterable[Held]) -> None:
        columns = SQL(", ").join(map(Identifier, STATE))
        query = SQL("""INSERT INTO {} (id, {}) VALUES ({}) ON CONFLICT (id) DO UPDATE SET ({}) = ROW({})""").format(
            self._shared(lies.DOCUMENTS),
            columns,
            SQL(", ").join([SQL("%s")] * (1 + len(STATE))),
            columns,
            SQL(", ").join(SQL("excluded.{}").format(Identifier(name)) for name in STATE),
        )
        with self._db.cursor() as cursor:
            cursor.executemany(query, map(state_values, heads))

    def _put_marks(self, applied: Sequence[Applied]) -> None:
        query = SQL(
            """INSERT INTO {} VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (source, partition) DO UPDATE SET
            ("offset", event_time, read_at, caught_up, applied_at) = (excluded."offset", excluded.event_time,
                excluded.read_at, excluded.caught_up, excluded.applied_at)"""
        ).format(self._shared(lies.MARKS))
        with self._db.cursor() as cursor:
            cursor.executemany(query, map(mark_values, applied))

    def _held(self, updates: Sequence[DocumentUpdate]) -> dict[str, Held | None]:
        """Return what the store holds of each document that is about to change."""
        held, unknown = self._holdings.split(update.document.change.document for update in updates)
        if unknown:
            columns = SQL(", ").join(map(Identifier, STATE))
            query = SQL("SELECT id, {} FROM {} WHERE id = ANY(%b)").format(columns, self._shared(lies.DOCUMENTS))
            documents = {document_key(document): document for document in unknown}
            with told(self._db):
                rows = self._db.execute(query, (list(documents),)).fetchall()
            found = {documents[bytes(row[0])]: held_of(row[1:]) for row in rows}
            self._holdings.learn(found)
            held.update((document, found.get(document)) for document in unknown)
        return held

    def _read_marks(self) -> list[Applied]:
        query = SQL("SELECT {} FROM {}").format(SQL(MARK), self._shared(lies.MARKS))
        return [applied_of(row) for row in self._db.execute(query)]

    def _remembers(self) -> bool:
        query = SQL("SELECT EXISTS (SELECT FROM {})").format(self._shared(lies.DOCUMENTS))
        return self._db.execute(query).fetchone() == (True,)

    def _shared(self, name: str) -> Identifier:
        return Identifier(self._store.schema, name)
