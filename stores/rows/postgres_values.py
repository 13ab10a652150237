"""The different texts of a column: hash indexes have no order, so that the rows are looked at."""

from __future__ import annotations

from psycopg.sql import SQL, Identifier, Literal

from stores.rows.base import LIVE
from stores.rows.postgres_image import from_text
from stores.rows.postgres_schema import literal, row_table
from stores.rows.postgres_session import Session

LOOKED_AT = 1_000_000
"""Rows that are looked at."""


def distinct(db: Session, schema: str, table: str, column: str, limit: int) -> list[str]:
    """Do as `RowReader.values`."""
    query = SQL(
        """SELECT DISTINCT (image ->> {column}) COLLATE "C" AS text
        FROM (SELECT image FROM {rows} WHERE state = {live} LIMIT {most}) AS row
        WHERE jsonb_typeof(image -> {column}) = 'string' ORDER BY text LIMIT {limit}"""
    ).format(
        column=literal(column),
        rows=Identifier(schema, row_table(table)),
        live=Literal(LIVE),
        most=Literal(LOOKED_AT),
        limit=Literal(max(limit, 0)),
    )
    return [from_text(text) for (text,) in db.execute(query)]
