"""What a MySQL or MariaDB server says about itself: what it is, where its binlog stands, and its tables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from events.binlog import BinlogColumn, BinlogPoint, BinlogTable
from events.errors import StoreError
from stores.capture.mysql.session import Session


class Table(NamedTuple):
    """A table as it is by now.

    :arg rows: How many it has, about.
    """

    name: str
    kind: str
    engine: str
    rows: int
    said: BinlogTable


class MysqlCatalog:
    """The catalog of one connection, looked at when something new turns up."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._charsets: dict[int, str] = {}
        self.variables: Mapping[str, str] = session.variables()

    @property
    def product(self) -> str:
        """Return `mysql` or `mariadb`."""
        return "mariadb" if "mariadb" in self.variables.get("version", "").lower() else "mysql"

    @property
    def server(self) -> str:
        """What tells the server from others: MySQL's own identifier; of MariaDB, which has none, its number."""
        return self.variables.get("server_uuid") or f"{self.product}:{self.variables.get('server_id', '')}"

    def charset_of(self, collation: int) -> str:
        """Return the character set of a collation, by its number; empty if there is none."""
        if not self._charsets:
            # Collations of MariaDB that serve several character sets have a number for each.
            if self.product == "mariadb" and "ID" in self._columns("COLLATION_CHARACTER_SET_APPLICABILITY"):
                query = "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
            else:
                query = "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS"
            self._charsets = {int(number): name for number, name in self._session.run(query) if number is not None}
        return self._charsets.get(collation, "")

    def types_of(self, database: str, table: str) -> dict[str, str]:
        """Return the type of each column, as they are by now; nothing for a table that is gone."""
        found = self.find_tables([f"{database}.{table}"])
        return {column.name: column.type for each in found.values() for column in each.said.columns}

    def find_tables(self, names: Sequence[str]) -> dict[str, Table]:
        """Return those of the tables that are there, by name."""
        found = {}
        for name in names:
            database, _, table = name.partition(".")
            head = self._session.one(
                "SELECT TABLE_TYPE, ENGINE, TABLE_ROWS FROM information_schema.TABLES"
                " WHERE BINARY TABLE_SCHEMA = %s AND BINARY TABLE_NAME = %s",
                (database, table),
            )
            if head:
                kind, engine, rows = head
                found[name] = Table(name, kind, engine or "", int(rows or 0), self._table(database, table))
        return found

    def point(self) -> BinlogPoint:
        """Return where the binlog ends by now.

        :raises StoreError: When there is none, or it may not be asked for.
        """
        statement = "SHOW MASTER STATUS"
        version = re.match(r"(\d+)\.(\d+)", self.variables.get("version", ""))
        if (
            "mariadb" not in self.variables.get("version", "").lower()
            and version
            and (int(version[1]), int(version[2])) >= (8, 2)
        ):
            statement = "SHOW BINARY LOG STATUS"
        status = self._session.one(statement)
        if not status:
            detail = "the server writes no binlog"
            raise StoreError(detail, "start it with log_bin")
        return self.point_at(status[0], int(status[1]))

    def point_at(self, file: str, pos: int) -> BinlogPoint:
        """Return a point of the binlog with its GTID position, if the server is MariaDB."""
        if self.product != "mariadb":
            return BinlogPoint(file, pos)
        found = self._session.one("SELECT BINLOG_GTID_POS(%s, %s)", (file, pos))
        gtid = found[0] if found else None
        return BinlogPoint(file, pos, gtid or "")

    def _table(self, database: str, table: str) -> BinlogTable:
        rows = self._session.run(
            "SELECT COLUMN_NAME, LOWER(DATA_TYPE), LOWER(COLUMN_TYPE), COLUMN_KEY FROM information_schema.COLUMNS"
            " WHERE BINARY TABLE_SCHEMA = %s AND BINARY TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
            (database, table),
        )
        checked = self._checked(database, table) if self.product == "mariadb" else set()
        columns = tuple(
            BinlogColumn(name, "json" if name in checked and type_ == "longtext" else type_, declared)
            for name, type_, declared, _ in rows
        )
        return BinlogTable(database, table, columns, tuple(name for name, _, _, key in rows if key == "PRI"))

    def _checked(self, database: str, table: str) -> set[str]:
        """Return the columns of which a check says that they are JSON: MariaDB's type of that name."""
        rows = self._session.run(
            "SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS"
            " WHERE BINARY CONSTRAINT_SCHEMA = %s AND BINARY TABLE_NAME = %s",
            (database, table),
        )
        found = (re.fullmatch(r"json_valid\(`(.+)`\)", clause, re.IGNORECASE) for (clause,) in rows)
        return {match[1].replace("``", "`") for match in found if match}

    def _columns(self, view: str) -> set[str]:
        rows = self._session.run(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS"
            " WHERE TABLE_SCHEMA = 'information_schema' AND TABLE_NAME = %s",
            (view,),
        )
        return {name.upper() for (name,) in rows}
