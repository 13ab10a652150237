"""What the live tables hold, in a form that two runs can be compared by; and a tables flow run in this process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

from bytewax.testing import cluster_main, run_main

from dataflows.tables import build
from events.changes import position_text
from events.log import LogRecord
from stores.log.files import FileLog
from stores.rows.base import RowQuery
from stores.rows.choose import open_row_reader
from stores.settings import Settings, load

STREAMS = Path(__file__).parents[2] / "fixtures" / "streams"
CONFIG = STREAMS / "headrace.toml"


def content(data: Path, config: Path = CONFIG) -> dict[str, Any]:
    """Return all live tables with all their rows, and the offsets taken in; when it was applied is left out."""
    reader = open_row_reader(settings_of(data, config=config))
    try:
        tables = {
            table: {
                f"{row.source}/{row.key}": (
                    row.image,
                    row.state,
                    position_text(row.standing.position),
                    row.as_of,
                    row.initiator,
                    row.transaction,
                )
                for row in reader.select(RowQuery(table=table, limit=1_000_000))
            }
            for table in reader.counts()
        }
        applied = {f"{mark.source}/{mark.partition}": mark.offset for mark in reader.applied()}
        return {"tables": tables, "applied": applied}
    finally:
        reader.close()


def rows_of(found: dict[str, Any], table: str) -> dict[str, Any]:
    """Return the images of one table of `content` by key."""
    return {name.partition("/")[2]: row[0] for name, row in found["tables"].get(table, {}).items()}


def settings_of(data: Path, *, config: Path = CONFIG, **overrides: Any) -> Settings:
    """Return the settings of `config` with another data folder."""
    with mock.patch.dict(os.environ, {"HEADRACE_CONFIG": str(config)}):
        return load(data_dir=data, **overrides)


def replay(log: Path, data: Path, *, workers: int = 1, batch: int = 1000, config: Path = CONFIG) -> dict[str, Any]:
    """Run the tables flow over the recorded streams to their end; return what the tables hold."""
    settings = settings_of(data, config=config, mode="replay", log={"dir": log})
    settings = settings.model_copy(update={"tables": settings.tables.model_copy(update={"batch_size": batch})})
    flow = build(settings)
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    return content(data, config)


class Place:
    """A log that events are written to, and what the flow has made of it. Flights are in the Debezium format."""

    def __init__(self, home: Path, settings: str = "") -> None:
        self.home = home
        self.config = home / "headrace.toml"
        self.configure(settings)
        self.log = FileLog(home / "data" / "log", partitions=2)

    def configure(self, more: str = "") -> None:
        """Write the settings: the stream `ops`, and `flights` as the live table."""
        self.config.write_text(
            '[[tables.streams]]\nname = "ops"\n[[tables.live]]\nname = "flights"\ntable = "public.flights"\n' + more
        )

    def append(self, *events: dict[str, Any] | bytes, key: int = 1, time: int = 1000) -> None:
        """Append events, or raw bytes, under the key of one row."""
        values = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
        self.log.append(
            "ops", [LogRecord("ops", 0, 0, time, json.dumps({"id": key}).encode(), value) for value in values]
        )

    def run(self) -> dict[str, Any]:
        """Run to the end of the log; return the flights by key."""
        return rows_of(replay(self.home / "data" / "log", self.home / "data", config=self.config), "flights")


def flight(
    op: str, lsn: int, id_: int = 1, *, table: str = "flights", time: int = 1000, **columns: Any
) -> dict[str, Any]:
    """Return a change of a flight as Debezium writes it for PostgreSQL, without schema."""
    row = {"id": id_, **columns}
    source = {
        "version": "3.0.0.Final", "connector": "postgresql", "name": "operations", "ts_ms": time, "snapshot": "false",
        "db": "ops", "schema": "public", "table": table, "txId": lsn, "lsn": lsn, "xmin": None,
    }  # fmt: skip
    gone = op == "d"
    return {
        "before": {"id": id_} if gone else None,
        "after": None if gone else row,
        "source": source,
        "op": op,
        "ts_ms": time,
    }
