"""The server as a process: it says where it listens, tells what is in its way, and stops without a break."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import httpx
import pytest

from events.errors import HeadraceError
from serving.access.keys import new_key
from serving.http.server import listen, url
from tests.servers.model import ModelServer, Reply, Wait, delta, model_server

COMMAND: Sequence[str] = (sys.executable, "-m", "serving.cli")
SECONDS = 60.0


class Server:
    """A running server.

    :arg path: Its working directory.
    """

    def __init__(self, path: Path, *arguments: str, **variables: str) -> None:
        self.said: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self.log = path / "server.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--port", "0", *arguments],
                cwd=path,
                env={**_variables(), **variables},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()
        line = self._lines.get(timeout=SECONDS)
        self.address, _, self.key = line.removeprefix("serving ").strip().partition("#key=")

    def client(self, key: str = "") -> httpx.Client:
        """Return a client with the page's key."""
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=SECONDS)

    def lines(self) -> list[dict[str, object]]:
        """Return what it has logged."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def kill(self) -> None:
        """End it, if it has not stopped."""
        self.process.kill()
        self.process.wait()
        self._listener.join()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self._lines.put(line)
        self._lines.put("")


def _variables() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    root = str(Path(__file__).parents[3])
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, [root, kept.get("PYTHONPATH", "")]))}


def _configure(path: Path, answer: str = "") -> None:
    said = 'data_dir = "data"\n[embedding]\nbackend = "hashing"\n'
    if answer:
        said += f'[serving.answer]\nurl = "{answer}"\nmodel = "m"\nretries = 0\n'
    (path / "headrace.toml").write_text(said)


def _has(model: ModelServer, asked: int = 0, left: int = 0) -> bool:
    return len(model.asked) >= asked and model.left >= left


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return a function that starts a server; it is killed in the end if it has not stopped."""
    started: list[Server] = []

    def begin(*arguments: str, answer: str = "", **variables: str) -> Server:
        _configure(tmp_path, answer)
        started.append(Server(tmp_path, *arguments, **variables))
        return started[-1]

    yield begin
    for server in started:
        server.kill()


def _until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what


def test_it_prints_its_address_with_a_key_answers_and_stops_on_ctrl_c(start: Callable[..., Server]) -> None:
    server = start()
    assert server.address.startswith("http://127.0.0.1:")
    with server.client() as client:
        _until(lambda: client.get("/health").json() == {"status": "ok"}, "it is not ready")
        found = client.post("/context", json={"question": "Is anybody there?"})
        assert (found.status_code, found.json()["items"]) == (200, [])
        assert client.get("/").headers["content-type"].startswith("text/html")
        assert client.get("/health", headers={"Host": "evil.example"}).status_code == 421
    assert server.stop(signal.SIGINT) == 0
    lines = server.lines()
    told = [line for line in lines if line["message"] == "request"]
    assert {(line["route"], line["status"]) for line in told} >= {("/context", 200), ("(none)", 421)}
    assert server.key not in server.log.read_text()
    assert {line["level"] for line in lines} == {"info"}


def test_without_the_page_there_is_neither_page_nor_key(start: Callable[..., Server]) -> None:
    server = start("--no-page", "--log-level", "warning")
    assert server.key == ""
    with server.client("hr_none") as client:
        assert client.get("/").status_code == 404
        assert client.get("/tables").status_code == 401
    assert server.stop() == 0
    assert server.lines() == []


def test_a_key_of_the_page_that_was_given_is_good_and_not_printed(start: Callable[..., Server]) -> None:
    key = new_key()
    server = start(HEADRACE_PAGE_KEY=key)
    assert server.key == ""
    with server.client(key) as client:
        assert client.get("/tables").status_code == 200
    assert server.stop() == 0


def test_a_stream_is_ended_with_an_event_when_the_server_stops(start: Callable[..., Server]) -> None:
    with model_server(Reply([delta("One moment "), Wait()])) as model:
        server = start(answer=model.url)
        names = []
        with (
            server.client() as client,
            client.stream("POST", "/answer", json={"question": "How long does it take?"}) as found,
        ):
            lines = found.iter_lines()
            for line in lines:
                names += [line.removeprefix("event: ")] if line.startswith("event: ") else []
                if "token" in names:
                    break
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            rest = list(lines)
        assert names == ["context", "token"]
        assert rest[-3] == "event: error"
        assert json.loads(rest[-2].removeprefix("data: "))["detail"] == "the server stops"
        assert server.process.wait(SECONDS) == 0
        assert time.monotonic() - began < 10
        model.wait_until(lambda: model.left == 1)


def test_when_a_client_goes_in_the_middle_of_an_answer_the_model_is_not_asked_any_further(
    start: Callable[..., Server],
) -> None:
    with model_server(Reply([delta("One moment "), Wait()])) as model:
        server = start(answer=model.url)
        for number, stream in enumerate((True, False), 1):
            with socket.create_connection(("127.0.0.1", httpx.URL(server.address).port or 0), SECONDS) as line:
                body = json.dumps({"question": "How long?", "stream": stream}).encode()
                head = f"POST /answer HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.key}\r\n"
                head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                line.sendall(head.encode() + body)
                model.wait_until(partial(_has, model, asked=number))
            model.wait_until(partial(_has, model, left=number))
        assert server.stop() == 0


def test_a_port_in_use_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    _configure(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [*COMMAND, "serve", "--port", str(port)]
        ended = subprocess.run(
            command, cwd=tmp_path, env=_variables(), capture_output=True, text=True, timeout=SECONDS, check=False
        )
    assert ended.returncode != 0
    assert len(ended.stderr.splitlines()) == 1
    assert f"the port {port} of 127.0.0.1 is in use" in ended.stderr
    assert "--port" in ended.stderr


def test_where_no_store_can_be_made_it_does_not_start(tmp_path: Path) -> None:
    _configure(tmp_path)
    (tmp_path / "data").touch()
    command = [*COMMAND, "serve", "--port", "0"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=_variables(), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "headrace: the data folder data is a file" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("host", "why"),
    [("no-such-host.invalid", "no address 'no-such-host.invalid'"), ("192.0.2.1", "'192.0.2.1' is no address")],
)
def test_an_address_that_cannot_be_listened_to_is_told(host: str, why: str) -> None:
    with pytest.raises(HeadraceError, match=why) as found:
        listen(host, 0)
    assert "serving.host" in found.value.hint


def test_a_small_response_is_not_held_back_until_the_one_before_is_acknowledged() -> None:
    async def delays() -> bool:
        found = asyncio.get_running_loop().create_future()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked = writer.get_extra_info("socket")
            found.set_result(not asked.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(answer, sock=listen("127.0.0.1", 0)) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            try:
                return bool(await found)
            finally:
                writer.close()

    assert not asyncio.run(delays())


def test_a_port_is_free_again_at_once() -> None:
    with contextlib.closing(listen("127.0.0.1", 0)) as first:
        port = first.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), contextlib.closing(first.accept()[0]) as line:
            line.shutdown(socket.SHUT_RDWR)
    listen("127.0.0.1", port).close()


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:80/"), ("::1", "http://[::1]:80/"), ("::", "http://[::1]:80/"),
     ("ask.example", "http://ask.example:80/")],
)  # fmt: skip
def test_the_address_is_one_that_a_browser_can_open(host: str, address: str) -> None:
    assert url(host, 80) == address


def test_headers_that_are_too_large_are_refused(start: Callable[..., Server]) -> None:
    server = start()
    with server.client() as client:
        found = client.get("/health", headers={"X-Long": "x" * 100_000})
        assert (found.status_code, found.json()["error"]["kind"]) == (431, "large_head")
        many = client.get("/health", headers=[(f"X-{number}", "x") for number in range(200)])
        assert many.status_code == 431
        assert client.get("/health").status_code == 200
    assert server.stop() == 0
