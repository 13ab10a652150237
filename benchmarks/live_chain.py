"""A live chain as its user runs it: from a database by a capture and the log to live tables, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.live_source import FLIGHTS, NAME, PROBES, TABLES, Database
from benchmarks.tables_watch import failed, start
from events.errors import HeadraceError
from stores.log.base import Log
from stores.log.files import FileLog
from stores.log.kafka.log import KafkaLog
from stores.log_settings import KafkaSettings
from stores.rows.base import RowQuery, RowReader
from stores.rows.sqlite_reader import SqliteRowReader

START_SECONDS = 120.0
STOP_SECONDS = 20.0
LOOK = 0.1
CHANGING = {FLIGHTS: "seats_left", PROBES: "version"}
"""By table the column that changes."""


class Chain(NamedTuple):
    """What is measured.

    :arg log: `files` or `kafka`.
    :arg processes: Of the tables flow.
    :arg debezium: The Python of Debezium's engine, in place of our capture; empty: ours.
    """

    log: str
    processes: int
    debezium: str = ""

    @property
    def capture(self) -> str:
        """What captures."""
        return "debezium" if self.debezium else "headrace"

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.capture}, log on {self.log}, tables in {self.processes} process{'es'[: 2 * self.processes - 2]}"


class Place:
    """A folder, a database and a log that are a chain's own.

    :arg servers: Kafka's brokers, where the log is on Kafka.
    """

    def __init__(self, chain: Chain, home: Path, database: Database, servers: Sequence[str], client: str) -> None:
        self.chain = chain
        self.home = home
        self.database = database
        self._kafka = {"servers": [*servers], "client": client, "prefix": f"{database.name}."}
        tap = {"name": NAME, "dsn": database.address, "tables": [f"public.{table}" for table in TABLES]}
        self.variables = {
            "HEADRACE_DATA_DIR": str(home / "data"),
            "HEADRACE_LOG__BACKEND": chain.log,
            "HEADRACE_TABLES__STREAMS": json.dumps([{"name": NAME}]),
            "HEADRACE_TABLES__LIVE": json.dumps([{"name": table, "table": f"public.{table}"} for table in TABLES]),
            "HEADRACE_CAPTURE__POSTGRES": json.dumps([tap]),
            **({"HEADRACE_LOG__KAFKA": json.dumps(self._kafka)} if chain.log == "kafka" else {}),
        }

    def capture(self, *, snapshot: bool = True) -> tuple[str, list[str]]:
        """Return name and command line of what brings changes onto the log."""
        if not self.chain.debezium:
            return "capture", [sys.executable, "-m", "serving.cli", "run", "capture"]
        properties = {
            "database.hostname": "127.0.0.1",
            "database.port": str(self.database.port),
            "database.user": "postgres",
            "database.password": "",
            "database.dbname": self.database.name,
            "topic.prefix": NAME,
            "table.include.list": ",".join(f"public.{table}" for table in TABLES),
            "slot.name": f"headrace_{NAME}",
            "publication.name": f"headrace_{NAME}",
            "publication.autocreate.mode": "filtered",
            "snapshot.mode": "initial" if snapshot else "no_data",
        }
        command = ["benchmarks.live_bridge", self.chain.debezium, NAME, json.dumps(properties)]
        return "debezium", [sys.executable, "-m", *command]

    def tables(self) -> tuple[str, list[str]]:
        """Return name and command line of the flow behind the log."""
        arguments = ["run", "tables", "--processes", str(self.chain.processes)]
        return "tables", [sys.executable, "-m", "serving.cli", *arguments]

    def log(self) -> Log:
        """Return the log."""
        if self.chain.log == "kafka":
            return KafkaLog(KafkaSettings.model_validate(self._kafka))
        return FileLog(self.home / "data" / "log")

    def reader(self) -> RowReader:
        """Return a reader of the live tables."""
        return SqliteRowReader(self.home / "data" / "tables.sqlite3")


class Program:
    """A running part of a chain, in a folder of its own for what it says."""

    def __init__(self, name: str, command: list[str], place: Place) -> None:
        self.name = name
        self.folder = place.home / name
        self._process = start(command, self.folder, place.variables)

    def check(self) -> None:
        """Raise what it has said last if it has ended."""
        if self._process.poll() is not None:
            raise failed(self.name, self.folder)

    def processor_seconds(self) -> float:
        """Return the processor time of it and all that it has started and that runs."""
        total = 0.0
        try:
            mine = psutil.Process(self._process.pid)
            for process in (mine, *mine.children(recursive=True)):
                times = process.cpu_times()
                total += times.user + times.system
        except psutil.NoSuchProcess:
            pass
        return total

    def stop(self) -> None:
        """End it as Ctrl-C does; what does not go is killed, with all that it has started."""
        left = [] if self._process.poll() is not None else psutil.Process(self._process.pid).children(recursive=True)
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue


class Running(NamedTuple):
    """A chain that runs, its live tables whole."""

    place: Place
    programs: list[Program]
    reader: RowReader

    def check(self) -> None:
        """Raise what a program that has ended has said last."""
        for program in self.programs:
            program.check()


@contextmanager
def running(place: Place) -> Iterator[Running]:
    """Run a chain while the block lasts, which begins when the rows of the source are in the live tables."""
    with ExitStack() as stack:
        programs = []
        for name, command in (place.capture(), place.tables()):
            program = Program(name, command, place)
            stack.callback(program.stop)
            programs.append(program)
        reader = place.reader()
        stack.callback(reader.close)
        chain = Running(place, programs, reader)
        wait(lambda: is_right(chain), START_SECONDS, f"the first rows ({place.chain.name})", chain.check)
        yield chain


def is_right(chain: Running) -> bool:
    """Tell whether the live tables are the tables of the source."""
    expected = chain.place.database.rows()
    return all(
        live_rows(chain.reader, table, column, len(expected[table])) == expected[table]
        for table, column in CHANGING.items()
    )


def live_rows(reader: RowReader, table: str, column: str, count: int) -> dict[int, int]:
    """Return what changes of each row of a live table, by id."""
    rows = reader.select(RowQuery(table=table, limit=count + 1))
    return {row.image["id"]: row.image[column] for row in rows if row.image}


def wait(condition: Callable[[], bool], seconds: float, what: str, check: Callable[[], None] = lambda: None) -> None:
    """Wait until a condition holds.

    :raises HeadraceError: When it does not in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        check()
        if time.monotonic() > deadline:
            detail = f"{what} took longer than {seconds:.0f} s"
            raise HeadraceError(detail, "run it again with --keep, and look at what the programs have said")
        time.sleep(LOOK)


def load_average() -> float:
    """Return how many processes wanted a processor, on average of the last minute."""
    return os.getloadavg()[0]
