"""A flow in one process: it ends when that ends, with its exit code and what it has said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import typer

from events.errors import EXPLAINED, PASSING
from serving.cluster.together import STOP_SECONDS
from serving.supervise.stopping import Stopping, stopping_by_signals

_KILL_SECONDS = 2.0
_TURN_SECONDS = 0.02
_BY_SIGNAL = 128
"""Added to a signal's number, as shells do, to make an exit code of it."""


def run_alone(flow: str, arguments: Sequence[str], environment: Mapping[str, str], lock: int) -> int:
    """Run a flow until it ends; return the exit code. Ctrl-C and its like end it without noise.

    Only the main thread can.

    :arg arguments: Those of `bytewax.run`.
    :arg environment: All variables of it.
    :arg lock: An open file that it holds as long as it lives.
    """
    with stopping_by_signals() as stopping, tempfile.TemporaryFile() as noise:
        spoken = os.dup(sys.stderr.fileno())
        command = [sys.executable, "-m", "dataflows.launch", str(spoken), str(os.getpid()), *arguments]
        process = subprocess.Popen(  # noqa: S603  # ours
            command, env=environment, start_new_session=True, pass_fds=[lock, spoken], stderr=noise
        )
        os.close(spoken)
        code = _awaited(process, stopping)
        if code is None:
            typer.echo(f"{flow} stopped", err=True)
            return 0
        if code == EXPLAINED:
            return 1
        if code and code != PASSING:
            noise.seek(0)
            sys.stderr.write(noise.read().decode(errors="replace"))
        if code < 0:
            why = " (out of memory?)" if -code == signal.SIGKILL else ""
            typer.echo(f"{flow} was killed by signal {-code}{why}; start it again: it goes on where it was", err=True)
            return _BY_SIGNAL - code
        return code


def _awaited(process: subprocess.Popen[bytes], stopping: Stopping) -> int | None:
    """Return the exit code; None if it was stopped: at first asked to, then, or when asked again, ended."""
    while process.poll() is None and not stopping.asked:
        time.sleep(_TURN_SECONDS)
    if not stopping.asked:
        return process.returncode
    asked = stopping.asked
    # State is safe at every moment, so that the engine needs no farewell: it would only print a traceback.
    _signal(process, signal.SIGTERM)
    _wait(process, STOP_SECONDS, lambda: stopping.asked > asked)
    _signal(process, signal.SIGKILL)
    _wait(process, _KILL_SECONDS, lambda: False)
    return None


def _wait(process: subprocess.Popen[bytes], seconds: float, hurried: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline and not hurried():
        time.sleep(_TURN_SECONDS)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
