"""Commands that start flows: live, or over a recorded fixture. Each flow is its own process of Bytewax."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from events.errors import HeadraceError, SettingsError
from stores.settings import FLOWS, checked_name, load

RECOVERY_PARTITIONS = 16
CONFIG = "headrace.toml"

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

    Examples: headrace run knowledge --folder ./docs --folder ./policies; headrace run tables
    """
    if folder and flow != "knowledge":
        detail = f"the flow {flow!r} reads no folders"
        raise HeadraceError(detail, "leave --folder out; its streams stand in headrace.toml")
    _check_streams(flow)
    variables = _folder_variables(folder or [])
    arguments = ["-w", str(workers)]
    if recovery:
        arguments += recovery_arguments(load().data_dir / "recovery" / _known(flow))
    raise typer.Exit(start(flow, variables, arguments))


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
    shown = f"HEADRACE_DATA_DIR={target}"
    beside = fixture / CONFIG
    if beside.is_file() and "HEADRACE_CONFIG" not in os.environ:
        variables["HEADRACE_CONFIG"] = str(beside)
        shown += f" HEADRACE_CONFIG={beside}"
    os.environ.update(variables)
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


def start(flow: str, variables: dict[str, str], arguments: list[str]) -> int:
    """Run a flow in a process of its own until it ends; return its exit code. Ctrl-C ends it without noise."""
    load()  # a wrong setting is refused here, before a process is started
    environment = {**os.environ, **variables}
    command = [sys.executable, "-m", "bytewax.run", f"dataflows.{_known(flow)}", "-s", "1", *arguments]
    for sign in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sign, _interrupt)
    process = subprocess.Popen(command, env=environment, start_new_session=True)  # noqa: S603  # our own flow
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


def _check_streams(flow: str) -> None:
    tables = load().tables
    if flow == "tables" and not (tables.streams and tables.live):
        detail = "there is nothing to do for the flow 'tables'"
        raise HeadraceError(detail, "headrace.toml needs [[tables.streams]] and [[tables.live]]; see the README")


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
