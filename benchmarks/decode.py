"""How many Debezium events a second are decoded on one core: `python -m benchmarks.decode`.

From the record of the log to the change, beside what parsing the same bytes alone takes, in one run. What is counted is
the processor's time, not the clock's. The events are of about 1 kB: inserts, updates and deletes of one table in
PostgreSQL, or in MySQL, where each update carries the whole row before it.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from events.log import LogRecord
from operators.changes.debezium import debezium
from operators.changes.debezium_flat import debezium_flat
from operators.changes.rules import StreamRules

AIM = 150_000
"""Events a second without a schema."""

_TYPES: dict[str, dict[str, Any]] = {
    "id": {"type": "int64"},
    "departs_at": {"type": "int64", "name": "io.debezium.time.MicroTimestamp", "version": 1},
    "price": {
        "type": "bytes",
        "name": "org.apache.kafka.connect.data.Decimal",
        "version": 1,
        "parameters": {"scale": "2"},
    },
    "seats": {"type": "int32"},
    "sold": {"type": "int32"},
    "open": {"type": "boolean"},
    "load_factor": {"type": "double"},
}


def row(chosen: random.Random, columns: int) -> dict[str, Any]:
    """Return a row of a table of flights, with as many columns of text as are wanted beside the others."""
    made = {
        "id": chosen.randrange(10**6),
        "departs_at": 1_700_000_000_000_000 + chosen.randrange(10**15),
        "price": "MDk=",
        "seats": 180,
        "sold": chosen.randrange(180),
        "open": chosen.random() < 0.9,
        "load_factor": chosen.random(),
    }
    return made | {f"column_{number}": f"some words of text, {chosen.randrange(10**9)}" for number in range(columns)}


def sources(connector: str, number: int) -> dict[str, Any]:
    """Return the source block of an event, as `connector` writes it."""
    common = {"version": "3.0.0.Final", "connector": connector, "name": "travel", "ts_ms": 1_723_115_239_782 + number}
    common |= {"snapshot": "false", "db": "travel", "sequence": None, "ts_us": 1_723_115_239_782_690}
    if connector == "postgresql":
        place = {"schema": "public", "table": "flights", "txId": 756 + number, "lsn": 26_997_904 + number, "xmin": None}
        return common | {"sequence": f'["{26_997_744 + number}","{26_997_904 + number}"]'} | place
    place = {"table": "flights", "server_id": 1, "gtid": None, "file": "binlog.000003", "pos": 154 + number, "row": 0}
    return common | place | {"thread": 12, "query": None}


def events(connector: str, count: int, seed: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield keys and events."""
    chosen = random.Random(seed)
    whole = connector == "mysql"
    for number in range(count):
        op = chosen.choices("cud", (3, 6, 1))[0]
        after = row(chosen, 5 if whole else 11)
        before: dict[str, Any] | None = None
        if op == "d":
            before = after if whole else {"id": after["id"]}
        elif op == "u" and whole:
            before = {**after, "sold": 0}
        yield (
            {"id": after["id"]},
            {
                "before": before,
                "after": None if op == "d" else after,
                "source": sources(connector, number),
                "transaction": None,
                "op": op,
                "ts_ms": 1_723_115_240_065 + number,
                "ts_us": 1_723_115_240_065_001,
                "ts_ns": 1_723_115_240_065_001_000,
            },
        )


def schema_of(image: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an envelope whose rows have the columns of `image`."""
    fields = [{**_TYPES.get(name, {"type": "string"}), "optional": name != "id", "field": name} for name in image]
    rows = {"type": "struct", "fields": fields, "optional": True, "name": "travel.public.flights.Value"}
    return {
        "type": "struct",
        "fields": [{**rows, "field": "before"}, {**rows, "field": "after"}, {"type": "string", "field": "op"}],
        "optional": False,
        "name": "travel.public.flights.Envelope",
    }


def records(form: str, connector: str, count: int) -> list[LogRecord]:
    """Return events as the log holds them: `bare`, with a `schema`, or `flat`."""
    schema = schema_of(row(random.Random(0), 5 if connector == "mysql" else 11))
    key_schema = {"type": "struct", "fields": [{"type": "int64", "optional": False, "field": "id"}], "optional": False}
    out = []
    for offset, (key, event) in enumerate(events(connector, count, seed=1)):
        named: Any = key
        written: Any = event
        if form == "flat":
            source = event["source"]
            added = {"__op": event["op"], "__table": source["table"], "__source_ts_ms": source["ts_ms"]}
            image = event["after"] or event["before"]
            written = {**image, "__deleted": str(event["op"] == "d").lower(), **added, "__lsn": source.get("lsn")}
        if form == "schema":
            named, written = {"schema": key_schema, "payload": key}, {"schema": schema, "payload": event}
        raw_key, raw = (json.dumps(said, separators=(",", ":")).encode() for said in (named, written))
        out.append(LogRecord("flights", 0, offset, 1_723_115_240_065, raw_key, raw))
    return out


def rate(work: Callable[[LogRecord], object], of: list[LogRecord], rounds: int) -> float:
    """Return how many records a second of one processor are worked on, in the best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        begin = time.process_time()
        for record in of:
            work(record)
        best = min(best, time.process_time() - begin)
    return len(of) / best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    plain = msgspec.json.Decoder().decode
    cases = {
        "PostgreSQL": ("bare", "postgresql", debezium(StreamRules("flights"))),
        "MySQL": ("bare", "mysql", debezium(StreamRules("flights"))),
        "PostgreSQL, with schema": ("schema", "postgresql", debezium(StreamRules("flights"))),
        "MySQL, with schema": ("schema", "mysql", debezium(StreamRules("flights"))),
        "PostgreSQL, unwrapped": ("flat", "postgresql", debezium_flat(StreamRules("flights"))),
    }
    title = f"Debezium events a second of one processor, {arguments.events} of each; aim {AIM:,} without a schema"
    table = Table("events", "bytes", "decoded", "json.loads", "ratio", "msgspec", "ratio", title=title)
    for name, (form, connector, decode) in cases.items():
        of = records(form, connector, arguments.events)
        size = sum(len(record.value or b"") for record in of) // len(of)
        decoded = rate(decode, of, arguments.rounds)
        loads = rate(lambda record: json.loads(record.value or b""), of, arguments.rounds)
        bare = rate(lambda record: plain(record.value or b""), of, arguments.rounds)
        ratios = f"{decoded / loads:.2f}", f"{decoded / bare:.2f}"
        table.add_row(name, str(size), f"{decoded:,.0f}", f"{loads:,.0f}", ratios[0], f"{bare:,.0f}", ratios[1])
    Console().print(table)


if __name__ == "__main__":
    main()
