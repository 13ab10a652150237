"""From saving an edit to finding it: Headrace and CocoIndex on the same files, in the same run.

    python -m benchmarks.freshness [--files 500] [--edits 60] [--embedder hash|model|both] [--only headrace|cocoindex]

Each system runs in a process of its own over a fresh copy of the same Markdown files and keeps a LanceDB table. This
process saves an edit, then looks at that table, each time as it is on disk, until a row holds the word that only this
edit brought. Saving is within the time, as is the look that finds it. Both systems meet the same files, edits, pauses,
way of saving and way of looking. They take turns in blocks, never both at once, and each block starts from nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata, util
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.corpus import MARK, Corpus, Edit
from benchmarks.peers import environment
from events.errors import HeadraceError

ROOT = Path(__file__).resolve().parents[1]
POLL = 0.002
INDEX_SECONDS = 900.0
EDIT_SECONDS = 30.0
QUIET_SECONDS = 1.0
PAUSE = (0.1, 0.3)


class Block(msgspec.Struct):
    """What one block measured: seconds to the complete first index, milliseconds of each edit in turn."""

    system: str
    embedder: str
    first_index: float
    chunks: int
    millis: list[float]


class System(ABC):
    """One of the measured systems: how it is started and where its table is."""

    name: str
    searchable: str
    """SQL condition of the rows that a search considers."""

    @abstractmethod
    def command(self, folder: Path, data: Path, embedder: str) -> tuple[list[str], dict[str, str]]:
        """Return the command line and the variables of a process that keeps `folder` indexed below `data`."""

    @abstractmethod
    def table(self, data: Path) -> tuple[Path, str] | None:
        """Return the database and the name of the table in it; None while there is none."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return what was measured, by package."""


class Headrace(System):
    """The knowledge flow, with its own defaults.

    :arg backend: Its embedding backend where the model is measured.
    """

    name = "headrace"
    searchable = "kind = 'chunk'"

    def __init__(self, backend: str) -> None:
        self._backend = backend

    def command(self, folder: Path, data: Path, embedder: str) -> tuple[list[str], dict[str, str]]:
        variables = {
            "HEADRACE_DATA_DIR": str(data),
            "HEADRACE_KNOWLEDGE__FOLDERS": json.dumps([{"name": "bench", "path": str(folder)}]),
            "HEADRACE_KNOWLEDGE__STREAMS": "[]",
            "HEADRACE_EMBEDDING__BACKEND": "hashing" if embedder == "hash" else self._backend,
        }
        return [sys.executable, "-m", "bytewax.run", "dataflows.knowledge"], variables

    def table(self, data: Path) -> tuple[Path, str] | None:
        database = data / "vectors"
        try:
            name = json.loads((database / "store.json").read_text(encoding="utf-8"))["table"]
        except FileNotFoundError:
            return None
        return (database, name) if (database / f"{name}.lance").is_dir() else None

    def versions(self) -> dict[str, str]:
        packages = ["headrace", "bytewax", "lancedb"]
        openvino = self._backend == "openvino" or (self._backend == "auto" and util.find_spec("openvino"))
        packages.append("openvino" if openvino else "sentence-transformers")
        return {name: metadata.version(name) for name in packages}


class CocoIndex(System):
    """The peer, as `peers/cocoindex_app.py` has it."""

    name = "cocoindex"
    searchable = "true"

    def __init__(self) -> None:
        self._python = environment.python()

    def command(self, folder: Path, data: Path, embedder: str) -> tuple[list[str], dict[str, str]]:
        app = ROOT / "benchmarks" / "peers" / "cocoindex_app.py"
        return [str(self._python), str(app), str(folder), str(data), "--embedder", embedder], environment.VARIABLES

    def table(self, data: Path) -> tuple[Path, str] | None:
        return (data / "lancedb", "chunks") if (data / "lancedb" / "chunks.lance").is_dir() else None

    def versions(self) -> dict[str, str]:
        return environment.versions(self._python, "cocoindex", "lancedb", "sentence-transformers", "torch")


class Look:
    """The newest commit of a table that another process writes. A commit that was looked at is not looked at again.

    :arg searchable: SQL condition of the rows that count.
    """

    def __init__(self, database: Path, table: str, searchable: str) -> None:
        import lancedb

        self._table: Any = lancedb.connect(str(database)).open_table(table)
        self._searchable = searchable
        self._version = -1

    def anew(self) -> bool:
        """Go to the newest commit; return whether it is another one than before."""
        self._table.checkout_latest()
        before, self._version = self._version, int(self._table.version)
        return self._version != before

    def count(self, word: str = "") -> int:
        """Return how many rows have `word` in their text, in the commit gone to."""
        return int(self._table.count_rows(f"({self._searchable}) AND text LIKE '%{word}%'"))


@contextmanager
def running(system: System, folder: Path, data: Path, embedder: str) -> Iterator[Callable[[], None]]:
    """Run the system's process; what it yields raises HeadraceError with the process's last line if it has ended."""
    command, variables = system.command(folder, data, embedder)
    # Neither the reader's own settings nor a headrace.toml where this was started have a say.
    ambient = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    said = data.parent / "output.txt"
    with said.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=data.parent,
            env={**ambient, "PYTHONPATH": str(ROOT), **variables},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def alive() -> None:
        if process.poll() is not None:
            lines = said.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
            detail = f"{system.name} ended with {process.returncode}: {last.strip()}"
            raise HeadraceError(detail, f"run it by hand: {' '.join(command)}")

    try:
        yield alive
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children, politely first."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def until(condition: Callable[[], bool], alive: Callable[[], None], seconds: float, every: float, what: str) -> None:
    """Return as soon as `condition` holds, asked every `every` seconds.

    :raises HeadraceError: When the process ends or the time is over before.
    """
    deadline = time.perf_counter() + seconds
    while not condition():
        alive()
        if time.perf_counter() > deadline:
            detail = f"{what} took longer than {seconds:.0f} s"
            raise HeadraceError(detail, "measure on a quiet machine, or fewer --files")
        time.sleep(every)


def save(folder: Path, edit: Edit, how: str) -> None:
    """Save the edit as an editor would.

    `swap` moves a finished file in from outside of the folder, `beside` from a hidden one next to it, `write`
    empties the file and fills it again.
    """
    target = folder / edit.path
    if how == "write":
        target.write_text(edit.content, encoding="utf-8", newline="\n")
        return
    draft = folder.parent / "draft" if how == "swap" else target.with_name(f".{target.name}.tmp")
    draft.write_text(edit.content, encoding="utf-8", newline="\n")
    os.replace(draft, target)


def measure(system: System, embedder: str, options: argparse.Namespace, number: int, edits: int) -> Block:
    """Run block `number` of a system: first index, then its edits one by one."""
    corpus = Corpus(options.files, seed=options.seed + number)
    pauses = random.Random(options.seed + number)
    home = Path(tempfile.mkdtemp(prefix=f"freshness-{system.name}-"))
    folder, data = home / "documents", home / "data"
    data.mkdir()
    corpus.write(folder)
    try:
        begin = time.perf_counter()
        with running(system, folder, data, embedder) as alive:
            until(lambda: system.table(data) is not None, alive, INDEX_SECONDS, 0.02, f"{system.name}'s start")
            where = system.table(data)
            assert where is not None
            look = Look(*where, system.searchable)

            def complete() -> bool:
                return look.anew() and look.count(MARK) >= options.files

            until(complete, alive, INDEX_SECONDS, 0.02, f"{system.name}'s first index")
            first_index = time.perf_counter() - begin
            _quieten(look, alive)
            block = Block(system.name, embedder, first_index, look.count(), [])
            for edit in corpus.edits(edits):
                time.sleep(pauses.uniform(*PAUSE))
                block.millis.append(_time(edit, folder, look, alive, options.save))
            return block
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _quieten(look: Look, alive: Callable[[], None]) -> None:
    """Wait until the table has not changed for a while: what follows the first index is not the edits' to pay."""
    since = time.perf_counter()

    def quiet() -> bool:
        nonlocal since
        if look.anew():
            since = time.perf_counter()
        return time.perf_counter() - since > QUIET_SECONDS

    until(quiet, alive, INDEX_SECONDS, 0.02, "coming to rest after the first index")


def _time(edit: Edit, folder: Path, look: Look, alive: Callable[[], None], how: str) -> float:
    begin = time.perf_counter()
    save(folder, edit, how)
    until(lambda: look.anew() and look.count(edit.token) > 0, alive, EDIT_SECONDS, POLL, f"the edit {edit.token}")
    return (time.perf_counter() - begin) * 1000


def report(console: Console, blocks: list[Block], systems: list[System], options: argparse.Namespace) -> None:
    """Print what was measured."""
    title = f"edit → searchable: {options.files} files, {options.edits} edits each, saved by {options.save}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for heading in ("embedder", "system"):
        table.add_column(heading, no_wrap=True)
    for heading in ("p50 ms", "p90 ms", "max ms", "ratio", "first index s", "chunks"):
        table.add_column(heading, justify="right", no_wrap=True)
    for embedder in dict.fromkeys(block.embedder for block in blocks):
        ours = [block for block in blocks if block.embedder == embedder]
        base = None
        for system in systems:
            mine = [block for block in ours if block.system == system.name]
            millis = np.concatenate([block.millis for block in mine])
            half, most = np.percentile(millis, [50, 90])
            base = base or half
            table.add_row(
                embedder,
                system.name,
                f"{half:.0f}",
                f"{most:.0f}",
                f"{millis.max():.0f}",
                f"{half / base:.2f}",
                f"{np.mean([block.first_index for block in mine]):.1f}",
                f"{np.mean([block.chunks for block in mine]):.0f}",
            )
    console.print(table)
    for system in systems:
        console.print(system.name, ", ".join(f"{name} {version}" for name, version in system.versions().items()))
    console.print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.platform()}")


def main() -> None:
    parser = argparse.ArgumentParser(description="From saving an edit to finding it.")
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--edits", type=int, default=60, help="of each system with each embedder")
    parser.add_argument("--embedder", choices=("hash", "model", "both"), default="both")
    parser.add_argument("--only", choices=("headrace", "cocoindex"))
    parser.add_argument("--blocks", type=int, default=2, help="turns that the systems take")
    parser.add_argument("--save", choices=("swap", "beside", "write"), default="swap")
    parser.add_argument("--backend", choices=("auto", "openvino", "sentence-transformers"), default="auto")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="file for every single number, one JSON line a block")
    options = parser.parse_args()
    # Whoever ends this process, by `timeout` for one, ends the measured one with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(width=max(Console().width, 100))  # a pipe is no reason to cut the table
    try:
        systems: list[System] = []
        if options.only != "cocoindex":
            systems.append(Headrace(options.backend))
        if options.only != "headrace":
            systems.append(CocoIndex())
        blocks: list[Block] = []
        for embedder in ("hash", "model") if options.embedder == "both" else (options.embedder,):
            for number in range(options.blocks):
                edits = len(range(number, options.edits, options.blocks))
                for system in systems if number % 2 == 0 else reversed(systems):
                    console.print(f"{embedder}, block {number + 1} of {options.blocks}: {system.name} …", style="dim")
                    blocks.append(measure(system, embedder, options, number, edits))
    except HeadraceError as error:
        console.print(str(error), style="red", markup=False)
        raise SystemExit(1) from None
    report(console, blocks, systems, options)
    if options.out:
        options.out.write_text("".join(msgspec.json.encode(block).decode() + "\n" for block in blocks))


if __name__ == "__main__":
    main()
