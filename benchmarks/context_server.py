"""The real server in a process of its own, and whoever asks it: one connection each, kept open, as applications do."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import msgspec
import psutil

from benchmarks.tables_watch import failed
from events.errors import HeadraceError
from serving.access.caller import SCOPES
from serving.access.keys import Keys

ROOT = Path(__file__).resolve().parents[1]
_ADDRESS = re.compile(r"serving http://127\.0\.0\.1:(\d+)/")
_SECONDS = 120.0
_LOOK = 0.05


class Ask(NamedTuple):
    """One request.

    :arg body: What is sent as JSON; None: nothing.
    :arg person: Token of the person that it is for.
    """

    method: str
    path: str
    body: Any = None
    person: str = ""


class Answered(NamedTuple):
    """What came back, and how long that took: from before the first byte was sent to after the last one was read."""

    status: int
    body: bytes
    millis: float


class Asker:
    """One connection to a server.

    :arg key: The application's key; empty for servers that want none.
    """

    def __init__(self, port: int, key: str = "") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    def ask(self, ask: Ask) -> Answered:
        """Ask, and wait for the whole answer."""
        body = None if ask.body is None else msgspec.json.encode(ask.body)
        headers = {**self._headers, **({"Headrace-Person": ask.person} if ask.person else {})}
        began = time.perf_counter()
        self._connection.request(ask.method, ask.path, body, headers)
        response = self._connection.getresponse()
        read = response.read()
        return Answered(response.status, read, 1_000 * (time.perf_counter() - began))

    def read(self, ask: Ask) -> Any:
        """Ask; return the JSON that comes.

        :raises HeadraceError: When it is refused.
        """
        answered = self.ask(ask)
        if answered.status != http.client.OK:
            raise refused(ask, answered)
        return msgspec.json.decode(answered.body)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


class Server:
    """`headrace serve` while the block lasts.

    :arg variables: Its settings, as variables.
    :arg data: The data folder; what it says is in `server.txt` there.
    """

    def __init__(self, variables: dict[str, str], data: Path) -> None:
        self._variables = variables
        self._data = data
        self.key = ""
        self.port = 0

    def __enter__(self) -> Server:
        keys = Keys(self._data / "keys.json")
        if any(key.name == "bench" for key in keys.list()):
            keys.remove("bench")
        self.key = keys.create("bench", SCOPES, ["public"])
        ambient = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        said = self._data / "server.txt"
        command = [sys.executable, "-m", "serving.cli", "serve", "--no-page", "--port", "0"]
        with said.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self._data,
                env={**ambient, "PYTHONPATH": str(ROOT), **self._variables},
                stdout=output,
                stderr=output,
            )
        try:
            self._wait(said)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def is_up(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def processor(self) -> float:
        """Return the seconds of processor time that it has used."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def asker(self) -> Asker:
        """Return a connection with the key."""
        return Asker(self.port, self.key)

    def _wait(self, said: Path) -> None:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            if not self.is_up:
                (self._data / "output.txt").write_bytes(said.read_bytes())
                name = "the server"
                raise failed(name, self._data)
            found = _ADDRESS.search(said.read_text(encoding="utf-8", errors="replace"))
            if found:
                self.port = int(found[1])
                asker = Asker(self.port)
                status = asker.read(Ask("GET", "/health"))["status"]
                asker.close()
                if status == "ok":
                    return
            time.sleep(_LOOK)
        detail = f"the server was not ready within {_SECONDS:.0f} s"
        raise HeadraceError(detail, f"see {said}")

    def _stop(self) -> None:
        if self.is_up:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def ask_all(port: int, key: str, asks: Sequence[Ask], askers: int) -> list[float]:
    """Ask everything, so many at a time; return the milliseconds of each, in no order.

    :raises HeadraceError: When a request is refused.
    """
    left = iter(asks)
    turn = threading.Lock()
    millis: list[float] = []
    wrong: list[HeadraceError] = []

    def work() -> None:
        asker = Asker(port, key)
        while not wrong:
            with turn:
                ask = next(left, None)
            if ask is None:
                break
            try:
                answered = asker.ask(ask)
            except (OSError, http.client.HTTPException) as error:
                wrong.append(HeadraceError(f"{ask.path} was not answered: {error!r}", "see server.txt"))
                break
            if answered.status != http.client.OK:
                wrong.append(refused(ask, answered))
                break
            millis.append(answered.millis)
        asker.close()

    threads = [threading.Thread(target=work) for _ in range(askers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]
    return millis


def refused(ask: Ask, answered: Answered) -> HeadraceError:
    """Return the error that says what was refused, and with which words."""
    detail = f"{ask.method} {ask.path}: {answered.status} {answered.body[:300].decode(errors='replace')}"
    return HeadraceError(detail, "see server.txt in the data folder")
