"""The log that the tables benchmarks read: Debezium events of one table of flights, the same for the same seed.

About 900 bytes an event. Rows are created, changed and deleted; some events arrive twice, some after newer ones of
their row. What the table must be in the end is folded in the order of the source, before any of that.
"""

from __future__ import annotations

import heapq
import itertools
import random
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from events.log import LogRecord
from stores.log.files import FileLog

SOURCE = "operations"
FLIGHTS = "flights"
PROBES = "probes"
PARTITIONS = 4
APPEND = 5_000
BEGIN = 1_767_225_600_000  # 2026-01-01
DELETED = 0.03
TWICE = 0.02
LATE = 0.02
REACH = 500
"""Events between which a late or repeated one arrives at most."""

Row = dict[str, Any]
Final = dict[tuple[str, str], bytes]
"""Table and canonical key to the row as JSON: a million of them fit into memory."""

_encode = msgspec.json.encode


class Workload:
    """A source that changes its rows, and remembers what they are.

    :arg rows: Most flights at any time.
    """

    def __init__(self, seed: int, rows: int) -> None:
        self._chance = random.Random(seed)
        self._rows = rows
        self._count = 0
        self.final: Final = {}

    def begin(self, number: int) -> Iterator[LogRecord]:
        """Yield one event for each partition of the log, by which it is seen that run `number` has begun."""
        for probe in probes():
            yield self.probe(probe, begun(number))

    def snapshot(self) -> Iterator[LogRecord]:
        """Yield each flight once, as a first copy of the table does."""
        for number in range(self._rows):
            yield self._event(number, "r")

    def changes(self, count: int) -> Iterator[LogRecord]:
        """Yield the events of `count` changes in the order of their arrival, and those that come twice."""
        chance = self._chance
        waiting: list[tuple[int, int, LogRecord]] = []
        for place in range(count):
            while waiting and waiting[0][0] <= place:
                yield heapq.heappop(waiting)[2]
            record = self.change()
            fate = chance.random()
            if fate < LATE + TWICE:
                heapq.heappush(waiting, (place + chance.randrange(1, REACH), place, record))
            if fate >= LATE:
                yield record
        while waiting:
            yield heapq.heappop(waiting)[2]

    def change(self) -> LogRecord:
        """Change one flight, drawn anew each time: create it if it is not there, seldom delete it."""
        number = self._chance.randrange(self._rows)
        if (FLIGHTS, key_of(number)) not in self.final:
            return self._event(number, "c")
        return self._event(number, "d" if self._chance.random() < DELETED else "u")

    def probe(self, number: int, version: int) -> LogRecord:
        """Change the row `number` of the probes to `version`."""
        return self._record(PROBES, number, "u", {"id": number, "version": version})

    def _event(self, number: int, op: str) -> LogRecord:
        return self._record(FLIGHTS, number, op, None if op == "d" else self._flight(number))

    def _flight(self, number: int) -> Row:
        chance, count = self._chance, self._count
        return {
            "id": number,
            "flight": f"CV{number % 9000:04d}",
            "origin": "LIS",
            "destination": "FNC",
            "departs_at": f"2026-05-{1 + number % 28:02d}T{number % 24:02d}:15:00Z",
            "aircraft": "A320neo",
            "status": ("scheduled", "boarding", "delayed", "departed")[count % 4],
            "gate": f"B{chance.randrange(40):02d}",
            "seats_left": chance.randrange(180),
            "fare": f"{chance.randrange(2_000, 40_000) / 100:.2f}",
            "notice": f"{chance.getrandbits(512):0128x}",
            "changed": count,
        }

    def _record(self, table: str, number: int, op: str, row: Row | None) -> LogRecord:
        self._count += 1
        count, time, key = self._count, BEGIN + self._count, key_of(number)
        if row is None:
            del self.final[table, key]
        else:
            self.final[table, key] = _encode(row)
        event = {
            "before": None,
            "after": row,
            "source": {
                "version": "3.6.3.Final",
                "connector": "postgresql",
                "name": SOURCE,
                "ts_ms": time,
                "snapshot": "true" if op == "r" else "false",
                "db": SOURCE,
                "sequence": f'["{5_000_000_000 + 96 * (count - 1)}","{5_000_000_000 + 96 * count}"]',
                "schema": "public",
                "table": table,
                "txId": 9_000 + count,
                "lsn": 5_000_000_000 + 96 * count,
                "xmin": None,
            },
            "transaction": None,
            "op": op,
            "ts_ms": time + 3,
        }
        return LogRecord("", 0, 0, time, key.encode(), _encode(event))


def key_of(number: int) -> str:
    """Return the primary key of a row as the events have it."""
    return f'{{"id":{number}}}'


def begun(number: int) -> int:
    """Return the version of the probes by which it is seen that run `number` has begun: below those of a load."""
    return -number


def partition_of(number: int) -> int:
    """Return the partition that the log puts the row into."""
    return zlib.crc32(key_of(number).encode()) % PARTITIONS


def probes() -> list[int]:
    """Return the number of one row for each partition."""
    found: dict[int, int] = {}
    for number in itertools.count():
        found.setdefault(partition_of(number), number)
        if len(found) == PARTITIONS:
            return [found[partition] for partition in range(PARTITIONS)]
    raise AssertionError


def is_final(found: Iterable[tuple[str, str, Row]], final: Final) -> bool:
    """Tell whether these are exactly the rows that there must be in the end."""
    count = 0
    for table, key, row in found:
        wanted = final.get((table, key))
        if wanted is None or msgspec.json.decode(wanted) != row:
            return False
        count += 1
    return count == len(final)


def write(folder: Path, records: Iterator[LogRecord]) -> int:
    """Append records to the stream that `folder` is; return how many."""
    log = FileLog(folder.parent, partitions=PARTITIONS)
    log.create(folder.name, PARTITIONS)
    count = 0
    while batch := list(itertools.islice(records, APPEND)):
        log.append(folder.name, batch)
        count += len(batch)
    log.close()
    return count
