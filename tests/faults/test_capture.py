"""Capture and database killed (-9) again and again: what lives in the end is what the source holds."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.log import BROKEN, LogRecord
from tests.integration.test_capture import captured, flow
from tests.servers.postgres import PostgresServer, another
from tests.stores.captured import live_rows, source_rows

DEADLINE = 60.0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with another() as made:
        yield made


def test_rows_written_through_kills_of_capture_and_database_are_all_there(
    server: PostgresServer, tmp_path: Path
) -> None:
    run(server, tmp_path, seed=1, rounds=2)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10, 14))
def test_rows_written_through_many_kills_are_all_there(server: PostgresServer, tmp_path: Path, seed: int) -> None:
    run(server, tmp_path, seed=seed, rounds=16)


def run(server: PostgresServer, folder: Path, *, seed: int, rounds: int) -> None:
    chance = random.Random(seed)
    config = folder / "headrace.toml"
    config.write_text(
        f'data_dir = "{folder / "data"}"\n[[capture.postgres]]\nname = "shop"\ndsn = "{server.dsn()}"\n'
        'tables = ["public.flights"]\n'
    )
    with server.connect() as db:
        db.execute("CREATE TABLE flights (id int PRIMARY KEY, v int)")
        db.execute("INSERT INTO flights SELECT i, 0 FROM generate_series(0, 20000) i")
    for number in range(rounds):
        with flow(config) as process:
            write(server, chance, folder, number)
            if chance.random() < 0.5:
                server.kill()
                server.start()
                write(server, chance, folder, number + 1000)
            assert process.poll() is None, (folder / "flow.log").read_text()[-2000:]
    with flow(config) as process, server.connect() as db:
        deadline = time.monotonic() + DEADLINE
        while live_rows(whole(config, rounds)) != source_rows(db, ["public.flights"]):
            assert time.monotonic() < deadline, (folder / "flow.log").read_text()[-2000:]
            assert process.poll() is None, (folder / "flow.log").read_text()[-2000:]
            time.sleep(0.1)


def whole(config: Path, kills: int) -> list[LogRecord]:
    """Return what is on the log but for lines that a killed capture left torn: what they were to say came again."""
    records = captured(config)
    found = [record for record in records if BROKEN not in record.headers]
    assert len(records) - len(found) <= kills
    return found


def write(server: PostgresServer, chance: random.Random, folder: Path, number: int) -> None:
    """Write until the capture has brought something more, and for a random while longer."""
    before = size(folder)
    until = time.monotonic() + DEADLINE
    left = chance.randrange(1, 30)
    with server.connect() as db:
        while left and time.monotonic() < until:
            low = chance.randrange(20_000)
            with db.transaction():
                db.execute("UPDATE flights SET v = %s WHERE id BETWEEN %s AND %s", (number, low, low + 20))
                db.execute("DELETE FROM flights WHERE id = %s", (chance.randrange(20_000),))
                db.execute(
                    "INSERT INTO flights VALUES (%s, 1) ON CONFLICT (id) DO NOTHING", (chance.randrange(20_000),)
                )
            if size(folder) > before:
                left -= 1


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in (folder / "data" / "log").rglob("*") if file.is_file())
