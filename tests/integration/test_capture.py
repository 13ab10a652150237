"""The capture of PostgreSQL as its user sees it: the flow as a process, and the commands around it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from events.errors import PASSING
from events.log import LogRecord
from stores.log.files import FileLog
from tests.servers.postgres import PostgresServer, running
from tests.stores.captured import live_rows, source_rows

ROOT = Path(__file__).parents[2]
DEADLINE = 60.0


@pytest.fixture
def server(request: pytest.FixtureRequest) -> PostgresServer:
    return running(request.config)


@pytest.fixture
def db(server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    with server.connect() as session:
        session.execute("CREATE TABLE flights (id int PRIMARY KEY, fare numeric(10,2)); CREATE TABLE notes (v text)")
        session.execute("INSERT INTO flights SELECT i, i FROM generate_series(1, 50) i")
        yield session
        session.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        session.execute("DROP PUBLICATION IF EXISTS headrace_shop")
        session.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")


@pytest.fixture
def config(server: PostgresServer, tmp_path: Path) -> Path:
    file = tmp_path / "headrace.toml"
    file.write_text(
        f'data_dir = "{tmp_path / "data"}"\n[[capture.postgres]]\nname = "shop"\ndsn = "{server.dsn()}"\n'
        'tables = ["public.flights"]\n'
    )
    return file


@contextmanager
def flow(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bytewax.run", "dataflows.capture", "-s", "1"]
    with (config.parent / "flow.log").open("ab") as log:
        environment = {**os.environ, "HEADRACE_CONFIG": str(config)}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def headrace(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HEADRACE_CONFIG": str(config), "COLUMNS": "200"}
    command = [sys.executable, "-m", "serving.cli", "capture", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


def captured(config: Path) -> list[LogRecord]:
    log = FileLog(config.parent / "data" / "log")
    found: list[LogRecord] = []
    for partition in log.partitions("shop"):
        records, offset = log.read("shop", partition, 0, 10_000)
        while records:
            found += records
            records, offset = log.read("shop", partition, offset, 10_000)
    return found


def wait_for(config: Path, db: psycopg.Connection[Any], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE
    while live_rows(captured(config)) != source_rows(db, ["public.flights"]):
        assert time.monotonic() < deadline, (config.parent / "flow.log").read_text()[-2000:]
        assert process.poll() is None, (config.parent / "flow.log").read_text()[-2000:]
        time.sleep(0.02)


def test_the_flow_brings_rows_and_changes_onto_the_log_and_the_commands_say_how_far_it_is(
    config: Path, db: psycopg.Connection[Any]
) -> None:
    assert json.loads(headrace(config, "status", "--json").stdout)["phase"] == "not begun"
    made = headrace(config, "setup", "shop")
    assert made.returncode == 0, made.stderr
    assert 'CREATE PUBLICATION "headrace_shop" FOR TABLE ONLY "public"."flights"' in made.stdout
    assert "SELECT pg_create_logical_replication_slot('headrace_shop', 'pgoutput');" in made.stdout
    assert headrace(config, "check").stdout == "shop: all is well\n"
    with flow(config) as process:
        wait_for(config, db, process)
        db.execute("UPDATE flights SET fare = fare + 0.5 WHERE id < 10; DELETE FROM flights WHERE id = 20")
        wait_for(config, db, process)
        refused = headrace(config, "reset", "shop", "--yes")
        assert refused.returncode == PASSING  # it is in use now
        assert "streams from the slot headrace_shop" in refused.stderr
        assert refused.stderr.count("\n") == 1
    state = json.loads(headrace(config, "status", "--json").stdout)
    assert state["phase"] == "stream"
    assert state["kind"] == "postgres"
    assert state["events"] >= 50
    db.execute("DELETE FROM flights WHERE id = 30")
    assert headrace(config, "reset", "shop", "--yes").returncode == 0
    with flow(config) as process:
        wait_for(config, db, process)
        process.send_signal(signal.SIGINT)
        process.wait(20)
    ended = headrace(config, "drop", "shop", "--yes")
    assert ended.returncode == 0, ended.stderr
    assert db.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
    assert db.execute("SELECT count(*) FROM pg_publication").fetchone() == (0,)


def test_check_and_status_tell_of_a_publication_that_went_with_what_came_meanwhile(
    config: Path, db: psycopg.Connection[Any]
) -> None:
    with flow(config) as process:
        wait_for(config, db, process)
        db.execute("DROP PUBLICATION headrace_shop; UPDATE flights SET fare = 0")
        process.wait(DEADLINE)
    for command in (("check",), ("status", "--json")):
        told = headrace(config, *command)
        assert "the publication headrace_shop is gone, or was made anew" in told.stdout
        assert "headrace capture reset shop" in told.stdout
        assert told.returncode == 1


def test_tables_without_an_identity_are_not_published_unless_one_insists(
    config: Path, db: psycopg.Connection[Any]
) -> None:
    config.write_text(config.read_text().replace("public.flights", "public.notes"))
    refused = headrace(config, "setup")
    assert refused.returncode == 1
    assert "every UPDATE and DELETE of it fails at the source" in refused.stderr
    assert "ALTER TABLE public.notes REPLICA IDENTITY FULL" in refused.stderr
    assert db.execute("SELECT count(*) FROM pg_publication").fetchone() == (0,)
    assert headrace(config, "setup", "--force").returncode == 0
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        db.execute("INSERT INTO notes VALUES ('a'); UPDATE notes SET v = 'b'")


def test_the_sql_for_the_administrator_is_printed_without_the_server(config: Path) -> None:
    config.write_text(config.read_text().replace("host=", "host=nowhere"))
    printed = headrace(config, "setup", "--print").stdout
    assert 'ALTER ROLE "postgres" REPLICATION;' in printed
    assert 'GRANT SELECT ON "public"."flights" TO "postgres";' in printed
