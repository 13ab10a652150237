"""The file of the row store: one process writes it, whoever reads it sees whole commits.

A lock beside the file makes the writer the only one, over all processes, for as long as its process lives.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from events.errors import StoreError
from stores.rows.sqlite_schema import ROWS, Layout, add_history

_BUSY_SECONDS = 30.0
_CHECKPOINT_PAGES = 8192
"""Pages of the write-ahead log at which they go into the database: 32 MB, so that a busy page is moved but once."""
_LOG_BYTES = 4 * _CHECKPOINT_PAGES * 4096
"""Size of the write-ahead log from which on the writer waits for readers, so that it can begin anew."""
_CHECKPOINT_MILLIS = 500


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as StoreError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        detail = f"the row store {path} cannot be used: {error}"
        raise StoreError(detail, _hint(error)) from error


def _hint(error: sqlite3.DatabaseError) -> str:
    if type(error) is sqlite3.DatabaseError:
        return "the file is damaged or of another kind: restore it, or move it aside and run the flow from the start"
    return "see that the disk has space and the file can be read and written, then start again"


def open_for_writing(
    path: Path, identity: Callable[[], str], made_at: int, layout: Layout = ROWS
) -> sqlite3.Connection:
    """Open the store, made if it is not there; only the holder of the lock may.

    :raises StoreError: When it is not ours or cannot be used.
    """
    with explained(path):
        # Isolation level None: transactions begin where the writer says so.
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            made = check(db, path, layout)
            db.execute("PRAGMA journal_mode = WAL")
            # A commit outlives the process at once, a power cut only after the next checkpoint. A flow whose recovery
            # folder remembers more than the store then says so, and goes on from the store without it.
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            db.execute(f"PRAGMA journal_size_limit = {2 * _CHECKPOINT_PAGES * 4096}")
            db.execute(f"PRAGMA cache_size = -{layout.cache_kib}")
            if not made:
                _make(db, layout, identity(), made_at)
            elif _pragma(db, "user_version") != layout.version:
                _bring_up(db, layout)
        except BaseException:
            db.close()
            raise
        return db


def check(db: sqlite3.Connection, path: Path, layout: Layout = ROWS) -> bool:
    """Return whether there is a store in the database; false if there is nothing at all.

    :raises StoreError: When there is something else.
    """
    if not _pragma(db, "schema_version"):
        return False
    if _pragma(db, "application_id") != layout.application:
        detail = f"{path} is a database of another kind, not a {layout.name}"
        raise StoreError(detail, "move it away or choose another data_dir")
    if not layout.reads(version := _pragma(db, "user_version")):
        detail = f"the {layout.name} {path} has layout {version}, this program reads {layout.version}"
        raise StoreError(detail, "use the program that wrote it, or move it aside and run the flow from the start")
    return True


def _make(db: sqlite3.Connection, layout: Layout, identity: str, made_at: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    for statement in layout.tables:
        db.execute(statement)
    db.execute("INSERT INTO headrace_store VALUES (?, ?)", (identity, made_at))
    db.execute(f"PRAGMA application_id = {layout.application}")
    db.execute(f"PRAGMA user_version = {layout.version}")
    db.execute("COMMIT")


def _bring_up(db: sqlite3.Connection, layout: Layout) -> None:
    db.execute("BEGIN IMMEDIATE")
    for (name,) in db.execute("SELECT name FROM headrace_tables").fetchall():
        db.execute(add_history(name))
    db.execute(f"PRAGMA user_version = {layout.version}")
    db.execute("COMMIT")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the store read-only; it must be there."""
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)


class WriteAheadLog:
    """Keeps the write-ahead log from growing while readers come one after another.

    SQLite begins it anew only at a moment in which nobody reads what is in it. With many readers that never comes by
    itself: measured, it grew by as much as was written. So from a certain size on the writer waits for those that read
    an older commit; they are through in milliseconds, and new ones do not keep it.

    :arg db: The writer's connection.
    :arg path: The database.
    :arg most: That size, in bytes.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, most: int = _LOG_BYTES) -> None:
        self._db = db
        self._path = f"{path}-wal"
        self._most = self._limit = most

    def committed(self) -> None:
        """Begin it anew if it has become large. What a reader keeps for long, or an error, is left for later."""
        with suppress(FileNotFoundError, sqlite3.Error):
            if (size := os.stat(self._path).st_size) >= self._limit:
                self._limit = size + self._most
                if self._begin_anew():
                    self._limit = self._most

    def _begin_anew(self) -> bool:
        self._db.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_MILLIS}")
        try:
            busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {round(_BUSY_SECONDS * 1000)}")
        return not busy
