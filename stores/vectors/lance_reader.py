"""The reader of the LanceDB store: each call looks at one version, the newest, of whichever process wrote it.

Every call works on a handle that nobody else uses meanwhile and that is brought to the newest version once, at the
beginning: the ranking by meaning, the one by words and the look at the documents belong together.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import override

from events.context import FoundChunk
from events.documents import document_id
from events.errors import StoreError
from events.log import Applied
from stores.embedders.base import Model
from stores.vectors.base import Query, StoredDocument, VectorReader
from stores.vectors.fusion import fuse
from stores.vectors.lance_folder import REINDEX, Store, check_model, connect, read_store, store_path
from stores.vectors.lance_schema import (
    CHUNK,
    CHUNK_COLUMNS,
    DOCUMENT,
    DOCUMENT_ID,
    MARK_COLUMNS,
    MARK_ID,
    STATE_COLUMNS,
    begins,
    literal,
    rows_by_id,
    shares_one,
    to_applied,
    to_held,
    to_item,
)

if TYPE_CHECKING:
    from lancedb.table import Table
else:
    Table = Any

T = TypeVar("T")

_CANDIDATES = 50  # of each ranking; more of them do not make the fused one better
_TRIES = 3


class LanceReader(VectorReader):
    """Searches the store in `path`, which another process may be writing, or may not have made yet.

    May be used by many threads at once.

    :arg path: The store's folder.
    :arg model: The model of the questions' vectors; a search of a store of another one is refused. None: not checked.
    """

    def __init__(self, path: Path, model: Model | None = None) -> None:
        self._path = path
        self._model = model
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._store: Store | None = None
        self._database: Any = None
        self._idle: list[Table] = []

    @override
    def search(self, query: Query) -> list[FoundChunk]:
        """Return the best items, best first.

        :raises StoreError: When the store holds vectors of another model than the reader's or the question's.
        """
        if not query.audiences or query.k < 1:
            return []

        def work(store: Store, table: Table) -> list[FoundChunk]:
            if self._model is not None:
                check_model(store, self._model)
            if query.vector is not None and len(query.vector) != store.model.dimension:
                detail = (
                    f"the question's vector has {len(query.vector)} numbers, those of {store.model.id} in the "
                    f"vector store have {store.model.dimension}"
                )
                raise StoreError(detail, REINDEX)
            return _search(table, query)

        return self._read(work, [])

    @override
    def documents(self, source: str = "") -> Iterator[StoredDocument]:
        """Yield every document, of one source if named, in the order of source and uri."""
        rows = f"{begins('id', DOCUMENT_ID)} AND kind = '{DOCUMENT}'"
        if source:
            rows += f" AND source = {literal(source)}"
        found = self._read(lambda _, table: table.search().where(rows).select(STATE_COLUMNS).to_arrow(), None)
        if found is not None:
            for batch in found.sort_by([("source", "ascending"), ("uri", "ascending")]).to_batches(1_000):
                for row in batch.to_pylist():
                    yield to_held(row).stored()

    @override
    def chunks(self, source: str, uri: str) -> list[FoundChunk]:
        """Return a document's chunks in their order, all with score 0; empty if it is not there."""

        def work(_: Store, table: Table) -> list[FoundChunk]:
            name = document_id(source, uri)
            found = rows_by_id(table, [DOCUMENT_ID + name], STATE_COLUMNS)
            if not found:
                return []
            held = to_held(found[0])
            rows = {row["id"]: row for row in rows_by_id(table, held.manifest, CHUNK_COLUMNS)}
            return [
                to_item(rows[chunk_id], held, ordinal, 0.0)
                for ordinal, chunk_id in enumerate(held.manifest)
                if chunk_id in rows
            ]

        return self._read(work, [])

    @override
    def newest_position(self, source: str) -> int | None:
        """Return the highest position of any change of a source that the store remembers, deletes included."""
        import pyarrow.compute as pc

        rows = f"{begins('id', DOCUMENT_ID)} AND source = {literal(source)}"
        found = self._read(lambda _, table: table.search().where(rows).select(["position"]).to_arrow(), None)
        newest = None if found is None else pc.max(found["position"]).as_py()
        return None if newest is None else int(newest)

    @override
    def applied(self) -> list[Applied]:
        """Return how far the store has taken in each partition of each source."""

        def work(_: Store, table: Table) -> list[Applied]:
            found = table.search().where(begins("id", MARK_ID)).select(MARK_COLUMNS).to_arrow()
            return sorted(map(to_applied, found.to_pylist()), key=lambda mark: (mark.source, mark.partition))

        return self._read(work, [])

    def _read(self, work: Callable[[Store, Table], T], absent: T) -> T:
        """Do `work` on the newest version; `absent` where there is no store yet.

        A reindex may drop the table, and maintenance the version, under a slow reader: it begins again.
        """
        for left in reversed(range(_TRIES)):
            try:
                borrowed = self._borrow()
                if borrowed is None:
                    return absent
                store, table = borrowed
                table.checkout_latest()
                result = work(store, table)
            except (OSError, RuntimeError, ValueError) as error:
                if not left:
                    detail = f"the vector store in {self._path} cannot be read: {error}"
                    raise StoreError(detail, "try again; if it stays so, remove the folder and run the flow") from error
                continue
            self._give_back(store, table)
            return result
        return absent

    def _borrow(self) -> tuple[Store, Table] | None:
        with self._lock:
            self._refresh()
            if self._store is None:
                return None
            table = self._idle.pop() if self._idle else self._database.open_table(self._store.table)
            return self._store, table

    def _give_back(self, store: Store, table: Table) -> None:
        with self._lock:
            if store is self._store:
                self._idle.append(table)

    def _refresh(self) -> None:
        """Follow `store.json` to another table, or to another store in the same place."""
        try:
            status = store_path(self._path).stat()
        except FileNotFoundError:
            self._stamp, self._store = None, None
            return
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._store = read_store(self._path)
            # Also another connection: what the old one has cached may be of files that are no more.
            self._database = connect(self._path)
            self._idle = []
            self._stamp = stamp


def _search(table: Table, query: Query) -> list[FoundChunk]:
    import numpy as np
    from lancedb.query import MatchQuery

    allowed = _filter(query)
    depth = max(_CANDIDATES, 4 * query.k)
    rankings: list[dict[str, str]] = []
    if query.vector is not None:
        near = table.search(np.asarray(query.vector, dtype=np.float32), vector_column_name="vector")
        near = near.distance_type("cosine").refine_factor(5)
        rankings.append(_ranking(near, "_distance", 1, allowed, depth))
    if query.text.strip():
        # A match query takes the words as words: nothing in a question is syntax.
        match = table.search(MatchQuery(query.text, "words"), query_type="fts")
        rankings.append(_ranking(match, "_score", -1, allowed, depth))
    documents = {chunk_id: document for ranking in rankings for chunk_id, document in ranking.items()}
    return _join(table, fuse([list(ranking) for ranking in rankings]), documents, query.k)


def _filter(query: Query) -> str:
    """Return what may be ranked at all."""
    filters = [shares_one("audience", query.audiences)]
    if query.source:
        filters.append(f"source = {literal(query.source)}")
    if query.uri_prefix:
        filters.append(begins("uri", query.uri_prefix))
    if query.language:
        filters.append(f"language = {literal(query.language)}")
    return " AND ".join(filters)


def _ranking(search: Any, by: str, sign: int, allowed: str, depth: int) -> dict[str, str]:
    """Run one ranking; equal ones in the order of their ids. Returns each hit's document by its id, best first."""
    found = search.where(allowed, prefilter=True).select(["id", "document", by]).limit(depth).to_arrow().to_pylist()
    hits = [row for row in found if not math.isnan(row[by])]
    hits.sort(key=lambda row: (sign * row[by], row["id"]))
    return {row["id"]: row["document"] for row in hits}


def _join(table: Table, ranked: Sequence[tuple[str, float]], documents: dict[str, str], k: int) -> list[FoundChunk]:
    """Return the first `k` of the ranked chunks that belong to a document, with what it says of them."""
    items: list[FoundChunk] = []
    for start in range(0, len(ranked), k):
        block = ranked[start : start + k]
        names = [DOCUMENT_ID + document for document in {documents[chunk_id] for chunk_id, _ in block}]
        columns = list(dict.fromkeys([*CHUNK_COLUMNS, *STATE_COLUMNS]))
        rows = rows_by_id(table, [*(chunk_id for chunk_id, _ in block), *names], columns)
        chunks = {row["id"]: row for row in rows if row["kind"] == CHUNK}
        holders = {row["document"]: to_held(row) for row in rows if row["kind"] == DOCUMENT}
        for chunk_id, score in block:
            held = holders.get(documents[chunk_id])
            if held is not None and chunk_id in held.manifest:
                items.append(to_item(chunks[chunk_id], held, held.manifest.index(chunk_id), score))
        if len(items) >= k:
            break
    return items[:k]
