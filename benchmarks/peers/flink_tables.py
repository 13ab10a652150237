"""The peer: Apache Flink keeps in SQLite the newest row of each key in a folder of Debezium events, and ends.

    flink_tables.py FOLDER DATABASE

It runs in an environment of its own and imports nothing of ours. All but the last step is Flink SQL, which runs in
Java: the files are read and parsed by its own connector and format, and its Top-N operator (`ROW_NUMBER() = 1` by
descending LSN per key) keeps the newest event of each key, whatever the order of arrival. Only what is newer than all
before leaves it, as upserts. The last step is Python, inside of the same process (PyFlink's thread mode, the faster
one): Flink has no connector for SQLite. It writes 1,000 rows a commit, with the same pragmas as the others. There are
no checkpoints, and all processors are used.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sqlite3
import sys
from typing import Any

from pyflink.common import Configuration
from pyflink.datastream import ProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.table import DataTypes, Schema, StreamTableEnvironment
from pyflink.table.changelog_mode import ChangelogMode

BATCH = 1_000
PRAGMAS = ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -65536", "wal_autocheckpoint = 8192")

EVENTS = """
CREATE TABLE events (
    `key` STRING,
    `value` ROW<`after` STRING, `source` ROW<`table` STRING, `lsn` BIGINT>>
) WITH ('connector' = 'filesystem', 'path' = '{folder}', 'format' = 'json')
"""

NEWEST = """
SELECT name, id, lsn, image FROM (
    SELECT *, ROW_NUMBER() OVER (PARTITION BY name, id ORDER BY lsn DESC) AS place FROM (
        SELECT
            `value`.`source`.`table` AS name,
            `key` AS id,
            `value`.`source`.`lsn` AS lsn,
            `value`.`after` AS image
        FROM events
        WHERE `value` IS NOT NULL
    )
) WHERE place = 1
"""

UPSERT = """
INSERT INTO rows VALUES (?, ?, ?, ?)
ON CONFLICT (name, key) DO UPDATE SET lsn = excluded.lsn, image = excluded.image
"""


class Rows(ProcessFunction):
    """Writes rows into SQLite; a deleted one stays without its image."""

    def __init__(self, database: str) -> None:
        self._path = database
        self._batch: list[tuple[Any, ...]] = []

    def open(self, runtime_context: RuntimeContext) -> None:
        self._database = sqlite3.connect(self._path, isolation_level=None)
        for pragma in PRAGMAS:
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS rows (name TEXT, key TEXT, lsn INTEGER, image TEXT, PRIMARY KEY (name, key))"
        )

    def process_element(self, value: Any, ctx: ProcessFunction.Context) -> None:
        self._batch.append(tuple(value))
        if len(self._batch) == BATCH:
            self._commit()

    def close(self) -> None:
        self._commit()
        self._database.close()

    def _commit(self) -> None:
        self._database.execute("BEGIN")
        self._database.executemany(UPSERT, self._batch)
        self._database.execute("COMMIT")
        self._batch.clear()


def run(folder: pathlib.Path, database: pathlib.Path, parallelism: int) -> None:
    """Read all files in `folder` to their end."""
    configuration = Configuration()
    for key, value in {
        "python.execution-mode": "thread",
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "pipeline.object-reuse": "true",
        "rest.bind-port": "0",
        "rest.bind-address": "127.0.0.1",
    }.items():
        configuration.set_string(key, value)
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    environment.set_parallelism(parallelism)
    tables = StreamTableEnvironment.create(environment)
    tables.execute_sql(EVENTS.format(folder=folder))
    schema = (
        Schema.new_builder()
        .column("name", DataTypes.STRING().not_null())
        .column("id", DataTypes.STRING().not_null())
        .column("lsn", DataTypes.BIGINT())
        .column("image", DataTypes.STRING())
        .primary_key("name", "id")
        .build()
    )
    newest = tables.to_changelog_stream(tables.sql_query(NEWEST), schema, ChangelogMode.upsert())
    newest.process(Rows(str(database))).set_parallelism(1)
    environment.execute("tables")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("database", type=pathlib.Path)
    parser.add_argument("--parallelism", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    run(options.folder.resolve(), options.database.resolve(), options.parallelism)


if __name__ == "__main__":
    main()
