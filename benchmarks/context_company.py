"""The stores of the travel company whose contexts are measured, made once in a folder, and found there again.

Rows and persons come to their stores through their flows, from a log; documents through the writer of their store.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.context_data import CUSTOMERS, MANUALS, OPERATIONS, Sizes, customers, documents, operations
from benchmarks.context_settings import COMPANY
from benchmarks.tables_watch import failed, start
from events.clock import system_clock
from events.errors import HeadraceError
from events.log import LogRecord, Mark
from stores.embedders.choose import Backend, choose_embedder
from stores.log.files import FileLog
from stores.settings import VectorSettings
from stores.vectors.lance_folder import connect, read_store
from stores.vectors.lance_writer import LanceWriter

_PARTITIONS = 4
_APPEND = 5_000
_DOCUMENTS = 500
"""Documents in one commit."""
_RUN_SECONDS = 3_600.0
_INDEX_SECONDS = 900.0

_encode = msgspec.json.encode


class Company:
    """The stores in a folder, made once.

    :arg home: The folder: settings, log and data.
    """

    def __init__(self, home: Path, sizes: Sizes, backend: Backend = "auto", seed: int = 7) -> None:
        self.home = home
        self.sizes = sizes
        self.backend = backend
        self._seed = seed

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.home / "data"

    @property
    def variables(self) -> dict[str, str]:
        """Variables of everything that runs on it."""
        return {
            "HEADRACE_CONFIG": str(self.home / "headrace.toml"),
            "HEADRACE_DATA_DIR": str(self.data),
            "HEADRACE_LOG__DIR": str(self.home / "log"),
        }

    def is_made(self) -> bool:
        """Tell whether the stores are there, of these sizes."""
        written = self.home / "made.json"
        return written.is_file() and json.loads(written.read_bytes()) == self._made()

    def make(self) -> dict[str, float]:
        """Make all stores; return the seconds of each.

        :raises HeadraceError: When a flow fails, or something else is in the folder.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        if any(self.home.iterdir()):
            detail = f"{self.home} holds something else than stores of this scale"
            raise HeadraceError(detail, "name another folder by --data, or remove it")
        (self.home / "manuals").mkdir()
        settings = COMPANY.format(backend=self.backend, home=self.home)
        (self.home / "headrace.toml").write_text(settings, encoding="utf-8")
        log = FileLog(self.home / "log", partitions=_PARTITIONS)
        taken = {
            "rows": _timed(lambda: self._replay("tables", log, OPERATIONS, operations(self.sizes, self._seed))),
            "persons": _timed(lambda: self._replay("profiles", log, CUSTOMERS, customers(self.sizes, self._seed))),
            "documents": _timed(self._documents),
        }
        (self.home / "made.json").write_bytes(_encode(self._made()))
        return taken

    def _made(self) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(_encode({"sizes": self.sizes, "seed": self._seed, "backend": self.backend}))
        return made

    def _replay(self, flow: str, log: FileLog, stream: str, events: Iterable[LogRecord]) -> None:
        left = iter(events)
        while batch := list(itertools.islice(left, _APPEND)):
            log.append(stream, batch)
        command = [sys.executable, "-m", "bytewax.run", f"dataflows.{flow}", "-s", "1"]
        process = start(command, self.data, {**self.variables, "HEADRACE_MODE": "replay"})
        try:
            code = process.wait(_RUN_SECONDS)
        finally:
            process.kill()
            process.wait()
        if code:
            name = f"the {flow} flow"
            raise failed(name, self.data)

    def _documents(self) -> None:
        model = choose_embedder(self.backend).model
        left = documents(self.sizes, self._seed)
        with LanceWriter(self.data / "vectors", model, embed=_nothing, clock=system_clock) as writer:
            while batch := list(itertools.islice(left, _DOCUMENTS)):
                writer.write(batch)
            now = system_clock()
            writer.write([], [Mark(MANUALS, "0", self.sizes.documents + 1, now, now, caught_up=True)])
            self._wait_for_index()

    def _wait_for_index(self) -> None:
        """Wait until maintenance has indexed all vectors, where they are enough for an index."""
        folder = self.data / "vectors"
        store = read_store(folder)
        assert store is not None
        table = connect(folder).open_table(store.table)
        deadline = time.monotonic() + _INDEX_SECONDS
        while self.sizes.chunks > VectorSettings().index_above:
            table.checkout_latest()
            found = [index for index in table.list_indices() if index.columns == ["vector"]]
            if found and not found[0].num_unindexed_rows:
                return
            if time.monotonic() > deadline:
                detail = "the vector index was not there in time"
                raise HeadraceError(detail, "try again on a quiet machine")
            time.sleep(0.5)


def _nothing(texts: Iterable[str]) -> list[bytes]:
    """Embed nothing: every vector is handed over."""
    assert not list(texts)
    return []


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
