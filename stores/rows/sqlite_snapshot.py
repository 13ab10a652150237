"""Snapshots of a SQLite database: each is one transaction on a connection of its own.

They wait neither for each other nor for the writer. The file is opened read-only, and anew in a forked process or when
another one lies in its place.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from events.errors import StoreError
from stores.pool import Pool
from stores.rows.sqlite_file import check, explained, open_for_reading
from stores.rows.sqlite_schema import Layout
from stores.rows.sqlite_select import register
from stores.rows.turns import Turns

_MOST, _SPARE = 64, 16
_WAIT_SECONDS = 30.0
_TURNS = Turns()  # one for all stores of a process, as Python's lock is
_STEPS = 100_000
"""Steps of SQLite's machine between two looks at the time: a few milliseconds."""
CUT_SECONDS = 30.0
"""How long a cut may be open; whoever reads next ends it. As long as one is, all that is committed after it has to stay
in the write-ahead log."""


class SqliteSnapshots:
    """Gives snapshots of the store in `path`; an absent one has none."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path = path
        self._layout = layout
        self._pool = Pool(
            f"{path}", self._open, _Connection.rest, _Connection.close, most=_MOST, spare=_SPARE, seconds=_WAIT_SECONDS
        )
        self._cuts: list[SqliteCut] = []

    @contextmanager
    def look(self) -> Iterator[sqlite3.Connection | None]:
        """Give the newest commit for the block; None where there is no store yet."""
        with _TURNS.turn(), self._snapshot() as db:
            yield db

    @contextmanager
    def cut(self) -> Iterator[SqliteCut]:
        """Hold on to the newest commit for the block."""
        with self._snapshot() as db:
            cut = SqliteCut(self._path, db, CUT_SECONDS)
            self._cuts.append(cut)
            try:
                yield cut
            finally:
                cut.close()
                self._cuts.remove(cut)

    def close(self) -> None:
        """Let go of the file."""
        self._pool.clear()

    @contextmanager
    def _snapshot(self) -> Iterator[sqlite3.Connection | None]:
        for cut in tuple(self._cuts):
            cut.end_overdue()
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._pool.clear()
            yield None
            return
        with explained(self._path), self._pool.lent((status.st_dev, status.st_ino)) as connection:
            yield connection.db if connection.begin(self._path, self._layout) else None

    def _open(self) -> _Connection:
        return _Connection(open_for_reading(self._path))


class SqliteCut:
    """A snapshot that several reads look at. It is for one thread, but any may end it when it is overdue."""

    def __init__(self, path: Path, db: sqlite3.Connection | None, seconds: float) -> None:
        self._path = path
        self._db = db
        self._late = f"it was open for more than {seconds:g} s"
        self._deadline = time.monotonic() + seconds
        self._over = ""
        self._turn = threading.Lock()
        if db is not None:
            db.set_progress_handler(self._is_overdue, _STEPS)

    @contextmanager
    def look(self) -> Iterator[sqlite3.Connection | None]:
        """Give the snapshot for the block; None where there was no store when it was taken.

        :raises StoreError: When it has ended, also in the middle of a query.
        """
        self.end_overdue()
        with _TURNS.turn(), self._turn, explained(self._path):
            if self._over:
                raise self._gone()
            try:
                yield self._db
            except sqlite3.OperationalError:
                if not self._is_overdue():
                    raise
                self._end(self._late)
                raise self._gone() from None

    @contextmanager
    def cut(self) -> Iterator[SqliteCut]:
        """Give the same snapshot: there is no other one to be seen from here."""
        yield self

    def end_overdue(self) -> None:
        """Let go of the snapshot if it has been held for too long; a query that is running stops by itself."""
        if self._is_overdue() and self._turn.acquire(blocking=False):
            try:
                self._end(self._late)
            finally:
                self._turn.release()

    def close(self) -> None:
        """Let go of the snapshot."""
        with self._turn:
            self._end("it has been closed")
            if self._db is not None:
                self._db.set_progress_handler(None, _STEPS)

    def _gone(self) -> StoreError:
        detail = f"this cut of {self._path} cannot be read any more: {self._over}"
        return StoreError(detail, "begin another one")

    def _is_overdue(self) -> bool:
        return time.monotonic() >= self._deadline

    def _end(self, reason: str) -> None:
        self._over = self._over or reason
        if self._db is not None and self._db.in_transaction:
            self._db.execute("ROLLBACK")


class _Connection:
    """A read-only connection, and whether it has been found to lead to a store of ours."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self._known = False
        register(db)

    def begin(self, path: Path, layout: Layout) -> bool:
        """Take a snapshot of the newest commit; return whether there is a store in it."""
        self.db.execute("BEGIN")
        if self._known:
            # It is the first look that takes the snapshot.
            self.db.execute("PRAGMA schema_version").close()
        else:
            self._known = check(self.db, path, layout)
        return self._known

    def rest(self) -> bool:
        """Let go of the snapshot."""
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        return True

    def close(self) -> None:
        """Close it."""
        self.db.close()
