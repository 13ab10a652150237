"""The reader of the vector store in PostgreSQL: each call is one read-only transaction over one snapshot.

Within a cut all calls are the same transaction. See `stores.rows.postgres_snapshot` for the sessions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from psycopg.sql import SQL, Identifier
from typing_extensions import Self, override

from events.context import FoundChunk
from events.documents import document_id
from events.errors import StoreError
from events.log import Applied
from stores.embedders.base import Model
from stores.rows.postgres_image import to_text
from stores.rows.postgres_session import Session
from stores.rows.postgres_snapshot import PostgresCut, PostgresSnapshots
from stores.vectors.base import Query, StoredDocument, VectorReader
from stores.vectors.models import check_question
from stores.vectors.postgres_schema import DOCUMENTS, MARKS, Store, document_key
from stores.vectors.postgres_search import search
from stores.vectors.postgres_store import PURPOSE, read_store
from stores.vectors.postgres_values import ITEM, MARK, STATE, applied_of, held_of, item_of

T = TypeVar("T")
_TRIES = 3


class PostgresVectorReader(VectorReader):
    """Searches the store in a schema, which another process may be writing, or may not have made yet.

    Threads may share it, and do not wait for each other as long as there are sessions.

    :arg dsn: Connection string; reading the tables of `schema` is all that its role must be allowed to.
    :arg schema: Schema of the store.
    :arg model: The model of the questions' vectors; a search of a store of another one is refused. None: not checked.
    """

    def __init__(self, dsn: str, schema: str, model: Model | None = None) -> None:
        self._schema = schema
        self._model = model
        self._view: PostgresSnapshots | PostgresCut = PostgresSnapshots(dsn, PURPOSE)

    @override
    @contextmanager
    def cut(self) -> Iterator[Self]:
        """Hold on to one commit, which may rest for 30 s between two reads at most; see `VectorReader.cut`.

        :raises StoreError: By the reader in the block, when it is asked after that time or after the block.
        """
        with self._view.cut() as view:
            reader = copy.copy(self)
            reader._view = view
            # A table that has been looked at stays until the cut is over, even if a reindex replaces it.
            reader._read(lambda db, store: db.execute(SQL("SELECT FROM {} LIMIT 0").format(store.table)), None)
            yield reader

    @override
    def search(self, query: Query) -> list[FoundChunk]:
        """Return the best items, best first.

        :raises StoreError: When the store holds vectors of another model than the reader's or the question's.
        """
        if not query.audiences or query.k < 1:
            return []

        def run(db: Session, store: Store) -> list[FoundChunk]:
            check_question(store.model, self._model, query)
            return search(db, store, query)

        return self._read(run, [])

    @override
    def documents(self, source: str = "") -> Iterator[StoredDocument]:
        """Yield every document, of one source if named, in the order of source and uri."""
        columns = SQL(", ").join(map(Identifier, STATE))
        narrowed = SQL("AND source = %s" if source else "")
        query = SQL("SELECT {} FROM {} WHERE alive {} ORDER BY source, uri").format(
            columns, self._shared(DOCUMENTS), narrowed
        )
        values = (to_text(source),) if source else ()

        def run(db: Session, _: Store) -> list[StoredDocument]:
            return [held_of(row).stored() for row in db.execute(query, values)]

        absent: list[StoredDocument] = []
        yield from self._read(run, absent)

    @override
    def totals(self) -> tuple[int, int]:
        """Return how many documents and how many chunks there are."""
        return self._read(lambda _, store: (store.documents, store.chunks), (0, 0))

    @override
    def chunks(self, source: str, uri: str) -> list[FoundChunk]:
        """Return a document's chunks in their order, all with score 0; empty if it is not there."""

        def run(db: Session, store: Store) -> list[FoundChunk]:
            query = SQL(
                """SELECT {}, listed.since, listed.ordinal FROM {} AS document,
                ROWS FROM (unnest(manifest), unnest(document.since)) WITH ORDINALITY AS listed (id, since, ordinal)
                JOIN {} AS piece ON piece.id = listed.id WHERE document.id = %s ORDER BY listed.ordinal"""
            ).format(SQL(ITEM), self._shared(DOCUMENTS), store.table)
            return [item_of(row, 0.0) for row in db.execute(query, (document_key(document_id(source, uri)),))]

        return self._read(run, [])

    @override
    def newest_position(self, source: str) -> int | None:
        """Return the highest position of any change of a source that the store remembers, deletes included."""

        def run(db: Session, _: Store) -> int | None:
            query = SQL("SELECT max(position) FROM {} WHERE source = %s").format(self._shared(DOCUMENTS))
            row = db.execute(query, (to_text(source),)).fetchone()
            return row[0] if row else None

        return self._read(run, None)

    @override
    def applied(self) -> list[Applied]:
        """Return how far the store has taken in each partition of each source."""
        query = SQL("SELECT {} FROM {} ORDER BY source, partition").format(SQL(MARK), self._shared(MARKS))
        return self._read(lambda db, _: [applied_of(row) for row in db.execute(query)], [])

    @override
    def close(self) -> None:
        """Let go of all sessions. A reader that is asked again opens others."""
        self._view.close()

    def _read(self, run: Callable[[Session, Store], T], absent: T) -> T:
        """Return what `run` finds in the newest commit, or the cut's; `absent` where there is no store (yet)."""

        def within(db: Session) -> T:
            store = read_store(db, self._schema)
            if store is None:
                return absent
            try:
                return run(db, store)
            except psycopg.errors.UndefinedTable:
                raise _ReplacedError from None
            except UnicodeEncodeError:  # half a surrogate pair: nothing is called so
                return absent

        for left in reversed(range(_TRIES)):
            try:
                return self._view.read(within, absent)
            except _ReplacedError:
                if not left or isinstance(self._view, PostgresCut):
                    raise
        return absent

    def _shared(self, name: str) -> Identifier:
        return Identifier(self._schema, name)


class _ReplacedError(StoreError):
    """A reindex has replaced the table that was read."""

    def __init__(self) -> None:
        super().__init__("the vector store has been replaced by a reindex meanwhile", "begin again")
