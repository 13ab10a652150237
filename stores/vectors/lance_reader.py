"""The reader of the LanceDB store: each call looks at one version, the newest, of whichever process wrote it.

Every call works on a handle that nobody else uses meanwhile and that is brought to the newest version once, at the
beginning: the ranking by meaning, the one by words and the look at the documents belong together. A cut keeps such a
handle: it stays at its version, whose files maintenance keeps for `lance_maintenance.RETAIN` after it was the newest.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import override

from events.context import FoundChunk
from events.documents import document_id
from events.errors import StoreError
from events.log import Applied
from stores.embedders.base import Model
from stores.vectors.base import Query, StoredDocument, VectorReader
from stores.vectors.lance_folder import Store, connect, read_store, store_path
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
    to_applied,
    to_held,
    to_item,
)
from stores.vectors.lance_search import search
from stores.vectors.models import check_question

if TYPE_CHECKING:
    from lancedb.table import Table
else:
    Table = Any

T = TypeVar("T")

_TRIES = 3
_SPARE = 16  # handles that are kept open between calls


class _Marks:
    """The marks of the version that they were last read of: a version never changes, and reading it takes a while."""

    def __init__(self) -> None:
        self._known: tuple[Store, int, tuple[Applied, ...]] | None = None

    def of(self, store: Store, table: Table) -> list[Applied]:
        """Return the marks of the version that `table` is at."""
        known, version = self._known, int(table.version)
        if known is not None and known[:2] == (store, version):
            return list(known[2])
        found = table.search().where(begins("id", MARK_ID)).select(MARK_COLUMNS).to_arrow()
        marks = sorted(map(to_applied, found.to_pylist()), key=lambda mark: (mark.source, mark.partition))
        self._known = store, version, tuple(marks)
        return marks


class _Reads(VectorReader):
    """The verbs, over whichever version `_read` gives."""

    def __init__(self, model: Model | None, marks: _Marks) -> None:
        self._model = model
        self._marks = marks

    @abstractmethod
    def _read(self, work: Callable[[Store, Table], T], absent: T) -> T:
        """Do `work` on a version; `absent` where there is no store (yet)."""

    @override
    def search(self, query: Query) -> list[FoundChunk]:
        """Return the best items, best first.

        :raises StoreError: When the store holds vectors of another model than the reader's or the question's.
        """
        if not query.audiences or query.k < 1:
            return []

        def work(store: Store, table: Table) -> list[FoundChunk]:
            check_question(store.model, self._model, query)
            return search(table, query)

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
    def totals(self) -> tuple[int, int]:
        """Return how many documents and how many chunks there are."""

        def work(_: Store, table: Table) -> tuple[int, int]:
            return int(table.count_rows(f"kind = '{DOCUMENT}'")), int(table.count_rows(f"kind = '{CHUNK}'"))

        return self._read(work, (0, 0))

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

        def work(store: Store, table: Table) -> list[Applied]:
            # Only now: to look for the newest version may have led to another store.
            return self._marks.of(store, table)

        return self._read(work, [])


class LanceReader(_Reads):
    """Searches the store in `path`, which another process may be writing, or may not have made yet.

    May be used by many threads at once.

    :arg path: The store's folder.
    :arg model: The model of the questions' vectors; a search of a store of another one is refused. None: not checked.
    """

    def __init__(self, path: Path, model: Model | None = None) -> None:
        super().__init__(model, _Marks())
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._store: Store | None = None
        self._database: Any = None
        self._idle: list[Table] = []

    @override
    @contextmanager
    def cut(self) -> Iterator[VectorReader]:
        """Hold on to one commit; see `VectorReader.cut`.

        :raises StoreError: By the reader in the block, when it is asked after the block, or so long after the version
            was replaced that maintenance has removed it.
        """
        borrowed = self._newest(lambda store, table: (store, table), None)
        cut = _Cut(self._path, self._model, self._marks, borrowed)
        try:
            yield cut
        finally:
            cut.close()
            if borrowed is not None:
                self._give_back(*borrowed)

    @override
    def _read(self, work: Callable[[Store, Table], T], absent: T) -> T:
        def once(store: Store, table: Table) -> T:
            result = work(store, table)
            self._give_back(store, table)
            return result

        return self._newest(once, absent)

    def _newest(self, work: Callable[[Store, Table], T], absent: T) -> T:
        """Do `work` with a handle at the newest version; `absent` where there is no store yet.

        A reindex may drop the table, and maintenance the version, under a slow reader: it begins again.
        """
        for left in reversed(range(_TRIES)):
            try:
                borrowed = self._borrow()
                if borrowed is None:
                    return absent
                store, table = borrowed
                table.checkout_latest()
                return work(store, table)
            except (OSError, RuntimeError, ValueError) as error:
                if not left:
                    detail = f"the vector store in {self._path} cannot be read: {error}"
                    raise StoreError(detail, "try again; if it stays so, remove the folder and run the flow") from error
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
            if store is self._store and len(self._idle) < _SPARE:
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
            # An older copy in its place counts on from its own version.
            self._marks = _Marks()
            self._stamp = stamp


class _Cut(_Reads):
    """One version, as long as its block lasts.

    :arg marks: Those that have been read of any version.
    :arg held: A handle at that version, and the store that it is of; None where there was no store.
    """

    def __init__(self, path: Path, model: Model | None, marks: _Marks, held: tuple[Store, Table] | None) -> None:
        super().__init__(model, marks)
        self._path = path
        self._held = held
        self._closed = False

    @override
    @contextmanager
    def cut(self) -> Iterator[VectorReader]:
        """Give the same version: there is no other one to be seen from here."""
        yield self

    def close(self) -> None:
        """Let nobody read it any more."""
        self._closed = True

    @override
    def _read(self, work: Callable[[Store, Table], T], absent: T) -> T:
        if self._closed:
            detail = f"this cut of the vector store in {self._path} has been closed"
            raise StoreError(detail, "begin another one")
        if self._held is None:
            return absent
        try:
            return work(*self._held)
        except (OSError, RuntimeError, ValueError) as error:
            detail = f"this cut of the vector store in {self._path} cannot be read any more: {error}"
            raise StoreError(detail, "begin another one") from error
