"""What is taken in while many read: bookings and documents by their flows, flights with their fares by their intake.

What must agree is changed together; see `context_pairs.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from benchmarks.context_data import event
from benchmarks.context_settings import PAIRED
from benchmarks.tables_watch import failed, start
from events.changes import Change, Kind, Sighting
from events.clock import system_clock, to_iso
from events.errors import HeadraceError
from events.log import LogRecord, Mark
from stores.log.files import FileLog
from stores.rows.choose import open_row_writer
from stores.rows.intake import RowIntake
from stores.settings import Settings, load

FLIGHTS, PERSONS, BOOKINGS, DOCUMENTS, SECTIONS = 100, 50, 3, 20, 4
CUSTOMERS, OPERATIONS = "customers", "operations"
TICK, BOOKED, REWRITTEN = 0.05, 50, 2
"""Seconds between two turns of the feeding process, and how many bookings and documents it changes in each."""
COMMIT = 20
"""Flights that one commit changes."""
EPOCH_SECONDS = 1.0
_STREAM = 4
_KINDS: dict[str, Kind] = {"id": "int", "number": "text", "edition": "int", "changed": "text", "flight": "int"}


@contextlib.contextmanager
def taking_in(home: Path, seed: int) -> Iterator[Callable[[], int]]:
    """Take in everything, into stores in an empty folder, while the block lasts.

    Gives what returns how many commits of live tables there have been.

    :raises HeadraceError: When something of it has failed.
    """
    _prepare(home)
    context = multiprocessing.get_context("spawn")
    stop, commits = context.Event(), context.Value("q", 0)
    with contextlib.ExitStack() as stack:
        for flow in ("profiles", "knowledge"):
            stack.enter_context(_flow(flow, home / "data" / f"{flow}-said", variables(home)))
        feeder = context.Process(target=_feed, args=(home, stop, seed), daemon=True)
        writer = context.Process(target=_write_pairs, args=(variables(home), stop, commits, seed), daemon=True)
        for process in (feeder, writer):
            process.start()
            stack.callback(_end, process, stop)
        yield lambda: int(commits.value)
        if not all(process.is_alive() for process in (feeder, writer)):
            detail = "what was to be read was not written to the end"
            raise HeadraceError(detail, f"look at {home}")


def _prepare(home: Path) -> None:
    (home / "handbooks").mkdir(parents=True)
    (home / "drafts").mkdir()
    (home / "headrace.toml").write_text(PAIRED.format(home=home), encoding="utf-8")
    log = FileLog(home / "log", partitions=_STREAM)
    log.create(OPERATIONS, 1)
    rows = [
        event("customers", person, {"name": f"Traveller {person}", "email": email_of(person)}, 1 + person)
        for person in range(PERSONS)
    ]
    position = itertools.count(1 + PERSONS)
    rows += [_booking(number, 100, next(position)) for number in range(PERSONS * BOOKINGS)]
    log.append(CUSTOMERS, rows)
    for number in range(DOCUMENTS):
        _rewrite(home, number, 1)


def variables(home: Path) -> dict[str, str]:
    """Return the variables of everything that runs on the stores."""
    return {
        "HEADRACE_CONFIG": str(home / "headrace.toml"),
        "HEADRACE_DATA_DIR": str(home / "data"),
        "HEADRACE_LOG__DIR": str(home / "log"),
    }


@contextlib.contextmanager
def _flow(flow: str, folder: Path, variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    process = start([sys.executable, "-m", "bytewax.run", f"dataflows.{flow}", "-s", "1"], folder, variables)
    try:
        yield process
        if process.poll() is not None:
            name = f"the {flow} flow"
            raise failed(name, folder)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end(process: BaseProcess, stop: Event) -> None:
    stop.set()
    process.join(20)
    if process.is_alive():
        process.kill()


def email_of(person: int) -> str:
    """Return the address of a customer."""
    return f"traveller.{person}@mail.example"


def _booking(number: int, price: int, position: int) -> LogRecord:
    row = {"customer": number // BOOKINGS, "price": price, "status": "booked"}
    return event("bookings", number, row, position, system_clock())


def _rewrite(home: Path, number: int, edition: int) -> None:
    """Put another edition into the place of a document, at once."""
    sections = [
        f"## Part {part} of handbook {number}\n\nThis is handbook {number} on cabin baggage and refunds, part {part}, "
        f"edition {edition}. Baggage of handbook {number} may be carried along as part {part} allows.\n"
        for part in range(SECTIONS)
    ]
    draft = home / "drafts" / f"{number}.md"
    draft.write_text(f"# Handbook {number}\n\n" + "\n".join(sections), encoding="utf-8")
    os.replace(draft, home / "handbooks" / f"handbook-{number}.md")


def _feed(home: Path, stop: Event, seed: int) -> None:
    """Change bookings on the log, and documents in their folder, turn after turn."""
    chance = random.Random(seed)
    log = FileLog(home / "log", partitions=_STREAM)
    position = itertools.count(1_000_000)
    editions = [1] * DOCUMENTS
    while not stop.wait(TICK):
        numbers = [chance.randrange(PERSONS * BOOKINGS) for _ in range(BOOKED)]
        log.append(CUSTOMERS, [_booking(number, chance.randrange(10, 1_000), next(position)) for number in numbers])
        for number in chance.sample(range(DOCUMENTS), REWRITTEN):
            editions[number] += 1
            _rewrite(home, number, editions[number])
    log.close()


def _write_pairs(variables: dict[str, str], stop: Event, commits: Any, seed: int) -> None:
    """Change flights together with their fares, commit after commit."""
    os.environ.update(variables)
    settings = load()
    chance = random.Random(seed)
    writer = open_row_writer(settings, system_clock)
    intake = RowIntake(writer, settings.tables, system_clock, lambda hold: None)
    commit = _Commits(intake, settings)
    commit.write(range(FLIGHTS))
    closed = 0.0
    while not stop.is_set():
        if time.monotonic() - closed > EPOCH_SECONDS:
            commit.close_epoch()
            closed = time.monotonic()
        commit.write(chance.sample(range(FLIGHTS), COMMIT))
        commits.value += 1
    intake.close()


class _Commits:
    """Commits of flights and fares, each of one edition."""

    def __init__(self, intake: RowIntake, settings: Settings) -> None:
        self._intake = intake
        self._edition = 0
        self._source = settings.tables.streams[0].name

    def write(self, flights: Iterable[int]) -> None:
        """Change these flights and their fares in one commit."""
        self._edition += 1
        at = system_clock()
        both = {"edition": self._edition, "changed": to_iso(at)}
        changes = [
            self._change(table, number, {"id": number, **told, **both}, at)
            for number in flights
            for table, told in (("flights", {"number": f"CV{number:04d}"}), ("fares", {"flight": number}))
        ]
        seen = {column: kind for column, kind in _KINDS.items() if column not in {"number", "flight"}}
        told_of = {"flights": {**seen, "number": "text"}, "fares": {**seen, "flight": "int"}}
        sightings = [
            Sighting(self._source, table, {(column, kind): (at, at) for column, kind in of.items()}, at, at)
            for table, of in told_of.items()
        ]
        self._intake.write([*sightings, *changes])

    def close_epoch(self) -> None:
        """Say that everything up to here is in."""
        now = system_clock()
        self._intake.close_epoch([Mark(OPERATIONS, "0", self._edition, now, now, caught_up=True)])

    def _change(self, table: str, number: int, row: dict[str, Any], at: int) -> Change:
        key, position = f'{{"id":{number}}}', (0, self._edition)
        return Change(self._source, table, key, "update", None, row, at, position, stream=OPERATIONS)
