"""Everything on real servers, each part to be killed: PostgreSQL, a Kafka broker, capture, and flows of two processes.

Invariant: what is killed is started again, and in the end nothing of it is left.
"""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest

from fixtures.live import load_file
from fixtures.servers import MissingServerError
from fixtures.servers.broker import KafkaBroker, program
from stores.log.choose import open_log
from stores.settings import Settings, load
from tests.faults.live_service import Service
from tests.faults.live_tables import CREATE, DATABASE, TABLES
from tests.integration.clusters import HASTY
from tests.integration.live import wait_until
from tests.servers.postgres import PostgresServer, another

_logger = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
FLOWS = ("tables", "profiles", "feedback")
STREAM = "shop"
CAPTURE = "capture"
PROCESSES = 2
PARTITIONS = 3
PATIENCE = 120.0

PERSONS = [
    {
        "name": "customers",
        "table": "public.customers",
        "created": "created_at",
        "identifiers": {"email": ["email"], "phone": ["phone"]},
    },
    {
        "name": "users",
        "table": "public.users",
        "created": "created",
        "identifiers": {"email": ["email"], "loyalty": ["loyalty"]},
    },
    {
        "name": "bookings",
        "table": "public.bookings",
        "references": "users",
        "by": {"user_id": "id"},
        "time": "booked_at",
        "show": ["status", "price"],
        "open": {"status": ["booked"]},
        "sums": ["price"],
    },
]


class World:
    """The servers and the services over them.

    :arg client: Which client of Kafka is used.
    """

    def __init__(self, home: Path, database: PostgresServer, broker: KafkaBroker, client: str) -> None:
        self.home = home
        self.data = home / "data"
        self.database = database
        self.broker = broker
        self.appending = threading.Lock()
        """Held by whoever appends to the log from outside, and while the broker is away."""
        self.kills: list[str] = []
        self._settled = 0
        self._variables = variables_of(self.data, database, broker, client)
        self._services: dict[str, Service] = {}
        with database.connect() as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        self.pgbench("-i", "-q", "-n", "-I", "dtGp", seconds=30)
        with self.connect() as connection:
            connection.execute(CREATE)

    def settings(self) -> Settings:
        """Return the settings of the services."""
        ours = {name: value for name, value in self._variables.items() if name.startswith("HEADRACE_")}
        with mock.patch.dict(os.environ, ours):
            return load()

    def connect(self, name: str = "") -> Any:
        """Return a connection that commits each statement."""
        connection = self.database.connect(database=DATABASE)
        connection.execute("SELECT set_config('application_name', %s, false)", (name,))
        return connection

    def pgbench_command(self, *arguments: str) -> list[str]:
        """Return the command line of pgbench over the database."""
        place = ["-h", str(self.database.folder), "-p", str(self.database.port), "-U", "postgres"]
        return [str(self.database.programs / "pgbench"), *place, *arguments, DATABASE]

    def pgbench(self, *arguments: str, seconds: float) -> None:
        """Run pgbench to its end."""
        subprocess.run(self.pgbench_command(*arguments), check=True, capture_output=True, timeout=seconds)

    def start(self) -> None:
        """Start capture and all flows."""
        for name in (CAPTURE, *FLOWS):
            more = ["--processes", str(PROCESSES)] if name in FLOWS else []
            self._services[name] = Service(name, ["-c", HASTY, "run", name, *more], self.home, self._variables)

    def end(self) -> None:
        """End all services."""
        for service in self._services.values():
            service.end()

    def look_after(self) -> None:
        """Start again what has ended."""
        for service in self._services.values():
            service.look_after()

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait on a condition while all services are looked after."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.look_after()
            assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s for: {what}\n{self.report()}"
            time.sleep(0.05)
        _logger.info("there is: %s", what)

    def pass_time(self, seconds: float) -> None:
        """Let time pass while all services are looked after."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.look_after()
            time.sleep(0.02)

    def report(self) -> str:
        """Return what the services have said at last, and how often they have ended by themselves."""
        return "\n".join(
            f"--- {name}, ended by itself with {service.ended}\n{service.said()[-1500:]}"
            for name, service in self._services.items()
        )

    def fault(self, what: str, chance: random.Random) -> None:
        """Kill something (-9), and see to it that it is started again."""
        self.kills.append(what)
        _logger.info("kill: %s", what)
        kind, _, name = what.partition(" ")
        if kind == "broker":
            self._fell_broker(chance)
        elif kind == "database":
            self.database.kill()
            self.pass_time(chance.uniform(0, 1))
            self.database.start()
        elif kind == "supervisor":
            self._services[name].kill()
        else:
            service = self._services[name]
            self.wait_until(lambda: service.kill_worker(chance), f"a process of {name}")

    def _settle_broker(self) -> None:
        """Wait until the broker has written down a topic that is made last, and with it all that came before."""
        self._settled += 1
        name = f"settled-{self._settled}"
        log = open_log(self.settings())
        log.create(name, 1)
        log.close()
        self.wait_until(lambda: self.broker.has_kept(name), "the broker to write down what it has")

    def _fell_broker(self, chance: random.Random) -> None:
        """Kill the broker when it has written down all that it has acknowledged, as it must have done itself."""
        with self.appending:
            halted = self._services[CAPTURE].tree()
            for process in halted:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
            try:
                self._settle_broker()
                self.broker.kill()
                self.pass_time(chance.uniform(0, 1))
                self.broker.start()
            finally:
                for process in halted:
                    with suppress(psutil.NoSuchProcess):
                        process.resume()


@contextmanager
def running_world(home: Path, client: str) -> Iterator[World]:
    """Give a world in which everything runs; nothing of it is left in the end. Skip where a server is not to be had."""
    with another({"wal_sender_timeout": "20s"}) as database:
        try:
            broker = KafkaBroker(program())
        except MissingServerError as error:
            pytest.skip(str(error))
        try:
            world = World(home, database, broker, client)
            try:
                world.start()
                yield world
            finally:
                world.end()
        finally:
            broker.stop()
    wait_until(lambda: not _left(home / "data"), "nothing to be left over")


def variables_of(data: Path, database: PostgresServer, broker: KafkaBroker, client: str) -> dict[str, str]:
    """Return the environment of the services: the feedback flow as over its recording, the others over the tables."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "BYTEWAX_"))}
    kafka = {"servers": [broker.address], "client": client, "timeout_seconds": 20}
    tap = {"name": STREAM, "dsn": database.dsn(database=DATABASE), "tables": [f"public.{name}" for name in TABLES]}
    live = [{"name": name, "table": f"public.{name}"} for name in TABLES]
    feedback = load_file(ROOT / "fixtures" / "streams" / "headrace.toml")["feedback"]
    streams = [{"name": STREAM, "format": "debezium"}]
    sections: dict[str, Any] = {
        "LOG": {"backend": "kafka", "partitions": PARTITIONS, "kafka": kafka},
        "CAPTURE": {"postgres": [tap]},
        # A table may be emptied here.
        "TABLES": {"streams": streams, "live": live, "guard": {"share": 1}},
        "PROFILES": {"streams": streams, "tables": PERSONS, "others": "ignore"},
        "FEEDBACK": {**feedback, "sentiment": {"backend": "none"}, "batch_size": 50},
    }
    return {
        **plain,
        **{f"HEADRACE_{name}": json.dumps(value) for name, value in sections.items()},
        "HEADRACE_DATA_DIR": str(data),
        "HEADRACE_EMBEDDING__BACKEND": "hashing",
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


def _left(data: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get("HEADRACE_DATA_DIR") == str(data) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found
