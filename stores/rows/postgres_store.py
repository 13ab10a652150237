"""The store of live tables in a schema of PostgreSQL: taken by its one writer, made, checked and grown.

These are steps of a writer's transactions. They raise psycopg's errors but where a remedy can be named.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.sql import SQL, Identifier
from typing_extensions import LiteralString

from events.errors import StoreError
from stores.rows import postgres_schema as lies
from stores.rows.base import LiveTable, RowId
from stores.rows.postgres_image import from_text, key_text, to_text
from stores.rows.postgres_session import Session


def take(session: Session, schema: str, patience_millis: int, layout: lies.Layout = lies.ROWS) -> None:
    """Make the session the one writer of the store, for as long as it lives.

    :arg patience_millis: How long to wait for a writer that may be about to go.
    :raises StoreError: When there is another writer.
    """
    number = hashlib.blake2b(f"headrace rows {schema}".encode(), digest_size=8).digest()
    try:
        session.execute(f"SET lock_timeout = {patience_millis:d}")
        session.execute("SELECT pg_advisory_lock(%s)", (int.from_bytes(number, "big", signed=True),))
    except psycopg.errors.LockNotAvailable:
        detail = f"another writer holds the {layout.name} in the schema {schema!r}"
        raise StoreError(detail, "stop the other flow, or give this one a rows.db_schema of its own") from None
    session.execute("SET lock_timeout = 0")
    # What `applied` claims must be durable, whatever the server's default is. The only join is that of a few ids with a
    # table of any size: its index is right even where statistics are still missing.
    session.execute("SET synchronous_commit = on; SET enable_hashjoin = off; SET enable_mergejoin = off")


def make(session: Session, schema: str, layout: lies.Layout = lies.ROWS) -> None:
    """Make the store where there is none yet; part of a transaction.

    :raises StoreError: When the schema is not ours, or not to be written by this user.
    """
    if session.execute("SELECT to_regnamespace(quote_ident(%s)) IS NULL", (schema,)).fetchone() == (True,):
        session.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
    if session.execute("SELECT has_schema_privilege(%s, 'CREATE')", (schema,)).fetchone() != (True,):
        detail = f"the database's user may not make tables in the schema {schema!r}"
        raise StoreError(detail, "grant it CREATE on the schema, or use the connection string of its owner")
    query = "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(%s))"
    relations = session.execute(query, (schema,)).fetchall()
    if not relations:
        for statement in layout.tables:
            session.execute(SQL(statement).format(schema=Identifier(schema)))
        insert = SQL("INSERT INTO {} VALUES (%s, %s)").format(Identifier(schema, lies.STORE))
        session.execute(insert, (secrets.token_hex(8), layout.version))
    elif (lies.STORE,) not in relations:
        detail = f"the schema {schema!r} holds other tables than Headrace's"
        raise StoreError(detail, "choose another rows.db_schema")
    session.execute(lies.INCOMING_TABLE)


def identity(session: Session, schema: str, layout: lies.Layout = lies.ROWS) -> str:
    """Return the id of the store, which comes to be of this layout.

    :raises StoreError: When it is of another kind or version.
    """
    store = Identifier(schema, lies.STORE)
    row = session.execute(SQL("SELECT identity, version FROM {}").format(store)).fetchone()
    if row is not None and layout.oldest is not None and layout.oldest <= row[1] < layout.version:
        for name in live_tables(session, schema):
            session.execute(SQL(lies.ADD_HISTORY).format(table=Identifier(schema, lies.row_table(name))))
        session.execute(SQL("UPDATE {} SET version = %s").format(store), (layout.version,))
    elif row is None or row[1] != layout.version:
        detail = f"the schema {schema!r} holds other things than {layout.name}, or was made by another version"
        raise StoreError(detail, "use that version, or drop the schema and run the flow again from the start")
    return str(row[0])


def live_tables(session: Session, schema: str) -> dict[str, str | None]:
    """Return the live tables that are there, in the order of their names, each with what its view shows."""
    query = SQL("SELECT name, shown FROM {} ORDER BY name").format(Identifier(schema, lies.TABLES))
    return dict(session.execute(query).fetchall())


def make_table(session: Session, schema: str, name: str) -> None:
    """Make the table of the live table `name`."""
    table = Identifier(schema, lies.row_table(name))
    session.execute(SQL(lies.ROW_TABLE).format(table=table))
    session.execute(SQL(lies.GONE_INDEX).format(table=table))
    session.execute(SQL("INSERT INTO {} (name) VALUES (%s)").format(Identifier(schema, lies.TABLES)), (name,))


def show(session: Session, schema: str, table: LiveTable, shown: str) -> None:
    """Make the view and the indexes of a live table what `table` says, and note that as `shown`."""
    view, query = Identifier(schema, table.name), lies.view_query(schema, table)
    session.execute("SAVEPOINT show")
    try:
        # This keeps what others were granted and have built on it, but can only add columns.
        session.execute(SQL("CREATE OR REPLACE VIEW {} AS {}").format(view, query))
    except psycopg.errors.InvalidTableDefinition:
        session.execute("ROLLBACK TO show")
        session.execute(SQL("DROP VIEW {}").format(view))
        session.execute(SQL("CREATE VIEW {} AS {}").format(view, query))
    session.execute("RELEASE show")
    _index(session, schema, table)
    note = SQL("UPDATE {} SET shown = %s WHERE name = %s").format(Identifier(schema, lies.TABLES))
    session.execute(note, (shown, table.name))


def _index(session: Session, schema: str, table: LiveTable) -> None:
    wanted = dict(lies.index_statement(schema, table, column) for column in table.indexes if column in table.kinds)
    query = "SELECT indexname FROM pg_indexes WHERE schemaname = %s AND tablename = %s AND starts_with(indexname, %s)"
    there = session.execute(query, (schema, lies.row_table(table.name), lies.BY_COLUMN)).fetchall()
    for (name,) in there:
        if name not in wanted:
            session.execute(SQL("DROP INDEX {}").format(Identifier(schema, name)))
    for statement in wanted.values():
        session.execute(statement)


def read_facts(session: Session, schema: str, kind: str) -> dict[str, bytes]:
    """Return the facts of a kind by name, in the order of their names."""
    query = SQL("SELECT name, value FROM {} WHERE kind = %s ORDER BY name").format(Identifier(schema, lies.FACTS))
    return {from_text(name): bytes(value) for name, value in session.execute(query, (to_text(kind),))}


def find_rows(
    session: Session, schema: str, table: str, ids: Sequence[RowId], columns: LiteralString
) -> list[tuple[Any, ...]]:
    """Return columns of the rows that are there, of a live table that is there."""
    query = SQL(
        """SELECT {} FROM ROWS FROM (json_array_elements_text(%s::json), json_array_elements_text(%s::json))
        AS wanted (source, key) JOIN {} USING (source, key)"""
    ).format(SQL(columns), Identifier(schema, lies.row_table(table)))
    return session.execute(query, wanted(ids)).fetchall()


def wanted(ids: Sequence[RowId]) -> tuple[str, str]:
    """Return the sources and the keys of rows, each as a JSON array."""
    sources = msgspec.json.encode([to_text(source) for source, _ in ids]).decode()
    keys = msgspec.json.encode([key_text(key) for _, key in ids]).decode()
    return sources, keys


def has_history(session: Session, schema: str, table: str) -> bool:
    """Tell whether the rows of a live table can have histories: not where no writer has come since layout 1."""
    query = """SELECT EXISTS (SELECT FROM information_schema.columns
        WHERE table_schema = %s AND table_name = %s AND column_name = 'history')"""
    return session.execute(query, (schema, lies.row_table(table))).fetchone() == (True,)
