"""Commands that start flows: live, or over a recorded fixture. Each flow is its own process of Bytewax."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from events.errors import EXPLAINED, HeadraceError, SettingsError
from serving.runs import lock_path, missing, streams_of
from stores.sections import checked_name
from stores.settings import FLOWS, Settings, load

RECOVERY_PARTITIONS = 16
CONFIG = "headrace.toml"
LOCK_SECONDS = 1.0

Flow = Annotated[str, typer.Argument(help=f"Which flow: {', '.join(FLOWS)}.")]
Workers = Annotated[int, typer.Option("--workers", "-w", min=1, max=64, help="Worker threads.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(run)
    app.command()(replay)


def run(
    flow: Flow,
    folder: Annotated[
        list[Path] | None, typer.Option("--folder", "-f", help="Folder of documents; may be given several times.")
    ] = None,
    workers: Workers = 1,
    recovery: Annotated[bool, typer.Option(help="Keep the flow's state, so that a restart resumes it.")] = True,
) -> None:
    """Run a flow until Ctrl-C: it reads what is there and then follows every change.

    Examples: headrace run knowledge --folder ./docs --folder ./policies; headrace run tables; headrace run feedback
    """
    _known(flow)
    if folder and flow != "knowledge":
        detail = f"the flow {flow!r} reads no folders"
        raise HeadraceError(detail, "leave --folder out; its streams stand in headrace.toml")
    variables = _folder_variables(folder or [])
    _check_work(flow)
    arguments = ["-w", str(workers)]
    if recovery:
        arguments += recovery_arguments(load().data_dir / "recovery" / flow)
    said = (
        ""
        if flow == "knowledge"
        else f"following {', '.join(streams_of(flow, load()))} into {load().data_dir}; Ctrl-C stops it"
    )
    raise typer.Exit(start(flow, variables, arguments, said))


def replay(
    flow: Flow,
    fixture: Annotated[Path, typer.Argument(help="Folder of recorded streams, a folder each.")],
    workers: Workers = 1,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the result goes; default: a new temporary folder.")
    ] = None,
) -> None:
    """Run a flow over recorded streams to their end, as the tests do, and leave the result to be looked at.

    A headrace.toml in the folder says how the streams are to be read, unless HEADRACE_CONFIG names another file.

    Example: headrace replay tables fixtures/streams
    """
    if not fixture.is_dir():
        detail = f"there is no folder {str(fixture)!r}"
        raise HeadraceError(detail, "name a folder that holds a folder per stream")
    target = data_dir or Path(tempfile.mkdtemp(prefix="headrace-replay-"))
    variables = {
        "HEADRACE_MODE": "replay",
        "HEADRACE_LOG__DIR": str(fixture),
        "HEADRACE_DATA_DIR": str(target),
        "HEADRACE_KNOWLEDGE__FOLDERS": "[]",
    }
    shown = f"HEADRACE_DATA_DIR={shlex.quote(str(target))} HEADRACE_LOG__DIR={shlex.quote(str(fixture))}"
    beside = fixture / CONFIG
    if beside.is_file():
        variables["HEADRACE_CONFIG"] = os.environ.get("HEADRACE_CONFIG", str(beside))
    if config := variables.get("HEADRACE_CONFIG", os.environ.get("HEADRACE_CONFIG")):
        shown += f" HEADRACE_CONFIG={shlex.quote(str(Path(config).absolute()))}"
    os.environ.update(variables)
    _check_work(flow)
    _check_recorded(flow, fixture)
    code = start(flow, variables, ["-w", str(workers)])
    if code == 0:
        typer.echo(f"{shown} headrace status   # shows what came of it")
    raise typer.Exit(code)


def recovery_arguments(folder: Path) -> list[str]:
    """Return Bytewax's arguments for keeping state in `folder`, which is made if it is not there."""
    if not any(folder.glob("*.sqlite3")):
        from bytewax.recovery import init_db_dir

        folder.mkdir(parents=True, exist_ok=True)
        init_db_dir(folder, RECOVERY_PARTITIONS)
    return ["-r", str(folder), "-b", "0"]


def start(flow: str, variables: dict[str, str], arguments: list[str], said: str = "") -> int:
    """Run a flow in a process of its own until it ends; return its exit code. Ctrl-C ends it without noise.

    :arg said: Told before it starts, once nothing speaks against that.
    """
    settings = load()  # a wrong setting is refused here, before a process is started
    _check_store(flow, settings)
    if said:
        typer.echo(said, err=True)
    environment = {**os.environ, **variables}
    module = f"dataflows.{_known(flow)}"
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, _interrupt)
    with _only_run(flow, settings.data_dir) as lock, tempfile.TemporaryFile() as noise:
        spoken = os.dup(sys.stderr.fileno())
        parent = str(os.getpid())
        command = [sys.executable, "-m", "dataflows.launch", str(spoken), parent, module, "-s", "1", *arguments]
        # The flow holds the lock as well: should this process be killed, no other one starts beside it.
        process = subprocess.Popen(  # noqa: S603  # ours
            command, env=environment, start_new_session=True, pass_fds=[lock, spoken], stderr=noise
        )
        os.close(spoken)
        code = _awaited(flow, process)
        if code == EXPLAINED:
            return 1
        if code:
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


@contextmanager
def _only_run(flow: str, data: Path) -> Iterator[int]:
    """Make sure that the flow runs once over these data: a second one would spoil the recovery folder of the first.

    :raises HeadraceError: When it runs already.
    """
    import fcntl

    data.mkdir(parents=True, exist_ok=True)
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


def _check_store(flow: str, settings: Settings) -> None:
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


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _check_work(flow: str) -> None:
    if sections := missing(flow, load()):
        detail = f"there is nothing to do for the flow {flow!r}"
        raise HeadraceError(detail, f"headrace.toml needs {' and '.join(sections)}; see the README")


def _check_recorded(flow: str, fixture: Path) -> None:
    streams = streams_of(flow, load())
    if not any((fixture / stream).is_dir() for stream in streams):
        detail = f"{str(fixture)!r} holds none of the streams of the flow {flow!r}: {', '.join(streams)}"
        raise HeadraceError(detail, "name the folder that holds a folder per stream")


def _known(flow: str) -> str:
    if flow not in FLOWS:
        detail = f"there is no flow {flow!r}"
        raise HeadraceError(detail, f"the flows are: {', '.join(FLOWS)}")
    return flow


def _folder_variables(folders: list[Path]) -> dict[str, str]:
    if not folders:
        load()
        return {}
    named: dict[str, Any] = {}
    for folder in folders:
        name = re.sub(r"[^a-z0-9_.-]+", "-", folder.resolve().name.lower()).strip("-.") or "folder"
        try:
            checked_name(name)
        except ValueError as error:
            raise SettingsError(str(error), "give the folder a name in headrace.toml") from None
        if name in named:
            detail = f"two folders are named {name!r}"
            raise SettingsError(detail, "give each its own name in headrace.toml, [[knowledge.folders]]")
        named[name] = {"name": name, "path": str(folder.resolve())}
    variables = {"HEADRACE_KNOWLEDGE__FOLDERS": json.dumps(list(named.values()))}
    os.environ.update(variables)
    load()
    return variables
