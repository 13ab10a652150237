"""A flow as `headrace run` starts it: what stops it is said in one line, and it ends with who has started it.

    python -m dataflows.launch DESCRIPTOR PARENT ARGUMENTS…

DESCRIPTOR is an open file to speak to; the engine, which cannot be told where to print its panics, keeps the standard
error, which may be the same. PARENT is the process that has started this one. ARGUMENTS are those of `bytewax.run`. A
flow that is started by `bytewax.run` itself is the same flow.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from dataflows.unfailing import watched
from events.errors import EXPLAINED, PASSING, HeadraceError, UnreachableError

_PR_SET_PDEATHSIG = 1
_TELLING = threading.Lock()


def main() -> None:
    """Run the flow to its end."""
    descriptor, parent, *arguments = sys.argv[1:]
    sys.stderr = os.fdopen(int(descriptor), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    _leave_stopping_to_parent()
    _end_with_parent(int(parent))
    _keep_to_loopback()
    sys.argv = ["bytewax.run", *arguments]
    errors = _hear_errors()
    try:
        runpy.run_module("bytewax.run", run_name="__main__", alter_sys=True)
    except BaseException as error:
        _end_if_told(error)
        if errors and not isinstance(error, Exception):  # a panic, which says nothing of what came before
            raise error from errors[0]
        raise


def _hear_errors() -> list[Exception]:
    """Have the engine run flows whose errors end the process with a line, or are kept in what is returned."""
    from bytewax import _bytewax as engine

    heard: list[Exception] = []
    run: Callable[..., None] = engine.cli_main

    def hear(error: Exception) -> None:
        _end_if_told(error)
        heard.append(error)

    def run_watched(flow: Any, **options: Any) -> None:
        run(watched(flow, hear), **options)

    engine.cli_main = run_watched
    return heard


def _end_if_told(error: BaseException) -> None:
    """End this process at once if there is a remedy, and say it: its threads may hold on for ever.

    A store is whole at every moment.
    """
    told = _told(error)
    if told is None:
        return
    with _TELLING:  # whoever comes second ends with the first
        sys.stderr.write(f"headrace: {' '.join(str(told).split())}\n")
        sys.stderr.flush()
        os._exit(PASSING if isinstance(told, UnreachableError) else EXPLAINED)


def _told(error: BaseException | None) -> HeadraceError | None:
    """Return the error with a remedy that is behind what the engine has made of it."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        found = waiting.pop()
        if isinstance(found, HeadraceError):
            return found
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            waiting += [found.__context__, found.__cause__]
    return None


def _keep_to_loopback() -> None:
    """Leave the engine's own endpoint off: it listens to the whole network, and asks nobody who they are."""
    if os.environ.pop("BYTEWAX_DATAFLOW_API_ENABLED", None) is not None:
        sys.stderr.write(
            "WARNING Bytewax's own endpoint stays off, as it listens to the whole network: see `--metrics-port`\n"
        )


def _leave_stopping_to_parent() -> None:
    """Ignore SIGINT: one process of a cluster that is interrupted alone hangs, and the others with it.

    Who has started them ends them all at once, by SIGTERM, which none of them outlives.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_with_parent(parent: int) -> None:
    """Ask the system to end this process when its parent goes, however that goes; only Linux can."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(0)  # it has gone before it could be asked for


if __name__ == "__main__":
    main()
