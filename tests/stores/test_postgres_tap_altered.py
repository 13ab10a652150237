"""The tap of PostgreSQL when settings or publications are altered under it, and when somebody else is in the way."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from events.clock import system_clock
from operators.capture.postgres import PostgresDecoder
from stores.capture.postgres.snapshot import BATCH_CHARS
from stores.capture.postgres.tap import LOOK_MILLIS, PUBLISH_MILLIS, PostgresTap
from stores.capture_settings import PostgresTapSettings
from tests.servers.postgres import PostgresServer, running
from tests.stores.captured import Story, clear

Database = psycopg.Connection[Any]
BRIEF = 1.0
"""Longest time that a draw may take on a busy machine (s); what it must not wait for takes longer."""


@pytest.fixture
def db(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Give a session, and the tables `t` and `u`; tables, publications and slots are gone afterwards."""
    with running(request.config).connect() as session:
        clear(session)
        session.execute("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text)")
        yield session
        clear(session)


@pytest.fixture
def server(request: pytest.FixtureRequest, db: Database) -> PostgresServer:
    return running(request.config)


@pytest.fixture
def story(server: PostgresServer) -> Iterator[Story]:
    told = Story(PostgresTapSettings(name="shop", dsn=server.dsn(), tables=("public.t",), heartbeat_seconds=0.01))
    yield told
    told.end()


class Ahead:
    """A clock that can be put forward."""

    def __init__(self) -> None:
        self.millis = 0

    def __call__(self) -> int:
        return system_clock() + self.millis


def run(story: Story, clock: Ahead) -> PostgresTap:
    """Open the tap where it was left, by this clock."""
    story.end()
    settings = story.settings
    decoder = PostgresDecoder(settings.name, settings.target)
    story.tap = PostgresTap(settings, story.place, clock, decoder)
    return story.tap


def stop_within_a_transaction(story: Story, given: int) -> None:
    while len(story.records) < given:
        story.draw(100)
    assert story.place["commit"] > story.place["end"], "the place is within the transaction"
    story.end()


# Settings that are altered while a transaction is half given

BOTH = ("public.t", "public.u")
SPLIT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a table less": ({"tables": BOTH, "publications": ("mine",)}, {"tables": ("public.t",)}),
    "a table more": ({"tables": ("public.t",), "publications": ("mine",)}, {"tables": BOTH}),
    "a publication less": (
        {"tables": BOTH, "publications": ("left", "right")},
        {"tables": ("public.t",), "publications": ("left",)},
    ),
    "messages no longer": ({"messages": True}, {"messages": False}),
    "messages as well": ({"messages": False}, {"messages": True}),
}


@pytest.mark.parametrize("case", SPLIT)
def test_a_transaction_that_is_half_given_is_ended_as_it_was_begun(story: Story, db: Database, case: str) -> None:
    db.execute("CREATE PUBLICATION mine FOR TABLE t, u")
    db.execute('CREATE PUBLICATION "left" FOR TABLE t; CREATE PUBLICATION "right" FOR TABLE u')
    before, after = SPLIT[case]
    story.run(**before)
    story.draw_until(lambda: True)
    with db.transaction():
        db.execute("INSERT INTO u SELECT i, 'first' FROM generate_series(1, 300) i")
        db.execute("SELECT pg_logical_emit_message(true, 'p', 'm') FROM generate_series(1, 300)")
        db.execute("INSERT INTO t SELECT i, 'first' FROM generate_series(1, 300) i")
        db.execute("UPDATE t SET v = 'second'")
    stop_within_a_transaction(story, 200)
    story.run(**after)
    db.execute("INSERT INTO t VALUES (1000, 'x')")
    story.follow(db)
    seen = [what for what in story.seen() if what[0] == "public.t"]
    assert [key for _, op, key in seen if op == "create"] == [f'{{"id":{i}}}' for i in (*range(1, 301), 1000)]


def test_when_the_publication_of_a_transaction_that_is_half_given_has_gone_all_is_read_again(
    story: Story, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    db.execute('CREATE PUBLICATION "left" FOR TABLE t; CREATE PUBLICATION "right" FOR TABLE t, u')
    story.run(tables=BOTH, publications=("left", "right"))
    story.draw_until(lambda: True)
    with db.transaction():
        db.execute("INSERT INTO u SELECT i, 'first' FROM generate_series(1, 300) i")
        db.execute("INSERT INTO t SELECT i, 'first' FROM generate_series(1, 300) i")
        db.execute("UPDATE t SET v = 'second'")
    stop_within_a_transaction(story, 400)
    db.execute('DROP PUBLICATION "right"')
    story.run(tables=("public.t",), publications=("left",))
    story.follow(db)
    assert "the publication right is gone" in caplog.text


# Publications that are altered

GAPS = {
    "taken out and put back": (
        "ALTER PUBLICATION headrace_shop DROP TABLE t",
        "ALTER PUBLICATION headrace_shop ADD TABLE t",
    ),
    "narrowed and widened": (
        "ALTER PUBLICATION headrace_shop SET (publish = 'insert')",
        "ALTER PUBLICATION headrace_shop SET (publish = 'insert, update, delete, truncate')",
    ),
}


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("gap", GAPS)
def test_what_was_not_published_for_a_while_is_read_again_before_anything_is_said_to_be_whole(
    story: Story, db: Database, gap: str, down: bool
) -> None:
    clock = Ahead()
    db.execute("INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'a')")
    tap = run(story, clock)
    story.follow(db)
    if down:
        story.end()
    begin, end = GAPS[gap]
    db.execute(begin.encode())
    db.execute("DELETE FROM t WHERE id = 1; UPDATE t SET v = 'b' WHERE id = 2; INSERT INTO t VALUES (4, 'c')")
    db.execute(end.encode())
    db.execute("INSERT INTO t VALUES (5, 'd')")
    if down:
        tap = run(story, clock)
    rows = dict(db.execute("SELECT id, v FROM t").fetchall())
    deadline = time.monotonic() + 20
    begun = clock()
    while True:
        assert time.monotonic() < deadline
        clock.millis += LOOK_MILLIS // 4
        drawn = tap.draw(10)
        if drawn is None:
            continue
        story.records += drawn.records
        if drawn.caught_up or (drawn.true_at or 0) > begun:
            break
    assert {row["id"]: row["v"] for row in story.live().values()} == rows


def test_a_publication_to_which_others_are_added_has_nothing_read_again(story: Story, db: Database) -> None:
    db.execute("CREATE PUBLICATION mine FOR TABLE t; INSERT INTO t VALUES (1, 'a')")
    clock = Ahead()
    story.settings = story.settings.model_copy(update={"publications": ("mine",)})
    run(story, clock)
    story.follow(db)
    db.execute("ALTER PUBLICATION mine ADD TABLE u; GRANT SELECT ON t TO PUBLIC; INSERT INTO t VALUES (2, 'b')")
    clock.millis += 2 * LOOK_MILLIS
    story.follow(db)
    run(story, clock)
    db.execute("INSERT INTO t VALUES (3, 'c')")
    story.follow(db)
    assert [op for _, op, _ in story.seen()] == ["read", "create", "create"]


def test_a_place_says_as_of_when_all_was_given_while_more_comes_without_end(story: Story, db: Database) -> None:
    clock = Ahead()
    tap = run(story, clock)
    story.draw_until(lambda: True)
    claims: list[int] = []
    written: dict[int, int] = {}
    deadline = time.monotonic() + 20
    while len(claims) < 3:
        assert time.monotonic() < deadline
        number = len(written)
        clock.millis += LOOK_MILLIS // 3
        db.execute("INSERT INTO t VALUES (%s, 'x')", (number,))
        written[number] = clock()
        drawn = tap.draw(1)
        if drawn is None:
            continue
        story.records += drawn.records
        if drawn.true_at is not None and drawn.true_at not in claims:
            claims.append(drawn.true_at)
            live = {row["id"] for row in story.live().values()}
            assert {number for number, at in written.items() if at < drawn.true_at} <= live


# Somebody else in the way


def test_a_table_that_is_being_written_to_is_published_later_and_holds_nobody_up(
    story: Story, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Ahead()
    db.execute("INSERT INTO t VALUES (1, 'a'); INSERT INTO u VALUES (1, 'a')")
    run(story, clock)
    story.follow(db)
    story.settings = story.settings.model_copy(update={"tables": BOTH})
    with psycopg.connect(story.settings.dsn) as writer:
        writer.execute("UPDATE u SET v = 'b'")
        run(story, clock)
        db.execute("INSERT INTO t VALUES (2, 'b')")
        story.draw_until(lambda: ("public.t", "create", '{"id":2}') in story.seen())
        clock.millis += PUBLISH_MILLIS
        story.draw(10)
        assert f"public.u cannot be published yet: process {writer.info.backend_pid} of the server" in caplog.text
        assert "lost" not in caplog.text
        assert {table for table, _, _ in story.seen()} == {"public.t"}
        writer.commit()
    clock.millis += PUBLISH_MILLIS
    story.follow(db)
    assert sorted(story.place["tables"]) == list(BOTH)


def test_a_slot_that_waits_for_a_transaction_says_so_and_holds_nobody_up(
    story: Story, server: PostgresServer, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with server.connect() as other:
        other.autocommit = False
        other.execute("INSERT INTO u VALUES (1, 'a')")
        tap = story.run()
        begun = time.monotonic()
        assert tap.draw(10) is None
        assert time.monotonic() - begun < BRIEF
        told = re.findall(r"the slot headrace_shop waits for the end of .*, of process (\d+)", caplog.text)
        assert told == [str(other.info.backend_pid)]
        story.end()
        story.run()
        other.commit()
    db.execute("INSERT INTO t VALUES (1, 'a')")
    story.follow(db)
    assert db.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (1,)


def test_a_slot_that_nobody_waits_for_any_more_is_not_made(story: Story, server: PostgresServer, db: Database) -> None:
    with server.connect() as other:
        other.autocommit = False
        other.execute("INSERT INTO u VALUES (1, 'a')")
        story.run()
        story.end()
        other.commit()
    assert db.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)


def test_a_host_that_says_nothing_holds_nobody_up(story: Story) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"host=127.0.0.1 port={silent.getsockname()[1]} user=postgres dbname=postgres"
        tap = story.run(dsn=dsn)
        for _ in range(3):
            begun = time.monotonic()
            assert tap.draw(10) is None
            assert time.monotonic() - begun < BRIEF


def test_long_rows_come_in_batches_that_are_not_larger_for_it(story: Story, db: Database) -> None:
    size = 500_000
    db.execute(f"INSERT INTO t SELECT i, repeat('x', {size}) FROM generate_series(1, 40) i")  # noqa: S608  # a number
    tap = story.run()
    assert max(sizes_of(tap, 40)) <= BATCH_CHARS // size + 1
    db.execute("UPDATE t SET v = v || 'y'")
    assert max(sizes_of(tap, 40)) <= BATCH_CHARS // size + 1


def sizes_of(tap: PostgresTap, count: int) -> list[int]:
    """Draw `count` events; return how many came with each draw."""
    sizes: list[int] = []
    deadline = time.monotonic() + 20
    while sum(sizes) < count:
        assert time.monotonic() < deadline
        drawn = tap.draw(1000)
        if drawn is not None and drawn.records:
            sizes.append(len(drawn.records))
    return sizes
