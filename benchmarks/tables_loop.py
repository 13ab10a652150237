"""The plain loop that the tables flow is measured beside: `python -m benchmarks.tables_loop LOG DATABASE`.

It does what the flow does at its core and nothing else: read the log's lines, decode the Debezium events in them, and
let the highest position of each row win in SQLite, 1,000 events a commit. No rejected events, no schema history, no
progress that survives a crash, no guard, one process.
"""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

BATCH = 1_000

PRAGMAS = ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -65536", "wal_autocheckpoint = 8192")
"""Those of the row store."""

TABLE = """
CREATE TABLE IF NOT EXISTS rows (
    name TEXT, key TEXT, lsn INTEGER NOT NULL, place INTEGER NOT NULL, image TEXT, PRIMARY KEY (name, key)
)
"""

NEWEST_WINS = """
INSERT INTO rows VALUES (?, ?, ?, ?, ?)
ON CONFLICT (name, key) DO UPDATE SET lsn = excluded.lsn, place = excluded.place, image = excluded.image
WHERE (excluded.lsn, excluded.place) > (lsn, place)
"""

Write = tuple[str, str, int, int, str | None]
"""Table, key, LSN, place in its transaction, and the row as JSON; None for a deleted one: it stays as a tombstone."""


class _Source(msgspec.Struct):
    table: str
    lsn: int


class _Transaction(msgspec.Struct):
    total_order: int


class _Change(msgspec.Struct):
    source: _Source
    after: msgspec.Raw
    transaction: _Transaction | None = None


class _Line(msgspec.Struct):
    key: str
    value: _Change | None


def writes(folder: Path) -> Iterator[Write]:
    """Yield what each event of a stream's folder writes, one partition after the other."""
    decode = msgspec.json.Decoder(_Line).decode
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                event = decode(line)
                change = event.value
                if change is None:  # the tombstone after a delete
                    continue
                image = bytes(change.after).decode()
                place = change.transaction.total_order if change.transaction else 0
                source = change.source
                yield source.table, event.key, source.lsn, place, None if image == "null" else image


def run(folder: Path, database: Path) -> None:
    """Bring the rows of `database` to the newest state in the events of `folder`."""
    connection = sqlite3.connect(database, isolation_level=None)
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(TABLE)
    batch: list[Write] = []
    for write in writes(folder):
        batch.append(write)
        if len(batch) == BATCH:
            _commit(connection, batch)
            batch.clear()
    _commit(connection, batch)
    connection.close()


def _commit(connection: sqlite3.Connection, batch: list[Write]) -> None:
    connection.execute("BEGIN")
    connection.executemany(NEWEST_WINS, batch)
    connection.execute("COMMIT")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", type=Path, help="folder of the stream")
    parser.add_argument("database", type=Path)
    options = parser.parse_args()
    run(options.log, options.database)


if __name__ == "__main__":
    main()
