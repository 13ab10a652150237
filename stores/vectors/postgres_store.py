"""The vector store in a schema of PostgreSQL: taken by its one writer, made, checked and brought to this layout.

These are steps of a writer's transactions. They raise psycopg's errors but where a remedy can be named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec
import psycopg
from psycopg.sql import SQL, Identifier

from events.errors import StoreError
from stores.embedders.base import Model
from stores.rows.postgres_session import Purpose, Session, connect, reason_of, told
from stores.vectors import postgres_schema as lies
from stores.vectors.postgres_schema import Store

PURPOSE = Purpose("the vector store", "HEADRACE_VECTORS__DSN")
_OLDEST = (0, 8)
"""Of pgvector: from it on an index goes on searching until enough of what it finds passes the filters."""


HINT = "let the database's user create the schema, or have it made"


def taken(dsn: str, schema: str, patience_millis: int) -> Session:
    """Return a session that is the one writer of the store, for as long as it lives.

    :arg patience_millis: How long to wait for a writer that may be about to go.
    :raises StoreError: When there is another writer, or no such server.
    """
    session = connect(dsn, PURPOSE)
    try:
        with told(session, HINT):
            _take(session, schema, patience_millis)
    except BaseException:
        session.close()
        raise
    return session


def _take(session: Session, schema: str, patience_millis: int) -> None:
    number = hashlib.blake2b(f"headrace vectors {schema}".encode(), digest_size=8).digest()
    try:
        session.execute(f"SET lock_timeout = {patience_millis:d}")
        session.execute("SELECT pg_advisory_lock(%s)", (int.from_bytes(number, "big", signed=True),))
    except psycopg.errors.LockNotAvailable:
        detail = f"another process writes the vector store in the schema {schema!r}"
        raise StoreError(detail, "stop that flow first; a store has one writer") from None
    # What `applied` claims must be durable, whatever the server's default is.
    session.execute("SET lock_timeout = 0; SET synchronous_commit = on; SET jit = off")


def read_store(session: Session, schema: str) -> Store | None:
    """Return what there is; None where the store has not been made. The reads after it are without JIT compilation.

    :raises StoreError: When the store is of another layout.
    """
    query, values = lies.store_query(schema), lies.store_values(schema)
    row = session.execute(query, values).fetchone()
    if row is not None and row[1] > lies.VERSION:
        _refuse_version(schema)
    return None if row is None else lies.store_of(schema, row)


def open_store(session: Session, schema: str, model: Model, new_id: Callable[[], str]) -> Store:
    """Return the store, made with `model` or brought to this layout if need be.

    :raises StoreError: When there is no pgvector, or the schema is not ours or not to be written by this user.
    """
    require_extension(session)
    with session.transaction():
        if session.execute("SELECT to_regnamespace(quote_ident(%s)) IS NULL", (schema,)).fetchone() == (True,):
            session.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
        if session.execute("SELECT has_schema_privilege(%s, 'CREATE')", (schema,)).fetchone() != (True,):
            detail = f"the database's user may not make tables in the schema {schema!r}"
            raise StoreError(detail, "grant it CREATE on the schema, or use the connection string of its owner")
        relations = tables(session, schema)
        if not relations:
            for statement in lies.SHARED_TABLES:
                session.execute(SQL(statement).format(schema=Identifier(schema)))
            insert = SQL("INSERT INTO {} VALUES (%s, %s, 1, %s, 0, 0, 0, '{{}}')").format(
                Identifier(schema, lies.STORE)
            )
            session.execute(insert, (new_id(), lies.VERSION, msgspec.json.encode(model).decode()))
            make_table(session, schema, 1, model)
        elif lies.STORE not in relations:
            detail = f"the schema {schema!r} holds other tables than Headrace's"
            raise StoreError(detail, "choose another vectors.db_schema")
        _migrate(session, schema)
    try:
        store = read_store(session, schema)
    except psycopg.errors.UndefinedColumn:
        store = None
    if store is None:
        detail = f"the schema {schema!r} does not hold a vector store"
        raise StoreError(detail, "choose another vectors.db_schema")
    return store


def require_extension(session: Session, name: str = "vector") -> None:
    """Make sure that the database has pgvector, in a version that serves.

    :raises StoreError: Naming what to install, or what an administrator has to do.
    """
    query = "SELECT extversion FROM pg_extension WHERE extname = %s"
    row = session.execute(query, (name,)).fetchone()
    if row is None:
        try:
            session.execute(SQL("CREATE EXTENSION IF NOT EXISTS {}").format(Identifier(name)))
        except psycopg.errors.InsufficientPrivilege:
            detail = "the database's user may not create the extension pgvector"
            raise StoreError(detail, "have an administrator run CREATE EXTENSION vector in the database") from None
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile):
            detail = "the PostgreSQL server does not have the extension pgvector"
            raise StoreError(detail, "install it there, such as by its package postgresql-17-pgvector") from None
        row = session.execute(query, (name,)).fetchone()
    version = row[0] if row else "0"
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < _OLDEST:
        detail = f"pgvector is version {version} in this database, older than 0.8"
        raise StoreError(detail, "install a newer one on the server, then run ALTER EXTENSION vector UPDATE")


def make_table(session: Session, schema: str, generation: int, model: Model) -> None:
    """Make an empty table of chunks."""
    for statement in lies.table_statements(lies.chunk_table(schema, generation), extension(session), model.dimension):
        session.execute(statement)


def extension(session: Session) -> str:
    """Return the schema that pgvector is in."""
    query = "SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = %s"
    row = session.execute(query, ("vector",)).fetchone()
    return str(row[0]) if row else "public"


def tables(session: Session, schema: str) -> set[str]:
    """Return the names of the tables that are there."""
    query = "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND relkind = 'r'"
    return {name for (name,) in session.execute(query, (schema,))}


def configurations(session: Session) -> frozenset[str]:
    """Return the text search configurations that the server has."""
    query = "SELECT cfgname FROM pg_ts_config WHERE cfgnamespace = 'pg_catalog'::regnamespace"
    return frozenset(name for (name,) in session.execute(query))


def drop_others(session: Session, store: Store) -> None:
    """Drop the tables of chunks that do not count, but for one that a reader still holds on to; also half an index."""
    for name in tables(session, store.schema):
        if lies.generation_of(name) not in {None, store.generation}:
            try:
                session.execute("SET lock_timeout = 200")
                session.execute(SQL("DROP TABLE {}").format(Identifier(store.schema, name)))
            except psycopg.errors.LockNotAvailable:
                pass  # the next writer, or reindex, drops it
            finally:
                session.execute("SET lock_timeout = 0")
    query = """SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND NOT indisvalid"""
    for (name,) in session.execute(query, (store.schema,)).fetchall():
        session.execute(SQL("DROP INDEX {}").format(Identifier(store.schema, name)))


def _migrate(session: Session, schema: str) -> None:
    try:
        row = session.execute(SQL("SELECT version FROM {}").format(Identifier(schema, lies.STORE))).fetchone()
    except psycopg.Error as error:
        detail = f"the schema {schema!r} does not hold a vector store: {reason_of(error)}"
        raise StoreError(detail, "choose another vectors.db_schema") from None
    version = row[0] if row else 0
    while version in lies.MIGRATIONS:
        for statement in lies.MIGRATIONS[version]:
            session.execute(SQL(statement).format(schema=Identifier(schema)))
        version += 1
        session.execute(SQL("UPDATE {} SET version = %s").format(Identifier(schema, lies.STORE)), (version,))
    if version != lies.VERSION:
        _refuse_version(schema)


def _refuse_version(schema: str) -> None:
    detail = f"the schema {schema!r} holds another store than one of vectors, or was made by another version"
    raise StoreError(detail, "use that version, or drop the schema and run the flow again from the start")
