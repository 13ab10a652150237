"""The write side of live tables in PostgreSQL: one session, which holds the store by an advisory lock.

Commits are durable. A lost connection is an error here: the flow ends, and its next run goes on from its recovery. The
lock belongs to the session, so the connection must reach PostgreSQL itself or a pooler in session mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

import msgspec
import psycopg
from psycopg.sql import SQL, Composed, Identifier
from typing_extensions import LiteralString, override

from events.changes import Standing, pack_position, position_text
from stores.rows import postgres_store as store
from stores.rows.base import GONE, LIVE, Kept, Known, LiveTable, RowId, RowWriter, StoredRow, Tally
from stores.rows.postgres_image import (
    COLUMNS,
    KEPT,
    ROW,
    STANDING,
    from_text,
    gaps_of,
    kept_row,
    key_of,
    put_values,
    safe_values,
    standing_of,
    stored_row,
    to_text,
)
from stores.rows.postgres_schema import FACTS, INCOMING, ROWS, Layout, row_table
from stores.rows.postgres_session import connect, told

_PATIENCE_MILLIS = 2000
_COPY = SQL("COPY {} ({}) FROM STDIN")
_CLEAR = SQL("DELETE FROM {}").format(Identifier(INCOMING))
_UPSERT = SQL(
    "INSERT INTO {} ({columns}) SELECT {columns} FROM {incoming} ON CONFLICT (source, key) DO UPDATE SET {set}"
)
# In the words of `events.changes.supersedes`.
_SUPERSEDED = SQL(
    """source = %(source)s AND state <> %(gone)s AND CASE
    WHEN %(position)s <> ''::bytea AND position <> ''::bytea AND position <> %(position)s THEN position < %(position)s
    WHEN stream <> %(stream)s OR partition <> %(partition)s THEN true
    ELSE "offset" < %(offset)s END"""
)
_BURIED = SQL(
    """state = %(gone)s, position = CASE %(position)s WHEN ''::bytea THEN position ELSE %(position)s END,
    place = CASE %(position)s WHEN ''::bytea THEN place ELSE %(place)s END, stream = %(stream)s,
    partition = %(partition)s, "offset" = %(offset)s, as_of = %(as_of)s, gone_at = %(as_of)s,
    applied_at = %(applied_at)s, initiator = '', transaction = '', gaps = NULL"""
)


class PostgresRows(RowWriter):
    """The writer.

    :arg dsn: Connection string.
    :arg schema: Schema that belongs to Headrace alone; made if need be.
    :arg patience_millis: How long to wait for the lock of a writer that may be about to go.
    """

    layout: ClassVar[Layout] = ROWS

    def __init__(self, dsn: str, schema: str, *, patience_millis: int = _PATIENCE_MILLIS) -> None:
        self._schema = schema
        self._db = connect(dsn)
        self._within = False
        self._copied = False
        try:
            with told(self._db, "let the database's user create the schema, or have it made"):
                store.take(self._db, schema, patience_millis, self.layout)
                with self._db.transaction():
                    store.make(self._db, schema, self.layout)
                self._identity = store.identity(self._db, schema, self.layout)
                self._shown = store.live_tables(self._db, schema)
        except BaseException:
            self._db.close()
            raise

    @override
    @contextmanager
    def transaction(self) -> Iterator[None]:
        with told(self._db):
            self._db.execute("BEGIN")
        self._within = True
        try:
            yield
            with told(self._db):
                self._db.execute("COMMIT")
        except BaseException:
            with suppress(psycopg.Error):
                self._db.execute("ROLLBACK")
                self._shown = store.live_tables(self._db, self._schema)
            raise
        finally:
            self._within = self._copied = False

    @override
    def fetch(self, table: str, ids: Sequence[RowId]) -> dict[RowId, StoredRow]:
        rows = (stored_row(row) for row in self._find(table, ids, ROW))
        return {row.id: row for row in rows}

    @override
    def standings(self, table: str, ids: Sequence[RowId]) -> dict[RowId, Known]:
        return {
            (from_text(row[0]), key_of(row[1])): Known(row[2], standing_of(row), row[7], row[8], gaps_of(row[9]))
            for row in self._find(table, ids, f"{STANDING}, image IS NOT NULL, gaps")
        }

    @override
    def gapped(self, table: str, source: str) -> list[StoredRow]:
        if table not in self._shown:
            return []
        query = SQL("SELECT {} FROM {} WHERE source = %s AND state <> %s AND gaps IS NOT NULL ORDER BY key")
        with told(self._db):
            found = self._db.execute(query.format(SQL(ROW), self._table(table)), (to_text(source), GONE))
            return [stored_row(row) for row in found]

    @override
    def put(self, table: str, rows: Sequence[StoredRow]) -> None:
        if not rows:
            return
        with self._commit(), told(self._db):
            self._make(table)
            self._put_safely(lambda values: self._upsert(table, map(values, rows)))

    @override
    def bury(self, table: str, source: str, standing: Standing, event_time: int, applied_at: int) -> int:
        if table not in self._shown:
            return 0
        values = {
            "source": to_text(source),
            "gone": GONE,
            "live": LIVE,
            "position": pack_position(standing.position),
            "place": position_text(standing.position),
            "stream": to_text(standing.stream),
            "partition": standing.partition,
            "offset": standing.offset,
            "as_of": event_time,
            "applied_at": applied_at,
        }
        count = SQL("SELECT count(*) FROM {} WHERE state = %(live)s AND {}")
        change = SQL("UPDATE {} SET {} WHERE {}")
        with self._commit(), told(self._db):
            live = self._number(count.format(self._table(table), _SUPERSEDED), values)
            self._db.execute(change.format(self._table(table), _BURIED, _SUPERSEDED), values)
        return live

    @override
    def drop_rows(self, table: str, ids: Sequence[RowId]) -> int:
        if table not in self._shown or not ids:
            return 0
        statement = SQL(
            """DELETE FROM {} WHERE (source, key) IN (SELECT * FROM ROWS FROM
            (json_array_elements_text(%s::json), json_array_elements_text(%s::json)) AS wanted (source, key))"""
        ).format(self._table(table))
        with told(self._db):
            return self._db.execute(statement, store.wanted(ids)).rowcount

    @override
    def restate(self, table: str, old: int, state: int, begin: int, end: int) -> int:
        if table not in self._shown:
            return 0
        # Deleted and held rows are found by the index on `gone_at`.
        time = Identifier("as_of" if old == LIVE else "gone_at")
        gone_at = SQL("NULL" if state == LIVE else "as_of")
        change = SQL(
            """UPDATE {table} SET state = %s, gone_at = {gone_at}
            WHERE state = %s AND {time} >= %s AND {time} < %s AND image IS NOT NULL"""
        ).format(table=self._table(table), gone_at=gone_at, time=time)
        with told(self._db):
            return self._db.execute(change, (state, old, begin, end)).rowcount

    @override
    def forget(self, table: str, images_before: int, rows_before: int) -> None:
        if table not in self._shown:
            return
        rows = SQL("DELETE FROM {} WHERE state = %s AND gone_at < %s").format(self._table(table))
        images = SQL("UPDATE {} SET image = NULL WHERE state = %s AND gone_at < %s AND image IS NOT NULL")
        with self._commit(), told(self._db):
            self._db.execute(rows, (GONE, rows_before))
            self._db.execute(images.format(self._table(table)), (GONE, images_before))

    @override
    def kept(self, table: str, ids: Sequence[RowId]) -> dict[RowId, Kept]:
        return dict(map(kept_row, self._find(table, ids, KEPT)))

    @override
    def put_kept(self, table: str, kept: Sequence[Kept]) -> None:
        if not kept:
            return

        def put(values: Callable[[StoredRow], tuple[Any, ...]]) -> None:
            self._upsert(table, ((*values(one.row), one.history or None) for one in kept), "history")

        with self._commit(), told(self._db):
            self._make(table)
            self._put_safely(put)

    @override
    def forget_former(self, table: str, before: int, after: str, limit: int) -> str:
        if table not in self._shown:
            return ""
        begin = msgspec.json.decode(after, type=tuple[str, str]) if after else ("", "")
        look = SQL("SELECT source, key FROM {} WHERE (source, key) > (%s, %s) ORDER BY source, key LIMIT %s")
        clear = SQL(
            """UPDATE {} SET history = NULL WHERE (source, key) > (%s, %s) AND (source, key) <= (%s, %s)
            AND history IS NOT NULL AND as_of < %s"""
        )
        with self._commit(), told(self._db):
            looked_at = self._db.execute(look.format(self._table(table)), (*begin, limit)).fetchall()
            if looked_at:
                self._db.execute(clear.format(self._table(table)), (*begin, *looked_at[-1], before))
        return msgspec.json.encode(looked_at[-1]).decode() if len(looked_at) == limit else ""

    @override
    def tally(self, table: str, window: int) -> Tally:
        tally = Tally()
        if table not in self._shown:
            return tally
        count = SQL("SELECT count(*) FROM {} WHERE state = %s").format(self._table(table))
        # PostgreSQL's division cuts towards zero.
        slices = SQL(
            """SELECT state, (gone_at - mod(mod(gone_at, %(window)s) + %(window)s, %(window)s)) / %(window)s, count(*)
            FROM {} WHERE gone_at IS NOT NULL AND image IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"""
        ).format(self._table(table))
        with told(self._db):
            tally.live = self._number(count, (LIVE,))
            for state, slice_, rows in self._db.execute(slices, {"window": window}):
                (tally.gone if state == GONE else tally.held)[slice_] = rows
        return tally

    @override
    def note(self, kind: str, facts: Mapping[str, bytes]) -> None:
        statement = SQL(
            """INSERT INTO {} SELECT %s, * FROM unnest(%s::text[], %s::bytea[])
            ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value"""
        ).format(Identifier(self._schema, FACTS))
        with told(self._db):
            self._db.execute(statement, (to_text(kind), [to_text(name) for name in facts], list(facts.values())))

    @override
    def facts(self, kind: str) -> dict[str, bytes]:
        with told(self._db):
            return store.read_facts(self._db, self._schema, kind)

    @override
    def expose(self, table: LiveTable) -> None:
        shown = msgspec.json.encode(table).decode()
        if self._shown.get(table.name) == shown:
            return
        with self._commit(), told(self._db, "drop the views that others have built on it, then start the flow again"):
            self._make(table.name)
            store.show(self._db, self._schema, table, shown)
            self._shown[table.name] = shown

    @override
    def identity(self) -> str:
        return self._identity

    @override
    def close(self) -> None:
        self._db.close()

    def _put_safely(self, put: Callable[[Callable[[StoredRow], tuple[Any, ...]]], None]) -> None:
        self._db.execute("SAVEPOINT put")
        try:
            put(put_values)
        except psycopg.DataError:
            self._db.execute("ROLLBACK TO put")
            put(safe_values)
        self._db.execute("RELEASE put")

    @contextmanager
    def _commit(self) -> Iterator[None]:
        """Make the block one commit, or part of the one that is under way."""
        if self._within:
            yield
        else:
            with self.transaction():
                yield

    def _make(self, table: str) -> None:
        if table not in self._shown:
            store.make_table(self._db, self._schema, table)
            self._shown[table] = None

    def _upsert(self, table: str, rows: Iterable[tuple[Any, ...]], *more: str) -> None:
        if self._copied:
            self._db.execute(_CLEAR)
        self._copied = True
        columns, incoming = SQL(", ").join(map(Identifier, (*COLUMNS, *more))), Identifier(INCOMING)
        update = SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(name)) for name in (*COLUMNS[2:], *more))
        with self._db.cursor() as cursor:
            with cursor.copy(_COPY.format(incoming, columns)) as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(_UPSERT.format(self._table(table), columns=columns, incoming=incoming, set=update))

    def _find(self, table: str, ids: Sequence[RowId], columns: LiteralString) -> list[tuple[Any, ...]]:
        if table not in self._shown or not ids:
            return []
        with told(self._db):
            return store.find_rows(self._db, self._schema, table, ids, columns)

    def _number(self, query: Composed, values: Sequence[Any] | Mapping[str, Any]) -> int:
        row = self._db.execute(query, values).fetchone()
        return int(row[0]) if row else 0

    def _table(self, name: str) -> Identifier:
        return Identifier(self._schema, row_table(name))
