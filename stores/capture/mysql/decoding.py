"""What the tap of MySQL hands to whatever makes change events of it.

The tap knows connections and the catalog; the decoder knows what the bytes mean. Neither imports the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from events.binlog import BinlogCatalog, BinlogPoint, BinlogProgress, BinlogTable
from events.log import LogRecord


class Decoder(Protocol):
    """Makes change events of the binlog's events. One connection, in its order.

    The position of an event is the file, the place at which the event begins that holds its row, and the row's number
    in that: the order of the binlog, which is the order of the commits.
    """

    @property
    def progress(self) -> BinlogProgress:
        """How far it is."""

    @property
    def keys(self) -> Mapping[str, tuple[str, ...]]:
        """The primary key by which each table's rows have been told apart, as far as it is known."""

    def begin(
        self,
        catalog: BinlogCatalog,
        tables: frozenset[str],
        given: BinlogProgress,
        keys: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """Begin with a new connection, behind `given.end`. What was given behind it is passed over.

        :arg tables: Tables whose changes are wanted, each `database.table`.
        :arg keys: What `keys` was there: rows by another one are refused.
        """

    def take_moved(self) -> frozenset[str]:
        """Return the tables whose rows are others by what the binlog does not say, since this was asked last."""

    def decode(self, events: Sequence[bytes]) -> list[LogRecord]:
        """Decode events of the binlog, each its header and its body, without checksum.

        :raises StoreError: When one cannot be understood, or says that rows changed and not how: nothing is skipped.
        """

    def read(
        self, table: BinlogTable, rows: Iterable[Sequence[Any]], point: BinlogPoint, at: int, last: str = ""
    ) -> list[LogRecord]:
        """Make snapshot reads of rows: texts, or bytes where they are no texts, in the order of the columns.

        :arg point: Their position: every transaction behind it is streamed, every other is in them.
        :arg at: When they were read (ms since epoch).
        :arg last: `table` or `snapshot` if the last of the rows is the last one of that.
        """

    def truncate(self, name: str, point: BinlogPoint, at: int) -> LogRecord:
        """Say that all rows of a table (`database.table`) went, before it is read again at the same point."""
