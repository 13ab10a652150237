"""How a journal lies in SQLite: each entry as it is, and beside it what it was in sequences that may still come back.

A generation of an entry is a value with the sequence in which it was born; `former` also says in which one it died.
Ids of entries and places of former generations only ever grow (AUTOINCREMENT), so that each epoch notes but the
highest of both when it closes: what is above them has happened since, and needs no index to be found. `untold` has the
names that a roll-back has returned, with the sequence at whose end others had been told of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from events.errors import StoreError

APPLICATION = 0x48524A4E
VERSION = 2

_TABLES = (
    # `retired`: the highest sequence that has been given up in a roll-back. Its number is not used again.
    """CREATE TABLE journal (identity TEXT NOT NULL, made_at INTEGER NOT NULL,
        retired INTEGER NOT NULL DEFAULT 0) STRICT""",
    # An entry has an id of its own: an update in place then leaves the tree of names alone.
    """CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, born INTEGER NOT NULL,
        value BLOB NOT NULL) STRICT""",
    """CREATE TABLE former (place INTEGER PRIMARY KEY AUTOINCREMENT, died INTEGER NOT NULL, id INTEGER NOT NULL,
        name TEXT NOT NULL, born INTEGER NOT NULL, value BLOB NOT NULL) STRICT""",
    """CREATE TABLE epochs (sequence INTEGER PRIMARY KEY, closed_at INTEGER NOT NULL, last_id INTEGER NOT NULL,
        last_place INTEGER NOT NULL, applied BLOB NOT NULL) STRICT""",
    """CREATE TABLE untold (name TEXT PRIMARY KEY, until INTEGER) STRICT, WITHOUT ROWID""",
)

_BUSY_SECONDS = 30.0
_CHECKPOINT_PAGES = 8192
_CACHE_KIB = 65_536


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as StoreError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        detail = f"the identity journal {path} cannot be used: {error}"
        raise StoreError(detail, _hint(error)) from error


def _hint(error: sqlite3.DatabaseError) -> str:
    if type(error) is sqlite3.DatabaseError:
        return "the file is damaged or of another kind: restore it, or move it aside with the flow's recovery folder"
    return "see that the disk has space and the file can be read and written, then start again"


def open_for_writing(path: Path, identity: Callable[[], str], made_at: int) -> sqlite3.Connection:
    """Open the journal, made if it is not there; only the holder of the lock may.

    :raises StoreError: When it is not ours or cannot be used.
    """
    with explained(path):
        # Isolation level None: transactions begin where the journal says so.
        db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            made = check(db, path)
            db.execute("PRAGMA journal_mode = WAL")
            # A commit outlives the process at once, a power cut only after the next checkpoint: see `roll_back`.
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            db.execute(f"PRAGMA journal_size_limit = {2 * _CHECKPOINT_PAGES * 4096}")
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            db.execute("PRAGMA temp_store = MEMORY")  # names that are to be forgotten are written to no file
            if not made:
                _make(db, identity(), made_at)
        except BaseException:
            db.close()
            raise
        return db


def check(db: sqlite3.Connection, path: Path) -> bool:
    """Return whether there is a journal in the database; false if there is nothing at all.

    :raises StoreError: When there is something else.
    """
    if not _pragma(db, "schema_version"):
        return False
    if _pragma(db, "application_id") != APPLICATION:
        detail = f"{path} is a database of another kind, not an identity journal"
        raise StoreError(detail, "move it away or choose another data_dir")
    if (version := _pragma(db, "user_version")) != VERSION:
        detail = f"the identity journal {path} has layout {version}, this program reads {VERSION}"
        raise StoreError(detail, "use the program that wrote it, or move it aside with the flow's recovery folder")
    return True


def _make(db: sqlite3.Connection, identity: str, made_at: int) -> None:
    db.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        db.execute(statement)
    db.execute("INSERT INTO journal (identity, made_at) VALUES (?, ?)", (identity, made_at))
    db.execute("INSERT INTO epochs VALUES (0, ?, 0, 0, ?)", (made_at, b"[]"))
    db.execute(f"PRAGMA application_id = {APPLICATION}")
    db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
