"""The read side of live tables in SQLite: each call is one transaction, over the newest commit of whichever process.

The file is opened at the first call, read-only, and anew in a forked process or when another one lies in its place.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import ClassVar, TypeVar

from typing_extensions import override

from events.errors import RejectedError
from events.log import Applied
from stores.rows import sqlite_schema as schema
from stores.rows.base import APPLIED, RowQuery, RowReader, SqlAnswer, StoredRow, applied_of
from stores.rows.sqlite import facts
from stores.rows.sqlite_file import check, explained, open_for_reading
from stores.rows.sqlite_row import stored_row
from stores.rows.sqlite_select import register, select
from stores.rows.sqlite_statement import answer

T = TypeVar("T")


class SqliteRowReader(RowReader):
    """The reader. Threads may share it; they take turns, but for `sql`.

    :arg path: The database; an absent one is empty.
    """

    layout: ClassVar[schema.Layout] = schema.ROWS

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._opened: tuple[int, int, int] | None = None

    @override
    def select(self, query: RowQuery) -> list[StoredRow]:
        def run(db: sqlite3.Connection) -> list[StoredRow]:
            if query.table not in _tables(db):
                return []
            return [stored_row(row) for row in db.execute(*select(query))]

        try:
            return self._read(run, [])
        except (UnicodeEncodeError, OverflowError) as error:
            detail = f"the query cannot be answered: {error}"
            raise RejectedError(detail, "correct its values") from None

    @override
    def counts(self) -> dict[str, tuple[int, int, int | None]]:
        def run(db: sqlite3.Connection) -> dict[str, tuple[int, int, int | None]]:
            return {
                name: (
                    int(db.execute(schema.count_live(name)).fetchone()[0]),
                    int(db.execute(schema.count_held(name)).fetchone()[0]),
                    newest,
                )
                for name, newest in _tables(db).items()
            }

        return self._read(run, {})

    @override
    def facts(self, kind: str) -> dict[str, bytes]:
        return self._read(lambda db: facts(db, kind), {})

    @override
    def applied(self) -> list[Applied]:
        return applied_of(self.facts(APPLIED))

    @override
    def sql(self, statement: str, *, rows: int, seconds: float) -> SqlAnswer:
        # A connection of its own: others need not wait, and its bonds need not be taken off.
        with explained(self._path):
            db = open_for_reading(self._path) if self._path.exists() else sqlite3.connect(":memory:")
            with closing(db):
                tables = list(_tables(db)) if check(db, self._path, self.layout) else []
                return answer(db, statement, tables, rows=rows, seconds=seconds)

    @override
    def close(self) -> None:
        with self._turn:
            self._let_go()

    def _read(self, run: Callable[[sqlite3.Connection], T], empty: T) -> T:
        with self._turn, explained(self._path):
            db = self._connection()
            if db is None:
                return empty
            with _snapshot(db):
                return run(db) if check(db, self._path, self.layout) else empty

    def _connection(self) -> sqlite3.Connection | None:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._let_go()
            return None
        place = os.getpid(), status.st_dev, status.st_ino
        if self._db is None or place != self._opened:
            self._let_go()
            self._db, self._opened = open_for_reading(self._path), place
            register(self._db)
        return self._db

    def _let_go(self) -> None:
        # What a fork has inherited is not to be touched: it belongs to the parent.
        if self._db is not None and self._opened is not None and self._opened[0] == os.getpid():
            self._db.close()
        self._db = None


def _tables(db: sqlite3.Connection) -> dict[str, int | None]:
    return dict(db.execute("SELECT name, newest FROM headrace_tables ORDER BY name").fetchall())


@contextmanager
def _snapshot(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
