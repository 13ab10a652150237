"""What stands between a client of AWS and a server: it hands on what it is asked, refuses some, and moves the time.

For faults that no server can be made to have: a refusal for now, an iterator that has lapsed, a day that has passed.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_JSON = {"Content-Type": "application/x-amz-json-1.1"}

Asking = dict[str, Any]
Answer = dict[str, Any]
Instead = Callable[[Asking, Callable[[Asking], Answer]], Answer]
"""Answers a request; it may ask the server."""


class Refusal(Exception):
    """What an `Instead` raises to refuse a request."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class Between:
    """The proxy.

    :arg endpoint: Address of the server.
    """

    def __init__(self, endpoint: str) -> None:
        self._server_at = urlsplit(endpoint).netloc
        self._refusals: dict[str, deque[tuple[int, str]]] = {}
        self.later = timedelta()
        """How much later than the server says it is."""
        self.instead: dict[str, Instead] = {}
        """For an operation, what answers in the server's place."""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        """Each request: what was asked for, and with what."""
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._http.server_address[1]}"

    def refuse(self, operation: str, times: int, status: int, code: str) -> None:
        """Refuse the next requests for `operation`."""
        self._refusals.setdefault(operation, deque()).extend([(status, code)] * times)

    def refused(self, operation: str) -> bool:
        """Tell whether all that was to be refused has been."""
        return not self._refusals.get(operation)

    def count(self, operation: str) -> int:
        """Return how often `operation` has been asked for."""
        return sum(name == operation for name, _ in self.asked)

    def close(self) -> None:
        """Let go of the address."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _answer(self, target: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        operation = target.rpartition(".")[2]
        with self._lock:
            self.asked.append((operation, json.loads(body)))
            refusals = self._refusals.get(operation)
            refusal = refusals.popleft() if refusals else None
        if refusal is not None:
            return _refused(*refusal)
        instead = self.instead.get(operation)
        if instead is None:
            return self._hand_on(headers, body)
        answered: list[tuple[int, dict[str, str], bytes]] = []

        def ask(request: Asking) -> Answer:
            answered.append(self._hand_on(headers, json.dumps(request).encode()))
            answer: Answer = json.loads(answered[-1][2])
            return answer

        try:
            answer = instead(json.loads(body), ask)
        except Refusal as error:
            return _refused(error.status, error.code)
        status, kept, _ = answered[-1] if answered else (200, _JSON, b"")
        return status, kept, json.dumps(answer).encode()

    def _hand_on(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        connection = http.client.HTTPConnection(self._server_at, timeout=20)
        try:
            connection.request("POST", "/", body, headers)
            response = connection.getresponse()
            kept = {name: value for name, value in response.getheaders() if name.lower() in {"content-type", "date"}}
            for name in [name for name in kept if name.lower() == "date"]:
                kept[name] = format_datetime(parsedate_to_datetime(kept[name]) + self.later, usegmt=True)
            return response.status, kept, response.read()
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                handed = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                status, headers, answer = outer._answer(self.headers["X-Amz-Target"], handed, body)
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as it is called where it is inherited from
                pass

        return Handler


def _refused(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    return status, _JSON, json.dumps({"__type": code, "message": "refused"}).encode()


@contextmanager
def between(endpoint: str) -> Iterator[Between]:
    """Stand before `endpoint` for a while."""
    proxy = Between(endpoint)
    try:
        yield proxy
    finally:
        proxy.close()
