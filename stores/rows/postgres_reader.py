"""The read side of live tables in PostgreSQL: each call is one read-only transaction over one snapshot.

Within a cut all calls are the same transaction. See `postgres_snapshot` for the sessions.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg.sql import SQL, Identifier, Literal
from typing_extensions import Self, override

from events.errors import RejectedError
from events.log import Applied
from stores.rows.base import APPLIED, HELD, LIVE, Former, RowId, RowQuery, RowReader, SqlAnswer, StoredRow, applied_of
from stores.rows.former import told_of
from stores.rows.postgres_image import KEPT, kept_row, stored_row
from stores.rows.postgres_schema import row_table
from stores.rows.postgres_select import select_query
from stores.rows.postgres_session import Session, reason_of
from stores.rows.postgres_snapshot import BEGIN, PostgresCut, PostgresSnapshots
from stores.rows.postgres_statement import SURROUNDINGS, check_plan, checked_statement, surroundings
from stores.rows.postgres_store import find_rows, has_history, live_tables, read_facts
from stores.rows.postgres_values import distinct
from stores.rows.table import EMPTIED

T = TypeVar("T")
_FOLDINGS = "pg_c_utf8", "und-x-icu", "C.utf8", "C.UTF-8", "en_US.utf8", "C"
"""Collations that know the lower-case letters of all scripts, most exact first; the last one knows only ASCII."""
_ROWS_AT_ONCE = 500


class PostgresRowReader(RowReader):
    """The reader. Threads may share it, and do not wait for each other as long as there are sessions.

    :arg dsn: Connection string, best of a role that may only read: see `postgres_statement`.
    :arg schema: Schema of the store.
    """

    def __init__(self, dsn: str, schema: str) -> None:
        self._schema = schema
        self._view: PostgresSnapshots | PostgresCut = PostgresSnapshots(dsn)

    @override
    @contextmanager
    def cut(self) -> Iterator[Self]:
        """Hold on to one commit, which may rest for 30 s between two reads at most; see `RowReader.cut`.

        :raises StoreError: By the reader in the block, when it is asked after that time or after the block.
        """
        with self._view.cut() as cut:
            reader = copy.copy(self)
            reader._view = cut
            yield reader

    @override
    def select(self, query: RowQuery) -> list[StoredRow]:
        table = Identifier(self._schema, row_table(query.table))

        def run(db: Session) -> list[StoredRow]:
            try:
                found = db.execute(select_query(query, table, self._folding(db)))
            except psycopg.DataError as error:  # such as a number that PostgreSQL has no place for
                detail = f"the query cannot be answered: {reason_of(error)}"
                raise RejectedError(detail, "correct its values") from None
            return [stored_row(row) for row in found]

        try:
            return self._read(run, [])
        except UnicodeEncodeError:  # half a surrogate pair: no column and no value is called so
            detail = "the query holds text that is not Unicode"
            raise RejectedError(detail, "correct its values") from None

    @override
    def former(self, table: str, ids: Sequence[RowId], since: int) -> dict[RowId, list[Former]]:
        def run(db: Session) -> dict[RowId, list[Former]]:
            if not has_history(db, self._schema, table):
                return {}
            kept = map(kept_row, find_rows(db, self._schema, table, ids, KEPT))
            return told_of(dict(kept), table, read_facts(db, self._schema, EMPTIED), since)

        return self._read(run, {}) if ids else {}

    @override
    def values(self, table: str, column: str, limit: int) -> list[str]:
        try:
            return self._read(lambda db: distinct(db, self._schema, table, column, limit), [])
        except UnicodeEncodeError:
            return []  # half a surrogate pair: no column is called so

    @override
    def counts(self) -> dict[str, tuple[int, int, int | None]]:
        def run(db: Session) -> dict[str, tuple[int, int, int | None]]:
            count = SQL(
                "SELECT count(*) FILTER (WHERE state = {}), count(*) FILTER (WHERE state = {}), max(as_of) FROM {}"
            )
            found: dict[str, tuple[int, int, int | None]] = {}
            for name in live_tables(db, self._schema):
                table = Identifier(self._schema, row_table(name))
                live, held, newest = db.execute(count.format(Literal(LIVE), Literal(HELD), table)).fetchall()[0]
                found[name] = live, held, newest
            return found

        return self._read(run, {})

    @override
    def facts(self, kind: str) -> dict[str, bytes]:
        return self._read(lambda db: read_facts(db, self._schema, kind), {})

    @override
    def applied(self) -> list[Applied]:
        return applied_of(self.facts(APPLIED))

    @override
    def sql(self, statement: str, *, rows: int, seconds: float) -> SqlAnswer:
        if isinstance(self._view, PostgresCut):
            detail = "a cut runs no statements"
            raise RejectedError(detail, "give them to the reader that the cut is of")
        deadline = time.monotonic() + seconds

        def run(db: Session) -> SqlAnswer:
            try:
                return self._answer(db, statement, rows, deadline)
            except (psycopg.Error, UnicodeEncodeError) as error:
                if db.closed:
                    raise
                reason = reason_of(error) if isinstance(error, psycopg.Error) else "it holds text that is not Unicode"
                if isinstance(error, psycopg.errors.QueryCanceled):
                    reason = f"it took longer than {seconds:g} s"
                there = ", ".join(self._after(db)) or "none yet"
                detail = f"the statement cannot be run: {reason}"
                raise RejectedError(detail, f"live tables: {there}") from None

        return self._read(run, SqlAnswer((), [], cut=False))

    @override
    def close(self) -> None:
        self._view.close()

    def _answer(self, db: Session, statement: str, rows: int, deadline: float) -> SqlAnswer:
        around = surroundings(db.execute(SURROUNDINGS, {"schema": self._schema}).fetchone())
        checked = checked_statement(statement, around).encode()
        db.execute(SQL("SET LOCAL search_path = {}").format(Identifier(self._schema)))
        # Results in binary make psycopg send what can only be one statement.
        _limit(db, deadline)
        ((plan,),) = db.execute(b"EXPLAIN (VERBOSE, FORMAT JSON) " + checked, binary=True).fetchall()
        check_plan(plan, self._schema, around)
        db.execute(b"DECLARE answer NO SCROLL CURSOR FOR " + checked, binary=True)
        fetched: list[tuple[Any, ...]] = []
        while True:
            _limit(db, deadline)
            wanted = min(rows + 1 - len(fetched), _ROWS_AT_ONCE)
            cursor = db.execute(SQL("FETCH {} FROM answer").format(Literal(wanted)))
            part = cursor.fetchall()
            fetched += part
            if len(part) < wanted or len(fetched) > rows:
                break
        columns = tuple(column.name for column in cursor.description or ())
        return SqlAnswer(columns, fetched[:rows], cut=len(fetched) > rows)

    def _after(self, db: Session) -> list[str]:
        """Return the live tables after a statement has failed."""
        with suppress(psycopg.Error):
            db.execute("ROLLBACK")
            db.execute(BEGIN)
            return list(live_tables(db, self._schema))
        return []

    def _folding(self, db: Session) -> Identifier:
        query = """SELECT collname FROM pg_collation WHERE collname = ANY(%(names)s)
            AND collnamespace = 'pg_catalog'::regnamespace AND collencoding IN (-1, 6)
            ORDER BY array_position(%(names)s, collname::text) LIMIT 1"""
        (name,) = db.execute(query, {"names": list(_FOLDINGS)}).fetchall()[0]
        return Identifier("pg_catalog", name)

    def _read(self, run: Callable[[Session], T], empty: T) -> T:
        return self._view.read(run, empty)


def _limit(db: Session, deadline: float) -> None:
    """Let the next statement run until `deadline`."""
    left = max(int((deadline - time.monotonic()) * 1000), 1)
    db.execute(SQL("SET LOCAL statement_timeout = {}").format(Literal(left)))
