"""What is still to be sent to the webhook, in one SQLite file that outlives the process.

Each alert stands there once for each of its states, however often it comes, and stays for a while after it was
sent, so that one that comes again after a crash is known. That an alert is over is not due before the alert itself has
been sent or given up.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from events.alerts import Alert
from events.clock import Clock

KEEP_MILLIS = 30 * 86_400_000
"""How long what was sent or given up is remembered."""
_BUSY_SECONDS = 30.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (
    alert TEXT NOT NULL, state TEXT NOT NULL, body BLOB NOT NULL, put_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, next_at INTEGER, sent_at INTEGER, error TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (alert, state)
) STRICT
"""
_FREE = """messages AS message WHERE NOT (state = 'over' AND EXISTS (
    SELECT 1 FROM messages AS earlier
    WHERE earlier.alert = message.alert AND earlier.state = 'raised' AND earlier.next_at IS NOT NULL))"""
_DUE = f"""SELECT alert, state, body, attempts FROM {_FREE} AND next_at <= ?
    ORDER BY next_at, put_at, rowid LIMIT 1"""  # noqa: S608  # text of ours
_NEXT = f"SELECT min(next_at) FROM {_FREE}"  # noqa: S608  # text of ours
_COLUMNS = "alert, state, attempts, next_at, sent_at, error"


class Message(msgspec.Struct, frozen=True):
    """One alert in one of its states, as it is to be sent.

    :arg attempts: How often it has been tried before.
    """

    alert: str
    state: str
    body: bytes
    attempts: int

    @property
    def name(self) -> str:
        """The same for the same alert and state, and for no other."""
        return f"{self.alert}:{self.state}"


class Standing(msgspec.Struct, frozen=True):
    """What has become of one message. Times are in milliseconds since 1970-01-01 UTC.

    :arg next_at: When it is tried next; None if it has been sent or given up.
    :arg sent_at: None if it has not been sent.
    :arg error: Why the last attempt failed; empty if it did not.
    """

    alert: str
    state: str
    attempts: int
    next_at: int | None
    sent_at: int | None
    error: str


class Outbox:
    """The file. Any thread may use it; so may several processes.

    :arg path: Made if it is not there.
    :arg clock: Tells what is due.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode = WAL")
        with self._transaction() as connection:
            connection.execute(_SCHEMA)
            forgotten = clock() - KEEP_MILLIS
            connection.execute("DELETE FROM messages WHERE next_at IS NULL AND put_at < ?", (forgotten,))

    def put(self, alert: Alert) -> bool:
        """Take an alert, durably; return whether it was not there already in this state."""
        now = self._clock()
        row = (alert.id, alert.state, msgspec.json.encode(alert), now, now)
        with self._transaction() as connection:
            query = "INSERT INTO messages (alert, state, body, put_at, next_at) VALUES (?, ?, ?, ?, ?)"
            return connection.execute(f"{query} ON CONFLICT DO NOTHING", row).rowcount > 0

    def claim(self, lease_millis: int) -> Message | None:
        """Return what is due next, None if nothing is; nobody else gets it for so long, unless it is settled."""
        now = self._clock()
        with self._transaction() as connection:
            row = connection.execute(_DUE, (now,)).fetchone()
            if row is None:
                return None
            message = Message(*row)
            query = "UPDATE messages SET next_at = ?, attempts = attempts + 1 WHERE alert = ? AND state = ?"
            connection.execute(query, (now + lease_millis, message.alert, message.state))
            return message

    def sent(self, message: Message) -> None:
        """Note that a message has arrived."""
        self._settle(message, None, self._clock(), "")

    def failed(self, message: Message, error: str, next_at: int | None) -> None:
        """Note why an attempt failed, and when the next one is; None: never."""
        self._settle(message, next_at, None, error)

    def next_at(self) -> int | None:
        """Return when something is due, None if nothing waits but for something else."""
        with self._transaction() as connection:
            (moment,) = connection.execute(_NEXT).fetchone()
            return None if moment is None else int(moment)

    def list(self) -> list[Standing]:
        """Return what has become of all messages, oldest first."""
        with self._transaction() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM messages ORDER BY put_at, rowid")  # noqa: S608  # column names only
            return [Standing(*row) for row in rows]

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _settle(self, message: Message, next_at: int | None, sent_at: int | None, error: str) -> None:
        query = "UPDATE messages SET next_at = ?, sent_at = ?, error = ? WHERE alert = ? AND state = ?"
        with self._transaction() as connection:
            connection.execute(query, (next_at, sent_at, error, message.alert, message.state))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
