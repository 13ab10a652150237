"""The command that serves everything over HTTP."""

from __future__ import annotations

import os
from enum import Enum
from typing import Annotated, Any

import typer

from stores.settings import load

PAGE_KEY = "HEADRACE_PAGE_KEY"
"""Variable by which whoever starts the server gives the page's key, so that it outlives the server's process."""


class Level(str, Enum):
    """How much is written to the log."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(serve)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen to; default: serving.host, 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0: any free one; default: serving.port, 8080.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the web page in the browser.")] = False,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Whether the web page is served.")] = True,
    log_level: Annotated[Level, typer.Option(help="One line a request is written at info.")] = Level.info,
) -> None:
    """Serve contexts, answers and everything else over HTTP, with a web page, until Ctrl-C.

    Prints the page's address with a key that is good for as long as the server runs. Applications get keys of their
    own: headrace keys create NAME --scope context

    Examples: headrace serve --open; headrace serve --port 0 --no-page

    Then: curl -H "Authorization: Bearer hr_..." -H "Content-Type: application/json"
    -d '{"question": "may I bring a bicycle?"}' http://127.0.0.1:8080/context
    """
    from serving.access.keys import new_key
    from serving.http.server import serve as run

    given = os.environ.get(PAGE_KEY, "")
    overrides: dict[str, Any] = {"host": host, "port": port}
    overrides = {name: value for name, value in overrides.items() if value is not None}
    settings = load(serving=overrides) if overrides else load()
    key = (given or new_key()) if page else ""
    run(settings, key, page=page, tell_key=not given, open_page=open_page, level=log_level.value)
