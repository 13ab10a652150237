"""The same history of a database through our capture and through the real Debezium engine says the same changes.

Debezium writes its events with their schema, in the modes that it has when nobody sets any, but for intervals, which
lose by it. Both are read by the same decoder without configuration: a user who changes from one to the other sees rows
of the same keys and values.

What is not compared, as Debezium says what is not so: `infinity` of dates and of timestamps without microseconds (days
and years that never were), `NaN` of numeric (null), and by default null where a column has a default.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from events.changes import Change, Truncation
from events.clock import system_clock
from events.log import LogRecord
from operators.capture.postgres import PostgresDecoder
from operators.changes.debezium import debezium
from operators.changes.rules import StreamRules, TableRules
from stores.capture.postgres.tap import PostgresTap
from stores.capture_settings import PostgresTapSettings
from tests.servers.debezium import Event, engine
from tests.servers.postgres import PostgresServer, another

TABLES = ("types", "plain", "whole", "lines", "pairs", "done")
SECONDS = 60

MADE = """
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN cents AS numeric(10,2);
CREATE TABLE types (id integer PRIMARY KEY, yes boolean, small smallint, big bigint, single real, double
    double precision, price numeric(12,3), free numeric, cash money, name varchar(20), padded char(4), day date, moment
    timestamp, brief timestamp(3), instant timestamptz, clock time, zoned timetz, span interval, id128 uuid,
    facts jsonb, raw bytea, flag bit(1), bits bit(10), address inet, period int4range, spot point, tags text[],
    counts integer[], mood mood, cents cents, rough timestamptz(0), finer timestamptz(3));
CREATE TABLE plain (id integer PRIMARY KEY, note text, price numeric(10,2));
ALTER TABLE plain ALTER note SET STORAGE EXTERNAL;
CREATE TABLE whole (id integer PRIMARY KEY, note text, n integer);
ALTER TABLE whole ALTER note SET STORAGE EXTERNAL;
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE lines (line text, n integer);
ALTER TABLE lines REPLICA IDENTITY FULL;
CREATE TABLE pairs (b text, a numeric(8,2), n integer, PRIMARY KEY (a, b));
CREATE TABLE done (id integer PRIMARY KEY);
CREATE PUBLICATION oracle FOR TABLE types, plain, whole, lines, pairs, done;
INSERT INTO plain VALUES (1, 'read', 1.50), (2, NULL, NULL);
INSERT INTO whole VALUES (1, 'read', 1);
INSERT INTO pairs VALUES ('x', 1.50, 1);
"""

HISTORY = (
    """INSERT INTO types VALUES (1, true, -3, 9223372036854775807, 0.1, 1e300, 123456789.125, 12345678901234567890.5,
        1234.5, 'Zoë "x"', 'ab', '2024-02-29', '2024-02-29 12:00:00.5', '2024-02-29 12:00:00.25',
        '2024-02-29 12:00:00.123456+02', '23:59:59.123456', '12:00:00-03:30', '1 year 2 mons 3 days 04:05:06.5',
        '0e37df36-f698-11e6-8dd4-cb9ced3df976', '{"a": [1, null], "b": "x"}', '\\x00ff10', B'1', B'1000000011',
        '10.0.0.1/8', '[1,5)', '(1,2.5)', ARRAY['a', NULL, 'b "c", d'], '{1,2,NULL}', 'glad', 5.25)""",
    "INSERT INTO types (id) VALUES (2)",
    """INSERT INTO types (id, single, double, day, moment, instant, price, clock, span, counts, bits, raw) VALUES
        (3, 'NaN', '-Infinity', '1582-10-04', '1969-12-31 23:59:59.999999', '1969-12-31 23:59:59.999Z', -0.001,
        '00:00:00', '-1 days -00:00:00.5', '{}', B'0000000000', '')""",
    """INSERT INTO types (id, instant, zoned, moment, brief, clock, span, bits, cash, price, free) VALUES
        (4, '2024-02-29 12:00:00.25Z', '12:00:00.5Z', '2024-02-29 12:00:00.1234', '2024-02-29 12:00:00.1',
            '12:00:00.1', '0', B'0000000001', -0.07, 0, 1e20),
        (5, '2024-02-29 12:00:00Z', '12:00:00Z', '2024-02-29 12:00:00', '2024-02-29 12:00:00', '12:00:00', '1 sec',
            B'0100000000', 0, 1, 0.10),
        (6, 'infinity', '12:00:00.123456Z', 'infinity', NULL, '00:00:00.000001', '1.123456 sec',
            NULL, 1000000, -1, NULL),
        (7, '-infinity', '00:00:00+14', '9999-12-31 23:59:59', NULL, '23:59', '-1.000001 sec', NULL, NULL, 1, 1e-20),
        (8, '0044-03-15 12:00:00Z BC', '23:00:00-11', '0044-03-15 12:00:00 BC', NULL, NULL, '-100 years 1 mon', NULL,
            NULL, 1, 1),
        (9, '12024-03-15 12:00:00Z', '23:00:00.1-11', '12024-03-15 12:00:00', NULL, NULL, '300 hours', NULL,
            NULL, 1, 1)""",
    "INSERT INTO types (id, day) VALUES (12, '0044-03-15 BC'), (13, '12024-01-01')",
    """INSERT INTO types (id, tags, counts, facts) VALUES (20, '{}', '{-1}', '"text"'), (21, '{"",NULL,"NULL"}',
        NULL, '1.50'), (22, NULL, NULL, 'null')""",
    "INSERT INTO types (id, clock, instant) VALUES (23, '24:00', '2024-02-29 12:00:00.123400Z')",
    "INSERT INTO types (id, rough, finer) VALUES (24, '2024-02-29 12:00:00.5Z', '2024-02-29 12:00:00.5Z'),"
    " (25, '2024-02-29 12:00:00Z', '2024-02-29 12:00:00Z')",
    "INSERT INTO plain SELECT n, repeat('x', 5000) || n, n / 4.0 FROM generate_series(10, 20) n",
    "UPDATE plain SET price = 7 WHERE id <= 12",
    "UPDATE plain SET note = 'small' WHERE id = 10",
    "UPDATE plain SET id = 100 WHERE id = 10",
    "UPDATE plain SET id = 101, price = 8 WHERE id = 11",
    "DELETE FROM plain WHERE id = 12",
    "INSERT INTO whole SELECT n, repeat('y', 5000) || n, n FROM generate_series(10, 14) n",
    "UPDATE whole SET n = n + 1",
    "UPDATE whole SET id = id + 100 WHERE id >= 12",
    "DELETE FROM whole WHERE id = 10",
    "INSERT INTO lines VALUES ('a', 1), ('b', NULL)",
    "INSERT INTO pairs VALUES ('y', 2.00, 1), ('z', -0.25, 2)",
    "UPDATE pairs SET n = 5 WHERE b = 'y'",
    "UPDATE pairs SET a = 3 WHERE b = 'y'",
    "DELETE FROM pairs WHERE b = 'z'",
    "BEGIN; INSERT INTO plain VALUES (200); SAVEPOINT s; DELETE FROM plain; ROLLBACK TO s; UPDATE plain SET price = 1"
    " WHERE id = 200; COMMIT",
    "BEGIN; DELETE FROM whole; ROLLBACK",
    "ALTER TABLE plain ADD gate text DEFAULT 'A1'",
    "UPDATE plain SET gate = 'B2' WHERE id = 13",
    "ALTER TABLE plain DROP price",
    "ALTER TABLE plain RENAME gate TO door",
    "UPDATE plain SET door = NULL WHERE id = 13",
    "ALTER TABLE plain REPLICA IDENTITY FULL",
    "UPDATE plain SET door = 'C3' WHERE id = 14",
    "DELETE FROM plain WHERE id = 15",
    "BEGIN; INSERT INTO pairs SELECT 'many', n, n FROM generate_series(100, 3100) n; DELETE FROM pairs WHERE n % 3 = 0;"
    " COMMIT",
    "TRUNCATE whole, pairs",
    "INSERT INTO whole VALUES (1, 'again', 1)",
    "INSERT INTO done VALUES (1)",
)


@pytest.mark.timeout(200)
def test_our_capture_and_debezium_say_the_same_changes(tmp_path: Path) -> None:
    with another(tcp=True) as server, server.connect() as database:
        database.execute(MADE.encode())
        with engine(_properties(server), tmp_path) as debezium_engine:
            tap = _tap(server)
            try:
                ours = _drawn(tap, lambda records: len(_changes(records)) == 4)
                debezium_engine.events(lambda events: len(_rows(events)) == 4)
                for statement in HISTORY:
                    database.execute(statement.encode())
                ours += _drawn(tap, lambda records: any(change.table == "public.done" for change in _changes(records)))
                theirs = debezium_engine.events(
                    lambda events: any(event.topic == "shop.public.done" for event in events)
                )
            finally:
                tap.close()

    mine, other = _said(_changes(ours)), _said(_changes(_rows(theirs)))
    assert len(mine) > 4000
    for one, two in zip(mine, other, strict=False):
        assert one == two
    assert len(mine) == len(other)


def _properties(server: PostgresServer) -> dict[str, str]:
    return {
        "topic.prefix": "shop",
        "database.hostname": "127.0.0.1",
        "database.port": str(server.port),
        "database.user": "postgres",
        "database.password": "",
        "database.dbname": "postgres",
        "slot.name": "debezium",
        "publication.name": "oracle",
        "publication.autocreate.mode": "disabled",
        "table.include.list": ",".join(f"public.{table}" for table in TABLES),
        "provide.transaction.metadata": "true",
        "skipped.operations": "none",
        "include.unknown.datatypes": "true",
        "interval.handling.mode": "string",
        "value.converter.replace.null.with.default": "false",
    }


def _tap(server: PostgresServer) -> PostgresTap:
    tables = tuple(f"public.{table}" for table in TABLES)
    settings = PostgresTapSettings(name="shop", dsn=server.dsn(), tables=tables, publications=("oracle",))
    return PostgresTap(settings, None, system_clock, PostgresDecoder("shop", "shop"))


def _drawn(tap: PostgresTap, enough: Callable[[Sequence[LogRecord]], bool]) -> list[LogRecord]:
    """Draw until that is enough, and until there is nothing more: no snapshot is under way that would hold locks."""
    records: list[LogRecord] = []
    deadline = time.monotonic() + SECONDS
    while True:
        assert time.monotonic() < deadline, f"{len(records)} events and no more"
        drawn = tap.draw(2000)
        if drawn is None and enough(records):
            return records
        records += drawn.records if drawn is not None else ()


def _rows(events: Sequence[Event]) -> list[LogRecord]:
    """Return what is of tables: beginnings and ends of transactions are not."""
    return [
        LogRecord("shop", 0, offset, 0, event.key, event.value)
        for offset, event in enumerate(events)
        if event.topic.startswith("shop.public.")
    ]


def _changes(records: Sequence[LogRecord]) -> list[Change | Truncation]:
    decode = debezium(StreamRules("shop", tables={"public.lines": TableRules(key=("line",))}))
    return [change for record in records for change in decode(record)]


def _said(changes: Sequence[Change | Truncation]) -> list[Any]:
    said: list[Any] = []
    for change in changes:
        if isinstance(change, Truncation):
            said.append(("truncate", change.table, change.transaction))
        else:
            # Debezium's snapshot has a transaction, that in which it reads.
            transaction = "" if change.op == "read" else change.transaction
            row = (change.key, change.after, change.before, set(change.unavailable))
            said.append((change.op, change.table, transaction, *row))
    return said
