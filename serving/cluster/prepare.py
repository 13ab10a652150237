"""What there is to be done before a flow is started, in however many processes: lock, store, state, port."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from events.errors import HeadraceError
from serving.cluster.parts import check_parts
from serving.runs import lock_path, make_folder
from stores.settings import FLOWS, Settings

RECOVERY_PARTITIONS = 64
"""Files of a flow's state, fixed when they are made: so many workers can share the work of writing and of resuming."""
LOCK_SECONDS = 1.0


def recovery_arguments(folder: Path, variables: Mapping[str, str] = os.environ) -> list[str]:
    """Return Bytewax's arguments for keeping state in `folder`, which is made if it is not there.

    Of a cluster over several machines, the first process keeps the state of all; the folders of the others are empty.

    :raises HeadraceError: When it cannot be made, and nothing of it is left then, or is there in part.
    """
    arguments = ["-r", str(folder), "-b", "0"]
    is_keeper = process_number(variables) in {None, 0}
    if any(folder.glob("*.sqlite3")):
        if is_keeper:
            check_parts(folder)
        return arguments
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if is_keeper:
            _make_state(folder)
    except OSError as error:
        raise _unmade(folder, os.strerror(error.errno or 0)) from None
    return arguments


def _make_state(folder: Path) -> None:
    """Make all files beside and put them there in one step: half of them would be taken for all.

    By a process of its own, as the engine answers a full disk with a panic and pages about it.
    """
    beside = folder.with_name(f"{folder.name}.made")
    shutil.rmtree(beside, ignore_errors=True)  # of one that was killed
    try:
        beside.mkdir()
        command = [sys.executable, "-m", "bytewax.recovery", str(beside), str(RECOVERY_PARTITIONS)]
        made = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603  # ours
        if made.returncode:
            full = "disk is full" in made.stderr or "No space" in made.stderr
            said = "the disk is full" if full else next(iter(made.stderr.strip().splitlines()[-1:]), "no reason given")
            raise _unmade(folder, said)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _unmade(folder: Path, reason: str) -> HeadraceError:
    hint = "make room and let this user write there, or correct HEADRACE_DATA_DIR, or data_dir in headrace.toml"
    return HeadraceError(f"the flow's state cannot be made in {folder}: {reason}", hint)


def metrics_port_of(flow: str, settings: Settings) -> int:
    """Return the port that the settings give a flow's metrics, one after the other; 0 if they are not wanted."""
    first = settings.cluster.metrics_port
    return first + FLOWS.index(flow) if first and flow in FLOWS else 0


def process_number(variables: Mapping[str, str]) -> int | None:
    """Return which process of a cluster over machines Bytewax's own variables say that this one is; None if of none.

    :raises HeadraceError: When they do not say a number.
    """
    pod, of = variables.get("BYTEWAX_POD_NAME"), variables.get("BYTEWAX_STATEFULSET_NAME")
    told = variables.get("BYTEWAX_PROCESS_ID") or (pod.removeprefix(f"{of}-") if pod and of else None)
    if told is None:
        return None
    if not told.isdecimal():
        detail = f"the number of this process in its cluster is {told!r}"
        raise HeadraceError(detail, "set BYTEWAX_PROCESS_ID to 0 for the first one, 1 for the next, and so on")
    return int(told)


@contextmanager
def only_run(flow: str, data: Path) -> Iterator[int]:
    """Make sure that the flow runs once over these data: a second one would spoil the recovery folder of the first.

    Gives the open lock, which the flow's processes hold as well: should this process be killed, no other one starts
    beside them.

    :raises HeadraceError: When it runs already.
    """
    import fcntl

    make_folder(data)
    lock = os.open(lock_path(flow, data), os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Whoever looks whether the flow runs has the lock for a moment, and so has one that is about to end.
                if time.monotonic() > deadline:
                    detail = f"the flow {flow!r} runs already over {data}"
                    hint = "stop it first, or name another data folder by HEADRACE_DATA_DIR"
                    raise HeadraceError(detail, hint) from None
                time.sleep(0.02)
        yield lock
    finally:
        os.close(lock)


def check_store(flow: str, settings: Settings) -> None:
    """Open the flow's store once, so that what is wrong with it is said before the engine starts.

    :raises StoreError: When it has a writer already, or cannot be used.
    """
    from events.clock import system_clock

    if flow == "tables":
        from stores.rows.choose import open_row_writer

        open_row_writer(settings, system_clock).close()
    elif flow == "profiles":
        from stores.profiles.choose import open_profile_writer

        open_profile_writer(settings, system_clock).close()
    elif flow == "feedback":
        from stores.kpis.writer import KpiWriter

        KpiWriter(settings.kpis_path, settings.feedback, system_clock).close()
    elif flow == "lake":
        from operators.feedback.configure import objectives
        from stores.lake.choose import open_lake

        open_lake(settings, system_clock, objectives(settings.feedback).of).close()
