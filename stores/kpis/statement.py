"""Statements of a user in DuckDB: one that reads, on a read-only connection from which no other file can be reached.

The time of a statement is bounded by a timer that interrupts it, its memory by the connection, its answer by rows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from datetime import time as time_of_day
from typing import TYPE_CHECKING, Any

from events.errors import RejectedError
from stores.rows.base import SqlAnswer

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ROWS_AT_ONCE = 2048
_ANSWER_BYTES = 256 * 2**20
_READS = ("SELECT", "EXPLAIN")
TABLES = "kpis, answers, questions, ratings, comments, contexts, points, alerts, too_late, applied"


def answer(db: DuckDBPyConnection, statement: str, *, rows: int, seconds: float) -> SqlAnswer:
    """Run `statement` on a read-only connection that is used for nothing else afterwards.

    :raises RejectedError: With what it must not do, or why it cannot be run.
    """
    import duckdb

    deadline = time.monotonic() + seconds
    hint = f"there are: {TABLES}"
    db.execute("SET lock_configuration = true")
    try:
        text = one_reading(db, statement)
        with interrupted_at(db, deadline):
            # Through Arrow: moments come without any further package.
            relation = db.sql(text)
            if relation is None:
                raise RejectedError(*_NO_READING)
            columns = tuple(relation.columns)
            found, cut = _fetched(relation.to_arrow_reader(_ROWS_AT_ONCE), rows)
    except RejectedError as error:
        raise RejectedError(error.detail, error.hint or hint) from None
    except (duckdb.Error, UnicodeError, ValueError, OverflowError) as error:
        late = isinstance(error, duckdb.InterruptException)
        reason = f"it took longer than {seconds:g} s" if late else reason_of(error)
        detail = f"the statement cannot be run: {reason}"
        raise RejectedError(detail, hint) from None
    except OSError as error:  # how Arrow tells what went wrong while rows were read
        late = time.monotonic() >= deadline
        reason = f"it took longer than {seconds:g} s" if late else reason_of(error)
        detail = f"the statement cannot be run: {reason}"
        raise RejectedError(detail, hint) from None
    return SqlAnswer(columns, found, cut=cut)


_NO_READING = "the statement cannot be run: it is not one that reads", "write one SELECT"


def one_reading(db: DuckDBPyConnection, statement: str) -> str:
    """Return the statement without what stands around it.

    :raises RejectedError: When it is not exactly one statement that reads.
    :raises duckdb.Error: When it is none.
    """
    found = db.extract_statements(statement)
    if len(found) != 1 or found[0].type.name not in _READS:
        raise RejectedError(*_NO_READING)
    return str(found[0].query)


@contextmanager
def interrupted_at(db: DuckDBPyConnection, deadline: float) -> Iterator[None]:
    """Interrupt what runs on `db` when the deadline has come, by the monotonic clock."""
    timer = threading.Timer(max(0.0, deadline - time.monotonic()), db.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def reason_of(error: BaseException) -> str:
    """Return the database's reason in one line, without the statement that it repeats."""
    return " ".join(str(error).split("\n\nLINE ")[0].split())[:300]


def _fetched(batches: Any, rows: int) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the first rows, and whether there are more of them than were wanted or can be held."""
    found: list[tuple[Any, ...]] = []
    size = 0
    for batch in batches:
        size += batch.nbytes
        columns = [_plain_column(column) for column in batch.slice(0, rows + 1 - len(found)).columns]
        found += zip(*columns, strict=True) if columns else ()
        if len(found) > rows or size > _ANSWER_BYTES:
            return found[:rows], True
    return found, False


def _plain_column(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_map(column.type):
        return [None if value is None else {key: plain(one) for key, one in value} for value in column.to_pylist()]
    return [plain(value) for value in column.to_pylist()]


def plain(value: Any) -> Any:
    """Return a value as JSON has it: moments as ISO 8601 text (of those with a zone, in UTC), bytes as hex."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if type(value) in {list, tuple}:
        return [plain(one) for one in value]
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(timezone.utc).replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, (date, time_of_day)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, (tuple, timedelta)) else value
