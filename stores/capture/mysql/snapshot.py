"""Tables read as they are at one moment, in batches: no table is ever in memory.

Invariant: all that one reading returns is of one snapshot, and `point` is where the binlog stood then: every
transaction before it is in the snapshot, none behind it is.

MariaDB says where its binlog stands in a snapshot (`binlog_snapshot_position`), without a lock. MySQL does not: for
the moment in which the snapshot is taken, nothing may be committed (FLUSH TABLES WITH READ LOCK), as its own
mysqldump does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from events.binlog import BinlogPoint, BinlogTable
from stores.capture.mysql.catalog import MysqlCatalog, Table
from stores.capture.mysql.checks import quoted_name
from stores.capture.mysql.session import Session, explained
from stores.capture_settings import MysqlTapSettings

_LOCK_SECONDS = 10


class Part(NamedTuple):
    """Some rows of a table, whether they are its last ones, and whether no other table comes behind it."""

    table: Table
    rows: list[tuple[Any, ...]]
    whole: bool
    last: bool


class Reading:
    """A transaction that reads tables, one after the other.

    :raises LostError: When the server cannot be reached.
    :raises StoreError: When it refuses.
    """

    def __init__(self, settings: MysqlTapSettings, tables: Sequence[Table]) -> None:
        self._settings = settings
        self._waiting = list(tables)
        self._session = Session(settings)
        self._cursor: Any = None
        self._current: Table | None = None
        self._ahead: list[tuple[Any, ...]] = []
        try:
            self.point = self._begin()
        except BaseException:
            self._session.close()
            raise

    def next(self, limit: int) -> Part | None:
        """Return up to `limit` rows of the table that is read; None when all have been.

        :raises LostError: When the connection is gone, and the snapshot with it.
        """
        with explained(self._settings):
            if self._current is None:
                if not self._waiting:
                    return None
                self._open(self._waiting.pop(0))
            return self._part(limit)

    def close(self) -> None:
        """End the transaction. Closing twice does nothing."""
        self._session.close()

    def _begin(self) -> BinlogPoint:
        session = self._session
        catalog = MysqlCatalog(session)
        session.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        begin = "START TRANSACTION WITH CONSISTENT SNAPSHOT"
        if catalog.product == "mariadb":
            session.run(begin)
            said = dict(session.run("SHOW STATUS LIKE 'binlog_snapshot_%'"))
            lowered = {name.lower(): value for name, value in said.items()}
            return catalog.point_at(lowered["binlog_snapshot_file"], int(lowered["binlog_snapshot_position"]))
        session.run(f"SET SESSION lock_wait_timeout = {_LOCK_SECONDS}")
        session.run("FLUSH TABLES WITH READ LOCK")
        try:
            point = catalog.point()
            session.run(begin)
        finally:
            session.run("UNLOCK TABLES")
        return point

    def _open(self, table: Table) -> None:
        from pymysql.cursors import SSCursor

        self._cursor = self._session.connection.cursor(SSCursor)
        self._cursor.execute(_query(table.said))
        self._current = table
        self._ahead = list(self._cursor.fetchmany(1))

    def _part(self, limit: int) -> Part | None:
        if self._current is None:
            return None
        rows = [*self._ahead, *self._cursor.fetchmany(limit)]
        # One row is held back, to know whether these are the last.
        whole = len(rows) <= limit
        self._ahead = [] if whole else [rows.pop()]
        table = self._current
        if whole:
            self._cursor.close()
            self._current = None
        return Part(table, rows, whole, last=whole and not self._waiting)


def _query(table: BinlogTable) -> str:
    columns = []
    for column in table.columns:
        name = "`" + column.name.replace("`", "``") + "`"
        # As text, a number of single precision loses digits.
        columns.append(f"{name} + 0e0" if column.type == "float" else name)
    return f"SELECT {', '.join(columns)} FROM {quoted_name(f'{table.database}.{table.table}')}"  # noqa: S608  # quoted names
