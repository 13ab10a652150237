"""Statements of a user in SQLite: one that reads, and reaches nothing but the live tables' views.

SQLite itself tells each thing that a statement is about to touch before it runs; what is not on the list is refused.
The list is not enough for the tables behind the views: a query of the user's may bear a view's name. So a statement
that names one of those tables at all is refused first.
"""

from __future__ import annotations

import re
import sqlite3
import sys
import time
from collections.abc import Callable, Collection

from events.errors import RejectedError
from stores.rows.base import SqlAnswer
from stores.rows.sqlite_schema import ROW_PREFIX

_STEPS = 10_000
"""Steps of SQLite's machine between two looks at the time: well under a millisecond."""
_VALUE_BYTES = 64 * 2**20
_ANSWER_BYTES = 256 * 2**20
_FUNCTIONS_REFUSED = {
    "load_extension",
    "fts3_tokenizer",
    "sqlite_offset",
    "zeroblob",
    "randomblob",
    "hex",
    "printf",
    "format",
}
"""The last ones make large values of small ones, and what is then done with these cannot be interrupted."""
_TABLE_FUNCTIONS = ("json_each", "json_tree")
_HARMLESS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE}


def answer(db: sqlite3.Connection, statement: str, tables: Collection[str], *, rows: int, seconds: float) -> SqlAnswer:
    """Run `statement` on a connection that is used for nothing else afterwards.

    :arg tables: Names of the live tables.
    :raises RejectedError: With what it must not do, or why it cannot be run.
    """
    hint = f"live tables: {', '.join(tables) or 'none yet'}"
    lower = statement.lower()
    for table in tables:
        if ROW_PREFIX + table in lower:
            detail = f"the statement cannot be run: {ROW_PREFIX}{table} is not a live table"
            raise RejectedError(detail, hint)
    deadline = time.monotonic() + seconds
    _confine(db, tables, _named_queries(lower), deadline)
    try:
        cursor = db.execute(statement)
        if cursor.description is None:
            detail = "the statement cannot be run: it is not one that reads"
            raise RejectedError(detail, f"write one SELECT; {hint}")
        columns = tuple(str(column[0]) for column in cursor.description)
        found, cut = _fetched(cursor, rows)
    except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError, OverflowError) as error:
        late = time.monotonic() >= deadline and "interrupted" in str(error)
        reason = f"it took longer than {seconds:g} s" if late else " ".join(str(error).split())
        detail = f"the statement cannot be run: {reason}"
        raise RejectedError(detail, hint) from None
    return SqlAnswer(columns, found, cut=cut)


def _named_queries(statement: str) -> set[str]:
    """Return the names that a statement in lower case gives to queries by WITH."""
    return set(re.findall(r"\b([a-z_]\w*)\s*(?:\([^()]*\)\s*)?as\s+(?:not\s+)?(?:materialized\s*)?\(", statement))


def _confine(db: sqlite3.Connection, tables: Collection[str], queries: Collection[str], deadline: float) -> None:
    db.execute("PRAGMA query_only = ON")
    for function in _TABLE_FUNCTIONS:
        # Its first use declares a table, which is not to be allowed afterwards.
        db.execute(f"SELECT 1 FROM {function}('[]')").close()  # noqa: S608  # names of ours
    db.text_factory = lambda data: data.decode(errors="replace")
    if sys.version_info >= (3, 11):
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_BYTES)
    db.set_progress_handler(lambda: time.monotonic() >= deadline, _STEPS)
    there = {str(name).lower() for (name,) in db.execute("SELECT name FROM sqlite_schema")}
    db.set_authorizer(_authorizer(tables, {name for name in queries if name not in there}))


def _authorizer(
    tables: Collection[str], queries: Collection[str]
) -> Callable[[int, str | None, str | None, str | None, str | None], int]:
    views = frozenset(tables)
    behind = frozenset(ROW_PREFIX + table for table in tables)

    def authorize(action: int, one: str | None, two: str | None, database: str | None, via: str | None) -> int:
        del database
        allowed = (
            action in _HARMLESS
            or (action == sqlite3.SQLITE_READ and (one in views or one in _TABLE_FUNCTIONS))
            or (action == sqlite3.SQLITE_READ and one in behind and via in views)
            # Counting the rows of a query that WITH has named reads no column of it.
            or (action == sqlite3.SQLITE_READ and not two and str(one).lower() in queries)
            or (action == sqlite3.SQLITE_FUNCTION and str(two).lower() not in _FUNCTIONS_REFUSED)
        )
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    return authorize


def _fetched(cursor: sqlite3.Cursor, rows: int) -> tuple[list[tuple[object, ...]], bool]:
    """Return the first rows, and whether there are more of them than were wanted or can be held."""
    found: list[tuple[object, ...]] = []
    size = 0
    for row in cursor:
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(found) >= rows or size > _ANSWER_BYTES:
            return found, True
        found.append(row)
    return found, False
