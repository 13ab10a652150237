"""A model behind an OpenAI-compatible endpoint, on a free port of this machine, that behaves as badly as a test wants.

What it sends is told piece by piece: bytes, pauses, and how it ends.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple

LONGEST = 30.0
"""Seconds that anything here lasts, should a test forget it."""


class Wait(NamedTuple):
    """Say nothing for so long, or until the client goes away."""

    seconds: float = LONGEST


class Forever(NamedTuple):
    """Say the same again and again, until the client goes away."""

    piece: bytes
    pause: float = 0.0


Piece = bytes | Wait | Forever
End = Literal["whole", "close", "reset"]


class Reply(NamedTuple):
    """What to do.

    :arg pieces: Sent one by one.
    :arg end: `whole`: as HTTP wants it; `close`: the connection closes before that; `reset`: rudely.
    :arg is_raw: Whether the pieces are all that is sent: no line of a status, no headers.
    """

    pieces: Sequence[Piece] = ()
    status: int = 200
    headers: Mapping[str, str] = {"Content-Type": "text/event-stream"}
    end: End = "whole"
    is_raw: bool = False


class Asked(NamedTuple):
    """One request as it came; `number` counts from 1."""

    number: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


def event(data: object) -> bytes:
    """Return a server-sent event."""
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def delta(text: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    """Return the event of one piece of text."""
    said = {"content": text} if text is not None else {}
    return event({"choices": [{"index": 0, "delta": {**said, **more}, "finish_reason": finish}]})


def usage(tokens_in: int, tokens_out: int) -> bytes:
    """Return the event that tells what it took."""
    return event({"choices": [], "usage": {"prompt_tokens": tokens_in, "completion_tokens": tokens_out}})


DONE = event("[DONE]")


def spoken(*texts: str, tokens: tuple[int, int] | None = None) -> Reply:
    """Reply with a whole answer, streamed."""
    told = usage(*tokens) if tokens else b""
    return Reply([*map(delta, texts), delta(finish="stop"), told, DONE])


def refused(status: int, said: object = None, **headers: str) -> Reply:
    """Reply with an error; an underscore in a header's name stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply([json.dumps(said).encode()], status, {"Content-Type": "application/json", **named})


class ModelServer(ThreadingHTTPServer):
    """The running server.

    :arg behave: Decides about each request; may be replaced while it runs.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, behave: Callable[[Asked], Reply]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behave = behave
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self.changed = threading.Condition()
        self.left = 0
        """How many clients have gone away before the end."""

    @property
    def url(self) -> str:
        """Base address, as settings have it."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def wait_until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something is true of the server."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while not condition():
                left = deadline - time.monotonic()
                assert left > 0, f"not within {seconds} s; there were {len(self.asked)} requests"
                self.changed.wait(left)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: that clients go away is what is tested."""

    def begin(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Asked:
        with self.changed:
            asked = Asked(len(self.asked) + 1, path, headers, body)
            self.asked.append(asked)
            self.changed.notify_all()
        return asked

    def lost(self) -> None:
        with self.changed:
            self.left += 1
            self.changed.notify_all()


class _LeftError(Exception):
    """The client has gone away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ModelServer
    connection: socket.socket

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        reply = self.server.behave(self.server.begin(self.path, dict(self.headers), json.loads(raw)))
        self.close_connection = True
        try:
            self._send(reply)
        except (_LeftError, OSError):
            self.server.lost()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class calls it so
        """Say nothing."""

    def _send(self, reply: Reply) -> None:
        # An answer whose length nobody tells ends with its connection; in chunks, a missing last one is missed.
        is_chunked = not reply.is_raw and reply.end != "close"
        if not reply.is_raw:
            self.send_response(reply.status)
            named = {"Transfer-Encoding": "chunked"} if is_chunked else {"Connection": "close"}
            for name, value in {**named, **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
        for piece in reply.pieces:
            if isinstance(piece, Wait):
                self._wait(piece.seconds)
            elif isinstance(piece, Forever):
                while not self.server.closing.is_set():
                    self._write(piece.piece, is_chunked)
                    self._wait(piece.pause)
            else:
                self._write(piece, is_chunked)
        if reply.end == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            self.connection.close()
        elif is_chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _write(self, piece: bytes, is_chunked: bool) -> None:
        if piece:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
            self.wfile.flush()

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self.server.closing.is_set():
            readable, _, _ = select.select([self.connection], [], [], min(left, 0.05))
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                raise _LeftError


@contextmanager
def model_server(behave: Callable[[Asked], Reply] | Reply) -> Iterator[ModelServer]:
    """Run a server; it ends with the block, stalled answers and all.

    :arg behave: What it does with each request, or with all of them.
    """
    server = ModelServer(behave if callable(behave) else lambda _: behave)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        with suppress(OSError):
            server.server_close()
        thread.join()
