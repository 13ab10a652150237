"""Row stores of each kind for tests, and rows to put into them."""

from __future__ import annotations

import multiprocessing
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from events.changes import Position, Row, Standing
from stores.rows.base import LIVE, Gaps, LiveTable, RowReader, RowWriter, StoredRow

NOW = 1_900_000_000_000
AS_OF = 1_800_000_000_000
SOURCE = "shop"


class RowPlace(msgspec.Struct, frozen=True):
    """Where one row store lies, and how it is opened; travels to other processes.

    :arg path: The file, for SQLite.
    :arg dsn: Connection string, for PostgreSQL.
    :arg schema: Schema of the store, for PostgreSQL.
    """

    kind: str
    path: str = ""
    dsn: str = ""
    schema: str = ""

    def writer(self) -> RowWriter:
        """Open the writer."""
        if self.kind == "postgres":
            from stores.rows.postgres import PostgresRows

            return PostgresRows(self.dsn, self.schema, patience_millis=100)
        from stores.rows.sqlite import SqliteRows

        return SqliteRows(Path(self.path), lambda: NOW)

    def reader(self) -> RowReader:
        """Return a reader."""
        if self.kind == "postgres":
            from stores.rows.postgres_reader import PostgresRowReader

            return PostgresRowReader(self.dsn, self.schema)
        from stores.rows.sqlite_reader import SqliteRowReader

        return SqliteRowReader(Path(self.path))


@contextmanager
def postgres_place(dsn: str) -> Iterator[RowPlace]:
    """Give a store in a schema of its own; it and those whose names begin so are gone afterwards."""
    schema = f"test_{secrets.token_hex(4)}"
    yield RowPlace("postgres", dsn=dsn, schema=schema)
    with psycopg.connect(dsn, autocommit=True) as session:
        session.execute("SET client_min_messages = warning")
        for (made,) in session.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE %s", (f"{schema}%",)):
            session.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(made)))


def key_of(number: int) -> str:
    return f'{{"id":{number}}}'


def row(
    number: int,
    *,
    image: Row | None = None,
    state: int = LIVE,
    source: str = SOURCE,
    position: Position = (),
    stream: str = "changes",
    partition: int = 0,
    offset: int = 0,
    as_of: int = AS_OF,
    gaps: Gaps | None = None,
    imaged: bool = True,
    **columns: Any,
) -> StoredRow:
    """Return the row whose primary key is `number`, with `columns` or `image`; without any unless `imaged`."""
    return StoredRow(
        source=source,
        key=key_of(number),
        image=(image if image is not None else {"id": number, **columns}) if imaged else None,
        state=state,
        standing=Standing(position, stream, partition, offset),
        as_of=as_of,
        applied_at=NOW,
        gaps=gaps or {},
    )


def shown(table: str, rows: list[StoredRow], **kinds: str) -> LiveTable:
    """Return a live table with `kinds`, and all other columns of `rows` as mixed."""
    names = dict.fromkeys(name for stored in rows for name in stored.image or {})
    return LiveTable(table, {name: kinds.get(name, "mixed") for name in names} | kinds)


ROUNDS, REPLACED = 120, 40


def replace_rows(place: RowPlace) -> None:
    """Replace all rows of the table `pairs` again and again; the columns of all rows agree at any moment."""
    writer = place.writer()
    for number in range(1, ROUNDS + 1):
        rows = [row(n, a=number, b=str(number), offset=number) for n in range(REPLACED)]
        with writer.transaction():
            writer.put("pairs", rows[::2])
            writer.put("pairs", rows[1::2])
            writer.expose(shown("pairs", rows, a="int", b="text"))
            writer.note("round", {"number": str(number).encode()})
    writer.close()


def started_replacing(place: RowPlace) -> SpawnProcess:
    """Start `replace_rows` in another process."""
    process = multiprocessing.get_context("spawn").Process(target=replace_rows, args=(place,))
    process.start()
    return process
