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
from serving.cluster.health import ClusterHealth, State
from serving.cluster.pulse import STUCK_MILLIS, last_epoch
from serving.supervise.log_file import LogFile, share_of
from serving.supervise.process import Process
from serving.supervise.restarts import FIRST_MILLIS, Restarts, ticks
from serving.supervise.stopping import Stopping, stopping_by_signals

STOP_SECONDS = 5.0
"""Time to stop by themselves; then they are ended. Less than who has started the supervisor leaves to it."""
_KILL_SECONDS = 2.0
_TURN_SECONDS = 0.02
_LOOK_MILLIS = 1_000
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
    recovery: Path | None = None,
    first_pause: int = FIRST_MILLIS,
) -> int:
    """Run a flow as a cluster; return the exit code. Only the main thread can.

    :arg arguments: Those of `bytewax.run`, but for what makes a cluster of its processes.
    :arg environment: All variables of them.
    :arg lock: An open file that they hold as long as they live.
    :arg data: The data folder.
    :arg log_megabytes: What the log of each process may take on disk.
    :arg recovery: Where they keep their state; None if they do not, and then nobody notices one that hangs.
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
        supervisor = _Supervisor(flow, data, cluster, recovery)
        try:
            return supervisor.run(stopping)
        finally:
            supervisor.end(stopping)


class _Supervisor:
    def __init__(self, flow: str, data: Path, cluster: Cluster, recovery: Path | None) -> None:
        self._flow = flow
        self._data = data
        self._cluster = cluster
        self._recovery = recovery
        self._told: ClusterHealth | None = None
        self._stuck_since: int | None = None
        self._look_at = 0

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
        state, since = self._state()
        now = ClusterHealth(self._flow, os.getpid(), state, since, cluster.pids, cluster.restarted, cluster.error)
        if now != self._told:
            self._told = now
            with suppress(OSError):
                health.write(self._data, now)

    def _state(self) -> tuple[State, int]:
        cluster = self._cluster
        if cluster.state != "running":
            self._stuck_since = None
            return cluster.state, cluster.since
        if ticks() >= self._look_at:
            self._look_at = ticks() + _LOOK_MILLIS
            self._look_for_epochs()
        return ("running", cluster.since) if self._stuck_since is None else ("stuck", self._stuck_since)

    def _look_for_epochs(self) -> None:
        last = last_epoch(self._recovery, self._cluster.since)
        was = self._stuck_since
        self._stuck_since = last if last is not None and system_clock() - last >= STUCK_MILLIS else None
        if was is None and self._stuck_since is not None:
            seconds = STUCK_MILLIS // 1000
            _say(f"WARNING {self._flow}: its processes run, but have finished nothing for {seconds} s")


def _say(line: str) -> None:
    # Whoever has left does not stop the work.
    with suppress(OSError):
        typer.echo(line, file=sys.stderr)
