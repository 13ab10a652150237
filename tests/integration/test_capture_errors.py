"""What can be wrong with a captured PostgreSQL: each is one line that says what to do, before anything is read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from events.errors import PASSING, StoreError
from stores.capture.postgres.admin import find_faults, script, set_up
from stores.capture_settings import PostgresTapSettings
from tests.servers.postgres import PostgresServer, another
from tests.stores.captured import open_tap, wait_until_idle

ROOT = Path(__file__).parents[2]
PASSWORD = "hunter2"  # noqa: S105  # of a server that lives as long as this module
VARIABLE, UNSET = "SHOP_PASSWORD", "NOT_SET"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with another({"max_replication_slots": "2", "max_wal_senders": "2"}, tcp=True) as made:
        with made.connect() as root:
            root.execute(f"CREATE ROLE reader LOGIN REPLICATION PASSWORD '{PASSWORD}'")
            root.execute("CREATE ROLE plain LOGIN")
            root.execute(
                "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE nameless (v text); CREATE VIEW v AS TABLE t"
            )
            root.execute("CREATE UNLOGGED TABLE passing (id int PRIMARY KEY)")
            root.execute("CREATE PUBLICATION partial FOR TABLE t WITH (publish = 'insert')")
            root.execute("GRANT CREATE ON DATABASE postgres TO plain")
        made.rule("host all reader 127.0.0.1/32 scram-sha-256")
        yield made


def settings(dsn: str, **values: Any) -> PostgresTapSettings:
    return PostgresTapSettings(**{"name": "shop", "dsn": dsn, "tables": ("public.t",), **values})


def errors(found: PostgresTapSettings) -> list[tuple[str, str]]:
    return [(finding.detail, finding.hint) for finding in find_faults(found, None) if finding.level == "error"]


Case = Callable[[PostgresServer], PostgresTapSettings]
CASES: dict[str, tuple[Case, str, str]] = {
    "a host that is not there": (
        lambda server: settings("host=127.0.0.1 port=1 user=reader dbname=postgres"),
        "cannot be reached",
        "check host and port in dsn",
    ),
    "a wrong password": (
        lambda server: settings(server.address("reader"), password_variable=VARIABLE),
        "password authentication failed",
        VARIABLE,
    ),
    "a password that is not set": (
        lambda server: settings(server.address("reader"), password_variable=UNSET),
        "the variable NOT_SET is not set",
        "put the password into it",
    ),
    "a database that is not there": (
        lambda server: settings(server.dsn(database="nowhere")),
        'database "nowhere" does not exist',
        "correct `dbname` in dsn",
    ),
    "a role that is not there": (
        lambda server: settings(server.dsn("nobody")),
        'role "nobody" does not exist',
        "correct `user` in dsn",
    ),
    "a dsn that is none": (lambda server: settings("hosts=x"), "its dsn cannot be read", "host=db"),
    "no right to replicate": (
        lambda server: settings(server.dsn("plain")),
        "the user plain may not replicate",
        'ALTER ROLE "plain" REPLICATION',
    ),
    "no right to read": (
        lambda server: settings(server.dsn("reader"), publications=("partial",)),
        "the user reader may not read public.t",
        'GRANT USAGE ON SCHEMA "public" TO "reader"; GRANT SELECT ON "public"."t" TO "reader"',
    ),
    "no right to publish": (
        lambda server: settings(server.dsn("reader"), snapshot=False),
        "only the owner of public.t can publish",
        "headrace capture setup shop --print",
    ),
    "a table that is not there": (
        lambda server: settings(server.dsn(), tables=("public.gone",)),
        "there is no table public.gone",
        "correct `tables`",
    ),
    "a view": (lambda server: settings(server.dsn(), tables=("public.v",)), "public.v is no table", "made of"),
    "an unlogged table": (
        lambda server: settings(server.dsn(), tables=("public.passing",)),
        "changes of public.passing are not in the WAL",
        'ALTER TABLE "public"."passing" SET LOGGED',
    ),
    "a publication that is not there": (
        lambda server: settings(server.dsn(), publications=("none",)),
        "there is no publication none",
        "create it",
    ),
    "a table whose updates would fail at the source": (
        lambda server: settings(server.dsn(), tables=("public.t", "public.nameless")),
        "public.nameless has no primary key: once published, every UPDATE and DELETE of it fails at the source",
        "ALTER TABLE public.nameless REPLICA IDENTITY FULL; `headrace capture setup shop --force`",
    ),
    "a publication without the table": (
        lambda server: settings(server.dsn(), tables=("public.nameless",), publications=("partial",)),
        "the publications do not cover public.nameless",
        'ALTER PUBLICATION "partial" ADD TABLE "public"."nameless"',
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_with_the_remedy_in_one_line_by_the_check_and_by_the_capture(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setenv(VARIABLE, "not-the-password")
    made, said, remedy = CASES[case]
    found = made(server)
    (detail, hint), *_ = errors(found)
    assert said in detail
    assert remedy in hint
    with pytest.raises(StoreError) as refused:
        open_tap(found)
    told = str(refused.value)
    assert said in told
    assert remedy in told
    assert "\n" not in told
    assert "not-the-password" not in told
    with server.connect() as root:
        assert root.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)


def test_the_password_comes_from_its_variable(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    found = errors(settings(server.address("reader"), password_variable=VARIABLE, publications=("partial",)))
    assert [detail for detail, _ in found] == ["the user reader may not read public.t"]


def test_what_will_hurt_somebody_later_is_a_warning(server: PostgresServer) -> None:
    nameless = settings(server.dsn(), tables=("public.nameless",))
    with server.connect() as root:
        set_up(nameless, None, print, force=True)
        try:
            found = find_faults(nameless, None)
            open_tap(nameless).close()
            root.execute("ALTER PUBLICATION headrace_shop SET (publish = 'insert')")
            harmless = find_faults(nameless, None)
        finally:
            wait_until_idle(root)
            root.execute("DROP PUBLICATION headrace_shop")
            root.execute("SELECT pg_drop_replication_slot('headrace_shop')")
    assert [(finding.level, finding.hint) for finding in found] == [
        ("warning", "add a primary key, or: ALTER TABLE public.nameless REPLICA IDENTITY FULL")
    ]
    assert [finding.detail for finding in harmless] == [
        "the publication headrace_shop does not publish: update, delete, truncate"
    ]
    partial = find_faults(settings(server.dsn(), publications=("partial",)), None)
    assert [(finding.level, finding.detail) for finding in partial] == [
        ("warning", "the publication partial does not publish: update, delete, truncate")
    ]


def test_a_publication_of_somebody_else_that_is_not_as_the_settings_is_refused_with_the_statement_for_its_owner(
    server: PostgresServer,
) -> None:
    found = settings(server.dsn("reader"), snapshot=False)
    with server.connect() as root:
        root.execute("CREATE TABLE other (id int PRIMARY KEY); CREATE PUBLICATION headrace_shop FOR TABLE other")
        try:
            assert errors(found) == [
                (
                    "the publication headrace_shop does not cover public.t, and is not the user's",
                    'let the owner run: ALTER PUBLICATION "headrace_shop" ADD TABLE ONLY "public"."t"',
                ),
                (
                    "the publication headrace_shop covers public.other too, and is not the user's",
                    "add them to `tables`, or let its owner run: "
                    'ALTER PUBLICATION "headrace_shop" DROP TABLE "public"."other"',
                ),
            ]
            with pytest.raises(StoreError, match=r"does not cover public\.t"):
                open_tap(found)
            root.execute('ALTER PUBLICATION "headrace_shop" ADD TABLE ONLY "public"."t"')
            root.execute('ALTER PUBLICATION "headrace_shop" DROP TABLE "public"."other"')
            assert errors(found) == []
        finally:
            root.execute("DROP PUBLICATION headrace_shop; DROP TABLE other")


def test_the_printed_sql_is_what_a_plain_user_lacks(server: PostgresServer) -> None:
    found = settings(server.dsn("plain"))
    with server.connect() as root:
        for statement in script(found):
            root.execute(statement.encode())
        assert errors(found) == []
        set_up(found, None, print)
        open_tap(found).close()
        root.execute("ALTER ROLE plain NOREPLICATION; REVOKE ALL ON t FROM plain; DROP PUBLICATION headrace_shop")
        root.execute("ALTER SYSTEM RESET wal_level")
        root.execute("SELECT pg_drop_replication_slot('headrace_shop')")


def test_a_server_whose_slots_or_readers_are_used_up_says_so(server: PostgresServer) -> None:
    found = settings(server.dsn(), publications=("partial",))
    with server.connect() as root, ExitStack() as others:
        for number in range(2):
            root.execute(f"SELECT pg_create_physical_replication_slot('other{number}')")
            others.callback(root.execute, f"SELECT pg_drop_replication_slot('other{number}')")
        assert errors(found)[0][0] == "all 2 replication slots of the server are in use"
        with pytest.raises(StoreError, match="raise max_replication_slots"):
            open_tap(found)
        for _ in range(2):
            reader = psycopg.pq.PGconn.connect(f"{server.dsn()} replication=database".encode())
            others.callback(reader.finish)
        assert "all 2 readers of WAL that the server admits are there" in [detail for detail, _ in errors(found)]
        with pytest.raises(StoreError, match="max_wal_senders"):
            open_tap(found)


def test_a_flow_that_cannot_reach_its_database_ends_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text(
        f'data_dir = "{tmp_path}"\n[[capture.postgres]]\nname = "shop"\n'
        'dsn = "host=127.0.0.1 port=1 user=x dbname=x"\ntables = ["public.t"]\n'
    )
    environment = {**os.environ, "HEADRACE_CONFIG": str(tmp_path / "headrace.toml")}
    command = [sys.executable, "-m", "serving.cli", "run", "capture"]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == PASSING
    lines = [line for line in ran.stderr.splitlines() if line.startswith("headrace: ")]
    assert len(lines) == 1
    assert "cannot be reached" in lines[0]
    assert "check host and port in dsn" in lines[0]
    assert "Traceback" not in ran.stderr


def test_a_server_without_logical_decoding_is_told_how_to_have_it(server: PostgresServer) -> None:
    server.halt()
    server.start({"wal_level": "replica"})
    try:
        found = settings(server.dsn(), publications=("partial",))
        (detail, hint), *_ = errors(found)
        assert detail == "the server's wal_level is replica, not logical"
        assert "ALTER SYSTEM SET wal_level = logical" in hint
        with pytest.raises(StoreError, match="wal_level is replica"):
            open_tap(found)
    finally:
        server.halt()
        with suppress(psycopg.Error):
            server.start({"wal_level": "logical"})


def test_a_slot_that_has_lost_its_wal_is_refused_with_the_remedy(server: PostgresServer) -> None:
    found = settings(server.dsn(), publications=("partial",))
    with server.connect() as root:
        root.execute("SELECT pg_create_logical_replication_slot('headrace_shop', 'pgoutput')")
        root.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        root.execute("SELECT pg_reload_conf()")
        try:
            for _ in range(3):
                root.execute("CREATE TABLE big AS SELECT 1; DROP TABLE big")
                root.execute("SELECT pg_switch_wal()")
                root.execute("CHECKPOINT")
            with pytest.raises(StoreError, match="no longer has what comes next") as refused:
                open_tap(found)
            assert "headrace capture reset shop" in refused.value.hint
        finally:
            root.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
            root.execute("SELECT pg_reload_conf()")
            root.execute("SELECT pg_drop_replication_slot('headrace_shop')")
