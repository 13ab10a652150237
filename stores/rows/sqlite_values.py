"""The different texts of a column: from its index where it has one, however many rows there are."""

from __future__ import annotations

import sqlite3

from stores.rows.base import LIVE
from stores.rows.sqlite_image import json_path, member
from stores.rows.sqlite_schema import is_lookup_index, literal, row_table, value

LOOKED_AT = 1_000_000
"""Rows of a column without an index, or different texts of one with an index, that are looked at."""


def distinct(db: sqlite3.Connection, table: str, column: str, limit: int) -> list[str]:
    """Do as `RowReader.values`, of a live table that is there."""
    return _indexed(db, table, column, limit) if _has_index(db, table, column) else _scanned(db, table, column, limit)


def _indexed(db: sqlite3.Connection, table: str, column: str, limit: int) -> list[str]:
    # From each text right to the next one: SQLite would read the whole index for a DISTINCT.
    rows, shown = row_table(table), value(column)
    first, after = (
        f"SELECT {shown} FROM {rows} WHERE {shown} {than} ? ORDER BY {shown} LIMIT 1"  # noqa: S608  # our own names
        for than in (">=", ">")
    )
    live = f"SELECT 1 FROM {rows} WHERE {shown} = ? AND state = {LIVE} AND {_is_text(column)} LIMIT 1"  # noqa: S608
    found: list[str] = []
    # All texts come behind all numbers.
    row = db.execute(first, ("",)).fetchone()
    for _ in range(LOOKED_AT):
        if row is None or len(found) >= limit:
            break
        if db.execute(live, row).fetchone() is not None:
            found.append(row[0])
        row = db.execute(after, row).fetchone()
    return found


def _scanned(db: sqlite3.Connection, table: str, column: str, limit: int) -> list[str]:
    query = f"""SELECT DISTINCT text FROM (SELECT {value(column)} AS text, {_is_text(column)} AS is_text
        FROM {row_table(table)} WHERE state = {LIVE} LIMIT {LOOKED_AT}) WHERE is_text ORDER BY text LIMIT ?"""  # noqa: S608
    return [text for (text,) in db.execute(query, (max(limit, 0),))]


def _is_text(column: str) -> str:
    # What is not a single value comes as text as well.
    return f"json_type(image, {literal(json_path(member(column)))}) = 'text'"


def _has_index(db: sqlite3.Connection, table: str, column: str) -> bool:
    query = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL"
    there = db.execute(query, (f"row_{table}",)).fetchall()
    return any(is_lookup_index(name, table) and sql.endswith(f" ({value(column)})") for name, sql in there)
