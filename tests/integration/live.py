"""A flow run live by the command line, as a user does it, in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

SECONDS = 60.0


class Home:
    """A working directory with a folder of documents, and the command line run in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.documents = path / "docs"
        self.documents.mkdir(exist_ok=True)

    def headrace(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        command = [sys.executable, "-m", "serving.cli", *arguments]
        return subprocess.run(
            command,
            cwd=self.path,
            env=_variables(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def found(self, question: str, *arguments: str) -> list[dict[str, object]]:
        """Search; return the items."""
        answer = self.headrace("search", question, "--json", *arguments)
        return [json.loads(line) for line in answer.stdout.splitlines()]

    def documents_stored(self) -> set[str]:
        """Return the names of all documents in the store."""
        rows = map(json.loads, self.headrace("documents", "--json").stdout.splitlines())
        return {f"{row['source']}/{row['uri']}" for row in rows}


class Running:
    """`headrace run` with these arguments while the block lasts; by default over the folder `docs`."""

    def __init__(self, home: Home, *arguments: str) -> None:
        self._home = home
        self._arguments = arguments or ("knowledge", "--folder", "docs")

    def __enter__(self) -> Running:
        command = [sys.executable, "-m", "serving.cli", "run", *self._arguments]
        with (self._home.path / "flow.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._home.path, env=_variables(), stdout=log, stderr=log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.stop() == 0

    def stop(self, number: int = signal.SIGINT) -> int:
        """Interrupt it as Ctrl-C does; return its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(SECONDS)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait on a condition with a deadline."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {SECONDS:.0f} s for: {what}"
        time.sleep(0.05)


def _variables() -> dict[str, str]:
    return {**os.environ, "HEADRACE_EMBEDDING__BACKEND": "hashing", "NO_COLOR": "1", "COLUMNS": "200"}
