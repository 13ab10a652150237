"""The write side of live tables in PostgreSQL: one session, which holds the store by an advisory lock.

Commits are durable. A lost connection is an error here: the flow ends, and its next run goes on from its recovery. The
lock belongs to the session, so the connection must reach PostgreSQL itself or a pooler in session mode.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from typing_extensions import override

from events.changes import Standing, pack_position, position_text, unpack_position
from events.errors import StoreError
from stores.rows import postgres_schema as schema_of
from stores.rows.base import GONE, LIVE, Gaps, Known, LiveTable, RowId, RowWriter, StoredRow, Tally
from stores.rows.postgres_schema import from_text, key_of, key_text, row_table, to_text
from stores.rows.postgres_session import Session, connect, told

_PATIENCE_MILLIS = 2000
_STANDING = 'source, key, state, position, stream, partition, "offset", as_of'
_ROW = sql.SQL(_STANDING + ", image::text, applied_at, initiator, transaction, gaps")
_KNOWN = sql.SQL(_STANDING + ", image IS NOT NULL, gaps")
_COPY = sql.SQL("COPY {} ({}) FROM STDIN").format(
    sql.Identifier(schema_of.INCOMING), sql.SQL(", ").join(map(sql.Identifier, schema_of.COLUMNS))
)
_UPSERT = (
    "INSERT INTO {{table}} ({columns}) SELECT {columns} FROM {incoming} ON CONFLICT (source, key) DO UPDATE SET {set}"
)
_PUT = sql.SQL(
    _UPSERT.format(
        columns=", ".join(f'"{column}"' for column in schema_of.COLUMNS),
        incoming=schema_of.INCOMING,
        set=", ".join(f'"{column}" = excluded."{column}"' for column in schema_of.COLUMNS[2:]),
    )
)
# In the words of `events.changes.supersedes`.
_SUPERSEDED = sql.SQL(
    """source = %(source)s AND state <> %(gone)s AND CASE
    WHEN %(position)s <> ''::bytea AND position <> ''::bytea AND position <> %(position)s THEN position < %(position)s
    WHEN stream <> %(stream)s OR partition <> %(partition)s THEN true
    ELSE "offset" < %(offset)s END"""
)
_BURIED = sql.SQL(
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

    def __init__(self, dsn: str, schema: str, *, patience_millis: int = _PATIENCE_MILLIS) -> None:
        self._schema = schema
        self._db = connect(dsn)
        self._within = False
        self._copied = False
        try:
            with told(self._db, "let the database's user create the schema, or have it made"):
                self._lock(patience_millis)
                self._identity = self._prepare()
                self._shown = self._exposed()
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
                self._shown = self._exposed()
            raise
        finally:
            self._within = self._copied = False

    @override
    def fetch(self, table: str, ids: Sequence[RowId]) -> dict[RowId, StoredRow]:
        rows = (stored_row(row) for row in self._known(table, ids, _ROW))
        return {row.id: row for row in rows}

    @override
    def standings(self, table: str, ids: Sequence[RowId]) -> dict[RowId, Known]:
        return {
            (from_text(row[0]), key_of(row[1])): Known(row[2], _standing(row), row[7], row[8], _gaps(row[9]))
            for row in self._known(table, ids, _KNOWN)
        }

    @override
    def gapped(self, table: str, source: str) -> list[StoredRow]:
        if table not in self._shown:
            return []
        query = sql.SQL("SELECT {} FROM {} WHERE source = %s AND state <> %s AND gaps IS NOT NULL ORDER BY key")
        with told(self._db):
            found = self._db.execute(query.format(_ROW, self._table(table)), (to_text(source), GONE))
            return [stored_row(row) for row in found]

    @override
    def put(self, table: str, rows: Sequence[StoredRow]) -> None:
        if not rows:
            return
        with self._commit(), told(self._db):
            self._make(table)
            self._db.execute("SAVEPOINT put")
            try:
                self._upsert(table, map(_stored, rows))
            except psycopg.DataError:
                self._db.execute("ROLLBACK TO put")
                self._upsert(table, map(_storable, rows))
            self._db.execute("RELEASE put")

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
        count = sql.SQL("SELECT count(*) FROM {} WHERE state = %(live)s AND {}")
        change = sql.SQL("UPDATE {} SET {} WHERE {}")
        with self._commit(), told(self._db):
            live = self._number(count.format(self._table(table), _SUPERSEDED), values)
            self._db.execute(change.format(self._table(table), _BURIED, _SUPERSEDED), values)
        return live

    @override
    def restate(self, table: str, old: int, state: int, begin: int, end: int) -> int:
        if table not in self._shown:
            return 0
        # Deleted and held rows are found by the index on `gone_at`.
        time = sql.Identifier("as_of" if old == LIVE else "gone_at")
        gone_at = sql.SQL("NULL" if state == LIVE else "as_of")
        change = sql.SQL(
            """UPDATE {table} SET state = %s, gone_at = {gone_at}
            WHERE state = %s AND {time} >= %s AND {time} < %s AND image IS NOT NULL"""
        ).format(table=self._table(table), gone_at=gone_at, time=time)
        with told(self._db):
            return self._db.execute(change, (state, old, begin, end)).rowcount

    @override
    def forget(self, table: str, images_before: int, rows_before: int) -> None:
        if table not in self._shown:
            return
        rows = sql.SQL("DELETE FROM {} WHERE state = %s AND gone_at < %s").format(self._table(table))
        images = sql.SQL("UPDATE {} SET image = NULL WHERE state = %s AND gone_at < %s AND image IS NOT NULL")
        with self._commit(), told(self._db):
            self._db.execute(rows, (GONE, rows_before))
            self._db.execute(images.format(self._table(table)), (GONE, images_before))

    @override
    def tally(self, table: str, window: int) -> Tally:
        tally = Tally()
        if table not in self._shown:
            return tally
        count = sql.SQL("SELECT count(*) FROM {} WHERE state = %s").format(self._table(table))
        # PostgreSQL's division cuts towards zero.
        slices = sql.SQL(
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
        statement = sql.SQL(
            """INSERT INTO {} SELECT %s, * FROM unnest(%s::text[], %s::bytea[])
            ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value"""
        ).format(sql.Identifier(self._schema, schema_of.FACTS))
        with told(self._db):
            self._db.execute(statement, (to_text(kind), [to_text(name) for name in facts], list(facts.values())))

    @override
    def facts(self, kind: str) -> dict[str, bytes]:
        with told(self._db):
            return read_facts(self._db, self._schema, kind)

    @override
    def expose(self, table: LiveTable) -> None:
        shown = msgspec.json.encode(table).decode()
        if self._shown.get(table.name) == shown:
            return
        note = sql.SQL("UPDATE {} SET shown = %s WHERE name = %s").format(
            sql.Identifier(self._schema, schema_of.TABLES)
        )
        with self._commit(), told(self._db, "drop the views that others have built on it, then start the flow again"):
            self._make(table.name)
            self._view(table)
            self._index(table)
            self._db.execute(note, (shown, table.name))
            self._shown[table.name] = shown

    @override
    def identity(self) -> str:
        return self._identity

    @override
    def close(self) -> None:
        self._db.close()

    def _lock(self, patience_millis: int) -> None:
        number = hashlib.blake2b(f"headrace rows {self._schema}".encode(), digest_size=8).digest()
        try:
            self._db.execute(f"SET lock_timeout = {int(patience_millis)}")
            self._db.execute("SELECT pg_advisory_lock(%s)", (int.from_bytes(number, "big", signed=True),))
        except psycopg.errors.LockNotAvailable:
            detail = f"another writer holds the live tables in the schema {self._schema!r}"
            raise StoreError(detail, "stop the other flow, or give this one a rows.db_schema of its own") from None
        self._db.execute("SET lock_timeout = 0")
        # Facts say what is durable, so commits wait for the disk whatever the server's default is. The only join is
        # that of a few ids with a table of any size: its index is right even where statistics are still missing.
        self._db.execute("SET synchronous_commit = on; SET enable_hashjoin = off; SET enable_mergejoin = off")

    def _prepare(self) -> str:
        there = self._db.execute("SELECT to_regnamespace(quote_ident(%s)) IS NOT NULL", (self._schema,)).fetchone()
        if there == (False,):
            self._db.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self._schema)))
        relations = self._db.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(%s))", (self._schema,)
        ).fetchall()
        store = sql.Identifier(self._schema, schema_of.STORE)
        if not relations:
            with self.transaction():
                for statement in schema_of.SHARED_TABLES:
                    self._db.execute(sql.SQL(statement).format(schema=sql.Identifier(self._schema)))
                values = (secrets.token_hex(8), schema_of.VERSION)
                self._db.execute(sql.SQL("INSERT INTO {} VALUES (%s, %s)").format(store), values)
        elif (schema_of.STORE,) not in relations:
            detail = f"the schema {self._schema!r} holds other tables than Headrace's"
            raise StoreError(detail, "choose another rows.db_schema")
        if self._db.execute("SELECT has_schema_privilege(%s, 'CREATE')", (self._schema,)).fetchone() != (True,):
            detail = f"the database's user may not make tables in the schema {self._schema!r}"
            raise StoreError(detail, "grant it CREATE on the schema, or use the connection string of its owner")
        self._db.execute(schema_of.INCOMING_TABLE)
        row = self._db.execute(sql.SQL("SELECT identity, version FROM {}").format(store)).fetchone()
        if row is None or row[1] != schema_of.VERSION:
            detail = f"the live tables in the schema {self._schema!r} were made by another version"
            raise StoreError(detail, "use that version, or drop the schema and run the flow again from the start")
        return str(row[0])

    def _exposed(self) -> dict[str, str | None]:
        """Return the live tables that are there, each with what its view shows."""
        query = sql.SQL("SELECT name, shown FROM {}").format(sql.Identifier(self._schema, schema_of.TABLES))
        return dict(self._db.execute(query).fetchall())

    @contextmanager
    def _commit(self) -> Iterator[None]:
        """Make the block one commit, or part of the one that is under way."""
        if self._within:
            yield
        else:
            with self.transaction():
                yield

    def _make(self, table: str) -> None:
        if table in self._shown:
            return
        name = self._table(table)
        self._db.execute(sql.SQL(schema_of.ROW_TABLE).format(table=name))
        self._db.execute(sql.SQL(schema_of.GONE_INDEX).format(table=name))
        note = sql.SQL("INSERT INTO {} (name) VALUES (%s)").format(sql.Identifier(self._schema, schema_of.TABLES))
        self._db.execute(note, (table,))
        self._shown[table] = None

    def _view(self, table: LiveTable) -> None:
        view, query = sql.Identifier(self._schema, table.name), schema_of.view_query(self._schema, table)
        self._db.execute("SAVEPOINT view")
        try:
            # This keeps what others were granted and have built on it, but can only add columns.
            self._db.execute(sql.SQL("CREATE OR REPLACE VIEW {} AS {}").format(view, query))
        except psycopg.errors.InvalidTableDefinition:
            self._db.execute("ROLLBACK TO view")
            self._db.execute(sql.SQL("DROP VIEW {}").format(view))
            self._db.execute(sql.SQL("CREATE VIEW {} AS {}").format(view, query))
        self._db.execute("RELEASE view")

    def _index(self, table: LiveTable) -> None:
        wanted = dict(
            schema_of.index_statement(self._schema, table, column) for column in table.indexes if column in table.kinds
        )
        there = self._db.execute(
            "SELECT indexname FROM pg_indexes WHERE schemaname = %s AND tablename = %s AND starts_with(indexname, %s)",
            (self._schema, row_table(table.name), schema_of.BY_COLUMN),
        ).fetchall()
        for (name,) in there:
            if name not in wanted:
                self._db.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(self._schema, name)))
        for statement in wanted.values():
            self._db.execute(statement)

    def _upsert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        if self._copied:
            self._db.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(schema_of.INCOMING)))
        self._copied = True
        with self._db.cursor() as cursor:
            with cursor.copy(_COPY) as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(_PUT.format(table=self._table(table)))

    def _known(self, table: str, ids: Sequence[RowId], columns: sql.SQL) -> list[tuple[Any, ...]]:
        if table not in self._shown or not ids:
            return []
        query = sql.SQL(
            """SELECT {} FROM ROWS FROM (json_array_elements_text(%s::json), json_array_elements_text(%s::json))
            AS wanted (source, key) JOIN {} USING (source, key)"""
        ).format(columns, self._table(table))
        sources = msgspec.json.encode([to_text(source) for source, _ in ids]).decode()
        keys = msgspec.json.encode([key_text(key) for _, key in ids]).decode()
        with told(self._db):
            return self._db.execute(query, (sources, keys)).fetchall()

    def _number(self, query: sql.Composed, values: Sequence[Any] | Mapping[str, Any]) -> int:
        row = self._db.execute(query, values).fetchone()
        return int(row[0]) if row else 0

    def _table(self, name: str) -> sql.Identifier:
        return sql.Identifier(self._schema, row_table(name))


ROW_COLUMNS = _ROW


def stored_row(row: Sequence[Any]) -> StoredRow:
    """Make a row of what a query for `ROW_COLUMNS` has returned."""
    return StoredRow(
        source=from_text(row[0]),
        key=key_of(row[1]),
        image=schema_of.image_of(row[8]),
        state=row[2],
        standing=_standing(row),
        as_of=row[7],
        applied_at=row[9],
        initiator=from_text(row[10]),
        transaction=from_text(row[11]),
        gaps=_gaps(row[12]),
    )


def read_facts(session: Session, schema: str, kind: str) -> dict[str, bytes]:
    """Return the facts of a kind by name, in the order of their names."""
    query = sql.SQL("SELECT name, value FROM {} WHERE kind = %s ORDER BY name")
    found = session.execute(query.format(sql.Identifier(schema, schema_of.FACTS)), (to_text(kind),))
    return {from_text(name): bytes(value) for name, value in found}


def _standing(row: Sequence[Any]) -> Standing:
    return Standing(unpack_position(row[3]), from_text(row[4]), row[5], row[6])


_decode_gaps = msgspec.json.Decoder(Gaps).decode


def _gaps(stored: str | None) -> Gaps:
    return {} if stored is None else _decode_gaps(stored)


def _stored(row: StoredRow) -> tuple[Any, ...]:
    standing, key = row.standing, key_text(row.key)
    return (
        to_text(row.source),
        key,
        key,
        row.state,
        schema_of.image_text(row.image),
        pack_position(standing.position),
        position_text(standing.position),
        to_text(standing.stream),
        standing.partition,
        standing.offset,
        row.as_of,
        row.applied_at,
        to_text(row.initiator),
        to_text(row.transaction),
        msgspec.json.encode(row.gaps).decode() if row.gaps else None,
        None if row.state == LIVE else row.as_of,
    )


def _storable(row: StoredRow) -> tuple[Any, ...]:
    """Return what `_stored` does, of a row with something that jsonb refuses."""
    values = list(_stored(row))
    try:
        values[2] = schema_of.image_text(schema_of.holdable(schema_of.image_of(values[1])))
    except msgspec.DecodeError:
        values[2] = None
    values[4] = schema_of.image_text(schema_of.holdable(row.image))
    return tuple(values)
