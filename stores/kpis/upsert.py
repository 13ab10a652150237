"""Rows into tables, through Arrow: what has the same key as what comes is removed first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def insert(db: DuckDBPyConnection, table: str, rows: Any) -> None:
    """Add rows to a table."""
    db.register("incoming", rows)
    db.execute(f"INSERT INTO {table} SELECT * FROM incoming")  # noqa: S608  # one of our tables


def replace(db: DuckDBPyConnection, table: str, rows: Any, *key: str) -> None:
    """Add rows to a table in the place of those that have the same values in the columns of the key."""
    db.register("incoming", rows)
    same = " AND ".join(f"{table}.{column} = incoming.{column}" for column in key)
    db.execute(f"DELETE FROM {table} USING incoming WHERE {same}")  # noqa: S608  # one of our tables
    db.execute(f"INSERT INTO {table} SELECT * FROM incoming")  # noqa: S608  # one of our tables
