"""The systems that the tables benchmark compares: each brings one stream of change events into SQLite, then ends.

Each runs in processes of its own. What it left behind is read back, so that no time counts for a wrong table.
"""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import msgspec
from bytewax.recovery import init_db_dir

from benchmarks import tables_loop
from benchmarks.peers import environment
from benchmarks.tables_log import FLIGHTS, PROBES, Row, begun
from benchmarks.tables_watch import ROOT, Run, failed, start, watched
from events.errors import HeadraceError
from stores.log.files import FileLog
from stores.rows.base import RowQuery, RowReader
from stores.rows.sqlite_reader import SqliteRowReader

NAME = "headrace"
STRICT_LOOP, BARE_LOOP = "loop, same decoding", "bare loop"
RECOVERY_PARTITIONS = 16
MANY = 10**9
PLAIN_HAS_BEGUN = """
SELECT 1 FROM rows WHERE name = 'probes' AND json_extract(image, '$.version') = {version} LIMIT 1
"""


class System(ABC):
    """One of the measured systems."""

    name: str
    database: str
    """File of its store."""
    has_begun: str
    """SQL that returns a row once there is a probe in the store that has the `version` which is filled in."""

    @abstractmethod
    def take_in(self, stream: Path, home: Path, number: int) -> Run:
        """Bring all events of the folder `stream`, which begins run `number`, into the store in `home`."""

    @abstractmethod
    def rows(self, home: Path) -> Iterable[tuple[str, str, Row]]:
        """Return what the store holds: table, key and row."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return what was measured, by name."""

    def _watched(self, commands: list[list[str]], home: Path, variables: dict[str, str], number: int) -> Run:
        has_begun = self.has_begun.format(version=begun(number))
        return watched(self.name, commands, home / self.database, has_begun, variables)


class Headrace(System):
    """The tables flow, with its own defaults.

    :arg processes: How many make up its cluster.
    """

    database = "tables.sqlite3"
    has_begun = "SELECT 1 FROM probes WHERE version = {version} LIMIT 1"

    def __init__(self, processes: int = 1) -> None:
        self.name = NAME if processes == 1 else f"{NAME}, {processes} processes"
        self._processes = processes

    def take_in(self, stream: Path, home: Path, number: int) -> Run:
        addresses = ";".join(f"127.0.0.1:{port}" for port in free_ports(self._processes))
        commands = [
            flow_command(*(["-i", str(number), "-a", addresses] if self._processes > 1 else []))
            for number in range(self._processes)
        ]
        return self._watched(commands, home, flow_variables(stream, home, "replay"), number)

    def rows(self, home: Path) -> Iterable[tuple[str, str, Row]]:
        reader = SqliteRowReader(home / Headrace.database)
        yield from live_rows(reader)
        reader.close()

    def versions(self) -> dict[str, str]:
        return {name: metadata.version(name) for name in ("headrace", "bytewax")} | {"sqlite": sqlite3.sqlite_version}


class Loop(System):
    """A plain loop.

    :arg strict: Whether it decodes as the flow does.
    """

    database = "loop.sqlite3"
    has_begun = PLAIN_HAS_BEGUN

    def __init__(self, *, strict: bool = False) -> None:
        self.name = STRICT_LOOP if strict else BARE_LOOP
        self._strict = ["--strict"] if strict else []

    def take_in(self, stream: Path, home: Path, number: int) -> Run:
        command = [
            sys.executable,
            "-m",
            "benchmarks.tables_loop",
            str(stream),
            str(home / self.database),
            *self._strict,
        ]
        return self._watched([command], home, {}, number)

    def rows(self, home: Path) -> Iterable[tuple[str, str, Row]]:
        return _plain_rows(home / self.database)

    def versions(self) -> dict[str, str]:
        return {"batch": str(tables_loop.BATCH), "sqlite": sqlite3.sqlite_version}


class Flink(System):
    """The peer, as `peers/flink_tables.py` has it."""

    name = "flink"
    database = "flink.sqlite3"
    has_begun = PLAIN_HAS_BEGUN

    def __init__(self) -> None:
        if shutil.which("java") is None:
            detail = "Apache Flink needs a Java runtime, and there is no `java`"
            raise HeadraceError(detail, "install openjdk-17-jre-headless, or measure with --only headrace loop")
        self._python = environment.python(environment.FLINK, environment.FLINK_REQUIREMENTS)

    def take_in(self, stream: Path, home: Path, number: int) -> Run:
        program = ROOT / "benchmarks" / "peers" / "flink_tables.py"
        command = [str(self._python), str(program), str(stream), str(home / self.database)]
        run = self._watched([command], home, environment.flink_variables(self._python), number)
        return msgspec.structs.replace(
            run, processor=None
        )  # most of it is spent by a Java process that its parent does not wait for

    def rows(self, home: Path) -> Iterable[tuple[str, str, Row]]:
        return _plain_rows(home / self.database)

    def versions(self) -> dict[str, str]:
        return environment.versions(self._python, "apache-flink") | {"processes": "1, on all processors"}


def live_rows(reader: RowReader) -> Iterator[tuple[str, str, Row]]:
    """Yield all rows of the flow's live tables."""
    for table in (FLIGHTS, PROBES):
        for row in reader.select(RowQuery(table=table, limit=MANY)):
            yield table, row.key, row.image or {}


def _plain_rows(path: Path) -> Iterator[tuple[str, str, Row]]:
    connection = sqlite3.connect(path)
    for table, key, image in connection.execute("SELECT name, key, image FROM rows WHERE image IS NOT NULL"):
        yield table, key, msgspec.json.decode(image)
    connection.close()


def flow_command(*arguments: str) -> list[str]:
    """Return the command line of the flow."""
    return [sys.executable, "-m", "bytewax.run", "dataflows.tables", "-s", "1", *arguments]


def flow_variables(stream: Path, home: Path, mode: str) -> dict[str, str]:
    """Return the settings with which the flow reads the folder `stream` into `home`."""
    return {
        "HEADRACE_MODE": mode,
        "HEADRACE_DATA_DIR": str(home),
        "HEADRACE_LOG__DIR": str(stream.parent),
        "HEADRACE_TABLES__STREAMS": json.dumps([{"name": stream.name, "format": "debezium"}]),
        "HEADRACE_TABLES__LIVE": json.dumps(
            [{"name": table, "table": f"public.{table}"} for table in (FLIGHTS, PROBES)]
        ),
    }


@contextmanager
def live(stream: Path, home: Path) -> Iterator[SqliteRowReader]:
    """Run the flow live over `stream`, with recovery, while the block lasts; yield a reader of its store."""
    recovery = home / "recovery"
    if not recovery.exists():
        recovery.mkdir(parents=True)
        init_db_dir(recovery, RECOVERY_PARTITIONS)
    process = start(flow_command("-r", str(recovery), "-b", "0"), home, flow_variables(stream, home, "live"))
    reader = SqliteRowReader(home / Headrace.database)
    try:
        yield reader
        if process.poll() is not None:
            raise failed(NAME, home)
    finally:
        reader.close()
        process.terminate()
        process.wait()


def is_complete(stream: Path, reader: SqliteRowReader) -> bool:
    """Tell whether the store has said that it holds all that is in the log."""
    log = FileLog(stream.parent)
    ends = {str(partition): log.bounds(stream.name, partition)[1] for partition in log.partitions(stream.name)}
    applied = {mark.partition: mark.offset for mark in reader.applied() if mark.source == stream.name}
    return all(applied.get(partition, 0) >= end for partition, end in ends.items())


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
