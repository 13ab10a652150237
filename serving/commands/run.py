"""Commands that start flows: live, or over a recorded fixture. Each flow is its own process of Bytewax."""

from __future__ import annotations

import json
import os
import re
import shlex
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from events.errors import PASSING, HeadraceError, SettingsError, UnreachableError
from serving.runs import ALONE, folders_of, make_folder, missing, streams_of
from stores.sections import checked_name
from stores.settings import FLOWS, Settings, load

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
    processes: Annotated[
        int | None,
        typer.Option("--processes", "-p", min=1, max=64, help="Processes; default: cluster.processes, 1."),
    ] = None,
    recovery: Annotated[bool, typer.Option(help="Keep the flow's state, so that a restart resumes it.")] = True,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of 127.0.0.1 for its metrics; default: see cluster.metrics_port."),
    ] = None,
) -> None:
    """Run a flow until Ctrl-C: it reads what is there and then follows every change.

    In several processes, each with so many threads, it goes on when one of them dies: all are then started again, and
    resume. What they say is kept in the data folder, in logs/.

    Examples: headrace run knowledge --folder ./docs --folder ./policies; headrace run tables --processes 2
    """
    from serving.cluster.prepare import metrics_port_of

    _known(flow)
    if folder and flow != "knowledge":
        detail = f"the flow {flow!r} reads no folders"
        raise HeadraceError(detail, "leave --folder out; its streams stand in headrace.toml")
    variables = _folder_variables(folder or [])
    _check_work(flow)
    settings = load()
    number = _processes(flow, processes, settings)
    port = metrics_port_of(flow, settings) if metrics_port is None else metrics_port
    code = start(
        flow,
        variables,
        ["-w", str(workers)],
        _following(flow, settings),
        processes=number,
        metrics_port=port,
        recovery=settings.data_dir / "recovery" / flow if recovery else None,
    )
    raise typer.Exit(code)


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


def start(
    flow: str,
    variables: dict[str, str],
    arguments: list[str],
    said: str = "",
    *,
    processes: int = 1,
    metrics_port: int = 0,
    recovery: Path | None = None,
) -> int:
    """Run a flow until it ends, in processes of its own; return the exit code. Ctrl-C ends it without noise.

    What may pass by itself, such as a server that is away, ends it with `PASSING`.

    :arg arguments: Those of `bytewax.run`.
    :arg said: Told before it starts, once nothing speaks against that.
    :arg metrics_port: Port of this machine alone at which its metrics are served meanwhile; 0: nowhere.
    :arg recovery: Folder of its state, made if it is not there; None: it keeps none.
    """
    from serving.cluster import health
    from serving.cluster.alone import run_alone
    from serving.cluster.prepare import check_store, only_run, recovery_arguments
    from serving.cluster.together import run_together

    settings = load()  # a wrong setting is refused here, before a process is started
    make_folder(settings.data_dir)
    try:
        check_store(flow, settings)
    except UnreachableError as error:
        typer.echo(f"headrace: {error}", err=True)
        return PASSING
    environment = {**os.environ, **variables}
    arguments = [f"dataflows.{_known(flow)}", "-s", "1", *arguments]
    with only_run(flow, settings.data_dir) as lock, ExitStack() as stack:
        health.remove(flow, settings.data_dir)  # of one that was killed
        if recovery is not None:
            # Under the lock: of two that start at once, one makes the folder.
            arguments += recovery_arguments(recovery)
        if metrics_port:
            from serving.cluster.endpoint import serving_metrics

            stack.enter_context(serving_metrics(flow, settings, metrics_port, recovery=recovery))
        if said:
            typer.echo(said, err=True)
        if processes == 1:
            return run_alone(flow, arguments, environment, lock)
        return run_together(
            flow,
            arguments,
            environment,
            lock,
            data=settings.data_dir,
            processes=processes,
            log_megabytes=settings.cluster.log_megabytes,
            recovery=recovery,
        )


def _processes(flow: str, wanted: int | None, settings: Settings) -> int:
    """Return in how many processes a flow runs.

    :raises HeadraceError: When it cannot run in as many as are wanted.
    """
    if os.environ.get("BYTEWAX_ADDRESSES") or os.environ.get("BYTEWAX_HOSTFILE_PATH"):
        if wanted is not None and wanted > 1:
            detail = "this process is one of a cluster over machines, as BYTEWAX_ADDRESSES says"
            raise HeadraceError(detail, "leave --processes out, or unset Bytewax's variables")
        return 1
    if flow in ALONE:
        if wanted is not None and wanted > 1:
            detail = f"the flow {flow!r} has one reader, so that it runs in one process"
            raise HeadraceError(detail, "leave --processes out")
        return 1
    return settings.cluster.processes if wanted is None else wanted


def _following(flow: str, settings: Settings) -> str:
    if flow == "knowledge":
        return ""
    if flow == "delivery":
        what = ", ".join(sink.name for sink in settings.delivery.sinks)
        return f"following {', '.join(streams_of(flow, settings))}, delivering to {what}; Ctrl-C stops it"
    followed, into = [*folders_of(flow, settings), *streams_of(flow, settings)], settings.data_dir
    return f"following {', '.join(followed)} into {'the log' if flow == 'capture' else into}; Ctrl-C stops it"


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
