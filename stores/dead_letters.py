"""The store of dead letters: every event that a flow gave up, once, with the reason, until it is replayed.

One SQLite file for all flows; each writes briefly, so that they do not stand in each other's way.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from typing_extensions import override

from events.clock import Clock
from events.dead_letters import DeadLetter
from events.errors import StoreError
from events.log import LogRecord, Mark
from stores.sink import EpochWriter

_SCHEMA = """
CREATE TABLE IF NOT EXISTS dead_letters (
    id TEXT PRIMARY KEY, flow TEXT NOT NULL, step TEXT NOT NULL, reason TEXT NOT NULL,
    stream TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    event_time INTEGER NOT NULL, key BLOB, value BLOB, headers TEXT NOT NULL,
    failed_at INTEGER NOT NULL, replayed_at INTEGER
) STRICT
"""
_UPSERT = """
INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)
ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, event_time = excluded.event_time, key = excluded.key,
    value = excluded.value, headers = excluded.headers, failed_at = excluded.failed_at, replayed_at = NULL
"""
_COLUMNS = "id, flow, step, reason, stream, partition, offset, event_time, key, value, headers, failed_at, replayed_at"
BUSY_SECONDS = 30

logger = logging.getLogger(__name__)


class KeptLetter(msgspec.Struct, frozen=True):
    """A dead letter in the store. Times are in milliseconds since 1970-01-01 UTC.

    :arg failed_at: When it failed last.
    :arg replayed_at: When it was handed back to its flow; None while it waits. Failing again, it waits again.
    """

    id: str
    letter: DeadLetter
    failed_at: int
    replayed_at: int | None


class DeadLetters(EpochWriter[DeadLetter]):
    """Dead letters of all flows.

    :arg path: The SQLite file; made at the first write. Reading an absent one finds nothing.
    :arg clock: Tells when a letter failed or was replayed.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock

    @override
    def write(self, items: Sequence[DeadLetter]) -> None:
        now = self._clock()
        rows = [
            (
                letter.id,
                letter.flow,
                letter.step,
                letter.reason,
                letter.record.stream,
                letter.record.partition,
                letter.record.offset,
                letter.record.event_time,
                letter.record.key,
                letter.record.value,
                msgspec.json.encode(letter.record.headers).decode(),
                now,
            )
            for letter in items
        ]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._transaction() as connection:
            connection.execute(_SCHEMA)
            connection.executemany(_UPSERT, rows)
        logger.warning("%d dead letters of %s, the last: %s", len(items), items[-1].flow, items[-1].reason)

    @override
    def close_epoch(self, marks: Sequence[Mark]) -> None:
        # Each write is its own commit, and nobody asks a dead letter how fresh it is.
        del marks

    @override
    def identity(self) -> str:
        return "dead-letters"

    @override
    def close(self) -> None:
        pass

    def list(self, flow: str = "", *, replayed: bool = False, limit: int = 1000) -> list[KeptLetter]:
        """Return letters that wait, oldest failure first, of one flow if named; with `replayed` also the others."""
        if not self._path.exists():
            return []
        query = f"""SELECT {_COLUMNS} FROM dead_letters
            WHERE (? = '' OR flow = ?) AND (? OR replayed_at IS NULL) ORDER BY failed_at, id LIMIT ?"""  # noqa: S608  # column names only
        with self._transaction() as connection:
            connection.execute(_SCHEMA)
            return [_kept(row) for row in connection.execute(query, (flow, flow, replayed, limit))]

    def get(self, id_: str) -> KeptLetter | None:
        """Return the letter whose id begins with `id_`, None if there is none or more than one."""
        if not self._path.exists():
            return None
        query = f"SELECT {_COLUMNS} FROM dead_letters WHERE substr(id, 1, ?) = ? LIMIT 2"  # noqa: S608  # column names only
        with self._transaction() as connection:
            connection.execute(_SCHEMA)
            found = connection.execute(query, (len(id_), id_)).fetchall()
        return _kept(found[0]) if len(found) == 1 else None

    def counts(self) -> dict[str, int]:
        """Return how many letters wait, by flow."""
        if not self._path.exists():
            return {}
        query = "SELECT flow, count(*) FROM dead_letters WHERE replayed_at IS NULL GROUP BY flow ORDER BY flow"
        with self._transaction() as connection:
            connection.execute(_SCHEMA)
            return dict(connection.execute(query).fetchall())

    def mark_replayed(self, letters: Sequence[KeptLetter]) -> None:
        """Note that these letters have been handed back to their flows; one that has failed again meanwhile waits."""
        now = self._clock()
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE dead_letters SET replayed_at = ? WHERE id = ? AND failed_at = ?",
                [(now, kept.id, kept.failed_at) for kept in letters],
            )

    def discard(self, ids: Sequence[str]) -> int:
        """Remove these letters for good; return how many there were."""
        if not self._path.exists():
            return 0
        with self._transaction() as connection:
            before = connection.total_changes
            connection.executemany("DELETE FROM dead_letters WHERE id = ?", [(id_,) for id_ in ids])
            return connection.total_changes - before

    def erase(self, concerned: Callable[[DeadLetter], bool]) -> int:
        """Remove for good the letters that are concerned, also those already handed back; return how many."""
        if not self._path.exists():
            return 0
        query = f"SELECT {_COLUMNS} FROM dead_letters"  # noqa: S608  # column names only
        with self._transaction() as connection:
            connection.execute(_SCHEMA)
            kept = map(_kept, connection.execute(query))
            ids = [(one.id,) for one in kept if concerned(one.letter)]
            connection.executemany("DELETE FROM dead_letters WHERE id = ?", ids)
            return len(ids)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=BUSY_SECONDS)) as connection, connection:
                connection.execute("PRAGMA journal_mode = WAL")
                yield connection
        except (sqlite3.DatabaseError, OverflowError) as error:
            detail = f"the dead letters in {self._path} cannot be used: {error}"
            raise StoreError(detail, "free the disk, or move the file aside") from error


def _kept(row: tuple[object, ...]) -> KeptLetter:
    (id_, flow, step, reason, stream, partition, offset, event_time, key, value, headers, failed_at, replayed_at) = row
    record = LogRecord(
        str(stream),
        msgspec.convert(partition, int),
        msgspec.convert(offset, int),
        msgspec.convert(event_time, int),
        msgspec.convert(key, bytes | None),
        msgspec.convert(value, bytes | None),
        msgspec.json.decode(str(headers), type=dict[str, str]),
    )
    letter = DeadLetter(str(flow), str(step), str(reason), record)
    return KeptLetter(str(id_), letter, msgspec.convert(failed_at, int), msgspec.convert(replayed_at, int | None))
