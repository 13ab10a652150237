"""The log that the profiles flow is measured on: Debezium events of customers in four systems, the same for one seed.

About 700 bytes an event. Who is who is that of `identity_people`, said in columns. How many persons there must be in
the end is known from the rows alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import networkx as nx

from benchmarks.identity_people import people
from benchmarks.tables_log import probes
from events.log import LogRecord
from events.persons import Links, person_id

STREAM = "customers"
REALM = "default"
TABLES = {"crm": "customers", "shop": "users", "loyalty": "members", "desk": "contacts"}
PROBES = "probes"
SAMPLE = 50_000
"""Records among which those are that change later: enough to lie on pages of their own."""
BEGIN = 1_767_225_600_000  # 2026-01-01
LIMITS = {"loyalty": 5, "email": 8, "phone": 8}
MOVED = 0.2
"""Share of the later changes that bring another telephone number."""

Carried = tuple[str, str, str]
"""Loyalty number, mail address and telephone number of a record; empty where it has none."""

_encode = msgspec.json.encode


class Customers:
    """Four systems that change their rows.

    :arg records: How many rows they have together.
    """

    def __init__(self, seed: int, records: int) -> None:
        self._seed = seed
        self._records = records
        self._chance = random.Random(seed)
        self._count = 0
        step = max(1, records // SAMPLE)
        self._sample = [
            (links.change.source, links.change.key, _carried(links))
            for number, links in enumerate(people(records, seed))
            if number % step == 0
        ]
        self._moved: dict[tuple[str, str], Carried] = {}

    def begin(self, version: int) -> Iterator[LogRecord]:
        """Yield one event for each partition of the log, by which it is seen that a run has begun."""
        for probe in probes():
            yield self.probe(probe, version)

    def snapshot(self) -> Iterator[LogRecord]:
        """Yield each row once, as a first copy of the tables does."""
        for links in people(self._records, self._seed):
            yield self._customer(links.change.source, links.change.key, _carried(links), "r")

    def changes(self, count: int) -> Iterator[LogRecord]:
        """Yield changes of random rows."""
        for _ in range(count):
            yield self.change()

    def change(self) -> LogRecord:
        """Change one row: now and then it gets a telephone number that nobody had."""
        source, key, carried = self._chance.choice(self._sample)
        carried = self._moved.get((source, key), carried)
        if self._chance.random() < MOVED:
            carried = (*carried[:2], f"+35192{self._count % 10_000_000:07d}")
            self._moved[source, key] = carried
        return self._customer(source, key, carried, "u")

    def probe(self, number: int, version: int) -> LogRecord:
        """Change the version of a probe: a person of one record, whose profile is looked at."""
        return self._record("crm", PROBES, number, "u", {"loyalty": f"PROBE{number:07d}", "version": version})

    def persons(self) -> int:
        """Return how many persons there are, probes among them, by the rows as they are."""
        rows = (
            ((links.change.source, links.change.key), _carried(links)) for links in people(self._records, self._seed)
        )
        carried = {record: self._moved.get(record, one) for record, one in rows}
        return components(carried.items(), LIMITS) + len(probes())

    def _customer(self, source: str, key: str, carried: Carried, op: str) -> LogRecord:
        number = msgspec.json.decode(key)["id"]
        loyalty, email, phone = (one or None for one in carried)
        row = {
            "full_name": f"Traveller {number:x} of House {number % 977:x}",
            "loyalty": loyalty,
            "email": email,
            "phone": phone,
            "city": ("Lisboa", "Antwerpen", "Graz", "Kraków")[number % 4],
            "points": self._count % 10_000,
        }
        return self._record(source, TABLES[source], number, op, row)

    def _record(self, source: str, table: str, number: int, op: str, row: dict[str, Any]) -> LogRecord:
        self._count += 1
        time, lsn = BEGIN + self._count, 5_000_000_000 + 96 * self._count
        event = {
            "before": None,
            "after": {"id": number, **row},
            "source": {
                "version": "3.6.3.Final",
                "connector": "postgresql",
                "name": source,
                "ts_ms": time,
                "snapshot": "true" if op == "r" else "false",
                "db": source,
                "sequence": f'["{lsn - 96}","{lsn}"]',
                "schema": "public",
                "table": table,
                "txId": self._count,
                "lsn": lsn,
                "xmin": None,
            },
            "transaction": None,
            "op": op,
            "ts_ms": time + 3,
        }
        return LogRecord("", 0, 0, time, f'{{"id":{number}}}'.encode(), _encode(event))


def settings() -> dict[str, str]:
    """Return what the flow has to know of the tables, as variables."""
    columns = {name: [name] for name in LIMITS}
    tables = [
        {"name": table, "source": source, "table": f"public.{table}", "identifiers": columns}
        for source, table in TABLES.items()
    ]
    probe = {"name": PROBES, "source": "crm", "table": f"public.{PROBES}", "identifiers": {"loyalty": ["loyalty"]}}
    parts = {"loyalty": "code"}
    types = [{"type": type_, "parts": [parts.get(type_, type_)], "limit": limit} for type_, limit in LIMITS.items()]
    return {
        "HEADRACE_PROFILES__STREAMS": _encode([{"name": STREAM, "format": "debezium"}]).decode(),
        "HEADRACE_PROFILES__TABLES": _encode([*tables, probe]).decode(),
        "HEADRACE_PROFILES__IDENTIFIERS": _encode(types).decode(),
    }


def probe_person(number: int) -> str:
    """Return the id of the person that a probe is."""
    return person_id(REALM, f'crm/public.{PROBES}/{{"id":{number}}}')


def components(carried: Iterable[tuple[Any, tuple[str, ...]]], limits: dict[str, int]) -> int:
    """Return how many persons there are: connected components once identifiers over their limits are taken out.

    :arg carried: By record its identifiers, in the order of the types in `limits`; empty where there is none.
    """
    graph: nx.Graph[Any] = nx.Graph()
    for record, identifiers in carried:
        graph.add_node((record,))
        graph.add_edges_from(((record,), (type_, one)) for type_, one in zip(limits, identifiers, strict=True) if one)
    over = [node for node, count in graph.degree if len(node) == 2 and count > limits[node[0]]]
    graph.remove_nodes_from(over)
    return sum(1 for _ in nx.connected_components(graph))


def _carried(links: Links) -> Carried:
    loyalty, email, phone = (said[0].partition(":")[2] if said else "" for said in links.identifiers)
    # Numbers that there can be: Portuguese mobile ones.
    return loyalty, email, f"+35191{int(phone[5:]):07d}" if phone else ""
