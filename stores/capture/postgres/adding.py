"""Tables that come later, or have a gap: read while the stream goes on.

Invariant: what is read, at the position up to which the stream has been given, holds all that was committed before that
position, and all that was committed to the table before it was published; and every later change is streamed.

The table is published first, then everybody who had written to it by then is waited for, then it is read. What commits
during all that is streamed, at a higher position than the reads have, whether they hold it or not. What was known of
the table before goes by a truncation at the position of the reads: rows that were deleted in the gap stay away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg

from stores.capture.postgres.catalog import Published, Table
from stores.capture.postgres.session import Session, refusal
from stores.capture.postgres.snapshot import Part, Reading
from stores.capture_settings import PostgresTapSettings

_WRITERS = """
    SELECT DISTINCT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    AND relation IN (
        SELECT unnest(%(oids)s::oid[]) UNION SELECT relid FROM unnest(%(oids)s::oid[]) t, pg_partition_tree(t))"""


class Adding:
    """Tables on their way into the capture.

    :arg position: Up to where the stream has been given (LSN): the position of all that is read.
    :raises LostError: When the server is away.
    """

    def __init__(
        self,
        settings: PostgresTapSettings,
        session: Session,
        tables: Sequence[Table],
        published: Mapping[str, Published],
        position: int,
    ) -> None:
        self.tables = tables
        self.position = position
        self._settings = settings
        self._session = session
        self._published = published
        self._reading: Reading | None = None
        self._writers = self._writing()

    @property
    def begun(self) -> bool:
        """Whether rows are being read already."""
        return self._reading is not None

    def next(self, limit: int) -> Part | None:
        """Return up to `limit` rows; None while somebody is waited for.

        :raises LostError: When the server is away: all of it begins again.
        """
        if self._reading is None:
            self._writers &= self._writing()
            if self._writers:
                return None
            self._reading = Reading(self._settings, self.tables, self._published)
        return self._reading.next(limit)

    def close(self) -> None:
        """Let go. Closing twice does nothing."""
        if self._reading is not None:
            self._reading.close()

    def _writing(self) -> set[str]:
        try:
            rows = self._session.execute(_WRITERS, {"oids": [table.oid for table in self.tables]})
            return {row[0] for row in rows}
        except psycopg.Error as error:
            raise refusal(self._settings, error, self._session) from None
