"""A real PostgreSQL server for tests: begun at its first use, gone with its folder when the test session ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fixtures.servers import MissingServerError
from fixtures.servers.postgres import PostgresServer, programs

__all__ = ["PostgresServer", "another", "running"]


@contextmanager
def another(options: dict[str, str] | None = None, *, tcp: bool = False) -> Iterator[PostgresServer]:
    """Give a server of one's own, to be killed, restarted or set up otherwise; skip where there is none to be had."""
    server = _made(options, tcp=tcp)
    try:
        yield server
    finally:
        server.stop()


def running(config: pytest.Config) -> PostgresServer:
    """Return the server of this test session; skip the test where there is none to be had."""
    server = config.stash.get(_SERVER, None)
    if server is None:
        server = config.stash[_SERVER] = _made(None, tcp=False)
        config.add_cleanup(server.stop)
    return server


_SERVER = pytest.StashKey[PostgresServer]()


def _made(options: dict[str, str] | None, *, tcp: bool) -> PostgresServer:
    try:
        return PostgresServer(programs(), options, tcp=tcp)
    except MissingServerError as error:
        pytest.skip(str(error))
