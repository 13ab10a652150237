"""All flows and the server over the recorded company, by `headrace up`, in a folder of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from fixtures.corpus import ROOT
from stores.settings import Settings, load
from tests.integration.live import wait_until

STREAMS = ROOT / "streams"
DOCUMENTS = ROOT / "documents"
RECORDED = ("operations", "crm", "shop", "loyalty", "desk", "feedback")
SOURCE = "corrivane"
_ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)/#key=(\S+)")


class Up(msgspec.Struct, frozen=True):
    """Everything, running.

    :arg url: The server's address.
    :arg key: The key of its page, which may do everything.
    """

    url: str
    key: str
    home: Path
    settings: Settings
    process: subprocess.Popen[bytes]

    @property
    def documents(self) -> Path:
        """The folder of documents that the knowledge flow follows."""
        return self.home / "documents"

    def http(self) -> httpx.Client:
        """Return a client that has the key."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30)


def variables(home: Path) -> dict[str, str]:
    """Return the variables of everything that runs in `home`."""
    folder = {"name": SOURCE, "path": str(home / "documents")}
    return {
        "HEADRACE_CONFIG": str(STREAMS / "headrace.toml"),
        "HEADRACE_DATA_DIR": str(home / "data"),
        "HEADRACE_KNOWLEDGE__FOLDERS": json.dumps([folder]),
        "HEADRACE_EMBEDDING__BACKEND": "hashing",
        "HEADRACE_SERVING__PORT": "0",
        "HEADRACE_FEEDBACK__WINDOWS": json.dumps(["1h"]),
    }


@contextmanager
def up(home: Path, streams: tuple[str, ...] = RECORDED, **more: str) -> Iterator[Up]:
    """Run everything while the block lasts; the streams are taken in when it begins."""
    shutil.copytree(DOCUMENTS, home / "documents")
    for stream in streams:
        shutil.copytree(STREAMS / stream, home / "data" / "log" / stream)
    given = {**variables(home), **more}
    environment = {**os.environ, **given, "NO_COLOR": "1", "COLUMNS": "200"}
    output = home / "up.log"
    with output.open("wb") as file:
        command = [sys.executable, "-m", "serving.cli", "up"]
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=file, stderr=file)
    try:
        wait_until(lambda: _ADDRESS.search(output.read_text()) or process.poll() is not None, "the page's address")
        found = _ADDRESS.search(output.read_text())
        assert found, output.read_text()
        running = Up(found[1], found[2], home, _settings(given), process)
        with running.http() as http:
            wait_until(lambda: _taken_in(http), f"all streams to be taken in; see {output}")
        yield running
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(30)
    assert code == 0, output.read_text()


def _settings(given: dict[str, str]) -> Settings:
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        return load()
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def _taken_in(http: httpx.Client) -> bool:
    try:
        answer = http.get("/freshness")
        ready = http.get("/health").json()["status"] == "ok"
    except httpx.TransportError:
        return False
    if answer.status_code != httpx.codes.OK:
        return False
    sources = answer.json()["sources"]
    flows = {source["flow"] for source in sources if source["caught_up"]}
    behind = [source for source in sources if not source["caught_up"]]
    return ready and not behind and {"knowledge", "tables", "profiles", "feedback", "lake"} <= flows
