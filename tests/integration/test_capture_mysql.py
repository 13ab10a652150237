"""From MariaDB to the live table: SQL, the capture, the log, the tables flow; the server is killed on the way."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serving.commands.capture import app
from stores.capture.places import Places
from stores.rows.base import RowQuery
from stores.rows.choose import open_row_reader
from stores.settings import Settings
from tests.integration.live import Home, Running, wait_until
from tests.servers.mariadb import another

SETTINGS = """
[[capture.mysql]]
name = "shop"
user = "root"
port = {port}
tables = ["shop.orders"]

[[tables.streams]]
name = "shop"

[[tables.live]]
name = "orders"
table = "shop.orders"
"""
MADE = """CREATE TABLE shop.orders (id int PRIMARY KEY, customer varchar(30), total decimal(10,2), placed datetime(3),
    open tinyint, facts json)"""


def write(db: Any, seed: int, count: int) -> None:
    """Insert, change, re-key and delete orders, in transactions of which some are rolled back."""
    chance = random.Random(seed)
    with db.cursor() as cursor:
        for number in range(count):
            id_ = chance.randrange(40)
            row = (chance.choice(["Zoë", "Bo", None]), chance.randrange(10**6) / 100, f'{{"n": {number}}}')
            cursor.execute("BEGIN")
            cursor.execute(
                "INSERT INTO shop.orders VALUES (%s, %s, %s, '2026-05-01 12:00:00.5', 1, %s)"
                " ON DUPLICATE KEY UPDATE customer = VALUES(customer), total = VALUES(total), facts = VALUES(facts)",
                (id_, *row),
            )
            if chance.random() < 0.3:
                cursor.execute("DELETE FROM shop.orders WHERE id = %s", (chance.randrange(40),))
            if chance.random() < 0.1:
                cursor.execute("UPDATE IGNORE shop.orders SET id = id + 100 WHERE id = %s", (id_,))
            cursor.execute("ROLLBACK" if chance.random() < 0.1 else "COMMIT")


def source(db: Any) -> dict[int, Any]:
    with db.cursor() as cursor:
        cursor.execute("SELECT id, customer, total, placed, open, facts FROM shop.orders")
        return {
            id_: {
                "id": id_,
                "customer": customer,
                "total": total,
                "placed": placed.isoformat(timespec="milliseconds"),
                "open": open_,
                "facts": json.loads(facts),
            }
            for id_, customer, total, placed, open_, facts in cursor.fetchall()
        }


def live(home: Home) -> dict[int, Any]:
    reader = open_row_reader(Settings(data_dir=home.path / ".headrace"))
    images = [row.image for row in reader.select(RowQuery(table="orders", limit=1000)) if row.image]
    return {image["id"]: {**image, "total": Decimal(str(image["total"]))} for image in images}


def command(*arguments: str) -> str:
    return CliRunner().invoke(app, arguments).stdout


def test_the_live_table_is_what_the_server_holds_though_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with another() as server:
        db = server.connect()
        with db.cursor() as cursor:
            cursor.execute("CREATE DATABASE shop")
            cursor.execute(MADE)
        write(db, 1, 60)
        (tmp_path / "headrace.toml").write_text(SETTINGS.format(port=server.port))
        home = Home(tmp_path)
        with Running(home, "capture"), Running(home, "tables"):
            wait_until(lambda: live(home) == source(db), "the rows that were there")
            write(db, 2, 100)
            server.kill()
            server.start()
            db = server.connect()
            write(db, 3, 100)
            wait_until(lambda: live(home) == source(db), "the rows after the server was killed")
            # What is on the log is served before the epoch closes in which it is written down how far that was.
            wait_until(lambda: bool(Places(home.path / ".headrace" / "capture.sqlite3").read()), "the place")
        monkeypatch.chdir(tmp_path)
        (said,) = [json.loads(line) for line in command("status", "--json").splitlines()]
        assert (said["kind"], said["phase"]) == ("mysql", "stream")
        assert command("check") == "shop: all is well\n"
        assert "GRANT SELECT ON `shop`.`orders` TO 'root'@'%';" in command("setup", "--print")
        command("reset", "shop", "--yes")
        assert json.loads(command("status", "--json"))["phase"] == "anew"
        db.close()
