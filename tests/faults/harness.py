"""The fault harness: any flow, killed at seeded random moments and resumed, must end as if nothing had happened.

A flow plugs in with its module name, its settings as variables, and a function that reads its content from the
store. The harness runs it as users do, as a process of its own with recovery, and looks only at the store.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bytewax.recovery import init_db_dir

ROOT = Path(__file__).parents[2]
RUN_SECONDS = 240
KILLS = 20 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 6
"""How often a flow is killed: `just test-long` has the time for all of them."""


@dataclass(frozen=True)
class FlowUnderTest:
    """One flow over one recorded input.

    :arg module: Such as `dataflows.knowledge`.
    :arg variables: Its settings; the data folder is added by the harness.
    :arg content: Reads from a data folder all that the flow has stored, in a form that can be compared.
    :arg processes: How many processes the cluster has; a kill hits one of them, and the rest go down with it.
    """

    module: str
    content: Callable[[Path], Any]
    variables: dict[str, str] = field(default_factory=dict)
    processes: int = 1

    def run(self, data: Path, *, recovery: bool = True) -> Any:
        """Run to the end without harm; return the content."""
        cluster = self._start(data, recovery=recovery)
        _finish(cluster)
        return self.content(data)

    def run_killed(self, data: Path, moments: list[float]) -> tuple[Any, int]:
        """Kill the flow (-9) once at each moment, in seconds after its first commit of that run, then let it end.

        Returns the content, and how many kills met a living flow: one that has ended before cannot be killed.
        """
        chance = random.Random(len(moments))
        kills = 0
        for moment in moments:
            cluster = self._start(data, recovery=True)
            if _wait_for_work(cluster, data, moment):
                os.kill(chance.choice(cluster).pid, signal.SIGKILL)
                kills += 1
            _reap(cluster)
        return self.run(data), kills

    def _start(self, data: Path, *, recovery: bool) -> list[subprocess.Popen[bytes]]:
        data.mkdir(parents=True, exist_ok=True)
        arguments: list[str] = []
        if recovery:
            store = data / "recovery"
            if not store.exists():
                store.mkdir()
                init_db_dir(store, 4)
            arguments = ["-r", str(store), "-s", "1", "-b", "0"]
        variables = {**os.environ, **self.variables, "HEADRACE_DATA_DIR": str(data)}
        started = []
        addresses = ";".join(f"127.0.0.1:{port}" for port in _free_ports(self.processes))
        for number in range(self.processes):
            cluster = ["-i", str(number), "-a", addresses] if self.processes > 1 else []
            command = [sys.executable, "-m", "bytewax.run", self.module, *arguments, *cluster]
            log = (data / f"flow-{number}.log").open("ab")
            started.append(subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log))
            log.close()
        return started


def seeded_moments(seed: int, count: int, longest: float) -> list[float]:
    """Return `count` moments in seconds, the same for the same seed."""
    chance = random.Random(seed)
    return [chance.uniform(0, longest) for _ in range(count)]


def _free_ports(count: int) -> list[int]:
    import socket

    sockets = [socket.socket() for _ in range(count)]
    for number in sockets:
        number.bind(("127.0.0.1", 0))
    ports = [int(number.getsockname()[1]) for number in sockets]
    for number in sockets:
        number.close()
    return ports


def _wait_for_work(cluster: list[subprocess.Popen[bytes]], data: Path, moment: float) -> bool:
    """Wait until the store exists and then for `moment`; tell whether all processes are alive then."""
    deadline = time.monotonic() + RUN_SECONDS
    began: float | None = None
    before = _trace(data)
    while time.monotonic() < deadline:
        if any(process.poll() is not None for process in cluster):
            return False
        if began is None and _trace(data) != before:
            began = time.monotonic()
        if began is not None and time.monotonic() - began >= moment:
            return True
        time.sleep(0.005)
    message = f"the flow did nothing for {RUN_SECONDS} s"
    raise AssertionError(message)


def _trace(data: Path) -> tuple[int, int]:
    """Files below the store, and when one of them was last written to: one or the other changes with a commit."""
    files = [
        path
        for folder, _, names in os.walk(data)
        if "recovery" not in folder
        for path in (Path(folder, name) for name in names)
        if path.suffix != ".log" and not path.name.endswith("-shm")
    ]
    return len(files), max((_written(path) for path in files), default=0)


def _written(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # removed by the flow meanwhile
        return 0


def _finish(cluster: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + RUN_SECONDS
    for process in cluster:
        code = process.wait(max(0.1, deadline - time.monotonic()))
        assert code == 0, f"the flow ended with {code}"


def _reap(cluster: list[subprocess.Popen[bytes]]) -> None:
    for process in cluster:
        if process.poll() is None:
            process.kill()
        process.wait()
