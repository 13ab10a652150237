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
from tests.stores.captured import Story, clear, source_rows

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
    until_whole(story, tap, clock)
    assert story.live() == source_rows(db, ["public.t"])


def until_whole(story: Story, tap: PostgresTap, clock: Ahead) -> None:
    """Draw until the tap says that all is given that there is by now."""
    deadline = time.monotonic() + 20
    begun = clock()
    while True:
        assert time.monotonic() < deadline
        clock.millis += LOOK_MILLIS // 4
        drawn = tap.draw(10)
        if drawn is None:
            continue
        story.records += drawn.records
        story.place = drawn.place
        if drawn.caught_up or (drawn.true_at or 0) > begun:
            break


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


# Tables that are altered

MADE = """
    CREATE TABLE t2 (id int NOT NULL, v text, n varchar(5)) PARTITION BY RANGE (id);
    ALTER TABLE t2 ADD PRIMARY KEY (id);
    CREATE TABLE low PARTITION OF t2 FOR VALUES FROM (0) TO (10);
    CREATE TABLE high PARTITION OF t2 FOR VALUES FROM (10) TO (100) PARTITION BY RANGE (id);
    CREATE TABLE high1 PARTITION OF high FOR VALUES FROM (10) TO (20);
    CREATE TABLE apart (id int PRIMARY KEY, v text, n varchar(5));
    INSERT INTO apart VALUES (20, 'a'), (21, 'b');
    INSERT INTO t2 VALUES (1, 'a'), (2, 'b'), (11, 'c'), (12, 'd');
    CREATE TABLE t3 (id int PRIMARY KEY, v text NOT NULL, n varchar(5));
    INSERT INTO t3 VALUES (1, 'a'), (2, 'b')"""
TWO = ("public.t2", "public.t3")
UNTOLD = {
    "a partition is dropped": "DROP TABLE low",
    "a partition of a partition is dropped": "DROP TABLE high1",
    "a partition is detached": "ALTER TABLE t2 DETACH PARTITION high; UPDATE high SET v = 'x'",
    "a partition is truncated": "TRUNCATE low",
    "a partition is truncated and filled again": "TRUNCATE low; INSERT INTO t2 VALUES (3, 'x')",
    "a table is attached": "ALTER TABLE high ATTACH PARTITION apart FOR VALUES FROM (20) TO (30)",
    "a table is made, filled and attached at once": """BEGIN;
        CREATE TABLE more (id int PRIMARY KEY, v text, n varchar(5));
        INSERT INTO more VALUES (200, 'x');
        ALTER TABLE t2 ATTACH PARTITION more FOR VALUES FROM (200) TO (300); COMMIT""",
    "another key": """ALTER TABLE t3 DROP CONSTRAINT t3_pkey, ADD PRIMARY KEY (v); UPDATE t3 SET id = 9 WHERE v = 'a';
        DELETE FROM t3 WHERE v = 'b'""",
    "a key of another type": "ALTER TABLE t3 ALTER id TYPE text; DELETE FROM t3 WHERE id = '1'",
    "a key of another name": """ALTER TABLE t3 RENAME id TO nr; ALTER TABLE t3 RENAME v TO id;
        DELETE FROM t3 WHERE nr = 1""",
    "another replica identity": """CREATE UNIQUE INDEX unique_v ON t3 (v);
        ALTER TABLE t3 REPLICA IDENTITY USING INDEX unique_v;
        DELETE FROM t3 WHERE id = 1; UPDATE t3 SET n = 'x'""",
}


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("case", UNTOLD)
def test_a_table_is_read_again_when_something_becomes_of_it_that_the_stream_does_not_tell(
    story: Story, db: Database, case: str, down: bool
) -> None:
    clock = Ahead()
    db.execute(MADE)
    story.settings = story.settings.model_copy(update={"tables": TWO})
    tap = run(story, clock)
    until_whole(story, tap, clock)
    if down:
        story.end()
    db.execute(UNTOLD[case].encode())
    if down:
        tap = run(story, clock)
    until_whole(story, tap, clock)
    assert rows_of(story.live()) == rows_of(source_rows(db, TWO))


def rows_of(found: dict[tuple[str, str], dict[str, Any]]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Return all rows by their table, whatever their keys are."""
    return sorted((table, sorted(row.items())) for (table, _), row in found.items())


TOLD = {
    "a partition more": """CREATE TABLE more PARTITION OF t2 FOR VALUES FROM (200) TO (300);
        INSERT INTO t2 VALUES (200, 'x')""",
    "a partition written anew": "INSERT INTO t2 VALUES (13, 'x'); VACUUM FULL high1; VACUUM FULL low",
    "a column more": "ALTER TABLE t3 ADD w int DEFAULT 4; UPDATE t3 SET w = 5",
    "a column wider": "ALTER TABLE t3 ALTER n TYPE varchar(9); UPDATE t3 SET n = 'xxxxxxx'",
    "another index": "CREATE INDEX ON t3 (v); REINDEX TABLE t3; INSERT INTO t3 VALUES (7, 'x')",
}


@pytest.mark.parametrize("case", TOLD)
def test_a_table_is_not_read_again_for_what_the_stream_tells(story: Story, db: Database, case: str) -> None:
    clock = Ahead()
    db.execute(MADE)
    story.settings = story.settings.model_copy(update={"tables": TWO})
    tap = run(story, clock)
    until_whole(story, tap, clock)
    before = [op for _, op, _ in story.seen()].count("read")
    for statement in TOLD[case].split(";"):
        db.execute(statement.encode())
    until_whole(story, tap, clock)
    assert [op for _, op, _ in story.seen()].count("read") == before
    if "wider" not in case and "column more" not in case:
        assert rows_of(story.live()) == rows_of(source_rows(db, TWO))


@pytest.mark.parametrize("down", [False, True])
def test_a_partition_that_came_while_it_ran_is_known_when_it_goes(story: Story, db: Database, down: bool) -> None:
    clock = Ahead()
    db.execute(MADE)
    story.settings = story.settings.model_copy(update={"tables": TWO})
    tap = run(story, clock)
    until_whole(story, tap, clock)
    db.execute("CREATE TABLE more PARTITION OF t2 FOR VALUES FROM (200) TO (300); INSERT INTO t2 VALUES (200, 'x')")
    until_whole(story, tap, clock)
    if down:
        story.end()
    db.execute("DROP TABLE more")
    if down:
        tap = run(story, clock)
    until_whole(story, tap, clock)
    assert rows_of(story.live()) == rows_of(source_rows(db, TWO))


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
