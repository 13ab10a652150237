"""The server process: listens, warms up, tidies up beside, and stops without breaking anything off.

On SIGTERM or SIGINT it takes no more requests, tells every open stream that it ends, lets the other requests come to
their end for some seconds, and lets go of the stores. A second Ctrl-C does not wait.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio.to_thread
import uvicorn
from typing_extensions import override

from events.clock import system_clock
from events.errors import HeadraceError
from serving.access.caller import local
from serving.access.keys import Keys
from serving.access.tokens import Tokens
from serving.context.request import ContextRequest
from serving.http.app import build_app
from serving.http.asking import Desk
from serving.http.logs import configure, logger
from serving.http.security import HEAD_BYTES, is_loopback
from serving.runs import make_folder
from serving.service import Service
from stores.settings import Settings

GRACE_SECONDS = 8
PRUNE_SECONDS = 300.0
_MOST_CONNECTIONS = 1000
_BACKLOG = 512
_KEEP_ALIVE_SECONDS = 30
_WHY = {
    errno.EADDRINUSE: ("is in use", "stop what uses it, or choose another port: --port 8081, or 0 for any free one"),
    errno.EACCES: ("may not be used by this user", "choose a port above 1023"),
    errno.EADDRNOTAVAIL: ("is no address of this machine", "correct --host or serving.host"),
}


def serve(
    settings: Settings,
    page_key: str,
    *,
    page: bool = True,
    tell_key: bool = True,
    open_page: bool = False,
    level: str = "info",
) -> None:
    """Serve until SIGTERM or SIGINT. Stores that are not there yet are empty, and found once they are.

    :arg page_key: Key of the web page; empty for none.
    :arg tell_key: Whether the address that is printed holds it.
    :arg open_page: Open the page in the user's browser.
    :arg level: Of the log on stderr.
    :raises HeadraceError: When the address cannot be listened to, a setting is wrong, or no store can be made.
    """
    configure(level, system_clock)
    make_folder(settings.data_dir)
    listener = listen(settings.serving.host, settings.serving.port)
    try:
        _warn(settings)
        tokens = Tokens(settings, system_clock)
        service = Service.of(settings, tokens, system_clock)
        keys = Keys(settings.keys_path, page_key)
        app = build_app(settings, service, keys, tokens, system_clock, page=page, beside=_beside)
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            # What a request says of other addresses than its own is not believed: limits go by address.
            proxy_headers=False,
            h11_max_incomplete_event_size=HEAD_BYTES,
            limit_concurrency=_MOST_CONNECTIONS,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        address = url(settings.serving.host, listener.getsockname()[1])
        opened = f"{address}#key={page_key}" if page_key else address

        def ready() -> None:
            sys.stdout.write(f"serving {opened if tell_key else address}\n")
            sys.stdout.flush()
            if open_page:
                webbrowser.open(opened)

        _run(_Server(config, app.state.desk, ready), listener)
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """Says when it listens, and when it is about to stop."""

    def __init__(self, config: uvicorn.Config, desk: Desk, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._desk = desk
        self._ready = ready

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._desk.stop()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0: at any free one.

    :raises HeadraceError: When it cannot, saying why.
    """
    try:
        # With its protocol: asyncio turns Nagle's algorithm off for sockets only that say they are of TCP, and else
        # each response waits 40 ms for an acknowledgement.
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError:
        detail = f"there is no address {host!r} on this machine"
        raise HeadraceError(detail, "correct --host or serving.host") from None
    try:
        # A port whose last connections are still being wound up is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        why, remedy = _WHY.get(error.errno or 0, (f"cannot be listened to: {os.strerror(error.errno or 0)}", ""))
        what = f"the port {port} of {host}" if error.errno != errno.EADDRNOTAVAIL else repr(host)
        detail = f"{what} {why}"
        raise HeadraceError(detail, remedy) from None
    listener.set_inheritable(False)
    return listener


def url(host: str, port: int) -> str:
    """Return the address of the page, as a browser on this machine can open it."""
    bare = host.strip("[]")
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(bare, bare)  # noqa: S104  # told apart
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/"


def _warn(settings: Settings) -> None:
    if not is_loopback(settings.serving.host):
        logger.warning(
            "%s can be reached from other machines: put TLS before it, and name the hosts in serving.hosts",
            settings.serving.host,
        )


def _run(server: _Server, listener: socket.socket) -> None:
    def stop(number: int, frame: object) -> None:
        server.handle_exit(number, None)

    # uvicorn hands a signal on to whoever had it before, once it has stopped: that would kill the process.
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@asynccontextmanager
async def _beside(desk: Desk) -> AsyncIterator[None]:
    desk.status = "starting"
    tasks = [asyncio.create_task(_warm(desk)), asyncio.create_task(_prune(desk))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await desk.service.aclose()


async def _warm(desk: Desk) -> None:
    """Load what reads questions, and open the stores: else the first question waits for it."""
    question = ContextRequest(question="warm", peek=True)
    try:
        await anyio.to_thread.run_sync(desk.service.knowledge.search, question.question, 1)
        await anyio.to_thread.run_sync(desk.service.context, local(), question)
    except HeadraceError as error:
        logger.error("%s", error)
    except Exception as error:
        logger.error("the embedding model cannot be loaded", exc_info=error)
    finally:
        if desk.status == "starting":
            desk.status = "ok"


async def _prune(desk: Desk) -> None:
    while True:
        try:
            await anyio.to_thread.run_sync(desk.service.prune)
        except Exception as error:
            # It is tried again; nothing depends on it but room on the disk.
            logger.warning("kept contexts cannot be pruned", exc_info=error)
        await asyncio.sleep(PRUNE_SECONDS)
