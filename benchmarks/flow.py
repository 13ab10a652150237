"""The knowledge flow as a benchmark runs it: in a process of its own, as users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from bytewax.recovery import init_db_dir

from events.clock import system_clock
from stores.vectors.lance_reader import LanceReader

ROOT = Path(__file__).parents[1]
DEADLINE = 1800.0  # seconds


class RunningFlow:
    """Runs the flow over one folder while the block lasts.

    :arg folder: The documents.
    :arg data: The data folder; kept afterwards.
    :arg backend: The embedding backend.
    """

    def __init__(self, folder: Path, data: Path, backend: str = "auto") -> None:
        self._folder = folder
        self._data = data
        self._backend = backend
        self._process: subprocess.Popen[bytes] | None = None
        self.reader = LanceReader(data / "vectors")

    def __enter__(self) -> RunningFlow:
        recovery = self._data / "recovery"
        if not recovery.exists():
            recovery.mkdir(parents=True)
            init_db_dir(recovery, 16)
        variables = {
            "HEADRACE_DATA_DIR": str(self._data),
            "HEADRACE_EMBEDDING__BACKEND": self._backend,
            "HEADRACE_KNOWLEDGE__FOLDERS": json.dumps([{"name": "bench", "path": str(self._folder)}]),
            "HEADRACE_KNOWLEDGE__STREAMS": "[]",
            "HEADRACE_HEARTBEAT_SECONDS": "0.2",
        }
        command = [
            sys.executable,
            "-m",
            "bytewax.run",
            "dataflows.knowledge",
            "-r",
            str(recovery),
            "-s",
            "1",
            "-b",
            "0",
        ]
        with (self._data / "flow.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables}, stdout=log, stderr=log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def wait_until_fresh(self) -> None:
        """Wait until the store is known to hold everything that was in the folder at the moment of the call."""
        since = system_clock()
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError((self._data / "flow.log").read_text(encoding="utf-8")[-2000:])
            # The watcher needs a moment to hear of a change: only a look later than that has seen it.
            if any(mark.caught_up and mark.read_at > since + 500 for mark in self.reader.applied()):
                return
            time.sleep(0.02)
        message = f"the flow was not up to date after {DEADLINE:.0f} s"
        raise TimeoutError(message)
