"""A small server with the page's files and answers like the real one's, that changes and fails as a test wants."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from events.clock import to_iso
from serving.http.routes_page import FOLDER
from tests.browser import samples

KEY = "hr_page-of-the-tests"
ANSWER = (
    "The economy fare of CRV204 is **149.00 EUR** [1]; it was 129.00 EUR until lately.\n\n"
    "- The flight is boarding [2].\n- A change costs EUR 40 until two hours before departure [5]."
)
# Trusted types forbid what makes markup of a text, anywhere in the page.
_POLICY = (
    "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_TYPES = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class Seen(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: dict[str, Any]
    person: str


class FakeApi(ThreadingHTTPServer):
    """The running server.

    :arg found: Items of a context, by the present.
    :arg fail: By path: a status and an error, in place of the answer.
    :arg go_on: Cleared, an answer stands still after its first words.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self._fare = ("149.00", "129.00", 0)
        self.city = "Poznań"
        self.answer = ANSWER
        self.degraded = ""
        self.found: Callable[[int], list[dict[str, Any]]] = lambda now: samples.items(now, *self._fare)
        self.fail: dict[str, tuple[int, dict[str, str]]] = {}
        self.go_on = threading.Event()
        self.go_on.set()
        self.token_seconds = 900.0
        self.seen: list[Seen] = []
        self.changed = threading.Condition()

    @property
    def url(self) -> str:
        """Address of the page."""
        return f"http://127.0.0.1:{self.server_port}/"

    def __enter__(self) -> FakeApi:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def set_price(self, price: str) -> None:
        """Change the fare at its source."""
        self._fare = (price, self._fare[0], time.time_ns() // 1_000_000)

    def asked(self, path: str) -> list[Seen]:
        """Return the requests of a path so far."""
        with self.changed:
            return [one for one in self.seen if one.path == path]

    def wait_for(self, path: str, fits: Callable[[Seen], bool], seconds: float = 10.0) -> Seen:
        """Wait for a request of a path that fits, and return it."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while not (fitting := [one for one in self.seen if one.path == path and fits(one)]):
                left = deadline - time.monotonic()
                assert left > 0, f"no such request of {path}; there were {self.seen}"
                self.changed.wait(left)
            return fitting[-1]

    def note(self, seen: Seen) -> None:
        """Keep what was asked."""
        with self.changed:
            self.seen.append(seen)
            self.changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: that a page goes away in the middle is what is tested."""


def token(person: str, expires: float) -> str:
    """Return a token that nobody has signed."""
    claims = base64.urlsafe_b64encode(json.dumps({"sub": person, "exp": expires}).encode()).rstrip(b"=").decode()
    return f"e30.{claims}.c2ln"


class _Handler(BaseHTTPRequestHandler):
    server: FakeApi

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as the base class has it
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _serve(self, body: dict[str, Any]) -> None:
        address = urlsplit(self.path)
        if address.path == "/" or ("." in address.path and not address.path.endswith("graph.svg")):
            self._file(address.path.lstrip("/") or "index.html")
            return
        path, query, server = address.path.strip("/"), parse_qs(address.query), self.server
        refusal = server.fail.get(path)
        server.note(Seen(self.command, path, query, body, self.headers.get("Headrace-Person", "")))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            error = {"kind": "unknown_caller", "detail": "the key is not known", "hint": "make one"}
            self._json({"error": error}, 401)
        elif refusal is not None:
            self._json({"error": refusal[1]}, refusal[0])
        elif path == "answer":
            self._answer(body)
        elif path == "profiles/me/graph.svg":
            self._send(samples.GRAPH.encode(), "image/svg+xml")
        else:
            self._json(self._document(path, query, body))

    def _document(self, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> dict[str, Any]:
        now, server = time.time_ns() // 1_000_000, self.server
        if path == "tokens":
            expires = time.time() + server.token_seconds
            signed = token(samples.PERSON, expires)
            return {
                "token": signed,
                "person": samples.PERSON,
                "realm": "default",
                "expires_at": to_iso(round(expires * 1000)),
            }
        if path == "feedback":
            return {"accepted": 1, "ids": ["f-1"]}
        if path == "context":
            return self._context(now, body)
        documents: dict[str, Callable[[], dict[str, Any]]] = {
            "freshness": lambda: samples.freshness(now),
            "kpis": lambda: {"kpis": samples.kpis(now, "".join(query.get("window", [])))},
            "alerts": lambda: {"alerts": samples.alerts(now)},
            "dead-letters": lambda: {"letters": samples.letters(now)},
            "profiles/me": lambda: samples.profile(now, server.city),
        }
        return documents[path]()

    def _context(self, now: int, body: dict[str, Any]) -> dict[str, Any]:
        person = samples.PERSON if self.headers.get("Headrace-Person") else ""
        return samples.context(now, body["question"], person, self.server.found(now))

    def _answer(self, body: dict[str, Any]) -> None:
        server = self.server
        document = self._context(time.time_ns() // 1_000_000, body)
        self._head(200, "text/event-stream")
        self._event("context", document)
        for n, word in enumerate(server.answer.split(" ")):
            if n == 3:
                server.go_on.wait(20)
            self._event("token", {"text": word if n == 0 else f" {word}"})
        cited = [one for one in document["items"] if f"[{one['number']}]" in server.answer]
        citations = [
            {name: one[name] for name in ("number", "kind", "id", "source", "place", "title")} for one in cited
        ]
        told = {
            "turn": f"t{len(server.asked('answer'))}",
            "conversation": body["conversation"],
            "context": document["id"],
            "text": server.answer,
            "citations": citations,
            "model": "extractive" if server.degraded else "m-2",
            "degraded": server.degraded,
            "latency_ms": 812.5,
            "first_token_ms": 96.0,
            "tokens_in": 900,
            "tokens_out": 44,
        }
        self.wfile.write(b": still here\n\n")
        self._event("answer", told)

    def _event(self, name: str, data: dict[str, Any]) -> None:
        self.wfile.write(f"event: {name}\r\ndata: {json.dumps(data)}\r\n\r\n".encode())

    def _file(self, name: str) -> None:
        files = {path.name: path for path in FOLDER.iterdir()}
        if name not in files:
            self._json({"error": {"kind": "not_found", "detail": "there is no such page", "hint": ""}}, 404)
            return
        self._send(files[name].read_bytes(), _TYPES[name.rpartition(".")[2]])

    def _json(self, document: dict[str, Any], status: int = 200) -> None:
        self._send(json.dumps(document).encode(), "application/json", status)

    def _send(self, content: bytes, media_type: str, status: int = 200) -> None:
        self._head(status, media_type)
        self.wfile.write(content)

    def _head(self, status: int, media_type: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": media_type,
            "Content-Security-Policy": _POLICY,
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
