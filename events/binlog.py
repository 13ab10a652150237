"""What MySQL or MariaDB says about its own tables, and how far its binlog has been decoded.

Taps (stores) know connections and the catalog; decoders (operators) know what the bytes mean. Neither imports the
other: these are the words between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec


class BinlogColumn(msgspec.Struct, frozen=True):
    """A column of a table as the catalog has it.

    :arg type: `DATA_TYPE` in lower case; `json` as well where a check alone makes a text of MariaDB JSON.
    :arg declared: `COLUMN_TYPE`, with lengths: `bit(1)`, `timestamp(3)`.
    """

    name: str
    type: str
    declared: str = ""


class BinlogTable(msgspec.Struct, frozen=True):
    """A table.

    :arg columns: In the table's order.
    :arg key: Columns of its primary key, in the table's order; none if it has none.
    """

    database: str
    table: str
    columns: tuple[BinlogColumn, ...]
    key: tuple[str, ...]


class BinlogPoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place between two transactions.

    :arg file: File of the binlog.
    :arg pos: Place in it.
    :arg gtid: MariaDB's GTID position there: the last one of each domain; empty for MySQL, and before the first.
    """

    file: str = ""
    pos: int = 0
    gtid: str = ""


class BinlogProgress(msgspec.Struct, frozen=True):
    """How far the binlog has been decoded.

    :arg end: Behind the last transaction that was decoded whole.
    :arg open: Name of the transaction that is under way; empty between two of them.
    :arg index: How many changes of that transaction have been decoded.
    :arg committed_at: When the newest transaction was written (ms since epoch); None before the first.
    """

    end: BinlogPoint = BinlogPoint()
    open: str = ""
    index: int = 0
    committed_at: int | None = None


class BinlogCatalog(Protocol):
    """What the server says about itself."""

    @property
    def product(self) -> str:
        """Return `mysql` or `mariadb`: what events name as their connector."""

    def charset_of(self, collation: int) -> str:
        """Return the character set of a collation, by its number; empty if there is none."""

    def types_of(self, database: str, table: str) -> Mapping[str, str]:
        """Return `BinlogColumn.type` of each column, as they are by now; nothing for a table that is gone.

        The binlog itself says all but what MariaDB keeps as texts or bytes: JSON, UUIDs, addresses.
        """
