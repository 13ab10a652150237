"""Which row store there is: the one that the settings name."""

from __future__ import annotations

from events.clock import Clock
from stores.rows.base import RowReader, RowWriter
from stores.settings import Settings


def open_row_writer(settings: Settings, clock: Clock) -> RowWriter:
    """Open the row store of `settings` for writing.

    :raises StoreError: When another writer holds it, or it cannot be used.
    """
    rows = settings.rows
    if rows.backend == "postgres" and rows.dsn is not None:
        from stores.rows.postgres import PostgresRows

        return PostgresRows(rows.dsn.get_secret_value(), rows.db_schema)
    from stores.rows.sqlite import SqliteRows

    return SqliteRows(settings.tables_path, clock)


def open_row_reader(settings: Settings) -> RowReader:
    """Return the reader of the row store of `settings`; nothing is opened before it is asked."""
    rows = settings.rows
    if rows.backend == "postgres" and rows.dsn is not None:
        from stores.rows.postgres_reader import PostgresRowReader

        return PostgresRowReader(rows.dsn.get_secret_value(), rows.db_schema)
    from stores.rows.sqlite_reader import SqliteRowReader

    return SqliteRowReader(settings.tables_path)
