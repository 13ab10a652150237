"""The read side of live tables in SQLite: each call is one transaction, over the newest commit of whichever process.

Within a cut all calls are the same transaction. See `sqlite_snapshot` for how many there are beside each other.
"""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import ClassVar, TypeVar

from typing_extensions import Self, override

from events.errors import RejectedError
from events.log import Applied
from stores.rows import sqlite_schema as schema
from stores.rows.base import APPLIED, Former, RowId, RowQuery, RowReader, SqlAnswer, StoredRow, applied_of
from stores.rows.former import told_of
from stores.rows.sqlite import facts, find_rows
from stores.rows.sqlite_file import check, explained, open_for_reading
from stores.rows.sqlite_row import KEPT, kept_row, stored_row
from stores.rows.sqlite_select import select
from stores.rows.sqlite_snapshot import SqliteCut, SqliteSnapshots
from stores.rows.sqlite_statement import answer
from stores.rows.sqlite_values import distinct
from stores.rows.table import EMPTIED

T = TypeVar("T")


class SqliteRowReader(RowReader):
    """The reader. Threads may share it, and do not wait for each other.

    :arg path: The database; an absent one is empty.
    """

    layout: ClassVar[schema.Layout] = schema.ROWS

    def __init__(self, path: Path) -> None:
        self._path = path
        self._view: SqliteSnapshots | SqliteCut = SqliteSnapshots(path, self.layout)

    @override
    @contextmanager
    def cut(self) -> Iterator[Self]:
        """Hold on to one commit, for `sqlite_snapshot.CUT_SECONDS` at most; see `RowReader.cut`.

        :raises StoreError: By the reader in the block, when it is asked after that time or after the block.
        """
        with self._view.cut() as cut:
            reader = copy.copy(self)
            reader._view = cut
            yield reader

    @override
    def select(self, query: RowQuery) -> list[StoredRow]:
        def run(db: sqlite3.Connection) -> list[StoredRow]:
            if not has_table(db, query.table):
                return []
            return [stored_row(row) for row in db.execute(*select(query))]

        try:
            return self._read(run, [])
        except (UnicodeEncodeError, OverflowError) as error:
            detail = f"the query cannot be answered: {error}"
            raise RejectedError(detail, "correct its values") from None

    @override
    def former(self, table: str, ids: Sequence[RowId], since: int) -> dict[RowId, list[Former]]:
        def run(db: sqlite3.Connection) -> dict[RowId, list[Former]]:
            if not has_history(db, table):
                return {}
            kept = map(kept_row, find_rows(db, table, ids, KEPT))
            return told_of(dict(kept), table, facts(db, EMPTIED), since)

        return self._read(run, {}) if ids else {}

    @override
    def values(self, table: str, column: str, limit: int) -> list[str]:
        def run(db: sqlite3.Connection) -> list[str]:
            return distinct(db, table, column, limit) if has_table(db, table) else []

        try:
            return self._read(run, [])
        except UnicodeEncodeError:
            return []  # half a surrogate pair: no column is called so

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
        if isinstance(self._view, SqliteCut):
            detail = "a cut runs no statements"
            raise RejectedError(detail, "give them to the reader that the cut is of")
        # A connection of its own: its bonds need not be taken off.
        with explained(self._path):
            db = open_for_reading(self._path) if self._path.exists() else sqlite3.connect(":memory:")
            with closing(db):
                tables = list(_tables(db)) if check(db, self._path, self.layout) else []
                return answer(db, statement, tables, rows=rows, seconds=seconds)

    @override
    def close(self) -> None:
        self._view.close()

    def _read(self, run: Callable[[sqlite3.Connection], T], empty: T) -> T:
        with self._view.look() as db:
            return empty if db is None else run(db)


def has_table(db: sqlite3.Connection, name: str) -> bool:
    """Tell whether there is a live table of that name (yet)."""
    return db.execute("SELECT 1 FROM headrace_tables WHERE name = ?", (name,)).fetchone() is not None


def has_history(db: sqlite3.Connection, table: str) -> bool:
    """Tell whether the rows of a live table can have histories: not where no writer has come since layout 1."""
    query = "SELECT 1 FROM pragma_table_info(?) WHERE name = 'history'"
    return db.execute(query, (schema.ROW_PREFIX + table,)).fetchone() is not None


def _tables(db: sqlite3.Connection) -> dict[str, int | None]:
    return dict(db.execute("SELECT name, newest FROM headrace_tables ORDER BY name").fetchall())
