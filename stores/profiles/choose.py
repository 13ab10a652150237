"""Which profile store there is: the kind that the settings name for rows, in a file or schema of its own."""

from __future__ import annotations

from events.clock import Clock
from stores.profiles.base import ProfileReader, ProfileWriter
from stores.settings import Settings


def open_profile_writer(settings: Settings, clock: Clock) -> ProfileWriter:
    """Open the profile store of `settings` for writing.

    :raises StoreError: When another writer holds it, or it cannot be used.
    """
    rows = settings.rows
    if rows.backend == "postgres" and rows.dsn is not None:
        from stores.profiles.postgres import PostgresProfiles

        return PostgresProfiles(rows.dsn.get_secret_value(), schema_of(rows.db_schema))
    from stores.profiles.sqlite import SqliteProfiles

    return SqliteProfiles(settings.profiles_path, clock)


def open_profile_reader(settings: Settings) -> ProfileReader:
    """Return the reader of the profile store of `settings`; nothing is opened before it is asked."""
    rows = settings.rows
    if rows.backend == "postgres" and rows.dsn is not None:
        from stores.profiles.postgres_reader import PostgresProfileReader

        return PostgresProfileReader(rows.dsn.get_secret_value(), schema_of(rows.db_schema))
    from stores.profiles.sqlite_reader import SqliteProfileReader

    return SqliteProfileReader(settings.profiles_path)


def schema_of(rows_schema: str) -> str:
    """Return the name of the profiles' schema in PostgreSQL, beside that of the live tables."""
    from stores.rows.postgres_schema import fitting

    return fitting(f"{rows_schema}_profiles")
