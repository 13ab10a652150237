"""The command that runs everything at once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from stores.settings import FLOWS, load


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(up)


def up(
    flow: Annotated[
        list[str] | None,
        typer.Option("--flow", help=f"Only this flow, of {', '.join(FLOWS)}; may be given several times."),
    ] = None,
    server: Annotated[bool, typer.Option("--server/--no-server", help="Whether the server runs as well.")] = True,
    host: Annotated[str | None, typer.Option(help="Address it listens to; default: serving.host, 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Its port; 0: any free one; default: serving.port, 8080.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the web page in the browser.")] = False,
    processes: Annotated[
        int | None,
        typer.Option("--processes", "-p", min=1, max=64, help="Processes of each flow; default: cluster.processes, 1."),
    ] = None,
) -> None:
    """Run all flows that the settings give work to, and the server, until Ctrl-C.

    Each is a process of its own, or, but for capture and delivery, several under a supervisor of their own: what dies
    is started again, after pauses that grow; what says three times what is wrong with it, before it ever worked, is
    given up, and the others go on. What they say is kept in the data folder, in logs/. `headrace status` shows how
    they are.

    Examples: headrace up; headrace up --open; headrace up --flow tables --processes 2 --no-server
    """
    from serving.supervise.run import run

    overrides: dict[str, Any] = {"host": host, "port": port}
    overrides = {name: value for name, value in overrides.items() if value is not None}
    given: dict[str, Any] = {"serving": overrides} if overrides else {}
    if processes is not None:
        given["cluster"] = {"processes": processes}
    settings = load(**given)
    raise typer.Exit(run(settings, flows=flow or (), server=server, open_page=open_page))
