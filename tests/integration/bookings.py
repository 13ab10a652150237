"""119,390 real hotel bookings as the change events of the table they were kept in.

What the data set knows of each is in the events: the day it was made (arrival less lead time), how often it was
changed, and the day and way it ended. When in between it was changed, and what a change does to the row, is made up,
the same each time. Each row carries its version and a checksum of all its other columns, so that whoever reads it can
tell whether it is whole.
"""

from __future__ import annotations

import csv
import gzip
import io
import random
import zlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from events.clock import to_millis
from events.log import LogRecord

STREAM = "bookings"
FIRST_LSN = 24_000_000
LSN_STEP = 56

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
OPENS, CLOSES = time(8, tzinfo=timezone.utc), time(20, tzinfo=timezone.utc)

_encode = msgspec.json.encode


class Event(NamedTuple):
    """One change of one booking; events sort in the order of their source.

    :arg millis: When it happened (ms since epoch).
    :arg number: Line of the data set: the primary key, as the set has none.
    :arg version: 0 when it is made, then one more with each change; the last one ends it.
    """

    millis: int
    number: int
    version: int


def read_lines(path: Path) -> list[dict[str, str]]:
    """Read the data set; a booking's number is its place in the list, from 1 on."""
    with gzip.open(path, "rb") as file:
        return list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8")))


def history(lines: Iterable[Mapping[str, str]]) -> list[Event]:
    """Return all events of all bookings in the order in which their source committed them."""
    return sorted(event for number, line in enumerate(lines, start=1) for event in _life(number, line))


def _life(number: int, line: Mapping[str, str]) -> Iterator[Event]:
    arrival = date(
        int(line["arrival_date_year"]),
        MONTHS.index(line["arrival_date_month"]) + 1,
        int(line["arrival_date_day_of_month"]),
    )
    made = _millis(arrival - timedelta(days=int(line["lead_time"])), OPENS)
    ended = _millis(date.fromisoformat(line["reservation_status_date"]), CLOSES)
    steps = int(line["booking_changes"]) + 1
    for version in range(steps + 1):
        yield Event(made + (ended - made) * version // steps, number, version)


def _millis(day: date, moment: time) -> int:
    return to_millis(datetime.combine(day, moment))


def row_after(event: Event, line: Mapping[str, str]) -> dict[str, Any]:
    """Return the row as `event` left it."""
    changes = int(line["booking_changes"])
    requests = int(line["total_of_special_requests"])
    ended = event.version > changes
    row = {
        "id": event.number,
        "hotel": line["hotel"],
        "arrival": f"{line['arrival_date_day_of_month']} {line['arrival_date_month']} {line['arrival_date_year']}",
        "nights": int(line["stays_in_weekend_nights"]) + int(line["stays_in_week_nights"]),
        "adults": int(line["adults"]),
        "children": None if line["children"] == "NA" else int(line["children"]),
        "country": None if line["country"] == "NULL" else line["country"],
        "segment": line["market_segment"],
        "room": line["reserved_room_type"] if event.version == 0 else line["assigned_room_type"],
        "rate": line["adr"],
        "requests": requests if ended else min(event.version, requests),
        "status": line["reservation_status"] if ended else "Booked",
        "closed_on": line["reservation_status_date"] if ended else None,
        "changes": min(event.version, changes),
        "version": event.version,
    }
    return {**row, "proof": proof_of(row)}


def proof_of(row: Mapping[str, Any]) -> int:
    """Return the checksum of all columns of a row but the checksum itself, in the order of their names."""
    return zlib.crc32(_encode([[name, row[name]] for name in sorted(row) if name != "proof"]))


def arrivals(
    events: list[Event], seed: int, *, late: float = 0.03, twice: float = 0.03, reach: int = 20_000
) -> list[int]:
    """Return the places of `events` in the order in which they arrive.

    :arg late: Share of events that arrive after up to `reach` later ones.
    :arg twice: Share of events that arrive a second time, so much later.
    """
    chance = random.Random(seed)
    order = []
    for place in range(len(events)):
        due = place + chance.randrange(reach) if chance.random() < late else place
        order.append((due, place))
        if chance.random() < twice:
            order.append((due + chance.randrange(1, reach), place))
    return [place for _, place in sorted(order)]


def records(lines: list[dict[str, str]], events: list[Event], order: Iterable[int]) -> Iterator[LogRecord]:
    """Yield the events in the given order as Debezium for PostgreSQL writes them, without schema."""
    for place in order:
        event = events[place]
        payload = {
            "before": None,
            "after": row_after(event, lines[event.number - 1]),
            "source": {
                "version": "3.6.3.Final",
                "connector": "postgresql",
                "name": "hotels",
                "ts_ms": event.millis,
                "snapshot": "false",
                "db": "hotels",
                "schema": "public",
                "table": "bookings",
                "txId": place,
                "lsn": FIRST_LSN + LSN_STEP * place,
            },
            "transaction": None,
            "op": "u" if event.version else "c",
            "ts_ms": event.millis,
        }
        yield LogRecord(STREAM, 0, 0, event.millis, _encode({"id": event.number}), _encode(payload))
