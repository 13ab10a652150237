"""A chat endpoint as OpenAI's is, on a free port of this machine, that behaves as badly as a test wants it to.

It labels a text by the words in it, so that whoever asks can know the answer beforehand.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

_TEXT = re.compile(r"<(text-[0-9a-f]+)>\n(.*)\n</\1>", re.DOTALL)
_LONGEST = 30.0


class Request(NamedTuple):
    """One request as it came. `number` counts from 1, `nth` those about the same text."""

    number: int
    nth: int
    text: str
    headers: dict[str, str]
    body: dict[str, Any]


class Reply(NamedTuple):
    """What to do: answer with `status` and `body`; or stall for good; or dribble, byte by byte, for ever."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}
    stall: bool = False
    dribble: bool = False


def label(text: str) -> tuple[str, list[str]]:
    """Return category and topics of a text: what an honest answer says."""
    said = text.lower()
    category = "satisfied" if "good" in said else "dissatisfied" if "bad" in said else "neutral"
    return category, [topic for topic in ("refund", "baggage") if topic in said]


def completion(content: str) -> Reply:
    """Reply with a chat completion that says `content`."""
    message = {"role": "assistant", "content": content}
    return Reply(body=json.dumps({"choices": [{"index": 0, "message": message}]}).encode())


def honest(request: Request) -> Reply:
    """Answer as it should be."""
    category, topics = label(request.text)
    return completion(json.dumps({"category": category, "topics": topics, "confidence": 0.75}))


class ChatServer(ThreadingHTTPServer):
    """The running server.

    :arg behave: Decides about each request; may be replaced while it runs.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, behave: Callable[[Request], Reply] = honest, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.behave = behave
        self.requests: list[Request] = []
        self.in_flight = 0
        self.most_at_once = 0
        self.gate = threading.Event()
        self.gate.set()
        self.closing = threading.Event()
        self.changed = threading.Condition()

    @property
    def url(self) -> str:
        """Base address, as settings have it."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def texts(self) -> list[str]:
        """Return the text of each request so far, in order."""
        with self.changed:
            return [request.text for request in self.requests]

    def wait_until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something is true of the requests."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while not condition():
                left = deadline - time.monotonic()
                assert left > 0, f"not within {seconds} s; there were {len(self.requests)} requests"
                self.changed.wait(left)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: that clients go away is what is tested."""

    def _begin(self, headers: dict[str, str], body: dict[str, Any]) -> Request:
        asked = _TEXT.search(body["messages"][-1]["content"])
        text = asked.group(2) if asked else ""
        with self.changed:
            nth = sum(earlier.text == text for earlier in self.requests) + 1
            request = Request(len(self.requests) + 1, nth, text, headers, body)
            self.requests.append(request)
            self.in_flight += 1
            self.most_at_once = max(self.most_at_once, self.in_flight)
            self.changed.notify_all()
        return request

    def _end(self) -> None:
        with self.changed:
            self.in_flight -= 1
            self.changed.notify_all()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ChatServer

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.partition("?")[0] != "/v1/chat/completions":
            self._send(Reply(404))
            return
        request = self.server._begin(dict(self.headers), json.loads(raw))
        try:
            self.server.gate.wait(_LONGEST)
            reply = self.server.behave(request)
        finally:
            # Before the answer goes out: whoever has it may ask again at once.
            self.server._end()
        if reply.stall:
            self.close_connection = True
            self.server.closing.wait(_LONGEST)
        elif reply.dribble:
            self._dribble()
        else:
            self._send(reply)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
        """Say nothing."""

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.body)

    def _dribble(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        while not self.server.closing.wait(0.02):
            self.wfile.write(b" ")
            self.wfile.flush()


@contextmanager
def chat_server(behave: Callable[[Request], Reply] = honest, port: int = 0) -> Iterator[ChatServer]:
    """Run a server; it ends with the block, stalled answers and all.

    :arg port: Of this machine; 0: any that is free.
    """
    server = ChatServer(behave, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
