"""The file of facts, KPIs and alerts: opened briefly by one writer, briefly by many readers, never by both at once.

DuckDB lets either one process write or several read. So each side opens, does its work, closes, and who comes in
between waits for milliseconds. Readers that follow each other closely could keep the writer out for ever; so it has a
gate, a lock beside the file, that it closes while it writes or wants to, and that readers pass before they open.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from events.errors import StoreError
from stores.kpis.schema import LAYOUT

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_logger = logging.getLogger(__name__)
STEP_SECONDS = 0.005
WRITER_SECONDS = 600.0
WARN_SECONDS = 30.0
"""After so long a writer that waits says who it is waiting for, and again and again."""
READER_SECONDS = 10.0
_HOLDER = re.compile(r"lock is held in (.{1,300}? \(PID \d+\)|PID \d+)")
_BUSY = (
    "Could not set lock",
    "Conflicting lock",
    "different configuration than existing",
    "configuration has been locked",
    "already attached",
)
_Config: TypeAlias = "dict[str, str | bool | int | float | list[str]]"
_WRITING: _Config = {"threads": "2", "python_enable_replacements": "false"}
_READING: _Config = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "threads": "2",
    "memory_limit": "1GB",
}
"""Settings of all readers: those of one process must be the same. No file but this one can be reached."""


@contextmanager
def open_for_writing(path: Path, seconds: float = WRITER_SECONDS) -> Iterator[DuckDBPyConnection]:
    """Open the file, made if it is not there, and close it at the end; what was not committed is undone.

    :arg seconds: How long to wait for readers.
    :raises StoreError: When readers hold it for longer, or it cannot be used.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with explained(path), closed_gate(path, seconds):
        if not path.exists():
            _make(path)
        db = open_inside(path, seconds, writing=True)
        try:
            yield db
        finally:
            db.close()


def _make(path: Path) -> None:
    """Make an empty database in one step: whoever is killed before that leaves none that cannot be opened."""
    import duckdb

    beside = path.with_name(f"{path.name}.made")
    beside.unlink(missing_ok=True)
    duckdb.connect(str(beside), config=dict(_WRITING)).close()
    beside.replace(path)


@contextmanager
def open_for_reading(path: Path, seconds: float = READER_SECONDS) -> Iterator[DuckDBPyConnection | None]:
    """Open the file read-only and close it at the end; None if there is no store in it (yet).

    :raises StoreError: When its writer holds it for longer than `seconds`, or it is of another kind.
    """
    if not path.exists():
        yield None
        return
    with explained(path):
        db = open_inside(path, seconds, writing=False)
        try:
            yield db if check(db, path) else None
        finally:
            db.close()


def check(db: DuckDBPyConnection, path: Path) -> bool:
    """Return whether there is a store in the database; false if there is nothing at all.

    :raises StoreError: When there is something else.
    """
    names = {name for (name,) in db.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not names:
        return False
    if "headrace_store" not in names:
        detail = f"{path} is a database of another kind, not a store of KPIs"
        raise StoreError(detail, "move it away or choose another data_dir")
    ((layout,),) = db.execute("SELECT layout FROM headrace_store").fetchall()
    if layout != LAYOUT:
        detail = f"the store of KPIs {path} has layout {layout}, this program reads {LAYOUT}"
        raise StoreError(detail, "use the program that wrote it, or move it aside and run the flow from the start")
    return True


def open_inside(path: Path, seconds: float, *, writing: bool) -> DuckDBPyConnection:
    """Open the file; whoever writes has closed the gate.

    :raises StoreError: When others hold it for longer than `seconds`.
    """
    import duckdb

    deadline = time.monotonic() + seconds
    warn = time.monotonic() + WARN_SECONDS
    while True:
        db = None
        try:
            if not writing and not _is_passable(path):
                raise _GateClosed
            db = duckdb.connect(str(path), read_only=not writing, config=dict(_WRITING if writing else _READING))
            # Wherever the machine stands, moments are shown and cut into days in UTC.
            db.execute("SET TimeZone = 'UTC'")
            # It would draw into what other programs read.
            db.execute("SET enable_progress_bar = false")
            return db
        except (duckdb.Error, _GateClosed) as error:
            if db is not None:
                db.close()
            if isinstance(error, duckdb.Error) and not any(sign in str(error) for sign in _BUSY):
                raise
            if time.monotonic() >= deadline:
                raise _held(path, str(error), seconds) from None
            if writing and time.monotonic() >= warn:
                warn += WARN_SECONDS
                _logger.warning("nothing is committed: %s", _held(path, str(error), WARN_SECONDS))
        time.sleep(STEP_SECONDS)


class _GateClosed(Exception):
    def __str__(self) -> str:
        return "its writer"


def _held(path: Path, said: str, seconds: float) -> StoreError:
    found = _HOLDER.search(said)
    holder = found[1] if found else said if said == "its writer" else "another part of this process"
    detail = f"the store of KPIs {path} is held by {holder} for longer than {seconds:g} s"
    return StoreError(detail, "end that program: whoever uses the file opens it briefly")


def _gate(path: Path) -> Path:
    return path.with_name(f"{path.name}.gate")


@contextmanager
def closed_gate(path: Path, seconds: float) -> Iterator[None]:
    """Keep readers from opening the file; those that have it open keep it."""
    import fcntl

    deadline = time.monotonic() + seconds
    descriptor = os.open(_gate(path), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # a reader is passing
                if time.monotonic() >= deadline:
                    raise _held(path, "", seconds) from None
            time.sleep(STEP_SECONDS / 5)
        yield
    finally:
        os.close(descriptor)


def _is_passable(path: Path) -> bool:
    import fcntl

    try:
        descriptor = os.open(_gate(path), os.O_RDONLY)
    except FileNotFoundError:  # a copy of the file, which nobody writes
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise DuckDB's errors as StoreError."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        detail = f"the store of KPIs {path} cannot be used: {' '.join(str(error).split())[:300]}"
        hint = "see that the disk has space and the file is a whole one; else move it aside and run the flow anew"
        raise StoreError(detail, hint) from error
