"""A cluster of the tables flow, run by the command line over a log that grows meanwhile, and what it is to come to."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from events.log import LogRecord
from fixtures.generator import events, final
from fixtures.generator_source import Scale
from stores.log.files import FileLog
from stores.rows.choose import open_row_reader
from tests.dataflows.tables_content import CONFIG, content, rows_of, settings_of
from tests.integration.live import SECONDS, wait_until

ROOT = Path(__file__).parents[2]
STREAM = "operations"

# The command line as it is, but for the pauses before restarts, which double, and for how long nothing may be finished
# until that is noticed: a test has no minutes to spare.
HASTY = """
import functools, sys
from serving import cli
from serving.cluster import together
together.STUCK_MILLIS = 3_000
together.run_together = functools.partial(together.run_together, first_pause=20)
cli.main()
"""


class Place:
    """A data folder, a log that is appended to part by part, and the flow over it.

    :arg parts: In how many parts the stream comes.
    """

    def __init__(self, home: Path, scale: Scale, parts: int) -> None:
        self.home = home
        self.data = home / "data"
        self.log = FileLog(self.data / "log", partitions=4)
        self.more: dict[str, str] = {}
        self._reader = open_row_reader(settings_of(self.data))
        self._scale = scale
        records = list(events(scale))
        size = -(-len(records) // parts)
        self._parts = iter([records[begin : begin + size] for begin in range(0, len(records), size)])

    @property
    def environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "BYTEWAX_"))}
        return {
            **plain,
            "HEADRACE_CONFIG": str(CONFIG),
            "HEADRACE_DATA_DIR": str(self.data),
            "HEADRACE_TABLES__BATCH_SIZE": "8",
            "HEADRACE_EMBEDDING__BACKEND": "hashing",
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
            "COLUMNS": "200",
            **self.more,
        }

    def append_part(self) -> list[LogRecord]:
        """Append the next part of the stream; return what it was."""
        part = next(self._parts, [])
        self.log.append(STREAM, part)
        return part

    @contextmanager
    def running(self, *arguments: str, command: str = "run") -> Iterator[Running]:
        """Run `headrace run tables` while the block lasts; nothing is left running then."""
        running = Running(self, [command, *(["tables"] if command == "run" else []), *arguments])
        try:
            yield running
        finally:
            running.process.kill()
            running.process.wait(SECONDS)
            wait_until(lambda: not self.processes(), "nothing to be left over")

    def processes(self) -> list[psutil.Process]:
        """Return everything that runs over this data folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HEADRACE_DATA_DIR") == str(self.data) and process.status() != "zombie":
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def engines(self) -> list[psutil.Process]:
        """Return the processes of Bytewax, or nothing as long as not all of them run."""
        pids = self.health().get("processes", [])
        try:
            return [psutil.Process(pid) for pid in pids] if all(pids) else []
        except psutil.NoSuchProcess:
            return []

    def health(self) -> dict[str, Any]:
        """Return what the supervisor says to others; nothing as long as there is none."""
        try:
            found: dict[str, Any] = json.loads((self.data / "tables.cluster.json").read_bytes())
        except FileNotFoundError:
            return {}
        return found

    def applied(self) -> dict[str, int]:
        """Return how far the store is, by partition."""
        marks = self._reader.applied()
        return {f"{STREAM}/{mark.partition}": mark.offset for mark in marks if mark.source == STREAM}

    def is_taken_in(self) -> bool:
        """Tell whether the store has taken in the whole log."""
        ends = {f"{STREAM}/{part}": self.log.bounds(STREAM, part)[1] for part in self.log.partitions(STREAM)}
        return self.applied() == ends

    def assert_equals_source(self) -> None:
        """Compare each live table with the source's own table, as the generator tells it without any event."""
        tables: dict[str, dict[str, Any]] = {}
        for table, key, row in final(self._scale):
            tables.setdefault(table, {})[key] = row
        found = content(self.data)
        for table, rows in tables.items():
            assert rows_of(found, table) == rows, table


class Running:
    """The command while it runs."""

    def __init__(self, place: Place, arguments: list[str]) -> None:
        self._place = place
        self.output = place.home / "out.txt"
        with self.output.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", HASTY, *arguments],
                cwd=place.home,
                env=place.environment,
                stdout=file,
                stderr=file,
            )

    def said(self) -> str:
        return self.output.read_text()

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait on a condition, as long as the command runs."""

        def fulfilled() -> bool:
            assert self.process.poll() is None, f"it has ended before {what}: {self.said()}"
            return bool(condition())

        wait_until(fulfilled, f"{what}; see {self.output}")

    def kill_one(self, chance: random.Random) -> None:
        """Kill (-9) one of the flow's processes as soon as there are some."""
        self.wait_until(self._place.engines, "all processes")
        chance.choice(self._place.engines()).kill()

    def stop(self, number: int = signal.SIGINT) -> int:
        """Interrupt it; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(12)
