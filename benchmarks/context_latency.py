"""How long requests take: contexts, profiles and rows by key, asked over HTTP by one and by several at once.

Before anything counts, each question is asked once: that pass, in which the server embeds each question, tells what
new questions cost; from then on their vectors are known, and only the rest is measured. The embedding of a question is
measured by itself, in this process, when no server runs.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence

import msgspec
import numpy as np

from benchmarks.context_company import Company
from benchmarks.context_data import email_of, questions
from benchmarks.context_server import Ask, Asker, Server, ask_all
from stores.embedders.choose import Backend, choose_embedder

ASKERS = (1, 8)
PERSONS = 200
"""Persons who ask, in turn: each has a token."""
_TABLES = ("flights", "seats", "fares", "rooms", "rates")
_SUM = re.compile(r'^headrace_request_seconds_(sum|count)\{route="([^"]+)"\} (\S+)$', re.MULTILINE)


class Percentiles(msgspec.Struct, frozen=True):
    """Milliseconds of so many requests."""

    count: int
    p50: float
    p99: float
    longest: float


class Measured(msgspec.Struct, frozen=True):
    """One kind of request.

    :arg askers: How many asked at once.
    :arg server: The server's own mean time for it (ms); None where it was not asked for.
    :arg processor: Processor time of the server for each (ms): what to look at on a machine that does other work too.
    """

    name: str
    askers: int
    millis: Percentiles
    server: float | None = None
    processor: float | None = None


class Embedding(msgspec.Struct, frozen=True):
    """Embedding one question by itself."""

    model: str
    backend: str
    millis: Percentiles


def percentiles(millis: Sequence[float]) -> Percentiles:
    """Return the figures of single times."""
    found = (float(np.percentile(millis, percent)) for percent in (50, 99, 100))
    return Percentiles(len(millis), *found)


def contexts(server: Server, company: Company, count: int, seed: int) -> list[Measured]:
    """Measure `/context`: of nobody and of persons, new questions first."""
    asker = server.asker()
    persons = tokens(asker, company, seed)
    asked = questions(company.sizes, count, seed)
    ours = [
        Ask("POST", "/context", {"question": question}, persons[number % len(persons)])
        for number, question in enumerate(asked)
    ]
    nobody = [ask._replace(person="") for ask in ours]
    # The very first one reads names and opens stores.
    asker.read(nobody[0]._replace(body={"question": "Is flight CV0001 on time?"}))
    asker.close()
    found = [_measured("/context of a person, new questions", server, ours, 1)]
    for askers in ASKERS:
        found.append(_measured("/context of a person", server, ours, askers))
        found.append(_measured("/context of nobody", server, nobody, askers))
    return found


def look_ups(server: Server, company: Company, count: int, seed: int) -> list[Measured]:
    """Measure `/profiles/me`, and `/tables/…` by the key of a row."""
    asker = server.asker()
    persons = tokens(asker, company, seed)
    asker.close()
    chance = random.Random(seed)
    profiles = [Ask("GET", "/profiles/me", None, persons[number % len(persons)]) for number in range(count)]
    rows = [
        Ask("GET", f"/tables/{_TABLES[number % len(_TABLES)]}?where=id%3D{chance.randrange(company.sizes.numbers)}")
        for number in range(count)
    ]
    found = []
    for askers in ASKERS:
        found.append(_measured("/profiles/me", server, profiles, askers))
        found.append(_measured("/tables/NAME by key", server, rows, askers))
    return found


def embedding(company: Company, backend: Backend, count: int, seed: int) -> Embedding:
    """Measure the embedding of questions that the model has not seen, in this process."""
    embedder = choose_embedder(backend)
    embedder.embed(["warm"])
    millis = []
    for question in questions(company.sizes, count, seed + 1):
        began = time.perf_counter()
        embedder.embed([question])
        millis.append(1_000 * (time.perf_counter() - began))
    kind = type(embedder).__name__.removesuffix("Embedder").lower()
    return Embedding(embedder.model.name, kind, percentiles(millis))


def tokens(asker: Asker, company: Company, seed: int) -> list[str]:
    """Return tokens of some persons."""
    some = random.Random(seed).sample(range(company.sizes.persons), min(PERSONS, company.sizes.persons))
    asks = (Ask("POST", "/tokens", {"person": f"email:{email_of(person)}", "minutes": 120}) for person in some)
    return [asker.read(ask)["token"] for ask in asks]


def _measured(name: str, server: Server, asks: Sequence[Ask], askers: int) -> Measured:
    route = name.split(maxsplit=1)[0].replace("NAME", "{name}")
    before = _times(server).get(route, (0.0, 0.0))
    worked = server.processor()
    millis = ask_all(server.port, server.key, asks, askers)
    worked = server.processor() - worked
    after = _times(server).get(route, (0.0, 0.0))
    count = after[1] - before[1]
    mean = 1_000 * (after[0] - before[0]) / count if count else None
    return Measured(name, askers, percentiles(millis), mean, 1_000 * worked / len(millis))


def _times(server: Server) -> dict[str, tuple[float, float]]:
    """Return by route the seconds that its requests took by the server's own clock, and how many there were."""
    asker = server.asker()
    text = asker.ask(Ask("GET", "/metrics")).body.decode()
    asker.close()
    found: dict[str, dict[str, float]] = {}
    for kind, route, value in _SUM.findall(text):
        found.setdefault(route, {})[kind] = float(value)
    return {route: (values["sum"], values["count"]) for route, values in found.items()}
