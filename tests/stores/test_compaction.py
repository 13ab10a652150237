"""Compacting databases: nothing of what was deleted is left in any byte, and whoever uses them goes on."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from stores.compaction import Compaction, compact, compact_schema, databases
from tests.servers.postgres import running

SECRET = b"anna.silva@example.org"


def filled(path: Path, rows: int = 500, mode: str = "wal") -> sqlite3.Connection:
    """Return a connection to a database in which every second row has just been deleted."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute(f"PRAGMA journal_mode = {mode}")
    db.execute("PRAGMA secure_delete = OFF")  # some systems have it on
    db.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, mail TEXT)")
    with db:
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO people VALUES (?, ?)",
            [(number, f"{'ben' if number % 2 else SECRET.decode()}-{number}") for number in range(rows)],
        )
    db.execute("DELETE FROM people WHERE id % 2 = 0")
    return db


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def now(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_what_was_deleted_is_in_no_byte_any_more_though_a_writer_has_it_open(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "people.sqlite3"
    with closing(filled(path, mode=mode)) as db:
        assert SECRET in bytes_of(tmp_path)
        assert list(compact([path], now(), patience=5)) == [Compaction(path)]
        assert SECRET not in bytes_of(tmp_path)
        db.execute("INSERT INTO people VALUES (0, 'eve')")
        assert db.execute("SELECT count(*) FROM people").fetchone() == (251,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_databases_are_known_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.sqlite3", "deep/b.db", "cache.sqlite3"):
        filled(tmp_path / name).close()
    (tmp_path / "c.sqlite3").write_bytes(b"no database")
    (tmp_path / "empty.sqlite3").touch()
    found = databases(tmp_path, besides=[tmp_path / "cache.sqlite3"])
    assert found == [tmp_path / "a.sqlite3", tmp_path / "deep" / "b.db"]


def test_a_database_in_use_is_tried_again_until_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite3"
    with closing(filled(path)) as db:
        db.execute("BEGIN IMMEDIATE")
        tried = threading.Event()

        def free_it(seconds: float) -> None:
            tried.set()
            db.execute("COMMIT")

        assert list(compact([path], now(20), patience=0.1, sleep=free_it)) == [Compaction(path)]
        assert tried.is_set()
        assert SECRET not in bytes_of(tmp_path)


def test_one_that_stays_in_use_is_told_and_the_others_are_compacted(tmp_path: Path) -> None:
    first, second = tmp_path / "a.sqlite3", tmp_path / "b.sqlite3"
    with closing(filled(first)) as db, closing(filled(second)):
        db.execute("BEGIN IMMEDIATE")
        found = list(compact([first, second], now(0), patience=0.1))
        assert [one.path for one in found if one.fault] == [first]
        assert "locked" in found[0].fault


def test_a_reader_that_holds_on_to_what_was_is_told(tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite3"
    with closing(filled(path)) as db:
        db.execute("BEGIN")
        db.execute("SELECT count(*) FROM people").fetchone()
        (found,) = compact([path], now(0), patience=0.1)
        assert "write-ahead log" in found.fault
        db.execute("COMMIT")
        assert list(compact([path], now(0), patience=0.1)) == [Compaction(path)]


def test_one_that_would_keep_its_users_waiting_too_long_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "people.sqlite3"
    with closing(filled(path, rows=20_000)) as db:
        (found,) = compact([path], now(0), patience=0.0)
        assert "longer than" in found.fault
        assert db.execute("SELECT count(*) FROM people").fetchone() == (10_000,)


def test_a_file_that_is_no_database_or_is_gone_harms_nobody(tmp_path: Path) -> None:
    broken = tmp_path / "broken.sqlite3"
    broken.write_bytes(b"SQLite format 3\x00" + b"x" * 5000)
    found = list(compact([broken, tmp_path / "gone.sqlite3"], now(0), patience=1))
    assert [bool(one.fault) for one in found] == [True, False]
    assert not (tmp_path / "gone.sqlite3").exists()


def test_tables_of_postgresql_are_written_anew_and_one_in_use_is_told(request: pytest.FixtureRequest) -> None:
    server = running(request.config)
    with server.connect() as admin, server.connect() as user:
        admin.execute("CREATE SCHEMA compacting")
        for table in (b"busy", b"idle"):
            admin.execute(b"CREATE TABLE compacting.%b AS SELECT repeat('x', 500) FROM generate_series(1, 500)" % table)
            admin.execute(b"DELETE FROM compacting.%b" % table)
        user.execute("BEGIN")
        user.execute("SELECT count(*) FROM compacting.busy")
        remarks = compact_schema(server.dsn(), "compacting", 0.1)
        sizes = admin.execute(
            "SELECT pg_relation_size('compacting.busy') > 0, pg_relation_size('compacting.idle')"
        ).fetchone()
        user.execute("ROLLBACK")
        assert sizes == (True, 0)
        assert len(remarks) == 2
        assert "write-ahead log" in remarks[0]
        assert "compacting.busy could not be compacted" in remarks[1]
        admin.execute("DROP SCHEMA compacting CASCADE")
