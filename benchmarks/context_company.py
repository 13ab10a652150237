"""The travel company whose contexts are measured: rows, persons and documents, the same for the same seed.

Rows and persons come to their stores through their flows, from a log; documents through the writer of their store.
Texts are of real words. Their vectors are of hashed words, under the name of the model that reads the questions: what a
search costs is as with real ones, what it finds is not measured here.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.corpus import Corpus
from benchmarks.tables_watch import failed, start
from events.clock import system_clock
from events.documents import Chunk, ChunkedDocument, DocumentChange, DocumentUpdate
from events.errors import HeadraceError
from events.log import LogRecord, Mark
from stores.embedders.choose import Backend, choose_embedder
from stores.embedders.hashing import HashingEmbedder
from stores.log.files import FileLog
from stores.settings import VectorSettings
from stores.vectors.lance_folder import connect, read_store
from stores.vectors.lance_writer import LanceWriter

OPERATIONS, CUSTOMERS, MANUALS = "operations", "customers", "manuals"
PARTITIONS = 4


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TOWNS = _words(
    "Antwerp Athens Barcelona Basel Belfast Bergen Berlin Bilbao Bordeaux Bremen Bristol Budapest Cologne Copenhagen "
    "Cork Dresden Dublin Edinburgh Florence Frankfurt Funchal Gdansk Geneva Genoa Ghent Glasgow Graz Hamburg Helsinki "
    "Innsbruck Krakow Leipzig Lille Lisbon Ljubljana London Luxembourg Lyon Madrid Malaga Manchester Marseille Milan "
    "Munich Naples Nice Oslo Palermo Paris Porto Prague Riga Rome Rotterdam Salzburg Seville Stockholm Stuttgart "
    "Tallinn Toulouse Trieste Turin Valencia Venice Verona Vienna Vilnius Warsaw Zagreb Zurich"
)
DAYS = 10
"""Each flight number flies on so many days."""
FARES, RATES = 8, 4
"""Of a flight, and of a room."""
ROOMS = 40
"""Of a hotel."""
SECTIONS = 8
"""Of a document; each is a piece."""

_FARE = _words("Light Basic Classic Flex")
_FIRST = _words(
    "Amber Arcade Beacon Bella Blue Boulevard Bridge Cedar Central Citadel Coral Crown Crystal Dune Eagle Elm Emerald "
    "Fountain Garden Golden Grand Green Harbour Heron Imperial Island Ivory Laurel Lighthouse Lion Maple Marina "
    "Meridian Mirabel Noble Oak Ocean Olive Orchard Palace Pearl Pine Regent River Rose Royal Saffron Silver Star Swan"
)
_SECOND = _words(
    "Bay Chambers Chateau Corner Court Cove Cross Domain Estate Field Forum Gate Grove Hall Haven Heights Hill House "
    "Inn Keep Lawn Lodge Manor Mansion Mews Mill Nest Park Passage Pavilion Place Plaza Point Quarter Quay Residence "
    "Rest Retreat Row Spa Square Suites Terrace Tower Towers View Villa Walk Wharf Yard"
)
_FIRST_DAY = date(2026, 11, 1)
_BEGIN = 1_793_500_000_000  # 2026-11-01
_APPEND = 5_000
_DOCUMENTS = 500
"""Documents in one commit."""
_RUN_SECONDS = 3_600.0
_INDEX_SECONDS = 900.0

_encode = msgspec.json.encode


class Sizes(msgspec.Struct, frozen=True):
    """How much there is of everything.

    :arg numbers: Flight numbers.
    :arg persons: Customers, each with two bookings on average; of most there is a second record.
    """

    numbers: int
    hotels: int
    persons: int
    documents: int

    @property
    def rows(self) -> int:
        """Rows of live tables."""
        return self.numbers * DAYS * (2 + FARES) + self.hotels * ROOMS * (1 + RATES)

    @property
    def chunks(self) -> int:
        """Pieces of documents."""
        return self.documents * SECTIONS


SCALES = {"small": Sizes(50, 25, 500, 125), "full": Sizes(5_000, 2_500, 100_000, 12_500)}

SETTINGS = """
[embedding]
backend = "{backend}"

[[knowledge.folders]]
name = "manuals"
path = "{home}/manuals"

[[tables.streams]]
name = "operations"
format = "headrace"

[[tables.live]]
name = "flights"
table = "flights"
index = ["id", "number", "destination"]

[[tables.live]]
name = "seats"
table = "seats"
index = ["id", "flight"]

[[tables.live]]
name = "fares"
table = "fares"
index = ["id", "flight"]

[[tables.live]]
name = "rooms"
table = "rooms"
index = ["id", "hotel", "town"]

[[tables.live]]
name = "rates"
table = "rates"
index = ["id", "room"]

[profiles]
region = "PT"

[[profiles.streams]]
name = "customers"
format = "headrace"

[[profiles.tables]]
name = "customers"
table = "customers"
identifiers = {{ email = ["email"], phone = ["phone"] }}

[[profiles.tables]]
name = "users"
table = "users"
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
token_minutes = 240

[[serving.entities]]
name = "flight"
pattern = 'CV ?\\d{{4}}'
remove = " "
upper = true

[[serving.entities]]
name = "destination"
table = "flights"
column = "destination"

[[serving.entities]]
name = "hotel"
table = "rooms"
column = "hotel"

[[serving.entities]]
name = "day"
dates = true

[[serving.lookups]]
name = "flights"
table = "flights"
where = {{ number = "flight" }}
order = "departs_at"
descending = true
limit = 2
text = "Flight {{number}} from {{origin}} to {{destination}}: {{status}}; departs {{departs_at}}, gate {{gate}}"

[[serving.lookups]]
name = "flights_on"
table = "flights"
where = {{ destination = "destination", departs_at = "day" }}
order = "departs_at"
limit = 3

[[serving.lookups]]
name = "booked"
table = "flights"
where = {{ number = "profile.bookings.flight" }}
order = "departs_at"
limit = 2

[[serving.lookups]]
name = "fares"
table = "fares"
where = {{ flight = "flights.id" }}
order = "price"
limit = 6

[[serving.lookups]]
name = "seats"
table = "seats"
where = {{ flight = "flights.id" }}

[[serving.lookups]]
name = "rooms"
table = "rooms"
where = {{ hotel = "hotel" }}
order = "name"
limit = 4

[[serving.lookups]]
name = "rates"
table = "rates"
where = {{ room = "rooms.id" }}
order = "price"
limit = 4
"""


def hotel_of(number: int) -> str:
    """Return the name of a hotel."""
    first, second = divmod(number, len(_SECOND))
    return f"{_FIRST[first % len(_FIRST)]} {_SECOND[second]}"


def number_of(number: int) -> str:
    """Return a flight's number as people write it."""
    return f"CV{number:04d}"


def email_of(person: int) -> str:
    """Return the address of a customer."""
    return f"traveller.{person}@mail.example"


def operations(sizes: Sizes, seed: int) -> Iterator[LogRecord]:
    """Yield each row of the live tables once."""
    chance = random.Random(seed)
    position = itertools.count(1)
    for flight in range(sizes.numbers * DAYS):
        number, day = divmod(flight, DAYS)
        row = {
            "number": number_of(number),
            "origin": TOWNS[-1 - number % len(TOWNS)],
            "destination": TOWNS[number % len(TOWNS)],
            "departs_at": f"{_FIRST_DAY + timedelta(days=day)}T{6 + number % 16:02d}:15:00Z",
            "status": chance.choice(("on time", "on time", "boarding", "delayed")),
            "gate": f"B{chance.randrange(40):02d}",
        }
        yield event("flights", flight, row, next(position))
        yield event("seats", flight, {"flight": flight, "left": chance.randrange(180)}, next(position))
        for fare in range(FARES):
            told = {"flight": flight, "fare": f"{_FARE[fare % 4]} {1 + fare // 4}"}
            price = round(chance.uniform(30, 500), 2)
            yield event("fares", flight * FARES + fare, {**told, "price": price}, next(position))
    for room in range(sizes.hotels * ROOMS):
        hotel = room // ROOMS
        row = {"hotel": hotel_of(hotel), "town": TOWNS[hotel % len(TOWNS)], "name": f"Room {100 + room % ROOMS}"}
        yield event("rooms", room, {**row, "beds": 1 + room % 3, "outlook": "garden"}, next(position))
        for rate in range(RATES):
            price = round(chance.uniform(60, 400), 2)
            told = {"room": room, "price": price, "nights": 1 + rate}
            yield event("rates", room * RATES + rate, told, next(position))


def customers(sizes: Sizes, seed: int) -> Iterator[LogRecord]:
    """Yield each record of a person, and each booking, once."""
    chance = random.Random(seed)
    position = itertools.count(1)
    for person in range(sizes.persons):
        row = {
            "name": f"{chance.choice(_FIRST)} {chance.choice(_SECOND)}",
            "email": email_of(person),
            "phone": f"+35191{person % 10_000_000:07d}",
            "city": chance.choice(TOWNS),
            "points": chance.randrange(10_000),
            "tier": chance.choice(("blue", "silver", "gold")),
        }
        yield event("customers", person, row, next(position))
        if chance.random() < 0.6:
            user = {"email": email_of(person), "newsletter": chance.random() < 0.5}
            yield event("users", person, user, next(position))
        for _ in range(chance.choice((1, 2, 3))):
            at = next(position)
            booking = {
                "customer": person,
                "flight": number_of(chance.randrange(sizes.numbers)),
                "price": round(chance.uniform(30, 500), 2),
                "status": chance.choice(("booked", "flown")),
            }
            yield event("bookings", at, booking, at)


def event(table: str, key: int, row: dict[str, Any], position: int, at: int = 0) -> LogRecord:
    """Return the change of a row as our own format has it.

    :arg at: When it happened (ms since epoch); default: a millisecond after the one before.
    """
    time_ = at or _BEGIN + position
    value = {"table": table, "key": {"id": key}, "after": {"id": key, **row}, "position": position, "time": time_}
    return LogRecord("", 0, 0, time_, f"{table}/{key}".encode(), _encode(value))


def documents(sizes: Sizes, seed: int) -> Iterator[DocumentUpdate]:
    """Yield each document with its pieces and their vectors."""
    embedder = HashingEmbedder()
    for position, (uri, text) in enumerate(Corpus(sizes.documents, seed).files().items(), 1):
        begin, *sections = text.split("\n\n## ")
        title = begin.removeprefix("# ").strip()
        chunks = []
        for number, section in enumerate(sections):
            heading, _, said = section.partition("\n\n")
            name = hashlib.blake2b(f"{uri} {number}".encode(), digest_size=16).hexdigest()
            chunks.append(Chunk(name, (title, heading), said.strip(), len(said.split())))
        vectors = embedder.embed([chunk.embedded for chunk in chunks])
        change = DocumentChange(MANUALS, uri, "upsert", position, _BEGIN + position)
        yield DocumentUpdate(
            ChunkedDocument(change, title, "en", tuple(chunks)),
            fresh=tuple(chunk.id for chunk in chunks),
            vectors={chunk.id: vector.tobytes() for chunk, vector in zip(chunks, vectors, strict=True)},
        )


def questions(sizes: Sizes, count: int, seed: int) -> list[str]:
    """Return different questions: of flights, of towns on a day, of hotels, and of documents alone."""
    chance = random.Random(seed)
    words = sorted({word.strip(".,#") for word in Corpus(20, seed).files().popitem()[1].split() if len(word) > 4})
    found: dict[str, None] = {}
    while len(found) < count:
        about = " ".join(chance.sample(words, 3))
        day = _FIRST_DAY + timedelta(days=chance.randrange(DAYS))
        asked = (
            f"Is flight {number_of(chance.randrange(sizes.numbers))} on time, and what does it cost with {about}?",
            f"Which flights are there to {chance.choice(TOWNS)} on {day.day} November 2026, and the {about}?",
            f"What is a room in the {hotel_of(chance.randrange(sizes.hotels))}, and is there {about}?",
            f"What are the rules for {about}?",
        )
        found[asked[len(found) % len(asked)]] = None
    return list(found)


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
        settings = SETTINGS.format(backend=self.backend, home=self.home)
        (self.home / "headrace.toml").write_text(settings, encoding="utf-8")
        log = FileLog(self.home / "log", partitions=PARTITIONS)
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


def _timed(work: Any) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
