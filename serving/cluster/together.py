"""A flow in several processes on this machine, under one supervisor, until Ctrl-C or until it has come to its end.

Invariants: when one process dies, however it does, all are started again, and go on where the last epoch was kept; when
the supervisor ends, however that happens, nothing of it is left running.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import typer

from events.clock import system_clock
from serving.cluster import health
from serving.cluster.cluster import Cluster, Member
from serving.cluster.health import ClusterHealth
from serving.supervise.log_file import LogFile, share_of
from serving.supervise.process import Process
from serving.supervise.restarts import FIRST_MILLIS, Restarts, ticks
from serving.supervise.stopping import Stopping, stopping_by_signals

STOP_SECONDS = 5.0
"""Time to stop by themselves; then they are ended. Less than who has started the supervisor leaves to it."""
_KILL_SECONDS = 2.0
_TURN_SECONDS = 0.02
_STDERR = "2"


def run_together(
    flow: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    lock: int,
    *,
    data: Path,
    processes: int,
    log_megabytes: float,
    first_pause: int = FIRST_MILLIS,
) -> int:
    """Run a flow as a cluster; return the exit code. Only the main thread can.

    :arg arguments: Those of `bytewax.run`, but for what makes a cluster of its processes.
    :arg environment: All variables of them.
    :arg lock: An open file that they hold as long as they live.
    :arg data: The data folder.
    :arg log_megabytes: What the log of each process may take on disk.
    :arg first_pause: Milliseconds after which they are started again the first time.
    """
    logs = data / "logs"
    members = [
        Member(
            Process([], environment, [lock]),
            LogFile(logs / f"{flow}-{number}.log", system_clock, share_of(log_megabytes)),
        )
        for number in range(processes)
    ]

    def command(number: int, addresses: str) -> list[str]:
        place = ["-i", str(number), "-a", addresses]
        return ["dataflows.launch", _STDERR, str(os.getpid()), *arguments, *place]

    _say(f"{flow} runs in {processes} processes; what they say is kept in {logs / flow}-N.log")
    with stopping_by_signals() as stopping:
        # What it says is wrong before it ever worked, it would say again; later, what it needs may come back.
        restarts = Restarts(ticks(), explanations=1, first=first_pause)
        cluster = Cluster(members, command, restarts, ticks=ticks, clock=system_clock, say=_say)
        supervisor = _Supervisor(flow, data, cluster)
        try:
            return supervisor.run(stopping)
        finally:
            supervisor.end(stopping)


class _Supervisor:
    def __init__(self, flow: str, data: Path, cluster: Cluster) -> None:
        self._flow = flow
        self._data = data
        self._cluster = cluster
        self._told: ClusterHealth | None = None

    def run(self, stopping: Stopping) -> int:
        """Look after the cluster until it has ended or it is asked to stop."""
        while not stopping.asked:
            self._cluster.turn()
            if self._cluster.code is not None:
                return self._cluster.code
            self._tell_health()
            time.sleep(_TURN_SECONDS)
        return 0

    def end(self, stopping: Stopping) -> None:
        """Stop all processes: at first asked to, then, or when asked again, ended."""
        asked = stopping.asked
        self._cluster.stop()
        self._await(STOP_SECONDS, lambda: stopping.asked > max(asked, 1))
        self._cluster.kill()
        self._await(_KILL_SECONDS, lambda: False)
        self._cluster.close()
        with suppress(OSError):
            health.remove(self._flow, self._data)
        if asked:
            _say(f"{self._flow} stopped")

    def _await(self, seconds: float, hurried: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not self._cluster.await_end() and time.monotonic() < deadline and not hurried():
            time.sleep(_TURN_SECONDS)

    def _tell_health(self) -> None:
        cluster = self._cluster
        now = ClusterHealth(
            self._flow, os.getpid(), cluster.state, cluster.since, cluster.pids, cluster.restarted, cluster.error
        )
        if now != self._told:
            self._told = now
            with suppress(OSError):
                health.write(self._data, now)


def _say(line: str) -> None:
    # Whoever has left does not stop the work.
    with suppress(OSError):
        typer.echo(line, file=sys.stderr)
