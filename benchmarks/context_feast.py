"""The look-up of a person beside Feast's online read: in process and over HTTP, in the same run, as many of each.

Feast gets as many customers with eight features each, on SQLite as we do, in an environment of its own
(`peers/feast_lookup.py`). Its answer has the values; ours also where each is from, as of when and how old it is, what
else was said, and bookings.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from benchmarks.context_company import Company
from benchmarks.context_data import email_of
from benchmarks.context_latency import ASKERS, Measured, percentiles
from benchmarks.context_server import Ask, Asker, ask_all
from benchmarks.peers.environment import FOLDER, VARIABLES, python
from events.errors import HeadraceError
from stores.profiles.sqlite_reader import SqliteProfileReader

ENVIRONMENT = FOLDER.with_name(".venv-peers-feast")
REQUIREMENTS = ("feast==0.67.0",)
SCRIPT = Path(__file__).resolve().parent / "peers" / "feast_lookup.py"
REALM = "default"
FEATURES = ("name", "email", "phone", "city", "points", "tier", "bookings", "spent")
_WARM = 50
_SECONDS = 1_800.0
_START_SECONDS = 120.0
_OWN = {**VARIABLES, "FEAST_USAGE": "False"}


class Feast:
    """Feast with a filled online store in a folder.

    :arg folder: Kept for the next run if it is of the same size.
    """

    def __init__(self, folder: Path, entities: int, seed: int = 7) -> None:
        self._folder = folder
        self._entities = entities
        self._seed = seed
        self._python = python(ENVIRONMENT, REQUIREMENTS)

    def make(self) -> str:
        """Fill the store if it is not; return Feast's version."""
        written = self._folder / "made.json"
        wanted = {"entities": self._entities, "seed": self._seed, "requirements": list(REQUIREMENTS)}
        if not written.is_file() or json.loads(written.read_bytes())["wanted"] != wanted:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            made = json.loads(self._run("make", self._entities, self._seed))
            written.write_bytes(msgspec.json.encode({"wanted": wanted, **made}))
        return str(json.loads(written.read_bytes())["feast"])

    def in_process(self, count: int) -> Measured:
        """Measure `get_online_features` of one customer."""
        millis = json.loads(self._run("ask", self._entities, self._seed, count))
        return Measured("Feast, in process", 1, percentiles(millis))

    def over_http(self, count: int) -> list[Measured]:
        """Measure the same by its feature server."""
        chance = random.Random(self._seed)
        features = [f"customers:{name}" for name in FEATURES]
        asks = [
            Ask(
                "POST",
                "/get-online-features",
                {"features": features, "entities": {"customer": [chance.randrange(self._entities)]}},
            )
            for _ in range(count)
        ]
        with self._serving() as port:
            ask_all(port, "", asks[:_WARM], 1)
            return [
                Measured("Feast's feature server", askers, percentiles(ask_all(port, "", asks, askers)))
                for askers in ASKERS
            ]

    def _run(self, *arguments: str | int) -> str:
        command = [str(self._python), str(SCRIPT), str(self._folder), *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=self._folder,
            env={**os.environ, **_OWN},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            detail = f"Feast failed: {lines[-1] if lines else done.returncode}"
            raise HeadraceError(detail, "measure without --parts feast")
        return done.stdout.splitlines()[-1]

    @contextmanager
    def _serving(self) -> Iterator[int]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        # Restarting its process after a thousand requests, as it does by itself, would be measured as well.
        command = [str(self._python), "-m", "feast.cli.cli", "serve", "--no-access-log", "-p", str(port)]
        command += ["--max-requests", "0"]
        with (self._folder / "serve.txt").open("wb") as output:
            process = subprocess.Popen(
                command, cwd=self._folder, env={**os.environ, **_OWN}, stdout=output, stderr=output
            )
        try:
            self._wait(process, port)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _wait(self, process: subprocess.Popen[bytes], port: int) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            asker = Asker(port)
            try:
                asker.ask(Ask("GET", "/health"))
                return
            except OSError:
                time.sleep(0.2)
            finally:
                asker.close()
        detail = "Feast's feature server did not start"
        raise HeadraceError(detail, f"see {self._folder / 'serve.txt'}")


def ours_in_process(company: Company, count: int, seed: int) -> Measured:
    """Measure the same of ours: a customer by address, then the profile."""
    reader = SqliteProfileReader(company.data / "profiles.sqlite3")
    chance = random.Random(seed)
    millis = []
    for number in range(count + _WARM):
        person = chance.randrange(company.sizes.persons)
        began = time.perf_counter()
        [holder, *_] = reader.holders(REALM, f"email:{email_of(person)}", 2)
        profile = reader.profile(holder.person)
        passed = 1_000 * (time.perf_counter() - began)
        assert profile is not None
        if number >= _WARM:
            millis.append(passed)
    reader.close()
    return Measured("the profile, in process", 1, percentiles(millis))
