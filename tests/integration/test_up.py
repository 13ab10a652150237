"""`headrace up`: everything runs, what dies comes back, what cannot run is given up, and nothing is ever left over."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from fixtures.corpus import ROOT
from tests.integration.live import SECONDS, wait_until

STREAMS = ROOT / "streams"
REPOSITORY = ROOT.parent
ADDRESS = re.compile(r"the page: (http://127\.0\.0\.1:\d+/)#key=(\S+)")


class Up:
    """`headrace up` in a folder of its own, with the operations of the travel company on the log."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / "data"
        self.output = home / "up.txt"
        self.more: dict[str, str] = {}
        self.started: list[subprocess.Popen[bytes]] = []
        shutil.copytree(STREAMS / "operations", self.data / "log" / "operations")

    @property
    def environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        return {
            **plain,
            "HEADRACE_CONFIG": str(STREAMS / "headrace.toml"),
            "HEADRACE_DATA_DIR": str(self.data),
            "HEADRACE_EMBEDDING__BACKEND": "hashing",
            "HEADRACE_SERVING__PORT": "0",
            "PYTHONPATH": str(REPOSITORY),
            "NO_COLOR": "1",
            "COLUMNS": "200",
            **self.more,
        }

    def start(self, *arguments: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "serving.cli", "up", *arguments]
        with self.output.open("ab") as file:
            process = subprocess.Popen(
                command, cwd=self.home, env=self.environment, stdout=file if stdout is None else stdout, stderr=file
            )
        self.started.append(process)
        return process

    def said(self) -> str:
        return self.output.read_text()

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait on a condition, as long as the one that was started last runs."""

        def fulfilled() -> bool:
            assert self.started[-1].poll() is None, f"it has ended before {what}: {self.said()}"
            return bool(condition())

        wait_until(fulfilled, f"{what}; see {self.output}")

    def health(self) -> dict[str, Any]:
        """Return what it says to others of its processes; nothing before it says anything."""
        try:
            found: dict[str, Any] = json.loads((self.data / "up.json").read_bytes())["processes"]
        except FileNotFoundError:
            return {}
        return found

    def flow(self, name: str) -> psutil.Process | None:
        """Return the process of the engine of a flow, which `headrace run` has started."""
        return next((process for process in self.processes() if f"dataflows.{name}" in process.cmdline()), None)

    def processes(self) -> list[psutil.Process]:
        """Return everything that runs over this data folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("HEADRACE_DATA_DIR") == str(self.data) and process.status() != "zombie":
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def is_taken_in(self) -> bool:
        """Tell whether the tables flow has taken in all of its stream."""
        command = [sys.executable, "-m", "serving.cli", "status", "--json"]
        ended = subprocess.run(
            command, cwd=self.home, env=self.environment, capture_output=True, timeout=SECONDS, check=True
        )
        sources = json.loads(ended.stdout)["sources"]
        return any(source["flow"] == "tables" and source["running"] and source["caught_up"] for source in sources)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    found = Up(tmp_path)
    yield found
    for process in found.started:
        if process.poll() is None:
            process.kill()
            process.wait(SECONDS)
    wait_until(lambda: not found.processes(), "nothing to be left over")


def test_a_flow_and_the_server_come_back_and_ctrl_c_leaves_nothing(up: Up) -> None:
    process = up.start("--flow", "tables")
    up.wait_until(lambda: ADDRESS.search(up.said()), "the page's address")
    address, key = ADDRESS.findall(up.said())[0]
    up.wait_until(up.is_taken_in, "the flow to have taken in everything")

    engine = up.flow("tables")
    assert engine is not None
    engine.kill()
    up.wait_until(lambda: up.health()["tables"]["restarts"] == 1, "the flow to be started again")
    up.wait_until(lambda: (again := up.flow("tables")) is not None and again.pid != engine.pid, "the flow")

    os.kill(up.health()["server"]["pid"], signal.SIGKILL)
    up.wait_until(lambda: up.health()["server"]["restarts"] == 1, "the server to be started again")
    up.wait_until(lambda: answers(address, key), "the server, at the same address and with the same key")
    assert len(ADDRESS.findall(up.said())) == 1
    up.wait_until(up.is_taken_in, "the flow to go on")

    process.send_signal(signal.SIGINT)
    assert process.wait(12) == 0
    assert up.processes() == []
    assert not (up.data / "up.json").exists()
    assert up.said().endswith("stopped\n")
    logs = {path.name: path.read_text() for path in (up.data / "logs").iterdir()}
    assert set(logs) == {"tables.log", "server.log"}
    assert "following operations" in logs["tables.log"]
    assert not [path for path in up.data.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]


def answers(address: str, key: str) -> bool:
    try:
        return httpx.get(f"{address}tables", headers={"Authorization": f"Bearer {key}"}, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def test_a_second_one_over_the_same_data_is_refused(up: Up) -> None:
    up.start("--flow", "tables", "--no-server")
    up.wait_until(lambda: up.flow("tables"), "the first one")
    second = up.start("--flow", "tables", "--no-server")
    assert second.wait(SECONDS) == 1
    assert "headrace: `headrace up` runs already over" in up.said()
    assert up.flow("tables") is not None


def test_what_says_what_is_wrong_with_it_is_given_up_and_the_others_go_on(up: Up) -> None:
    up.more = {"HEADRACE_KNOWLEDGE__FOLDERS": json.dumps([{"name": "docs", "path": "absent"}])}
    process = up.start("--flow", "tables", "--flow", "knowledge", "--no-server")
    up.wait_until(lambda: up.health().get("knowledge", {}).get("state") == "given up", "it to be given up")
    told = up.health()["knowledge"]
    assert told["restarts"] == 2
    assert "absent" in told["said"]
    assert "knowledge given up: " in up.said()
    up.wait_until(up.is_taken_in, "the other one to have done its work")
    assert up.health()["tables"]["restarts"] == 0
    process.terminate()
    assert process.wait(12) == 0


def test_where_all_are_given_up_it_ends(up: Up) -> None:
    up.more = {"HEADRACE_KNOWLEDGE__FOLDERS": json.dumps([{"name": "docs", "path": "absent"}])}
    process = up.start("--flow", "knowledge", "--no-server")
    assert process.wait(SECONDS) == 1
    assert "nothing is left to run" in up.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_however_it_ends_nothing_is_left_running(up: Up, number: int) -> None:
    process = up.start("--flow", "tables")
    up.wait_until(lambda: ADDRESS.search(up.said()) and up.flow("tables"), "everything")
    process.send_signal(number)
    process.wait(12)
    wait_until(lambda: not up.processes(), "nothing to be left over")


def test_one_that_is_killed_while_it_starts_leaves_nothing_either(up: Up) -> None:
    process = up.start("--flow", "tables")
    up.wait_until(lambda: up.health().get("tables", {}).get("pid"), "the first process")
    process.kill()
    process.wait(SECONDS)
    wait_until(lambda: not up.processes(), "nothing to be left over")


def test_a_process_that_does_not_stop_is_ended(up: Up) -> None:
    process = up.start("--flow", "tables", "--no-server")
    up.wait_until(lambda: up.flow("tables"), "the flow")
    engine = up.flow("tables")
    assert engine is not None
    engine.suspend()  # it neither goes on nor hears that it shall stop
    process.send_signal(signal.SIGINT)
    assert process.wait(12) == 0
    assert up.processes() == []


def test_whoever_listened_may_leave(up: Up) -> None:
    reading, writing = os.pipe()
    process = up.start("--flow", "tables", "--no-server", stdout=writing)
    os.close(writing)
    with open(reading, "rb") as listened:
        assert listened.readline().startswith(b"headrace up: tables")
    up.wait_until(lambda: up.flow("tables"), "the flow")
    up.wait_until(up.is_taken_in, "it to go on unheard")
    process.send_signal(signal.SIGINT)
    assert process.wait(12) == 0


def test_what_follows_nothing_but_a_stream_says_so(up: Up) -> None:
    up.more = {"HEADRACE_KNOWLEDGE__FOLDERS": "[]", "HEADRACE_KNOWLEDGE__STREAMS": '["documents"]'}
    process = up.start("--flow", "knowledge", "--no-server")
    told = "no folder is named in headrace.toml: knowledge follows the stream documents only"
    up.wait_until(lambda: told in up.said(), "it to be said")
    process.send_signal(signal.SIGINT)
    assert process.wait(12) == 0


def test_a_data_folder_that_is_a_file_is_told_with_the_remedy(up: Up) -> None:
    up.data = up.home / "file"
    up.data.touch()
    assert up.start("--flow", "tables").wait(SECONDS) == 1
    assert up.said() == (
        f"headrace: the data folder {up.data} is a file (correct HEADRACE_DATA_DIR, or data_dir in headrace.toml)\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--flow", "tabels"], "there is no flow 'tabels'"),
        (["--flow", "tables", "--port", "99999"], "Invalid value for '--port'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_started(up: Up, arguments: list[str], said: str) -> None:
    process = up.start(*arguments)
    assert process.wait(SECONDS) != 0
    assert said in up.said()
    assert not (up.data / "logs").exists()
