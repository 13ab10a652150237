"""The small company, served by a real server on a free port of this machine."""

from __future__ import annotations

import threading
import time
from typing import Any

import uvicorn

from serving.http.server import listen
from tests.serving.http.world import World


class Running:
    """A world that is served on a free port.

    :arg url: Its address.
    """

    def __init__(self, world: World, **changes: Any) -> None:
        self.world = world
        listener = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            world.app(**changes), http="h11", ws="none", lifespan="on", log_config=None, timeout_graceful_shutdown=5
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()
        deadline = time.monotonic() + 30
        while not self._server.started:
            assert time.monotonic() < deadline, "the server has not started"
            self._thread.join(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
