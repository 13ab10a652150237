"""Tables read as they are at one moment, in batches: no table is ever in memory.

Invariant: all that one reading returns is of one snapshot: the one that a slot has exported, else one of its own, taken
after the reading was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import NamedTuple

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from events.capture import Relation
from events.errors import StoreError
from stores.capture.postgres.catalog import Published, Table, published_relation
from stores.capture.postgres.session import LostError, connect, refusal
from stores.capture_settings import PostgresTapSettings

Row = tuple[str | None, ...]

BATCH_CHARS = 8_000_000
"""Length of texts after which no more rows are put together, however few they are."""

_SECONDS = 3
"""How long to wait for a server that has just answered."""


class Part(NamedTuple):
    """Some rows of a table, whether they are its last ones, and whether no other table comes behind it."""

    table: Table
    relation: Relation
    rows: list[Row]
    whole: bool
    last: bool


class Reading:
    """A transaction that reads tables, one after the other.

    :arg published: What of each table is published; nothing else is read.
    :arg exported: Name of the snapshot that it reads; empty for one of its own.
    :raises LostError: When the server cannot be reached, or the exported snapshot is gone.
    """

    def __init__(
        self,
        settings: PostgresTapSettings,
        tables: Sequence[Table],
        published: Mapping[str, Published],
        exported: str = "",
    ) -> None:
        self._settings = settings
        self._waiting = list(tables)
        self._session = connect(settings, _SECONDS)
        self._stack = ExitStack()
        self._rows: Iterator[Row] = iter(())
        self._ahead: list[Row] = []
        self._current: tuple[Table, Relation] | None = None
        self._published = published
        try:
            self._session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            # The first statement takes the snapshot, if none is set.
            taken = SQL("SET TRANSACTION SNAPSHOT {}").format(exported) if exported else SQL("SELECT 1")
            self._session.execute(taken)
        except psycopg.Error as error:
            told = self._told(error)
            self._session.close()
            raise told from None

    def next(self, limit: int) -> Part | None:
        """Return up to `limit` rows, less if they are long, of the table that is read; None when all have been.

        :raises LostError: When the connection or the snapshot is gone.
        """
        try:
            if self._current is None:
                if not self._waiting:
                    return None
                self._open(self._waiting.pop(0))
            return self._part(limit)
        except psycopg.Error as error:
            raise self._told(error) from None

    def close(self) -> None:
        """End the transaction. Closing twice does nothing."""
        self._session.close()

    def _open(self, table: Table) -> None:
        part = self._published.get(table.name, Published())
        relation = published_relation(table, part, self._session.info.server_version)
        copy = self._stack.enter_context(self._session.cursor().copy(_query(table, relation, part)))
        self._rows = copy.rows()
        self._current = (table, relation)
        self._ahead = list(islice(self._rows, 1))

    def _part(self, limit: int) -> Part | None:
        if self._current is None:
            return None
        rows, size, whole = self._ahead, sum(map(_length, self._ahead)), True
        for row in self._rows:
            # One row is held back, to know whether these are the last.
            if rows and (len(rows) >= limit or size >= BATCH_CHARS):
                self._ahead, whole = [row], False
                break
            rows.append(row)
            size += _length(row)
        if whole:
            self._ahead = []
        table, relation = self._current
        if whole:
            self._stack.close()
            self._current = None
        return Part(table, relation, rows, whole, last=whole and not self._waiting)

    def _told(self, error: psycopg.Error) -> StoreError:
        told = refusal(self._settings, error, self._session)
        # A table or column that has gone meanwhile is looked at again with the next try, as is a lost snapshot.
        if error.sqlstate in ("42P01", "42703", "22023", "42704", "55000"):
            return LostError(told.detail, told.hint)
        return told


def _length(row: Row) -> int:
    return sum(map(len, filter(None, row)))


def _query(table: Table, relation: Relation, part: Published) -> Composed:
    """Return what reads a table. What inherits from it without being a partition is a table of its own."""
    names = SQL(", ").join(Identifier(column.name) for column in relation.columns)
    only = SQL("") if table.kind == "p" else SQL("ONLY ")
    name = Identifier(relation.schema, relation.table)
    # What PostgreSQL itself writes of a publication's conditions.
    where: SQL | Composed = SQL("")
    if part.rows:
        where = SQL(" WHERE ") + SQL(" OR ").join(SQL("({})").format(_Trusted(rows)) for rows in part.rows)
    return SQL("COPY (SELECT {} FROM {}{}{}) TO STDOUT").format(names, only, name, where)


class _Trusted(psycopg.sql.Composable):
    """An expression that the server has written itself."""

    def __init__(self, expression: str) -> None:
        super().__init__(expression)

    def as_bytes(self, context: psycopg.abc.AdaptContext | None = None) -> bytes:
        """Return it as it is."""
        del context
        return str(self._obj).encode()
