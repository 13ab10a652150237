"""One command of a live run, kept running as a service manager keeps it: what ends is started again, at once."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil


class Service:
    """One command, kept running until it is ended.

    :arg command: What Python runs.
    """

    def __init__(self, name: str, command: Sequence[str], home: Path, variables: dict[str, str]) -> None:
        self.name = name
        self.output = home / f"{name}.txt"
        self.ended: list[int] = []
        """Exit codes of runs that nobody here has killed."""
        self._command = [sys.executable, *command]
        self._home = home
        self._variables = variables
        self._process = self._start()

    def tree(self) -> list[psutil.Process]:
        """Return the process of the command and all below it; those at the end of the list do the work."""
        try:
            own = psutil.Process(self._process.pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def look_after(self) -> None:
        """Start it again if it has ended."""
        if self._process.poll() is not None:
            self.ended.append(self._process.returncode)
            self._process = self._start()

    def kill(self) -> None:
        """Kill the command alone (-9): what it has started is left to itself."""
        self._process.kill()
        self._process.wait()
        self._process = self._start()

    def kill_worker(self, chance: random.Random) -> bool:
        """Kill one of the processes that do the work (-9); tell whether there was any."""
        workers = self.tree()[1:]
        if not workers:
            return False
        with suppress(psutil.NoSuchProcess):
            chance.choice(workers).kill()
        return True

    def end(self) -> None:
        """End it with all that belongs to it."""
        left = self.tree()
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()
        psutil.wait_procs(left, 20)

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def _start(self) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as out:
            return subprocess.Popen(self._command, cwd=self._home, env=self._variables, stdout=out, stderr=out)
