"""The plain loops that the tables flow is measured beside: `python -m benchmarks.tables_loop LOG DATABASE [--strict]`.

A loop does what the flow does at its core and nothing else: read the log's lines, decode the Debezium events in them,
and let the highest position of each row win in SQLite, 1,000 events a commit. No schema history, no progress that
survives a crash, no guard, one process. The bare loop decodes no more of an event than it needs, and trusts it. With
`--strict` it reads the log and decodes events with the flow's own code, which trusts nothing and knows all columns, and
stores of each row what the flow stores.
"""

from __future__ import annotations

import argparse
import itertools
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from events.changes import Change, pack_position
from operators.changes.decode import decoder
from operators.changes.rules import StreamRules
from stores.log.files import FileLog

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

STRICT_TABLE = """
CREATE TABLE IF NOT EXISTS rows (
    name TEXT, source TEXT, key TEXT, position BLOB NOT NULL, stream TEXT, part INTEGER, place INTEGER, as_of INTEGER,
    applied_at INTEGER, initiator TEXT, xact TEXT, image TEXT, PRIMARY KEY (name, source, key)
)
"""

STRICT_NEWEST_WINS = """
INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name, source, key) DO UPDATE SET position = excluded.position, stream = excluded.stream,
    part = excluded.part, place = excluded.place, as_of = excluded.as_of, applied_at = excluded.applied_at,
    initiator = excluded.initiator, xact = excluded.xact, image = excluded.image
WHERE excluded.position > position
"""

Write = tuple[str, str, int, int, str | None]
"""Table, key, LSN, place in its transaction, and the row as JSON; None for a deleted one: it stays as a tombstone."""


StrictWrite = tuple[str, str, str, bytes, str, int, int, int, int, str, str, str | None]


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


def strict_writes(folder: Path) -> Iterator[StrictWrite]:
    """Do as `writes` by the flow's own reader of the log and its decoder."""
    log, stream = FileLog(folder.parent), folder.name
    decode = decoder(StreamRules(stream, "debezium"))
    encode = msgspec.json.Encoder(decimal_format="number").encode
    for partition in log.partitions(stream):
        offset = 0
        while True:
            records, offset = log.read(stream, partition, offset, BATCH)
            if not records:
                break
            for record in records:
                for change in decode(record):
                    if isinstance(change, Change):
                        yield (
                            change.table.rpartition(".")[2],
                            change.source,
                            change.key,
                            pack_position(change.position),
                            change.stream,
                            change.partition,
                            change.offset,
                            change.event_time,
                            record.event_time,
                            change.initiator,
                            change.transaction,
                            None if change.after is None else encode(change.after).decode(),
                        )


def run(folder: Path, database: Path, *, strict: bool = False) -> None:
    """Bring the rows of `database` to the newest state in the events of `folder`."""
    connection = sqlite3.connect(database, isolation_level=None)
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(STRICT_TABLE if strict else TABLE)
    statement = STRICT_NEWEST_WINS if strict else NEWEST_WINS
    found: Iterator[StrictWrite | Write] = strict_writes(folder) if strict else writes(folder)
    while batch := list(itertools.islice(found, BATCH)):
        connection.execute("BEGIN")
        connection.executemany(statement, batch)
        connection.execute("COMMIT")
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", type=Path, help="folder of the stream")
    parser.add_argument("database", type=Path)
    parser.add_argument("--strict", action="store_true", help="with the flow's own reader and decoder")
    options = parser.parse_args()
    run(options.log, options.database, strict=options.strict)


if __name__ == "__main__":
    main()
