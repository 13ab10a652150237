"""Many readers while everything is taken in at full speed: no error, nothing torn, no growth of memory.

The profiles flow and the knowledge flow run live, fed by a process that books and rewrites documents. Live tables are
written by their intake, as their flow drives it, one commit after the other: what two events bring, flows may put into
two commits. The server is asked by readers that each ask again as soon as they have their answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import psutil

from benchmarks.context_company import event
from benchmarks.context_pairs import Seen
from benchmarks.context_server import Ask, Server
from benchmarks.tables_watch import failed, start
from events.changes import Change, Kind, Sighting
from events.clock import system_clock, to_iso
from events.errors import HeadraceError
from events.log import Mark
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
READY_SECONDS = 120.0
_STREAM = 4
_KINDS: dict[str, Kind] = {"id": "int", "number": "text", "edition": "int", "changed": "text", "flight": "int"}

SETTINGS = """
[embedding]
backend = "hashing"

[[knowledge.folders]]
name = "handbooks"
path = "{home}/handbooks"

[[tables.streams]]
name = "operations"
format = "headrace"

[[tables.live]]
name = "flights"
table = "flights"
index = ["number"]

[[tables.live]]
name = "fares"
table = "fares"
index = ["flight"]

[[profiles.streams]]
name = "customers"
format = "headrace"

[[profiles.tables]]
name = "customers"
table = "customers"
identifiers = {{ email = ["email"] }}

[[profiles.tables]]
name = "bookings"
table = "bookings"
references = "customers"
by = {{ customer = "id" }}
open = {{ status = ["booked"] }}
sums = ["price"]

[serving]
requests_per_minute = 1000000

[serving.context]
budget_tokens = 4000

[[serving.entities]]
name = "flight"
pattern = 'CV\\d{{4}}'

[[serving.lookups]]
name = "flights"
table = "flights"
where = {{ number = "flight" }}

[[serving.lookups]]
name = "fares"
table = "fares"
where = {{ flight = "flights.id" }}
"""


class Readings(msgspec.Struct):
    """What the readers met.

    :arg answers: How many each reader got.
    :arg millis: Of each answer, by what was asked.
    :arg told_to_wait: Requests that were refused for the moment (429, 503), with `Retry-After`.
    :arg errors: Everything else that was no answer.
    :arg torn: What did not agree.
    :arg implausible: Times that cannot be true.
    :arg compared: How often there was something to compare, by kind.
    :arg memory: Resident memory of the server, in bytes, a few times a second.
    :arg commits: Of the live tables.
    """

    answers: list[int]
    millis: dict[str, list[float]]
    told_to_wait: int
    errors: list[str]
    torn: list[str]
    implausible: list[str]
    compared: dict[str, int]
    memory: list[int]
    commits: int

    @property
    def growth(self) -> float:
        """By which share the server's memory has grown since the first third was over."""
        later = self.memory[len(self.memory) // 3 :]
        part = max(1, len(later) // 4)
        return float(np.median(later[-part:]) / np.median(later[:part])) - 1.0


def measure_readers(home: Path, readers: int, seconds: float, seed: int = 7) -> Readings:
    """Run everything in `home`, an empty folder, and let the readers read.

    :raises HeadraceError: When a flow or the server fails.
    """
    _prepare(home)
    variables = _variables(home)
    data = home / "data"
    context = multiprocessing.get_context("spawn")
    stop, commits = context.Event(), context.Value("q", 0)
    with contextlib.ExitStack() as stack:
        for flow in ("profiles", "knowledge"):
            stack.enter_context(_flow(flow, data / f"{flow}-said", variables))
        feeder = context.Process(target=_feed, args=(home, stop, seed), daemon=True)
        writer = context.Process(target=_write_pairs, args=(variables, stop, commits, seed), daemon=True)
        for process in (feeder, writer):
            process.start()
            stack.callback(_end, process, stop)
        server = stack.enter_context(Server(variables, data))
        tokens = _await_ready(server)
        readings = asyncio.run(_read(server, tokens, readers, seconds, seed))
        if not all(process.is_alive() for process in (feeder, writer)):
            detail = "what was to be read was not written to the end"
            raise HeadraceError(detail, f"look at {data}")
    readings.commits = commits.value
    return readings


def _prepare(home: Path) -> None:
    (home / "handbooks").mkdir(parents=True)
    (home / "drafts").mkdir()
    (home / "headrace.toml").write_text(SETTINGS.format(home=home), encoding="utf-8")
    log = FileLog(home / "log", partitions=_STREAM)
    log.create(OPERATIONS, 1)
    rows = [
        event("customers", person, {"name": f"Traveller {person}", "email": _email(person)}, 1 + person)
        for person in range(PERSONS)
    ]
    position = itertools.count(1 + PERSONS)
    rows += [_booking(number, 100, next(position)) for number in range(PERSONS * BOOKINGS)]
    log.append(CUSTOMERS, rows)
    for number in range(DOCUMENTS):
        _rewrite(home, number, 1)


def _variables(home: Path) -> dict[str, str]:
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


def _email(person: int) -> str:
    return f"traveller.{person}@mail.example"


def _booking(number: int, price: int, position: int) -> Any:
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

    def write(self, flights: Any) -> None:
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


def _await_ready(server: Server) -> list[str]:
    """Wait until there is something of everything; return tokens of all persons."""
    deadline = time.monotonic() + READY_SECONDS
    asker = server.asker()
    try:
        while time.monotonic() < deadline:
            found = [asker.ask(Ask("POST", "/tokens", {"person": _email(person)})) for person in range(PERSONS)]
            if all(answered.status == httpx.codes.OK for answered in found):
                context = asker.read(_context(1, ""))
                profile = asker.ask(Ask("GET", "/profiles/me", None, json.loads(found[0].body)["token"]))
                kinds = {item["kind"] for item in context["items"]}
                if {"row", "chunk"} <= kinds and b'"open_count":3' in profile.body:
                    return [json.loads(answered.body)["token"] for answered in found]
            time.sleep(0.2)
    finally:
        asker.close()
    detail = f"there was not something of everything within {READY_SECONDS:.0f} s"
    raise HeadraceError(detail, "try again on a quiet machine")


def _context(number: int, person: str) -> Ask:
    handbook = number % DOCUMENTS
    question = f"What does flight CV{number:04d} cost, and what does handbook {handbook} say of baggage?"
    return Ask("POST", "/context", {"question": question, "peek": number % 2 == 0}, person)


def _asks(chance: random.Random, tokens: list[str]) -> Iterator[tuple[str, Ask]]:
    """Yield what a reader asks, mostly contexts."""
    while True:
        number, person = chance.randrange(FLIGHTS), chance.choice(tokens)
        kind = chance.choices(("/context", "/profiles/me", "/tables"), (6, 3, 1))[0]
        if kind == "/context":
            yield kind, _context(number, person)
        elif kind == "/profiles/me":
            yield kind, Ask("GET", kind, None, person)
        else:
            yield kind, Ask("GET", f"/tables/{chance.choice(('flights', 'fares'))}?where=edition%3E{number}&limit=20")


async def _read(server: Server, tokens: list[str], readers: int, seconds: float, seed: int) -> Readings:
    found = Readings([0] * readers, {}, 0, [], [], [], {}, [], 0)
    deadline = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=readers, max_keepalive_connections=readers)
    headers = {"Authorization": f"Bearer {server.key}"}
    base = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=base, headers=headers, limits=limits, timeout=60, trust_env=False) as http:
        watching = asyncio.create_task(_watch(server, found.memory))
        reading = [
            _reader(http, number, _asks(random.Random(seed * 10_000 + number), tokens), found, deadline)
            for number in range(readers)
        ]
        all_seen = await asyncio.gather(*reading)
        watching.cancel()
    for seen in all_seen:
        found.torn += seen.torn
        found.implausible += seen.implausible
        for kind, count in seen.compared.items():
            found.compared[kind] = found.compared.get(kind, 0) + count
    return found


async def _reader(
    http: httpx.AsyncClient, number: int, asks: Iterator[tuple[str, Ask]], found: Readings, deadline: float
) -> Seen:
    seen = Seen()
    for kind, ask in asks:
        if time.monotonic() >= deadline:
            break
        headers = {"Headrace-Person": ask.person} if ask.person else {}
        asked, began = system_clock(), time.perf_counter()
        try:
            answer = await http.request(ask.method, ask.path, json=ask.body, headers=headers)
        except httpx.HTTPError as error:
            found.errors.append(f"{kind}: {error!r}")
            continue
        if answer.status_code in {429, 503} and "Retry-After" in answer.headers:
            found.told_to_wait += 1
            await asyncio.sleep(float(answer.headers["Retry-After"]))
            continue
        if answer.status_code != httpx.codes.OK:
            found.errors.append(f"{kind}: {answer.status_code} {answer.text[:300]}")
            continue
        found.millis.setdefault(kind, []).append(1_000 * (time.perf_counter() - began))
        found.answers[number] += 1
        _check(seen, kind, answer.json(), asked)
    return seen


def _check(seen: Seen, kind: str, answer: dict[str, Any], asked: int) -> None:
    if kind == "/context":
        seen.context(answer, asked, system_clock())
    elif kind == "/profiles/me":
        seen.profile(answer)
    else:
        seen.rows(answer["table"], answer["rows"])


async def _watch(server: Server, memory: list[int]) -> None:
    process = psutil.Process(server.pid)
    while True:
        memory.append(process.memory_info().rss)
        await asyncio.sleep(0.25)
