"""Databases written anew, so that no byte of what was deleted is left in them.

SQLite leaves what it deletes in the free room of its pages, and in the write-ahead log. Compacting copies what is there
into fresh pages and empties that log, while whoever writes the database waits. What would take longer than those are
known to wait is left, and said.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from events.errors import StoreError

# Only the first half of the work can be given up: the pages that it made are then written back in one go, and that can
# take as long again. So each is less than half of what the users of a database wait.
ENGINE_PATIENCE = 2.0
"""Seconds after which the engine is not kept longer from what it needs for its recovery: it gives up after five."""

STORE_PATIENCE = 12.0
"""Seconds after which a store or a journal is not kept longer from its database: they give up after thirty."""

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
    patience: float,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Compaction]:
    """Write databases anew, one after the other, whoever else uses them.

    :arg deadline: Moment by `monotonic` up to which one that is busy is tried again.
    :arg patience: Seconds after which it is given up, so that others need not wait.
    """
    for path in paths:

        def until_done(attempt: Callable[[Path], str], path: Path = path) -> str:
            while True:
                fault = attempt(path)
                if not fault or monotonic() >= deadline:
                    return fault
                sleep(_PAUSE)

        fault = until_done(lambda path: _write_anew(path, patience, monotonic))
        yield Compaction(path, fault or until_done(lambda path: _empty_log(path, patience)))


def _write_anew(path: Path, patience: float, monotonic: Callable[[], float]) -> str:
    with _told(path, patience) as (db, faults):
        begun = monotonic()
        db.set_progress_handler(lambda: monotonic() - begun > patience, _STEPS)
        db.execute("PRAGMA secure_delete = ON")  # pages that are given up are wiped as well
        db.execute("VACUUM")
    if any("interrupted" in fault for fault in faults):
        return f"it takes longer than the {patience:g} s that its users wait"
    return "".join(faults)


def _empty_log(path: Path, patience: float) -> str:
    with _told(path, patience) as (db, faults):
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            faults.append("somebody holds on to its write-ahead log")
    return "".join(faults)


@contextmanager
def _told(path: Path, patience: float) -> Iterator[tuple[sqlite3.Connection, list[str]]]:
    """Open a database for what may fail; what went wrong is in the list then."""
    faults: list[str] = []
    # One that was removed since it was listed is not to be made again; nothing in memory stands for it.
    place = path if path.exists() else Path(":memory:")
    try:
        with closing(sqlite3.connect(place, timeout=patience, isolation_level=None)) as db:
            yield db, faults
    except sqlite3.DatabaseError as error:
        faults.append(str(error))


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
