"""The publication of our own: made, widened and narrowed, as the tables of the settings are.

Invariant: when a table has been added to a publication whose slot is there already, no transaction that had written to
it before is still open. So a read that begins afterwards holds all that is not streamed. The lock that this takes also
keeps the server from missing the change of the publication, as releases before 14.18, 15.13, 16.9 and 17.5 could when
a transaction was under way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from stores.capture.postgres.catalog import Table
from stores.capture.postgres.checks import of
from stores.capture.postgres.session import LockedError, Session, refusal
from stores.capture_settings import PostgresTapSettings

LOCK_MILLIS = 50
"""How long writers of a table may hold up its publication, and others are then held up by it."""

# Who holds what SHARE ROW EXCLUSIVE has to wait for (PostgreSQL's documentation: Explicit Locking).
_HOLDERS = """
    SELECT DISTINCT coalesce(pid, 0) FROM pg_locks WHERE locktype = 'relation' AND granted AND relation = %s
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND mode NOT IN ('AccessShareLock', 'RowShareLock') AND pid IS DISTINCT FROM pg_backend_pid() ORDER BY 1"""

Said = Callable[[str], None]
"""Told each statement before it is run."""


def silent(statement: str) -> None:
    """Tell nobody."""


def create(settings: PostgresTapSettings, tables: Sequence[Table]) -> Composed:
    """Return the statement that makes the publication."""
    return SQL("CREATE PUBLICATION {} FOR TABLE {} WITH (publish_via_partition_root = true)").format(
        Identifier(settings.publication_names[0]), _list(tables)
    )


def add(settings: PostgresTapSettings, tables: Sequence[Table]) -> list[Composed]:
    """Return the statements that add tables, for one transaction."""
    return [
        SQL("SET LOCAL lock_timeout = {}").format(LOCK_MILLIS),
        SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(_list(tables)),
        SQL("ALTER PUBLICATION {} ADD TABLE {}").format(Identifier(settings.publication_names[0]), _list(tables)),
    ]


def widen(
    settings: PostgresTapSettings, session: Session, tables: Sequence[Table], said: Said = silent
) -> list[LockedError]:
    """Add tables to the publication, each by itself: return for each that is being written to, why it was not added.

    :raises LostError: When the connection is lost.
    :raises StoreError: When the server refuses.
    """
    blocked = []
    for table in tables:
        try:
            run(settings, session, add(settings, [table]), said)
        except LockedError:
            blocked.append(_blocked(settings, session, table))
    return blocked


def drop_tables(settings: PostgresTapSettings, names: Sequence[str]) -> Composed:
    """Return the statement after which tables are no longer published."""
    tables = SQL(", ").join(Identifier(*name.split(".", 1)) for name in names)
    return SQL("ALTER PUBLICATION {} DROP TABLE {}").format(Identifier(settings.publication_names[0]), tables)


def drop(settings: PostgresTapSettings) -> Composed:
    """Return the statement that removes the publication."""
    return SQL("DROP PUBLICATION IF EXISTS {}").format(Identifier(settings.publication_names[0]))


def run(settings: PostgresTapSettings, session: Session, statements: Sequence[Composed], said: Said = silent) -> None:
    """Run statements in one transaction.

    :raises LostError: When the connection is lost, or writers of a table did not end in time.
    :raises StoreError: When the server refuses.
    """
    try:
        with session.transaction():
            for statement in statements:
                said(statement.as_string(session))
                session.execute(statement)
    except psycopg.Error as error:
        raise refusal(settings, error, session) from None


def _blocked(settings: PostgresTapSettings, session: Session, table: Table) -> LockedError:
    try:
        holders = [str(pid) for (pid,) in session.execute(_HOLDERS, (table.oid,))]
    except psycopg.Error as error:
        raise refusal(settings, error, session) from None
    by = f"process {', '.join(holders)} of the server has" if holders else "somebody has just"
    detail = f"capture {settings.name!r}: {table.name} cannot be published yet: {by} changed it in an open transaction"
    return LockedError(
        detail, "end that transaction; the run goes on with the other tables, and tries again", soon=True
    )


def _list(tables: Sequence[Table]) -> Composed:
    # What inherits from a table without being a partition is a table of its own.
    return SQL(", ").join(SQL("ONLY {}").format(of(table)) for table in tables)
