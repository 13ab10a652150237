"""A system's processes, and its SQLite store seen from outside while they run: when events were there, and all of them.

Whatever a system is written in, the same eyes see its commits, so that nobody's start or farewell counts.
"""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from events.errors import HeadraceError

ROOT = Path(__file__).resolve().parents[1]
LOOK = 0.005
"""Seconds between two looks at a store that is being filled."""
RUN_SECONDS = 1_800.0


class Run(msgspec.Struct, frozen=True):
    """How a system took in a stream.

    :arg start: Seconds until the first commit with events was there.
    :arg seconds: From then until the last commit.
    :arg processor: Seconds of processor time from beginning to end; None where that is not known.
    """

    start: float
    seconds: float
    processor: float | None


def watched(name: str, commands: Sequence[list[str]], database: Path, has_begun: str, variables: dict[str, str]) -> Run:
    """Run processes to their end, and watch their store from outside meanwhile.

    :arg name: What they are, for people.
    :arg database: Their store; they run in its folder.
    :arg has_begun: SQL that returns a row once an event of this run is in the store.
    :arg variables: Variables of the processes, beside those of this one.
    :raises HeadraceError: With the last line that they said, when one of them fails.
    """
    began = time.monotonic()
    processes = [start(command, database.parent, variables) for command in commands]
    commits = Commits(database, has_begun)
    processor = 0.0
    running = list(processes)
    try:
        while running:
            if time.monotonic() - began > RUN_SECONDS:
                detail = f"{name} took longer than {RUN_SECONDS:.0f} s"
                raise HeadraceError(detail, "measure with fewer --events")
            time.sleep(LOOK)
            commits.look()
            for process in list(running):
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    process.returncode = os.waitstatus_to_exitcode(status)
                    processor += usage.ru_utime + usage.ru_stime
                    running.remove(process)
        commits.look()
    finally:
        commits.close()
        for process in running:
            process.kill()
            process.wait()
    if any(process.returncode for process in processes) or math.isnan(commits.first):
        raise failed(name, database.parent)
    return Run(commits.first - began, commits.last - commits.first, processor)


class Commits:
    """When a store was committed to: with the first events of a run, and for the last time.

    :arg has_begun: SQL that returns a row once an event of the run is there.
    """

    def __init__(self, path: Path, has_begun: str) -> None:
        self._path = path
        self._has_begun = has_begun
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
            self._begun = self._begun or self._connection.execute(self._has_begun).fetchone() is not None
        except sqlite3.OperationalError:
            return  # there is no file yet, or no table
        if self._begun:
            self._version, self.last = version, now
            self.first = now if math.isnan(self.first) else self.first

    def close(self) -> None:
        """Let go of the store."""
        if self._connection is not None:
            self._connection.close()


def failed(name: str, home: Path) -> HeadraceError:
    """Return the error that says of a process what it said last."""
    lines = [line for line in (home / "output.txt").read_text(encoding="utf-8", errors="replace").split("\n") if line]
    detail = f"{name} failed: {lines[-1] if lines else 'it said nothing'}"
    return HeadraceError(detail, f"all that it said is in {home / 'output.txt'}")


def start(command: list[str], home: Path, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a process in the folder `home`; what it says goes into a file there."""
    # Neither the reader's own settings nor a headrace.toml where this was started have a say.
    ambient = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    environ = {**ambient, "PYTHONPATH": str(ROOT), **variables}
    home.mkdir(parents=True, exist_ok=True)
    with (home / "output.txt").open("ab") as output:
        return subprocess.Popen(command, cwd=home, env=environ, stdout=output, stderr=output)
