"""What the tap of PostgreSQL hands to whatever makes change events of it, and what it wants to know from that.

The tap knows connections, slots and the catalog; the decoder knows what the bytes mean. Neither imports the other.

Texts of values must not depend on a server's or a role's defaults. Both connections, the replicating one and the one
that reads snapshots, are opened with `SESSION`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from events.capture import Catalog, Column, Progress, Relation, TypeInfo
from events.log import LogRecord

__all__ = ["SESSION", "Catalog", "Column", "Decoder", "Progress", "Relation", "TypeInfo"]

SESSION = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
    "IntervalStyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "lc_monetary": "C",
}
"""Settings of a session under which values have the text forms that decoders read."""


class Decoder(Protocol):
    """Makes change events of what the server sends: pgoutput, protocol version 1. One connection, in its order.

    The position of an event is the LSN at which its transaction's commit begins, and its number in the transaction: the
    order in which changes came to be seen. The LSN of the change itself is no such order: of two transactions that
    write the same key, the one that commits last may have written first (a deferred constraint lets it), and a
    transaction that a snapshot does not hold may have written before that snapshot.
    """

    @property
    def progress(self) -> Progress:
        """How far it is."""

    def begin(self, catalog: Catalog, given: Progress) -> None:
        """Begin with a new connection. What `given` says was given before is passed over when it comes again."""

    def decode(self, payloads: Sequence[bytes]) -> list[LogRecord]:
        """Decode messages of pgoutput, without the header of the replication protocol.

        :raises StoreError: When a message cannot be understood: nothing is skipped.
        """

    def read(
        self, relation: Relation, rows: Iterable[Sequence[str | None]], lsn: int, at: int, last: str = ""
    ) -> list[LogRecord]:
        """Make snapshot reads of rows, whose values are in PostgreSQL's text form, in the order of the columns.

        :arg lsn: Their position, the slot's consistent point: every transaction that is streamed commits at or after
            it, every other before it.
        :arg at: When they were read (ms since epoch).
        :arg last: `table` or `snapshot` if the last of the rows is the last one of that.
        """

    def truncate(self, relation: Relation, lsn: int, at: int) -> LogRecord:
        """Say that all rows of a table went, before it is read again at the same `lsn`.

        Its position is older than those reads, and newer than all changes that were committed before them.
        """

    def heartbeat(self, at: int) -> LogRecord | None:
        """Return a heartbeat event, if events of this decoder's envelope have one."""
