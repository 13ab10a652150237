"""The systems that the tables benchmark compares: each brings one stream of change events into SQLite, then ends.

Each runs in processes of its own. What it left behind is read back, so that no time counts for a wrong table.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import msgspec
from bytewax.recovery import init_db_dir

from benchmarks import tables_loop
from benchmarks.peers import environment
from benchmarks.tables_log import FLIGHTS, PROBES, Row
from events.errors import HeadraceError
from stores.log.files import FileLog
from stores.rows.base import RowQuery, RowReader
from stores.rows.sqlite_reader import SqliteRowReader

ROOT = Path(__file__).resolve().parents[1]
NAME = "headrace"
RECOVERY_PARTITIONS = 16
MANY = 10**9
LOOK = 0.005
"""Seconds between two looks at a store that is being filled."""

PLAIN_HAS_BEGUN = """
SELECT 1 FROM rows WHERE name = 'probes' AND json_extract(image, '$.version') = ? LIMIT 1
"""


class Run(msgspec.Struct, frozen=True):
    """How a system took in a stream.

    :arg start: Seconds until the first commit with events was there.
    :arg seconds: From then until the last commit.
    :arg processor: Seconds of processor time from beginning to end; None where that is not known.
    """

    start: float
    seconds: float
    processor: float | None


class System(ABC):
    """One of the measured systems."""

    name: str
    database: str
    """File of its store."""
    has_begun: str
    """SQL that returns a row once an event of the run whose number it is given is in the store."""

    @abstractmethod
    def take_in(self, stream: Path, home: Path, number: int) -> Run:
        """Bring all events of the folder `stream`, which begins run `number`, into the store in `home`."""

    @abstractmethod
    def rows(self, home: Path) -> Iterable[tuple[str, str, Row]]:
        """Return what the store holds: table, key and row."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return what was measured, by name."""

    def watched(self, commands: list[list[str]], home: Path, variables: dict[str, str], number: int) -> Run:
        """Run processes to their end, and watch their store from outside meanwhile.

        :raises HeadraceError: With the last line that they said, when one of them fails.
        """
        began = time.monotonic()
        processes = [_start(command, home, variables) for command in commands]
        commits = _Commits(home / self.database, self.has_begun, number)
        processor = 0.0
        running = list(processes)
        while running:
            time.sleep(LOOK)
            commits.look()
            for process in list(running):
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    process.returncode = os.waitstatus_to_exitcode(status)
                    processor += usage.ru_utime + usage.ru_stime
                    running.remove(process)
        commits.look()
        commits.close()
        if any(process.returncode for process in processes):
            raise _failed(self.name, home)
        return Run(commits.first - began, commits.last - commits.first, processor)


class _Commits:
    """When a store was committed to: with the first events of a run, and for the last time."""

    def __init__(self, path: Path, has_begun: str, number: int) -> None:
        self._path = path
        self._question = has_begun, (-number,)  # as `Workload.begin` writes it
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self._begun = False
        self.first = self.last = math.nan

    def look(self) -> None:
        """Look whether there is another commit than at the last look."""
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, isolation_level=None)
            [version] = self._connection.execute("PRAGMA data_version").fetchone()
            if self._begun and version == self._version:
                return
            now = time.monotonic()
            self._begun = self._begun or self._connection.execute(*self._question).fetchone() is not None
        except sqlite3.OperationalError:
            return  # there is no file yet, or no table
        if self._begun:
            self._version, self.last = version, now
            self.first = now if math.isnan(self.first) else self.first

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class Headrace(System):
    """The tables flow, with its own defaults.

    :arg processes: How many make up its cluster.
    """

    database = "tables.sqlite3"
    has_begun = "SELECT 1 FROM probes WHERE version = ? LIMIT 1"

    def __init__(self, processes: int = 1) -> None:
        self.name = NAME if processes == 1 else f"{NAME}, {processes} processes"
        self._processes = processes

    def take_in(self, stream: Path, home: Path, number: int) -> Run:
        addresses = ";".join(f"127.0.0.1:{port}" for port in free_ports(self._processes))
        commands = [
            flow_command(*(["-i", str(number), "-a", addresses] if self._processes > 1 else []))
            for number in range(self._processes)
        ]
        return self.watched(commands, home, flow_variables(stream, home, "replay"), number)

    def rows(self, home: Path) -> Iterable[tuple[str, str, Row]]:
        reader = SqliteRowReader(home / Headrace.database)
        yield from live_rows(reader)
        reader.close()

    def versions(self) -> dict[str, str]:
        return {name: metadata.version(name) for name in ("headrace", "bytewax")} | {"sqlite": sqlite3.sqlite_version}


class Loop(System):
    """The plain loop."""

    name = "plain loop"
    database = "loop.sqlite3"
    has_begun = PLAIN_HAS_BEGUN

    def take_in(self, stream: Path, home: Path, number: int) -> Run:
        command = [sys.executable, "-m", "benchmarks.tables_loop", str(stream), str(home / self.database)]
        return self.watched([command], home, {}, number)

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
        run = self.watched([command], home, environment.flink_variables(self._python), number)
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


def _failed(name: str, home: Path) -> HeadraceError:
    lines = [line for line in (home / "output.txt").read_text(encoding="utf-8", errors="replace").split("\n") if line]
    detail = f"{name} failed: {lines[-1] if lines else 'it said nothing'}"
    return HeadraceError(detail, f"all that it said is in {home / 'output.txt'}")


def _start(command: list[str], home: Path, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    # Neither the reader's own settings nor a headrace.toml where this was started have a say.
    ambient = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    environ = {**ambient, "PYTHONPATH": str(ROOT), **variables}
    home.mkdir(parents=True, exist_ok=True)
    with (home / "output.txt").open("ab") as output:
        return subprocess.Popen(command, cwd=home, env=environ, stdout=output, stderr=output)


@contextmanager
def live(stream: Path, home: Path) -> Iterator[SqliteRowReader]:
    """Run the flow live over `stream`, with recovery, while the block lasts; yield a reader of its store."""
    recovery = home / "recovery"
    if not recovery.exists():
        recovery.mkdir(parents=True)
        init_db_dir(recovery, RECOVERY_PARTITIONS)
    process = _start(flow_command("-r", str(recovery), "-b", "0"), home, flow_variables(stream, home, "live"))
    reader = SqliteRowReader(home / Headrace.database)
    try:
        yield reader
        if process.poll() is not None:
            raise _failed(NAME, home)
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
