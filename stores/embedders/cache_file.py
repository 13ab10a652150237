"""The embedding cache's file: bounded in size, shared by processes and threads.

It may forget, it never errs: what is found under a key is what was last put there, and whatever happens to the file,
nobody is kept from working.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from events.errors import StoreError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_APPLICATION = 0x48524543
_PAGE_BYTES = 8192  # five vectors of 384 float32 and hardly a gap
_WAIT_SECONDS = 5.0
_KEYS_AT_ONCE = 500
_ROWS_AT_ONCE = 256
_ROW_OVERHEAD = 128
_ENTRY_BYTES = 384 * 4 + _ROW_OVERHEAD
_SPARE_PAGES = 8  # inner nodes of the trees
_KEPT_AFTER_EVICTION = 0.9

# An id is never given twice (AUTOINCREMENT), so that no key ever comes to point at the vector of another text.
# `used` is the newest id when the entry was last needed: age is counted in insertions, not in time.
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS vectors (id INTEGER PRIMARY KEY AUTOINCREMENT, vector BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS entries"
    " (key BLOB PRIMARY KEY, id INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID",
    f"PRAGMA application_id = {_APPLICATION}",
)
_OLDEST = "SELECT id, key FROM entries ORDER BY used LIMIT (SELECT count(*) / 8 + 100 FROM entries)"


class EmbeddingCache:
    """Bytes under keys in one SQLite file, the least recently used given up first. Opened at its first use.

    :arg path: The file; a damaged one is moved aside, to the same name with `.damaged` behind it.
    :arg megabytes: Bound of the file, in units of 2**20 bytes; its write-ahead log adds at most a few more.
    """

    def __init__(self, path: Path, megabytes: int = 1024) -> None:
        self._path = path
        self._limit = megabytes * 2**20
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._inode = 0
        self._warned = False

    def get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return what is kept under `keys`; absent ones are left out."""
        return self._guarded(lambda: self._get(keys), {})

    def count(self) -> int:
        """Return how many entries there are."""
        return self._guarded(lambda: int(self._open().execute("SELECT count(*) FROM entries").fetchone()[0]), 0)

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep `entries`, in place of what is under the same keys. Where that is impossible, warn once."""
        items = list(entries.items())
        self._guarded(lambda: self._put(items), None)

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _guarded(self, action: Callable[[], _T], otherwise: _T) -> _T:
        with self._lock:
            for _ in range(2):
                try:
                    return action()
                except (sqlite3.OperationalError, OSError) as error:  # full, locked, read-only, gone
                    self._warn(f"the embedding cache {self._path} cannot be used: {error}; going on without")
                    self.close()
                    return otherwise
                except sqlite3.DatabaseError as error:
                    if type(error) is not sqlite3.DatabaseError:  # its other children are mistakes of ours
                        raise
                    self._move_aside(error)
            return otherwise

    def _get(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        db = self._open()
        newest = _newest(db)
        # Noting each use would turn every look-up into a write; being off by a tenth of what fits does no harm.
        stale = newest - self._limit // (10 * _ENTRY_BYTES)
        found: dict[bytes, bytes] = {}
        touched: list[tuple[int, bytes]] = []
        for part in _parts(keys, _KEYS_AT_ONCE):
            marks = ",".join("?" * len(part))
            # Only question marks are put in.
            query = f"SELECT key, used, vector FROM entries JOIN vectors USING (id) WHERE key IN ({marks})"  # noqa: S608
            for key, used, vector in db.execute(query, part):
                found[key] = vector
                if used < stale:
                    touched.append((newest, key))
        if touched:
            with suppress(sqlite3.OperationalError), _transaction(db):  # the note may be lost, what was found may not
                db.executemany("UPDATE entries SET used = ? WHERE key = ?", touched)
        return found

    def _put(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        db = self._open()
        row_bytes = max((len(vector) for _, vector in items), default=0) + _ROW_OVERHEAD
        rows = max(1, min(_ROWS_AT_ONCE, self._limit // 8 // row_bytes))
        for part in _parts(items, rows):
            pages = len(part) * row_bytes // _PAGE_BYTES + _SPARE_PAGES
            while not self._insert(db, part, pages):
                if not self._evict(db, pages):
                    break

    def _insert(self, db: sqlite3.Connection, items: Sequence[tuple[bytes, bytes]], pages: int) -> bool:
        """Write `items`, which need at most `pages`; write nothing and return False where the bound forbids it."""
        keys = [(key,) for key, _ in items]
        with _transaction(db):
            if max(_pragma(db, "page_count"), _used_pages(db) + pages) > self._limit // _PAGE_BYTES:
                return False
            db.executemany("DELETE FROM vectors WHERE id = (SELECT id FROM entries WHERE key = ?)", keys)
            ids = range(_newest(db) + 1, _newest(db) + 1 + len(items))
            vectors = [(row, vector) for row, (_, vector) in zip(ids, items, strict=True)]
            db.executemany("INSERT INTO vectors VALUES (?, ?)", vectors)
            entries = [(key, row, row) for row, (key, _) in zip(ids, items, strict=True)]
            db.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)", entries)
        return True

    def _evict(self, db: sqlite3.Connection, needed: int) -> bool:
        """Delete the least recently used entries until `needed` pages fit; return False where they never will."""
        pages = self._limit // _PAGE_BYTES
        if needed > pages:
            return False
        kept = min(int(pages * _KEPT_AFTER_EVICTION), pages - needed)
        # In small transactions, so that other processes get their turn; they may evict at the same time.
        while _used_pages(db) > kept and (oldest := db.execute(_OLDEST).fetchall()):
            for part in _parts(oldest, _ROWS_AT_ONCE):
                with _transaction(db):
                    if _used_pages(db) <= kept:
                        break
                    db.executemany("DELETE FROM vectors WHERE id = ?", [(row,) for row, _ in part])
                    db.executemany("DELETE FROM entries WHERE id = ? AND key = ?", part)
        if _pragma(db, "page_count") > pages:  # an earlier run had a larger bound
            # One step of this statement frees one page, and `execute` takes only one.
            db.executescript("PRAGMA incremental_vacuum")
        return _used_pages(db) <= kept

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Isolation level None: transactions begin where this module says so. The lock serialises the threads.
            db = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._inode = self._path.stat().st_ino
                self._prepare(db)
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def _prepare(self, db: sqlite3.Connection) -> None:
        begun = _pragma(db, "schema_version") > 0
        if begun and _pragma(db, "application_id") != _APPLICATION:
            detail = f"{self._path} is a database of another kind, not an embedding cache"
            raise StoreError(detail, "move it away or choose another data_dir")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA cache_size = -16384")
        db.execute("PRAGMA wal_autocheckpoint = 256")
        db.execute(f"PRAGMA journal_size_limit = {2**20}")
        if not begun:  # all of it is written to the file: a reader must not wait for a writer
            db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _write_ahead(db)
            with _transaction(db):
                for statement in _SCHEMA:
                    db.execute(statement)

    def _move_aside(self, error: sqlite3.DatabaseError) -> None:
        self.close()
        try:
            if self._path.stat().st_ino != self._inode:
                return  # another process has already begun a file of its own
            os.replace(self._path, self._path.with_name(f"{self._path.name}.damaged"))
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError as failure:
            self._warn(f"the embedding cache {self._path} is damaged and cannot be moved aside: {failure}")
            return
        _log.warning(
            "the embedding cache %s is damaged (%s); it was moved to %s.damaged and starts anew",
            self._path,
            error,
            self._path.name,
        )

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("%s", message)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk has rolled back by itself
            db.execute("ROLLBACK")
        raise


def _write_ahead(db: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; SQLite does not wait by itself where two processes do so at once."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _parts(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _used_pages(db: sqlite3.Connection) -> int:
    return _pragma(db, "page_count") - _pragma(db, "freelist_count")


def _newest(db: sqlite3.Connection) -> int:
    row = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'vectors'").fetchone()
    return int(row[0]) if row else 0
