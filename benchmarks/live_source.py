"""The database that the live benchmark changes: 10,000 flights, some probes, and a writer that waits for nobody.

Each transaction changes flights drawn by chance and, last, one probe, whose version is the number of its change. It
says itself when it is about to commit, by the server's clock. A probe that can be read somewhere says thereby that its
transaction is there, and all before.
"""

from __future__ import annotations

import random
import time
from multiprocessing.connection import Connection
from typing import Any

import psycopg
from psycopg import sql

from benchmarks.tables_delay import Sent
from fixtures.servers.postgres import PostgresServer

NAME = "live"
"""Of the capture, and of its stream."""
FLIGHTS, PROBES = "flights", "probes"
TABLES = (FLIGHTS, PROBES)
ROWS = 10_000
PROBE_ROWS = 8
TRANSACTIONS = 250
"""A second, at most; at a higher rate each of them changes more."""

_MADE = f"""
CREATE TABLE {FLIGHTS} (
    id int4 PRIMARY KEY, number text NOT NULL, origin text NOT NULL, destination text NOT NULL,
    departs_at timestamptz NOT NULL, arrives_at timestamptz NOT NULL, status text NOT NULL, gate text,
    price numeric(8,2) NOT NULL, seats_left int4 NOT NULL, notice text, updated_by text NOT NULL DEFAULT current_user);
CREATE TABLE {PROBES} (id int4 PRIMARY KEY, version int4 NOT NULL);
INSERT INTO {FLIGHTS} SELECT i, 'HR' || i, 'HAM', 'LIS', now() + i * interval '1 minute', now() + i * interval
    '1 minute 3 seconds', 'scheduled', 'B' || i % 40, 100 + i % 300, 0, NULL FROM generate_series(1, {ROWS}) i;
INSERT INTO {PROBES} SELECT i, 0 FROM generate_series(1, {PROBE_ROWS}) i;
"""  # noqa: S608  # our own names
_CHANGE = f"""
WITH changed AS (UPDATE {FLIGHTS} SET seats_left = seats_left + 1 WHERE id = ANY(%s))
UPDATE {PROBES} SET version = %s WHERE id = %s RETURNING extract(epoch FROM clock_timestamp())::float8
"""  # noqa: S608  # our own names
_BACKLOG = f"UPDATE {FLIGHTS} SET seats_left = seats_left + 1 WHERE id %% %s = 0"  # noqa: S608  # our own names


class Database:
    """A database of its own on a server, with its tables."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self._server = server
        self.name = name
        self.address = server.address(database=name)
        self.port = server.port
        with server.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with self.connect() as connection:
            connection.execute(_MADE)
            connection.execute("VACUUM ANALYZE")

    def connect(self) -> psycopg.Connection[Any]:
        """Return a connection that commits each statement."""
        return psycopg.connect(self.address, autocommit=True)

    def rows(self) -> dict[str, dict[int, int]]:
        """Return what changes of each row, by table and id."""
        with self.connect() as connection:
            return {
                FLIGHTS: dict(connection.execute(f"SELECT id, seats_left FROM {FLIGHTS}").fetchall()),  # noqa: S608
                PROBES: dict(connection.execute(f"SELECT id, version FROM {PROBES}").fetchall()),  # noqa: S608
            }

    def pile_up(self, events: int) -> int:
        """Change about so many rows while nobody captures, in transactions of 100; return how many."""
        share = 100
        transactions = max(1, events * share // ROWS)
        with self.connect() as connection:
            return sum(connection.execute(_BACKLOG, [share]).rowcount for _ in range(transactions))

    def drop(self) -> None:
        """Remove it, with its slots; whoever is connected is thrown out."""
        with self._server.connect() as connection:
            slots = "FROM pg_replication_slots WHERE database = %s"
            connection.execute(f"SELECT pg_terminate_backend(active_pid) {slots} AND active", [self.name])
            deadline = time.monotonic() + 10
            while connection.execute(f"SELECT 1 {slots} AND active", [self.name]).fetchone():
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
            connection.execute(f"SELECT pg_drop_replication_slot(slot_name) {slots}", [self.name])
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self.name)))


class Writer:
    """Changes rows at a rate, in transactions that come by chance, as those of many clients do.

    :arg version: Of the probes before.
    """

    def __init__(self, address: str, rate: float, version: int, seed: int = 7) -> None:
        self._address = address
        self._chance = random.Random(seed)
        self._version = version
        self.pace = min(TRANSACTIONS, rate / 2)
        self.size = max(2, round(rate / self.pace))

    def write(self, seconds: float, done: Connection) -> None:
        """Write; send when each probe was committed, and how many changes a second that were."""
        sent: list[Sent] = []
        with psycopg.connect(self._address, autocommit=True) as connection:
            began = due = time.monotonic()
            while time.monotonic() - began < seconds:
                time.sleep(max(0.0, due - time.monotonic()))
                due += self._chance.expovariate(self.pace)
                probe = len(sent) % PROBE_ROWS + 1
                version = self._version + len(sent) // PROBE_ROWS + 1
                flights = self._chance.sample(range(1, ROWS + 1), self.size - 1)
                [moment] = connection.execute(_CHANGE, [flights, version, probe], prepare=True).fetchone() or (0.0,)
                sent.append((probe, version, moment - time.time() + time.monotonic()))
            done.send((sent, len(sent) * self.size / (time.monotonic() - began)))


def write(address: str, rate: float, version: int, seconds: float, done: Connection) -> None:
    """Write in a process of its own."""
    Writer(address, rate, version).write(seconds, done)
