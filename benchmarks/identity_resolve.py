"""Resolving alone, with its journal on disk: how fast, in how much memory, and how soon it is back after a restart.

Beside it the least that there is to do: NetworkX builds the graph of the final rows and looks for its components, once,
without limits, ids, splits, or anything on disk. Each run is a process of its own, so that memory is its own.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec
import networkx as nx
import psutil
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.identity_people import REALM, RULES, people, touched
from events.clock import system_clock
from events.persons import Links
from operators.identity.resolver import Resolver
from stores.journal.sqlite import SqliteJournal

BATCH = 1_000
BATCHES_AN_EPOCH = 10
HORIZON = 7 * 86_400_000
LATER = 20_000
"""Events of records that are there, measured after the first of each."""
MOVED = 0.2
"""Share of them that bring another identifier."""

T = TypeVar("T")


class Resolving(msgspec.Struct):
    """What one run measured.

    :arg first: Events a second, each of a record that was not there.
    :arg later: Events a second, each of one that was.
    :arg worst_close: The longest that closing an epoch took, in milliseconds.
    :arg bytes_each: Memory that a record takes.
    :arg disk_each: Bytes of a record in the journal.
    :arg resume: Seconds from a start to the graph being there.
    :arg batch: Seconds that NetworkX takes for all records.
    """

    records: int
    first: float
    later: float
    worst_close: float
    bytes_each: float
    disk_each: float
    resume: float
    batch: float

    @property
    def ratio(self) -> float:
        """How many times the time of the batch the first events take."""
        return self.records / self.first / self.batch


def measure_resolve(records: int, seed: int, home: Path | None = None) -> Resolving:
    """Measure with so many records."""
    with tempfile.TemporaryDirectory(dir=home) as folder:
        path = Path(folder) / "journal.sqlite3"
        first, later, worst, taken, sequence = _alone(_resolve, path, records, seed)
        disk = sum(file.stat().st_size for file in Path(folder).iterdir() if not file.name.endswith(("-wal", "-shm")))
        resume = _alone(_resume, path, sequence)
    batch = _alone(_batch, records, seed)
    return Resolving(records, first, later, worst, taken / records, disk / records, resume, batch)


def report_resolve(console: Console, found: list[Resolving]) -> None:
    """Print the figures of each size."""
    table = Table(title="Resolving alone, with its journal", box=SIMPLE_HEAD)
    for column in (
        "records",
        "first events/s",
        "later events/s",
        "networkx batch, records/s",
        "times the batch",
        "longest close ms",
        "bytes a record",
        "on disk",
        "resume s",
    ):
        table.add_column(column, justify="right")
    for one in found:
        table.add_row(
            f"{one.records:,}",
            f"{one.first:,.0f}",
            f"{one.later:,.0f}",
            f"{one.records / one.batch:,.0f}",
            f"{one.ratio:.1f}",
            f"{one.worst_close:.1f}",
            f"{one.bytes_each:,.0f}",
            f"{one.disk_each:,.0f}",
            f"{one.resume:.2f}",
        )
    console.print(table)
    console.print("the batch does the least: no limits, no ids, nothing kept, and all anew after each change\n")


def batches(items: Iterator[Links]) -> Iterator[list[Links]]:
    """Cut into batches as the flow's source does."""
    while batch := list(itertools.islice(items, BATCH)):
        yield batch


def _resolve(path: Path, records: int, seed: int) -> tuple[float, float, float, int, int]:
    journal = SqliteJournal(path, system_clock)
    resolver = Resolver(REALM, RULES, journal, extraction={"rows": "benchmark"}, horizon=HORIZON)
    resolver.start(None)
    before = _memory()
    sample: list[Links] = []
    step = max(1, records // LATER)
    spent, worst = 0.0, 0.0
    for number, batch in enumerate(batches(people(records, seed))):
        sample += batch[::step] if step < BATCH else batch[:1]
        spent += _timed(lambda batch=batch: resolver.take(batch))  # type: ignore[misc]  # bound in this round
        if number % BATCHES_AN_EPOCH == 0:
            took = _timed(resolver.close_epoch)
            spent, worst = spent + took, max(worst, took)
    taken = _memory() - before
    later, count = 0.0, 0
    for batch in batches(_later(sample, records, seed)):
        count += len(batch)
        later += _timed(lambda batch=batch: resolver.take(batch))  # type: ignore[misc]  # bound in this round
        took = _timed(resolver.close_epoch)
        later, worst = later + took, max(worst, took)
    sequence = resolver.close_epoch()
    resolver.close()
    return records / spent, count / later, 1_000 * worst, taken, sequence


def _later(sample: list[Links], records: int, seed: int) -> Iterator[Links]:
    chance = random.Random(seed)
    for number in range(LATER):
        links = chance.choice(sample)
        moved = (*links.identifiers[:2], (f"phone:+3518{number:08d}",))
        yield touched(links, records + number, moved if chance.random() < MOVED else None)


def _resume(path: Path, sequence: int) -> float:
    def start() -> None:
        journal = SqliteJournal(path, system_clock)
        Resolver(REALM, RULES, journal, extraction={"rows": "benchmark"}, horizon=HORIZON).start(sequence)

    return _timed(start)


def _batch(records: int, seed: int) -> float:
    graph: nx.Graph[str] = nx.Graph()
    spent = 0.0
    for batch in batches(people(records, seed)):
        rows = [(links.change.record, [one for said in links.identifiers for one in said or ()]) for links in batch]
        began = time.perf_counter()
        for record, identifiers in rows:
            graph.add_node(record)
            graph.add_edges_from((record, identifier) for identifier in identifiers)
        spent += time.perf_counter() - began
    return spent + _timed(lambda: sum(1 for _ in nx.connected_components(graph)))


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _memory() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def _alone(action: Callable[..., T], *arguments: object) -> T:
    """Return what `action` does in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(action, *arguments).result()
