"""A flow in one process: it ends when that ends, with its exit code and what it has said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

import typer

from events.errors import EXPLAINED, PASSING
from serving.supervise.stopping import SIGNALS


def run_alone(flow: str, arguments: Sequence[str], environment: Mapping[str, str], lock: int) -> int:
    """Run a flow until it ends; return the exit code. Ctrl-C and its like end it without noise.

    :arg arguments: Those of `bytewax.run`.
    :arg environment: All variables of it.
    :arg lock: An open file that it holds as long as it lives.
    """
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    with tempfile.TemporaryFile() as noise:
        spoken = os.dup(sys.stderr.fileno())
        command = [sys.executable, "-m", "dataflows.launch", str(spoken), str(os.getpid()), *arguments]
        process = subprocess.Popen(  # noqa: S603  # ours
            command, env=environment, start_new_session=True, pass_fds=[lock, spoken], stderr=noise
        )
        os.close(spoken)
        code = _awaited(flow, process)
        if code == EXPLAINED:
            return 1
        if code and code != PASSING:
            noise.seek(0)
            sys.stderr.write(noise.read().decode(errors="replace"))
        return code


def _awaited(flow: str, process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait()
    except KeyboardInterrupt:
        # State is safe at every moment, so that the engine needs no farewell: it would only print a traceback.
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        typer.echo(f"{flow} stopped", err=True)
        return 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
