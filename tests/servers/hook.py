"""A receiver of webhooks on this machine, which answers as it is told and remembers what it was sent."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple

from typing_extensions import override

STALL = -1
"""In place of a status: no answer at all, for as long as the server lives."""


class Received(NamedTuple):
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


class Hook:
    """The server, while the block lasts.

    :arg answers: Statuses, one a request in their order; the last one for all others.
    :arg headers: Sent with each answer.
    """

    def __init__(self, answers: Sequence[int] = (200,), headers: dict[str, str] | None = None) -> None:
        self.received: list[Received] = []
        self._changed = threading.Condition()
        self._answers = list(answers)
        self._headers = headers or {}
        self._over = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # named by http.server
                hook._answer(self)

            @override
            def log_message(self, format: str, *args: Any) -> None:
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/alerts"

    def wait_for(self, count: int, seconds: float = 20.0) -> list[Received]:
        """Wait until so many requests have come; return all."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, seconds), self.received
            return list(self.received)

    def __enter__(self) -> Hook:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        with self._changed:
            status = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
            self.received.append(Received(request.path, dict(request.headers), body))
            self._changed.notify_all()
        if status == STALL:
            self._over.wait(60)
            request.close_connection = True
            return
        request.send_response(status)
        for name, value in self._headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "0")
        request.end_headers()
