"""Commands that show where things stand: freshness of every source, dead letters, the settings."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer

from events.changes import position_text
from events.clock import system_clock, to_iso
from events.errors import HeadraceError
from events.log import Applied
from stores.settings import FLOWS, Settings, load

if TYPE_CHECKING:
    from serving.cluster.health import ClusterHealth
    from serving.overview import Overview
    from serving.supervise.health import Health

_EVERY_SECONDS = 1.0
_ALLOWANCE = 2**31
"""Of the log, to count what waits: who looks once wants to know it all."""


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(status)
    app.command()(settings)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again each second, until Ctrl-C.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if an objective is missed or a flow does not run.")
    ] = False,
) -> None:
    """Show how fresh everything is, source by source, and what could not be processed.

    The lag says how old what the store holds of a source is at most; the backlog, how many events on the log it does
    not hold yet.

    Examples: headrace status --watch; headrace status --check || notify
    """
    if check and watch:
        detail = "--check looks once"
        raise HeadraceError(detail, "leave --watch out")
    if watch:
        _watch(load(), as_json=as_json)
        return
    from rich.console import Console

    from serving.overview import Watch

    configured = load()
    seen, up = Watch(configured, system_clock, allowance=_ALLOWANCE, kpi_seconds=10.0).look(), _up(configured)
    clusters = _clusters(configured)
    problems = _problems(seen, up, clusters)
    if as_json:
        typer.echo(json.dumps(_as_json(seen, up, clusters)))
    else:
        from serving.show_status import shown

        Console().print(shown(seen, up, str(configured.data_dir.resolve()), clusters=clusters))
    if check:
        for problem in problems:
            typer.echo(f"headrace: {problem}", err=True)
        raise typer.Exit(1 if problems else 0)


def _watch(configured: Settings, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from serving.overview import Watch
    from serving.show_status import shown

    looking, data, console = Watch(configured, system_clock), str(configured.data_dir.resolve()), Console()
    try:
        if as_json:
            while True:
                typer.echo(json.dumps(_as_json(looking.look(), _up(configured), _clusters(configured))))
                time.sleep(_EVERY_SECONDS)
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            while True:
                seen, clusters = looking.look(), _clusters(configured)
                live.update(shown(seen, _up(configured), data, clusters=clusters, rates=True), refresh=True)
                time.sleep(_EVERY_SECONDS)
    except KeyboardInterrupt:
        pass
    finally:
        looking.close()


def _up(configured: Settings) -> Health | None:
    from serving.supervise.health import read

    return read(configured.data_dir)


def _clusters(configured: Settings) -> list[ClusterHealth]:
    from serving.cluster.health import read

    found = (read(flow, configured.data_dir) for flow in FLOWS)
    return [cluster for cluster in found if cluster is not None]


def _problems(seen: Overview, up: Health | None, clusters: list[ClusterHealth]) -> list[str]:
    gone = [] if up is None else [name for name, process in up.processes.items() if process.state == "given up"]
    stuck = [cluster.flow for cluster in clusters if cluster.state == "stuck"]
    return [
        *seen.problems(),
        *(f"{name} was given up by `headrace up`" for name in gone),
        *(f"the processes of {flow} run, but finish nothing" for flow in stuck),
    ]


def _as_json(seen: Overview, up: Health | None, clusters: list[ClusterHealth]) -> dict[str, Any]:
    found = seen.as_json()
    applied = [_mark(flow, mark) for flow, marks in seen.marks.items() for mark in marks]
    told = {
        "up": None if up is None else up.as_json(),
        "clusters": {cluster.flow: cluster.as_json() for cluster in clusters},
        "problems": _problems(seen, up, clusters),
        "applied": applied,
    }
    return {**found.pop("stores"), **found, **told}


def _mark(flow: str, mark: Applied) -> dict[str, Any]:
    return {
        "flow": flow,
        "source": mark.source,
        "partition": mark.partition,
        "offset": mark.offset,
        "event_time": None if mark.event_time is None else to_iso(mark.event_time),
        "read_at": to_iso(mark.read_at),
        "caught_up": mark.caught_up,
        "applied_at": to_iso(mark.applied_at),
        "positions": {source: position_text(position) for source, position in mark.positions.items()},
    }


def settings() -> None:
    """List every setting with its value, its variable and what it is for."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    configured = load()
    table = Table("setting", "value", "what it is for", box=None, header_style="bold")
    for key, value, description in _flatten(configured, ""):
        table.add_row(escape(key), escape(value), escape(description))
    console = Console()
    console.print(table)
    console.print("\nIn headrace.toml, or by variable: [bold]embedding.threads[/] is HEADRACE_EMBEDDING__THREADS.")


def _flatten(section: Any, prefix: str) -> list[tuple[str, str, str]]:
    rows: list[tuple[str, str, str]] = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if hasattr(type(value), "model_fields"):
            rows += _flatten(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, _shown(value), field.description or ""))
            rows += _listed(field.annotation, f"{prefix}{name}[].")
    return rows


def _listed(annotation: Any, prefix: str) -> list[tuple[str, str, str]]:
    """Return the settings of what stands in a list of tables, with their defaults."""
    if get_origin(annotation) is not tuple or not hasattr(item := get_args(annotation)[0], "model_fields"):
        return []
    rows: list[tuple[str, str, str]] = []
    for name, field in item.model_fields.items():
        shown = "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))
        rows.append((prefix + name, shown, field.description or ""))
        rows += _listed(field.annotation, f"{prefix}{name}[].")
    return rows


def _shown(value: Any) -> str:
    return json.dumps(value, default=lambda v: v.model_dump(mode="json") if hasattr(v, "model_dump") else str(v))
