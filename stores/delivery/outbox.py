"""What one delivery has taken from the log, and holds until it is delivered: a SQLite file.

Invariant: what is held and how far the log has been taken are of one commit, which has reached the disk when it
returns. So a record that comes again after a crash is known, and none is taken twice.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from events.errors import StoreError
from events.log import Applied
from stores.lock import WriterLock

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (identity TEXT NOT NULL, progress INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS applied (
    source TEXT NOT NULL, partition TEXT NOT NULL, mark BLOB NOT NULL, PRIMARY KEY (source, partition)) STRICT;
CREATE TABLE IF NOT EXISTS taken (
    stream TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (stream, partition)) STRICT;
"""
_BUSY_SECONDS = 10.0

Taken = dict[tuple[str, int], int]
"""For a stream and a partition, the offset of the last record that was taken."""


class Outbox:
    """The file of one delivery; it has one writer.

    :arg path: Made if it is not there.
    :arg identity: Gives one that is made an id that no other has.
    :raises StoreError: When another process writes it, or it cannot be used.
    """

    def __init__(self, path: Path, identity: Callable[[], str] = lambda: secrets.token_hex(8)) -> None:
        self.path = path
        self._closed = False
        self._lock = WriterLock(path.with_suffix(".lock"), f"the delivery {path.stem}")
        try:
            self.db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = FULL")
            self.db.executescript(_SCHEMA)
            if self.db.execute("SELECT count(*) FROM outbox").fetchone() == (0,):
                self.db.execute("INSERT INTO outbox VALUES (?, 0)", (identity(),))
            known = self.db.execute("SELECT identity, progress FROM outbox").fetchone()
        except sqlite3.Error as error:
            self._lock.close()
            raise self._broken(error) from error
        self.identity: str = known[0]
        self.progress: int = known[1]

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Do everything in the block, or nothing; it has reached the disk afterwards.

        :raises StoreError: When the file cannot be written.
        """
        try:
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
            except BaseException:
                if self.db.in_transaction:  # a full disk has ended it already
                    self.db.execute("ROLLBACK")
                raise
            self.db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def taken(self) -> Taken:
        """Return how far each partition has been taken."""
        rows = self.db.execute("SELECT stream, partition, offset FROM taken")
        return {(stream, partition): offset for stream, partition, offset in rows}

    def take(self, taken: Mapping[tuple[str, int], int]) -> None:
        """Note how far partitions have been taken, within a transaction."""
        rows = [(*key, offset) for key, offset in taken.items()]
        self.db.executemany("INSERT OR REPLACE INTO taken VALUES (?, ?, ?)", rows)

    def forget(self, stream: str, partition: int) -> None:
        """Forget how far a partition has been taken."""
        with self.transaction() as db:
            db.execute("DELETE FROM taken WHERE stream = ? AND partition = ?", (stream, partition))

    def applied(self) -> list[Applied]:
        """Return up to where each partition of each stream has been taken, and when."""
        return _applied(self.db)

    def note(self, marks: list[Applied]) -> None:
        """Note up to where partitions have been taken."""
        rows = [(mark.source, mark.partition, msgspec.json.encode(mark)) for mark in marks]
        with self.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO applied VALUES (?, ?, ?)", rows)
            db.execute("UPDATE outbox SET progress = progress + 1")
        self.progress += 1

    def close(self) -> None:
        """Let go of the file. Closing twice does nothing."""
        if not self._closed:
            self._closed = True
            self.db.close()
            self._lock.close()

    def _broken(self, error: Exception) -> StoreError:
        return StoreError(f"{self.path} cannot be used: {error}", "look at the disk: is it full, or not writable?")


def read_applied(path: Path) -> list[Applied]:
    """Return what a delivery has noted, whoever writes it at the moment; nothing if there is no file yet.

    :raises StoreError: When the file cannot be read.
    """
    if not path.exists():
        return []
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
        try:
            known = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'applied'").fetchone()
            return _applied(db) if known else []
        finally:
            db.close()
    except (sqlite3.Error, msgspec.DecodeError) as error:
        detail = f"{path} cannot be read: {error}"
        raise StoreError(detail, "look at the disk") from error


def _applied(db: sqlite3.Connection) -> list[Applied]:
    rows = db.execute("SELECT mark FROM applied ORDER BY source, partition")
    return [msgspec.json.decode(mark, type=Applied) for (mark,) in rows]
