"""Databases written anew, so that no byte of what was deleted is left in them.

SQLite leaves what it deletes in the free room of its pages, and in the write-ahead log. Compacting copies what is there
into fresh pages and empties that log, while whoever uses the database waits for a moment. It never takes longer than
those are known to wait; what is too large for that is left, and said.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec

from events.errors import StoreError

PATIENCE = 4.0
"""Seconds that a database may be kept from its writers: the engine gives up after five, the stores after thirty."""

_MAGIC = b"SQLite format 3\x00"
_PAUSE = 0.1
_STEPS = 1_000


class Compaction(msgspec.Struct, frozen=True):
    """What became of one database.

    :arg path: Where it lies.
    :arg fault: Why it was not compacted; empty if it was.
    """

    path: Path
    fault: str = ""


def databases(folder: Path, besides: Collection[Path] = ()) -> list[Path]:
    """Return the SQLite databases below `folder`, by what is in the files and not by their names.

    :arg besides: Files that are left out.
    """
    left_out = {path.absolute() for path in besides}
    return [path for path in sorted(folder.rglob("*")) if path.absolute() not in left_out and _is_database(path)]


def compact(
    paths: Iterable[Path],
    deadline: float,
    *,
    patience: float = PATIENCE,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Compaction]:
    """Write databases anew, one after the other, whoever else uses them.

    :arg deadline: Moment by `monotonic` up to which one that is busy is tried again.
    :arg patience: Longest time that others are made to wait.
    """
    for path in paths:
        while True:
            fault = _compact(path, patience, monotonic)
            if not fault or monotonic() >= deadline:
                break
            sleep(_PAUSE)
        yield Compaction(path, fault)


def _compact(path: Path, patience: float, monotonic: Callable[[], float]) -> str:
    if not path.exists():  # retired since it was listed
        return ""
    try:
        with closing(sqlite3.connect(path, timeout=patience, isolation_level=None)) as db:
            (mode,) = db.execute("PRAGMA journal_mode").fetchone()
            begun = monotonic()
            db.set_progress_handler(lambda: monotonic() - begun > patience, _STEPS)
            db.execute("PRAGMA secure_delete = ON")  # its own log of what the pages were is wiped as well
            db.execute("VACUUM")
            db.set_progress_handler(None, 0)
            if mode == "wal":
                (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                return "a reader holds on to its write-ahead log" if busy else ""
            return ""
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return f"it takes longer than the {patience:g} s that its users wait"
        return str(error)
    except sqlite3.DatabaseError as error:
        return str(error)


def _is_database(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def compact_schema(dsn: str, schema: str, seconds: float) -> list[str]:
    """Write the tables of a schema of PostgreSQL anew; return what could not be done, a line each.

    :arg seconds: How long to wait for a table that is in use.
    """
    from stores.rows.postgres_session import connect, told

    remarks = [
        "PostgreSQL keeps deleted rows in its write-ahead log and in its backups until they are recycled: that is "
        "its administrator's"
    ]
    session = connect(dsn)
    try:
        with told(session):
            session.execute("SELECT set_config('lock_timeout', %s, false)", (f"{round(seconds * 1000)}ms",))
            found = session.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY tablename", (schema,)
            ).fetchall()
        for (table,) in found:
            try:
                with told(session):
                    session.execute(_vacuum(schema, str(table)))
            except StoreError as error:
                remarks.append(f"the table {schema}.{table} could not be compacted: {error.detail}")
    finally:
        session.close()
    return remarks


def _vacuum(schema: str, table: str) -> bytes:
    from psycopg import sql

    return sql.SQL("VACUUM (FULL) {}").format(sql.Identifier(schema, table)).as_bytes(None)
