"""Many readers while everything is taken in at full speed: no error, nothing torn, no growth of memory.

The profiles flow and the knowledge flow run live, fed by a process that books and rewrites documents. Live tables are
written by their intake, as their flow drives it, one commit after the other: what two events bring, flows may put into
two commits. The server is asked by readers that each ask again as soon as they have their answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import psutil

from benchmarks.context_ingest import DOCUMENTS, FLIGHTS, PERSONS, email_of, taking_in, variables
from benchmarks.context_pairs import Seen
from benchmarks.context_server import Ask, Server
from events.clock import system_clock
from events.errors import HeadraceError

READY_SECONDS = 120.0
LAST_CHANCE_SECONDS = 30.0


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
    """Take everything in, in an empty folder, and let the readers read.

    :raises HeadraceError: When a flow or the server fails.
    """
    with taking_in(home, seed) as commits, Server(variables(home), home / "data") as server:
        tokens = _await_ready(server)
        before = commits()
        readings = asyncio.run(_read(server, tokens, readers, seconds, seed))
        readings.commits = commits() - before
    return readings


def _await_ready(server: Server) -> list[str]:
    """Wait until there is something of everything; return tokens of all persons."""
    deadline = time.monotonic() + READY_SECONDS
    asker = server.asker()
    try:
        while time.monotonic() < deadline:
            found = [asker.ask(Ask("POST", "/tokens", {"person": email_of(person)})) for person in range(PERSONS)]
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
        # Whoever was told to wait each time has one more chance: that all get answers is what is to be shown.
        if time.monotonic() >= (deadline if found.answers[number] else deadline + LAST_CHANCE_SECONDS):
            break
        headers = {"Headrace-Person": ask.person} if ask.person else {}
        asked, began = system_clock(), time.perf_counter()
        try:
            answer = await http.request(ask.method, ask.path, json=ask.body, headers=headers)
        except httpx.HTTPError as error:
            found.errors.append(f"{kind}: {error!r}")
            break
        if answer.status_code in {429, 503} and "Retry-After" in answer.headers:
            found.told_to_wait += 1
            await asyncio.sleep(float(answer.headers["Retry-After"]))
            continue
        if answer.status_code != httpx.codes.OK:
            found.errors.append(f"{kind}: {answer.status_code} {answer.text[:300]}")
            break
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
