"""What the travel company has whose contexts are measured: rows, persons, documents; the same for the same seed.

Texts are of real words. Their vectors are of hashed words, under the name of the model that reads the questions: what a
search costs is as with real ones, what it finds is not measured here.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import msgspec

from benchmarks.corpus import Corpus
from events.documents import Chunk, ChunkedDocument, DocumentChange, DocumentUpdate
from events.log import LogRecord
from stores.embedders.hashing import HashingEmbedder

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
