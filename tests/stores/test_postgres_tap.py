"""The tap of PostgreSQL on a real server: hand-over, places, tables that come and go, and what counts as a gap."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from events.clock import system_clock
from events.errors import StoreError
from operators.capture.postgres import PostgresDecoder
from stores.capture.places import Place, Places
from stores.capture.postgres import admin
from stores.capture.postgres.tap import BUSY_MILLIS, LOOK_MILLIS, PostgresTap
from stores.capture_settings import PostgresTapSettings
from tests.servers.postgres import PostgresServer, running
from tests.stores.captured import DEADLINE, Story, changes_of, clear, wait_until_idle

Database = psycopg.Connection[Any]


@pytest.fixture
def server(request: pytest.FixtureRequest) -> PostgresServer:
    return running(request.config)


@pytest.fixture
def db(server: PostgresServer) -> Iterator[Database]:
    """Give a session, and the table `t`; tables, publications and slots are gone afterwards."""
    with server.connect() as session:
        clear(session)
        session.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
        yield session
        clear(session)


@pytest.fixture
def story(server: PostgresServer, db: Database) -> Iterator[Story]:
    # Ended before the slots are dropped.
    told = Story(PostgresTapSettings(name="shop", dsn=server.dsn(), tables=("public.t",), heartbeat_seconds=0.01))
    yield told
    told.end()


def confirmed(db: Database, story: Story) -> int:
    query = "SELECT (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots WHERE slot_name = %s"
    row = db.execute(query, (story.settings.slot_name,)).fetchone()
    assert row is not None
    return int(row[0])


def published(db: Database) -> list[str]:
    rows = db.execute("SELECT schemaname || '.' || tablename FROM pg_publication_tables ORDER BY 1")
    return [row[0] for row in rows]


# Snapshot, and the stream behind it


def test_rows_are_read_once_and_then_every_change_comes_in_the_order_of_commits(story: Story, db: Database) -> None:
    db.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    story.run()
    story.follow(db)
    with psycopg.connect(story.settings.dsn) as slow:
        slow.execute("INSERT INTO t VALUES (3, 'late')")
        db.execute("UPDATE t SET v = 'c' WHERE id = 1")
        slow.commit()
    db.execute("DELETE FROM t WHERE id = 2")
    story.follow(db)
    assert story.seen() == [
        ("public.t", "read", '{"id":1}'),
        ("public.t", "read", '{"id":2}'),
        ("public.t", "update", '{"id":1}'),
        ("public.t", "create", '{"id":3}'),
        ("public.t", "delete", '{"id":2}'),
    ]
    positions = [change.position for change in changes_of(story.records)]
    assert positions == sorted(positions)


def test_a_transaction_that_is_open_while_the_slot_is_made_is_in_the_stream_or_in_the_snapshot_not_in_both(
    story: Story, server: PostgresServer, db: Database
) -> None:
    # Making a slot waits for such a transaction: it ends by itself, in the server, meanwhile.
    db.execute("INSERT INTO t VALUES (1, 'a')")
    with psycopg.connect(story.settings.dsn, autocommit=True) as writer:
        writer.execute("SET statement_timeout = '20s'")
        writer.pgconn.send_query(b"BEGIN; UPDATE t SET v = 'b'; SELECT pg_sleep(0.3); COMMIT")
        story.run()
        story.follow(db)
        while writer.pgconn.get_result() is not None:
            pass
    assert story.live() == {("public.t", '{"id":1}'): {"id": 1, "v": "b"}}
    assert len(story.seen()) == 1


def test_a_confirmed_place_moves_the_slot_and_an_unconfirmed_one_never_does(story: Story, db: Database) -> None:
    tap = story.run()
    story.draw_until(lambda: True)
    db.execute("INSERT INTO t VALUES (1, 'a')")
    before = confirmed(db, story)
    drawn = None
    while drawn is None or not drawn.records:
        drawn = tap.draw(10)
    for _ in range(20):
        tap.draw(10)
    assert confirmed(db, story) == before
    tap.confirm(drawn.place)
    for _ in range(500):
        if confirmed(db, story) > before:
            break
        db.execute("SELECT pg_sleep(0.01)")
    assert confirmed(db, story) == drawn.place["end"]


def test_what_was_written_down_is_not_given_again_even_within_a_transaction(story: Story, db: Database) -> None:
    story.run()
    story.draw_until(lambda: True)
    db.execute("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 1000) i")
    while story.draw(100) < 100 or len(story.records) < 300:
        pass
    assert story.place["commit"] > story.place["end"], "the place is within the transaction"
    assert len(story.records) < 1000
    story.run()
    story.follow(db)
    assert [key for _, _, key in story.seen()] == [f'{{"id":{i}}}' for i in range(1, 1001)]


def test_a_large_transaction_comes_in_batches_of_the_size_asked_for(story: Story, db: Database) -> None:
    story.run()
    story.draw_until(lambda: True)
    db.execute("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 20000) i")
    sizes = []
    while len(story.records) < 20000:
        sizes.append(story.draw(700))
    assert max(sizes) <= 700


def test_reads_come_in_batches_and_say_how_far_they_are(story: Story, db: Database) -> None:
    db.execute("INSERT INTO t SELECT i, 'x' FROM generate_series(1, 1000) i; ANALYZE t")
    tap = story.run()
    told = []
    while len(story.records) < 1000:
        drawn = tap.draw(300)
        assert drawn is not None
        story.records += drawn.records
        if drawn.records:
            told.append((len(drawn.records), drawn.done, drawn.total))
    assert told == [(300, 300, 1000), (300, 600, 1000), (300, 900, 1000), (100, 1000, 1000)]


def test_an_idle_database_moves_its_slot_when_others_write(story: Story, server: PostgresServer, db: Database) -> None:
    story.run()
    story.draw_until(lambda: True)
    before = confirmed(db, story)
    with server.connect() as elsewhere:
        elsewhere.execute("CREATE TABLE noise AS SELECT generate_series(1, 1000); DROP TABLE noise")
        row = elsewhere.execute("SELECT (pg_current_wal_lsn() - '0/0')::bigint").fetchone()
    assert row is not None
    story.draw_until(lambda: confirmed(db, story) >= row[0])
    assert story.records == []
    assert confirmed(db, story) > before


def test_a_place_says_that_all_is_there_only_when_the_wal_had_no_more(story: Story, db: Database) -> None:
    now = [system_clock()]
    settings = story.settings
    tap = PostgresTap(settings, None, lambda: now[0], PostgresDecoder(settings.name, settings.target))
    story.tap = tap
    story.draw_until(lambda: True)
    db.execute("INSERT INTO t VALUES (1, 'a')")
    caught_up_at = None
    while caught_up_at is None:
        now[0] += 100
        drawn = tap.draw(10)
        if drawn is not None:
            story.records += drawn.records
            if drawn.caught_up:
                caught_up_at = len(story.records)
    assert caught_up_at == 1


# What tables are


def test_quoted_names_generated_columns_and_partitions_come_as_one_table_each(story: Story, db: Database) -> None:
    db.execute("""
        CREATE TABLE "Odd ""Name" (id int PRIMARY KEY, "Läng e" int, twice int GENERATED ALWAYS AS (id * 2) STORED);
        INSERT INTO "Odd ""Name" VALUES (1, 7);
        CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
        CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
        INSERT INTO p VALUES (1, 'a'), (150, 'b')""")
    with pytest.raises(ValueError, match="does not name a table"):
        PostgresTapSettings(name="x", dsn="host=x", tables=('public.Odd "Name',))
    db.execute('ALTER TABLE "Odd ""Name" RENAME TO "Odd""Näme"')
    odd = 'public.Odd"Näme'
    story.run(tables=(odd, "public.p"))
    story.draw_until(lambda: len(story.records) == 3)
    db.execute(
        """INSERT INTO "Odd""Näme" VALUES (2, 8); UPDATE p SET id = 160 WHERE id = 1; DELETE FROM p WHERE id = 150"""
    )
    story.draw_until(lambda: ("public.p", '{"id":150}') not in story.live())
    assert story.live() == {
        (odd, '{"id":1}'): {"id": 1, "Läng e": 7},
        (odd, '{"id":2}'): {"id": 2, "Läng e": 8},
        ("public.p", '{"id":160}'): {"id": 160, "v": "a"},
    }


def test_columns_come_and_go_and_the_stream_goes_on(story: Story, db: Database) -> None:
    story.run()
    story.draw_until(lambda: True)
    db.execute("INSERT INTO t VALUES (1, 'a')")
    db.execute("ALTER TABLE t ADD COLUMN n numeric")
    db.execute("INSERT INTO t VALUES (2, 'b', 1.50)")
    db.execute("ALTER TABLE t RENAME COLUMN v TO w")
    db.execute("INSERT INTO t VALUES (3, 'c', 2)")
    db.execute("ALTER TABLE t ALTER COLUMN w TYPE int USING 5")
    db.execute("CREATE TYPE mood AS ENUM ('fine'); ALTER TABLE t DROP COLUMN n, ADD COLUMN m mood")
    db.execute("UPDATE t SET m = 'fine'")
    story.follow(db)
    assert story.live()["public.t", '{"id":3}'] == {"id": 3, "w": 5, "m": "fine"}


def test_publications_of_others_are_kept_to_the_tables_rows_and_columns_asked_for(story: Story, db: Database) -> None:
    db.execute("CREATE TABLE other (id int PRIMARY KEY); CREATE PUBLICATION wide FOR ALL TABLES")
    db.execute("CREATE TABLE s (id int PRIMARY KEY, v text, secret text)")
    db.execute("CREATE PUBLICATION part FOR TABLE s (id, v) WHERE (id < 10)")
    db.execute("INSERT INTO t VALUES (1, 'a'); INSERT INTO s VALUES (1, 'a', 'x'), (20, 'b', 'y')")
    story.run(publications=("wide",))
    story.follow(db)
    db.execute("BEGIN; INSERT INTO other VALUES (1); INSERT INTO t VALUES (2, 'b'); TRUNCATE other, s; COMMIT")
    story.follow(db)
    assert {table for table, _, _ in story.seen()} == {"public.t"}
    story.end()
    db.execute("INSERT INTO s VALUES (1, 'a', 'x'), (20, 'b', 'y')")
    other = Story(
        story.settings.model_copy(update={"name": "part", "tables": ("public.s",), "publications": ("part",)})
    )
    other.run()
    other.draw_until(lambda: len(other.live()) == 1)
    db.execute("INSERT INTO s VALUES (2, 'c', 'z'), (30, 'd', 'z')")
    other.draw_until(lambda: len(other.live()) == 2)
    other.end()
    assert list(other.live().values()) == [{"id": 1, "v": "a"}, {"id": 2, "v": "c"}]


# Tables that come and go


@pytest.mark.parametrize("publications", [(), ("wide",)])
def test_a_table_that_is_added_later_is_read_while_the_stream_goes_on(
    story: Story, db: Database, publications: tuple[str, ...]
) -> None:
    db.execute("CREATE TABLE u (id int PRIMARY KEY, v text); INSERT INTO u VALUES (1, 'old'), (2, 'old')")
    db.execute("CREATE PUBLICATION wide FOR ALL TABLES; INSERT INTO t VALUES (1, 'a')")
    story.run(publications=publications)
    story.follow(db)
    with psycopg.connect(story.settings.dsn) as writer:
        if publications:  # the one that wrote before is waited for, and holds nothing else up
            writer.execute("UPDATE u SET v = 'new' WHERE id = 1")
        story.run(tables=("public.t", "public.u"))
        db.execute("INSERT INTO t VALUES (2, 'b')")
        story.draw_until(lambda: ("public.t", "create", '{"id":2}') in story.seen())
        writer.execute("DELETE FROM u WHERE id = 2")
        writer.commit()
    story.follow(db)
    assert sorted(story.place["tables"]) == ["public.t", "public.u"]


def test_a_table_that_was_left_out_for_a_while_loses_the_rows_that_went_meanwhile(story: Story, db: Database) -> None:
    both = ("public.t", "public.u")
    db.execute("CREATE TABLE u (id int PRIMARY KEY, v text); INSERT INTO u VALUES (1, 'a'), (2, 'b')")
    story.run(tables=both)
    story.follow(db)
    db.execute("UPDATE u SET v = 'c'")
    story.follow(db)
    story.run(tables=("public.t",))
    assert published(db) == ["public.t"]
    db.execute("DELETE FROM u WHERE id = 1; INSERT INTO t VALUES (1, 'x')")
    story.follow(db)
    story.run(tables=both)
    story.follow(db)
    assert story.live() == {
        ("public.t", '{"id":1}'): {"id": 1, "v": "x"},
        ("public.u", '{"id":2}'): {"id": 2, "v": "c"},
    }


def test_a_table_that_was_dropped_and_made_again_is_read_anew_while_the_capture_runs(
    story: Story, db: Database
) -> None:
    now = [0]
    settings = story.settings
    db.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    decoder = PostgresDecoder(settings.name, settings.target)
    story.tap = PostgresTap(settings, None, lambda: system_clock() + now[0], decoder)
    story.follow(db)
    db.execute(
        "BEGIN; DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (2, 'c'); COMMIT"
    )
    now[0] += LOOK_MILLIS
    story.follow(db)
    assert story.live() == {("public.t", '{"id":2}'): {"id": 2, "v": "c"}}


# Gaps


def lose_the_slot(db: Database, story: Story) -> None:
    wait_until_idle(db)
    db.execute("SELECT pg_drop_replication_slot(%s)", (story.settings.slot_name,))


def make_the_slot_anew(db: Database, story: Story) -> None:
    lose_the_slot(db, story)
    db.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (story.settings.slot_name,))


def read_from_the_slot(db: Database, story: Story) -> None:
    wait_until_idle(db)
    db.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", (story.settings.slot_name,))


def make_the_publication_anew(db: Database, story: Story) -> None:
    db.execute(SQL("DROP PUBLICATION {}").format(Identifier(story.settings.slot_name)))
    db.execute(SQL("CREATE PUBLICATION {} FOR TABLE t").format(Identifier(story.settings.slot_name)))


def drop_the_publication(db: Database, story: Story) -> None:
    db.execute(SQL("DROP PUBLICATION {}").format(Identifier(story.settings.slot_name)))


def go_to_another_server(db: Database, story: Story) -> None:
    story.place["system"] = "1234567890"


def go_back_to_a_backup(db: Database, story: Story) -> None:
    story.place["end"] += 2**40


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lose_the_slot, "is gone, and with it what came next"),
        (make_the_slot_anew, "it was made anew, or somebody else has read from it"),
        (read_from_the_slot, "it was made anew, or somebody else has read from it"),
        (make_the_publication_anew, "is gone, or was made anew"),
        (drop_the_publication, "is gone, or was made anew"),
        (go_to_another_server, "this is another server than before"),
        (go_back_to_a_backup, "from a backup"),
    ],
)
def test_a_gap_is_refused_with_the_remedy(
    story: Story, db: Database, harm: Callable[[Database, Story], None], said: str
) -> None:
    story.run()
    story.draw_until(lambda: True)
    story.end()
    db.execute("INSERT INTO t VALUES (1, 'a')")
    harm(db, story)
    with pytest.raises(StoreError, match=re.escape(said)) as refused:
        story.run()
    assert f"headrace capture reset {story.settings.name}" in refused.value.hint


def test_after_a_reset_all_is_read_anew_and_what_went_in_the_gap_is_gone(
    story: Story, db: Database, tmp_path: Any
) -> None:
    db.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    story.run()
    story.follow(db)
    db.execute("UPDATE t SET v = 'd'")
    story.follow(db)
    story.end()
    lose_the_slot(db, story)
    db.execute("DELETE FROM t WHERE id = 1; UPDATE t SET v = 'e' WHERE id = 2")
    places = Places(tmp_path / "places.sqlite3")
    kept = Place(story.place, 5, True, 7, len(story.records), history=((6, 5),))
    admin.reset(story.settings, places, kept, print)
    forgotten = places.read()[story.settings.name]
    assert (forgotten.event_time, forgotten.true_at(8), forgotten.caught_up) == (None, None, False)
    assert forgotten.records == len(story.records)
    story.place = forgotten.place
    begin = len(story.records)
    story.run()
    story.follow(db)
    assert story.seen(begin)[0] == ("public.t", "truncate", "")
    assert set(story.live()) == {("public.t", '{"id":2}'), ("public.t", '{"id":3}')}


def test_a_slot_that_somebody_streams_is_waited_for_and_then_refused_with_the_remedy(
    story: Story, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    story.run()
    db.execute("INSERT INTO t VALUES (1, 'a')")
    story.follow(db)
    db.execute("INSERT INTO t VALUES (2, 'b')")
    story.follow(db)
    now = [0]
    settings = story.settings
    decoder = PostgresDecoder(settings.name, settings.target)
    with closing(PostgresTap(settings, story.place, lambda: system_clock() + now[0], decoder)) as second:
        assert second.draw(10) is None
        now[0] += BUSY_MILLIS + 1000
        with pytest.raises(StoreError, match="streams from the slot") as refused:
            draw_often(second)
    assert re.search(r"pg_terminate_backend\(\d+\)", refused.value.hint)
    assert re.search(r"pg_terminate_backend\(\d+\)\); trying again", caplog.text)


def test_how_long_a_server_was_away_is_told_in_seconds(
    story: Story, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0]
    settings = story.settings
    decoder = PostgresDecoder(settings.name, settings.target)
    with closing(PostgresTap(settings, None, lambda: system_clock() + now[0], decoder)) as tap:
        draw_until_said(tap, caplog, "")
        db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headrace'")
        draw_until_said(tap, caplog, "trying again")
        now[0] += 43_000
        draw_until_said(tap, caplog, "back after")
    assert re.search(r"back after 4\d s$", caplog.records[-1].message)


def draw_until_said(tap: PostgresTap, caplog: pytest.LogCaptureFixture, words: str) -> None:
    deadline = time.monotonic() + DEADLINE
    tap.draw(10)
    while words not in caplog.text:
        assert time.monotonic() < deadline, caplog.text
        tap.draw(10)


def test_a_slot_that_is_gone_is_said_by_whoever_asks_how_far_the_capture_is(story: Story, db: Database) -> None:
    assert admin.standing(story.settings, None).gap == ""
    story.run()
    story.follow(db)
    story.end()
    place = Place(story.place, None, True, 1, 0)
    assert admin.standing(story.settings, place).gap == ""
    wait_until_idle(db)
    db.execute("SELECT pg_drop_replication_slot(%s)", (story.settings.slot_name,))
    assert admin.standing(story.settings, place).gap == (
        "the slot headrace_shop is gone, and with it what came next "
        "(`headrace capture reset shop` has everything read again)"
    )


def test_ending_a_capture_tells_whether_there_was_anything_to_end(story: Story, tmp_path: Path) -> None:
    places = Places(tmp_path / "places")
    said: list[str] = []
    assert not admin.remove(story.settings, places, None, said.append)
    admin.set_up(story.settings, None, said.append)
    assert admin.remove(story.settings, places, None, said.append)
    assert not admin.remove(story.settings, places, None, said.append)


def draw_often(tap: PostgresTap) -> None:
    for _ in range(500):
        tap.draw(10)


def test_an_ended_connection_is_made_again_and_nothing_is_lost_or_given_twice(
    story: Story, db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    story.run()
    story.draw_until(lambda: True)
    chance = random.Random(7)
    for number in range(40):
        db.execute("INSERT INTO t VALUES (%s, 'x')", (number,))
        if chance.random() < 0.15:
            db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headrace'")
        story.draw(3)
    story.follow(db)
    assert [key for _, _, key in story.seen()] == [f'{{"id":{number}}}' for number in range(40)]
    lines = [record.message for record in caplog.records if record.name == "stores.capture.postgres.tap"]
    assert lines
    assert all(line.endswith("trying again") for line in lines[::2])
    assert all("back after" in line for line in lines[1::2])
