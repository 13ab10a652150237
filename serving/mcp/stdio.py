"""The protocol over standard input and output, for a program on the user's own machine that starts this one.

Standard output belongs to the protocol from beginning to end; the log goes to standard error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
from mcp.server.stdio import stdio_server

from events.clock import system_clock
from serving.access.caller import Caller
from serving.http.logs import configure
from serving.mcp.server import build_server
from serving.service import Service


def serve(service: Service, who: Callable[[], Caller], *, read_only: bool = False, level: str = "warning") -> None:
    """Serve until the other side closes its end.

    :arg who: Tells for whom this is, at each request: a token may be over by then.
    """
    configure(level, system_clock)
    anyio.run(_serve, service, who, read_only)


async def _serve(service: Service, who: Callable[[], Caller], read_only: bool) -> None:
    server = build_server(service, lambda asked: who(), _run, read_only=read_only)
    try:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
    finally:
        with anyio.CancelScope(shield=True):
            await service.aclose()


async def _run(waits: bool, call: Callable[[], Any]) -> Any:
    del waits
    return await anyio.to_thread.run_sync(call)
