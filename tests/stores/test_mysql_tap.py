"""The tap of MySQL on a real MariaDB: hand-over, places, types, tables that come and go, and what counts as a gap."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from events.binlog import BinlogPoint, BinlogProgress
from events.clock import system_clock
from events.errors import StoreError
from events.log import LogRecord
from operators.capture.mysql import MysqlDecoder
from stores.capture.mysql import admin
from stores.capture.mysql.catalog import MysqlCatalog
from stores.capture.mysql.place import ANEW
from stores.capture.mysql.replication import Binlog
from stores.capture.mysql.session import Session
from stores.capture.mysql.tap import MysqlTap
from stores.capture.places import Place
from stores.capture_settings import MysqlTapSettings
from tests.servers.mariadb import MariaServer, another, running
from tests.stores.captured import changes_of, live_rows

DEADLINE = 30.0


class Story:
    """One capture over several runs: all that it has brought, and the place up to which it is safe."""

    def __init__(self, settings: MysqlTapSettings) -> None:
        self.settings = settings
        self.place: Any = None
        self.records: list[LogRecord] = []
        self.tap: MysqlTap | None = None

    def run(self, **settings: Any) -> MysqlTap:
        self.end()
        self.settings = self.settings.model_copy(update=settings)
        place = msgspec.json.decode(msgspec.json.encode(self.place))
        self.tap = MysqlTap(self.settings, place, system_clock, MysqlDecoder(self.settings.name, self.settings.target))
        return self.tap

    def draw(self, limit: int = 500) -> int:
        assert self.tap is not None
        drawn = self.tap.draw(limit)
        if drawn is None:
            return 0
        self.records += drawn.records
        self.place = drawn.place
        return len(drawn.records)

    def until(self, done: Callable[[], bool], limit: int = 500) -> None:
        deadline = time.monotonic() + DEADLINE
        while self.draw(limit) or self.place is None or not done():
            assert time.monotonic() < deadline, f"after {len(self.records)} events: {self.place}"

    def begin(self) -> None:
        """Draw until the binlog is followed."""
        self.until(lambda: bool(self.place["phase"] == "stream"))

    def follow(self, db: Any) -> None:
        """Draw until what lives is what the tables hold."""
        self.until(lambda: self.live() == source_rows(db, self.settings.tables))

    def live(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {name: row for name, row in live_rows(self.records).items() if name[0] in self.tables}

    @property
    def tables(self) -> set[str]:
        return set(self.settings.tables)

    def events(self, begin: int = 0) -> list[dict[str, Any]]:
        return [json.loads(record.value) for record in self.records[begin:] if record.value]

    def ops(self, begin: int = 0) -> list[str]:
        return [event["op"] for event in self.events(begin)]

    def end(self) -> None:
        if self.tap is not None:
            self.tap.close()
            self.tap = None


def source_rows(db: Any, tables: tuple[str, ...]) -> dict[tuple[str, str], dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for table in tables:
        with db.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")  # noqa: S608  # of the test
            names = [column[0] for column in cursor.description]
            for values in cursor.fetchall():
                row = dict(zip(names, values, strict=True))
                found[table.split(".")[1], f'{{"id":{row["id"]}}}'] = row
    return {(f"shop.{name}" if "." not in name else name, key): row for (name, key), row in found.items()}


def run(db: Any, *statements: str) -> None:
    with db.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def insert(db: Any, numbers: range) -> None:
    """Insert rows into `shop.t`, each by a statement of its own."""
    with db.cursor() as cursor:
        for number in numbers:
            cursor.execute("INSERT INTO t VALUES (%s, 'x')", (number,))


def one(db: Any, statement: str) -> Any:
    with db.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> MariaServer:
    return running(request.config)


@pytest.fixture
def db(server: MariaServer) -> Iterator[Any]:
    """Give a session, and the table `shop.t`; the database is gone afterwards."""
    session = server.connect()
    run(session, "CREATE OR REPLACE DATABASE shop", "USE shop", "CREATE TABLE t (id int PRIMARY KEY, v varchar(100))")
    yield session
    session.close()


@pytest.fixture
def story(server: MariaServer, db: Any) -> Iterator[Story]:
    told = Story(MysqlTapSettings(name="shop", user="root", port=server.port, tables=("shop.t",)))
    yield told
    told.end()


# Snapshot, and the binlog behind it


def test_rows_are_read_once_and_then_every_change_comes_in_the_order_of_commits(
    story: Story, server: MariaServer, db: Any
) -> None:
    run(db, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    story.run()
    story.follow(db)
    slow = server.connect(database="shop", autocommit=False)
    run(slow, "INSERT INTO t VALUES (3, 'late')")
    run(db, "UPDATE t SET v = 'c' WHERE id = 1")
    slow.commit()
    slow.close()
    run(db, "DELETE FROM t WHERE id = 2")
    story.follow(db)
    assert [(event["op"], (event["after"] or event["before"])["id"]) for event in story.events()] == [
        ("r", 1), ("r", 2), ("u", 1), ("c", 3), ("d", 2),
    ]  # fmt: skip
    positions = [change.position for change in changes_of(story.records)]
    assert positions == sorted(positions)
    assert story.events()[2]["before"] == {"id": 1, "v": "a"}
    assert [event["source"]["snapshot"] for event in story.events()] == ["true", "last", "false", "false", "false"]


def test_a_changed_key_is_a_delete_its_tombstone_and_a_create(story: Story, db: Any) -> None:
    run(db, "INSERT INTO t VALUES (1, 'a')")
    story.run()
    story.follow(db)
    run(db, "UPDATE t SET id = 7")
    story.follow(db)
    assert [(record.key, record.value and json.loads(record.value)["op"]) for record in story.records[1:]] == [
        (b'{"id":1}', "d"), (b'{"id":1}', None), (b'{"id":7}', "c"),
    ]  # fmt: skip


def test_what_one_transaction_did_is_marked_as_such_and_what_was_rolled_back_is_absent(story: Story, db: Any) -> None:
    run(db, "CREATE TABLE u (id int PRIMARY KEY, v varchar(10))")
    story.run(tables=("shop.t", "shop.u"))
    story.follow(db)
    run(db, "BEGIN", "INSERT INTO t VALUES (1, 'a'), (2, 'b')", "INSERT INTO u VALUES (1, 'x')", "SAVEPOINT s")
    run(db, "DELETE FROM t", "ROLLBACK TO s", "INSERT INTO u VALUES (2, 'y')", "COMMIT")
    run(db, "BEGIN", "DELETE FROM u", "ROLLBACK")
    story.follow(db)
    said = [event["transaction"] for event in story.events()]
    assert {each["id"] for each in said} == {story.events()[0]["source"]["gtid"]}
    assert [(each["total_order"], each["data_collection_order"]) for each in said] == [(1, 1), (2, 2), (3, 1), (4, 2)]


def test_a_transaction_that_is_left_in_the_middle_goes_on_there_without_a_gap_or_a_repeat(
    story: Story, db: Any
) -> None:
    story.run()
    story.begin()
    run(db, "INSERT INTO t SELECT seq, REPEAT('x', 90) FROM seq_1_to_5000")
    while story.draw(100) == 0 or len(story.records) < 1000:
        pass
    assert story.place["open"], "the place is within the transaction"
    given = len(story.records)
    assert given < 5000
    story.run()
    story.follow(db)
    keys = [record.key for record in story.records]
    assert keys == [b'{"id":%d}' % number for number in range(1, 5001)]
    assert [event["transaction"]["total_order"] for event in story.events()] == list(range(1, 5001))


def test_a_snapshot_that_breaks_off_under_writers_and_goes_on_ends_as_the_tables(
    story: Story, server: MariaServer, db: Any
) -> None:
    run(db, "CREATE TABLE u (id int PRIMARY KEY, v varchar(100))")
    run(db, "INSERT INTO t SELECT seq, 'a' FROM seq_1_to_600", "INSERT INTO u SELECT seq, 'a' FROM seq_1_to_600")
    story.run(tables=("shop.t", "shop.u"))
    while len(story.records) < 700:
        story.draw(100)
    run(db, "DELETE FROM t WHERE id % 3 = 0", "DELETE FROM u WHERE id % 3 = 0", "UPDATE u SET v = 'b' WHERE id % 5 = 0")
    run(db, "INSERT INTO u VALUES (3, 'again')", "UPDATE t SET id = id + 10000 WHERE id % 7 = 0")
    assert story.place["phase"] == "snapshot"
    story.run()
    story.draw(100)
    run(db, "UPDATE u SET v = 'c' WHERE id % 4 = 0", "DELETE FROM u WHERE id = 3", "INSERT INTO t VALUES (3, 'c')")
    story.follow(db)
    assert "t" not in story.ops()


def test_without_a_snapshot_only_changes_come(story: Story, db: Any) -> None:
    run(db, "INSERT INTO t VALUES (1, 'before')")
    story.run(snapshot=False)
    story.begin()
    run(db, "INSERT INTO t VALUES (2, 'behind')")
    story.until(lambda: bool(story.records))
    assert [event["after"] for event in story.events()] == [{"id": 2, "v": "behind"}]


def test_a_table_that_is_named_later_is_read_while_the_binlog_waits(story: Story, db: Any) -> None:
    run(db, "CREATE TABLE u (id int PRIMARY KEY, v varchar(10))", "INSERT INTO u VALUES (1, 'a'), (2, 'b')")
    story.run()
    story.begin()
    story.end()
    run(db, "INSERT INTO t VALUES (1, 'a')", "DELETE FROM u WHERE id = 1", "UPDATE u SET v = 'c'")
    story.run(tables=("shop.t", "shop.u"))
    story.follow(db)
    assert story.place["tables"] == ["shop.t", "shop.u"] or story.place["tables"] == ("shop.t", "shop.u")


@pytest.mark.parametrize(
    ("before", "after"), [(("shop.t", "shop.u"), ("shop.t",)), (("shop.t",), ("shop.t", "shop.u"))]
)
def test_tables_that_come_and_go_while_a_transaction_is_open_lose_nothing_of_it(
    story: Story, db: Any, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    run(db, "CREATE TABLE u (id int PRIMARY KEY, v varchar(100))")
    story.run(tables=before)
    story.begin()
    run(db, "BEGIN", "INSERT INTO u SELECT seq, 'x' FROM seq_1_to_300")
    insert(db, range(300))
    run(db, "COMMIT")
    deadline = time.monotonic() + DEADLINE
    # All of the first table, if it is captured, and some of the second.
    while len(story.records) < 300 * len(before) - 250 and time.monotonic() < deadline:
        story.draw(2)
    assert story.place["open"]
    story.run(tables=after)
    story.follow(db)
    assert len(story.live()) == 300 * len(after)


def test_after_a_reset_what_was_deleted_in_the_gap_is_gone(story: Story, db: Any) -> None:
    run(db, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    story.run()
    story.follow(db)
    story.end()
    run(db, "DELETE FROM t WHERE id = 1")
    story.place = ANEW
    story.run()
    story.follow(db)
    assert story.ops(2) == ["t", "r"]


def test_as_mysql_the_snapshot_is_taken_under_a_lock_and_the_binlog_read_by_file_and_place(
    story: Story, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What MySQL does not have, and MariaDB can do without.
    monkeypatch.setattr(MysqlCatalog, "product", "mysql")
    run(db, "INSERT INTO t VALUES (1, 'a')")
    story.run()
    story.follow(db)
    run(db, "INSERT INTO t SELECT seq, 'b' FROM seq_2_to_50", "FLUSH BINARY LOGS", "UPDATE t SET v = 'c' WHERE id > 9")
    story.follow(db)
    story.run()
    run(db, "DELETE FROM t WHERE id < 5")
    story.follow(db)
    assert len(story.records) == 1 + 49 + 41 + 2 * 4
    assert {event["source"]["connector"] for event in story.events()} == {"mysql"}


# Values


TYPES = """CREATE TABLE types (id int PRIMARY KEY, tiny tinyint, flag tinyint(1), small smallint unsigned,
    medium mediumint, big bigint, huge bigint unsigned, padded int(6) zerofill, single float, twice double,
    price decimal(12,3), wide decimal(65,30), one bit(1), bits bit(10), day date,
    moment datetime, finer datetime(6), brief datetime(2),
    clock time, span time(6), at timestamp NULL, exact timestamp(3) NULL, years year, name varchar(20), fixed char(4),
    western varchar(20) CHARACTER SET latin1, cyrillic text CHARACTER SET cp1251, utf16 char(9) CHARACTER SET utf16,
    note longtext, raw varbinary(10), four binary(4), piece blob, mood enum('glad', 'säd'), tags set('a', 'b', 'c'),
    facts json, spot point, line geometry, tracking uuid, address inet6)"""
FULL = """INSERT INTO types VALUES (1, -3, 1, 65535, -8388608, -9223372036854775808, 18446744073709551615, 42, 0.1,
    1e300, -12.5, -12345678901234567890.5, b'1', b'1000000011', '2024-02-29',
    '2024-02-29 12:00:00', '2024-02-29 12:00:00.123400',
    '2024-02-29 12:00:00.25', '-838:59:59', '23:59:59.000001', '2024-02-29 12:00:00', '2024-02-29 12:00:00.5', 2155,
    'Zoë "x"', 'ab', 'né€', 'Привет', 'a😀', REPEAT('n', 70000), x'00ff10', 'ab', x'00', 'säd', 'c,a',
    '{"a": [1, null]}', POINT(1, 2.5), ST_GeomFromText('LINESTRING(0 0,1 1)'), '123e4567-e89b-12d3-a456-426655440000',
    '2001:db8::ff')"""
ROW = {
    "tiny": -3, "flag": 1, "small": 65535, "medium": -8388608, "big": -(2**63), "huge": 2**64 - 1, "padded": 42,
    "single": 0.1, "twice": 1e300, "price": "-12.500", "wide": "-12345678901234567890.500000000000000000000000000000",
    "one": True, "bits": "AwI=", "day": "2024-02-29", "moment": "2024-02-29T12:00:00",
    "finer": "2024-02-29T12:00:00.123400", "brief": "2024-02-29T12:00:00.250", "clock": "-838:59:59",
    "span": "23:59:59.000001", "at": "2024-02-29T12:00:00Z", "exact": "2024-02-29T12:00:00.500Z", "years": 2155,
    "name": 'Zoë "x"', "fixed": "ab", "western": "né€", "cyrillic": "Привет", "utf16": "a😀", "note": "n" * 70000,
    "raw": "AP8Q", "four": "YWIAAA==", "piece": "AA==", "mood": "säd", "tags": "a,c", "facts": '{"a": [1, null]}',
    "spot": {"x": 1.0, "y": 2.5, "wkb": "AQEAAAAAAAAAAADwPwAAAAAAAARA", "srid": None},
    "line": {"wkb": "AQIAAAACAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPA/AAAAAAAA8D8=", "srid": None},
    "tracking": "123e4567-e89b-12d3-a456-426655440000", "address": "2001:db8::ff",
}  # fmt: skip
NONE = """INSERT INTO types VALUES (2, 0, 0, 0, 0, 0, 0, 0, -0.5, 0, 0, 0, b'0', b'0', '0000-00-00',
    '0000-00-00 00:00:00', '1000-01-01',
    '9999-12-31 23:59:59.99', '00:00:00', '-00:00:00.000001', 0, '1970-01-01 00:00:01', 0, '', '', '', '', '', '', '',
    '', '', 'none', '', '[]', NULL, NULL, '00000000-0000-0000-0000-000000000000', '::')"""


def test_a_row_looks_the_same_read_and_streamed_and_as_the_types_say(story: Story, db: Any) -> None:
    run(db, "SET time_zone = '+00:00', sql_mode = ''", TYPES)
    run(db, FULL, NONE, "INSERT INTO types (id) VALUES (3)")
    story.run(tables=("shop.types",))
    story.until(lambda: len(story.records) == 3)
    run(db, "UPDATE types SET id = id + 10 ORDER BY id")
    story.until(lambda: story.ops().count("c") == 3)
    read = [event["after"] for event in story.events() if event["op"] == "r"]
    streamed = [event["after"] for event in story.events() if event["op"] == "c"]
    gone = [event["before"] for event in story.events() if event["op"] == "d"]
    assert read[0] == {"id": 1, **ROW}
    assert gone == read
    assert streamed == [{**row, "id": row["id"] + 10} for row in read]
    assert read[1]["day"] == "0000-00-00"
    assert read[2] == {"id": 3, **dict.fromkeys(ROW)}
    for event in story.events():
        assert event["source"]["columns"] == {"price": "decimal", "wide": "decimal", "facts": "json"}
    change = changes_of(story.records)[0]
    assert change.after["facts"] == {"a": [1, None]}  # type: ignore[union-attr,index]  # a read has a row


def test_compressed_events_and_images_that_are_not_full_are_read_as_the_others(story: Story, db: Any) -> None:
    run(db, "INSERT INTO t VALUES (1, 'a')", "ALTER TABLE t ADD w varchar(400)")
    story.run()
    story.until(lambda: bool(story.records))
    try:
        run(db, "SET GLOBAL log_bin_compress = ON", "INSERT INTO t VALUES (2, 'b', REPEAT('w', 400))")
        run(db, "UPDATE t SET v = REPEAT('c', 90)", "DELETE FROM t WHERE id = 1")
        story.follow(db)
    finally:
        run(db, "SET GLOBAL log_bin_compress = OFF")
    run(db, "SET SESSION binlog_row_image = 'MINIMAL'", "UPDATE t SET v = 'd'")
    story.follow(db)
    assert story.events()[-1]["before"] == {"id": 2}


# Tables that change, and statements


def test_columns_that_come_and_go_are_in_the_next_row(story: Story, db: Any) -> None:
    story.run()
    story.begin()
    run(db, "INSERT INTO t VALUES (1, 'a')", "ALTER TABLE t ADD price decimal(8,2) FIRST")
    run(db, "INSERT INTO t (id, v, price) VALUES (2, 'b', 1.5)", "ALTER TABLE t RENAME COLUMN v TO name")
    run(db, "UPDATE t SET name = 'c' WHERE id = 2", "ALTER TABLE t DROP price", "INSERT INTO t VALUES (3, 'd')")
    story.until(lambda: len(story.records) == 4)
    assert [event["after"] for event in story.events()] == [
        {"id": 1, "v": "a"},
        {"price": "1.50", "id": 2, "v": "b"},
        {"price": "1.50", "id": 2, "name": "c"},
        {"id": 3, "name": "d"},
    ]


def test_a_truncated_a_dropped_and_a_replaced_table_are_empty(story: Story, db: Any) -> None:
    story.run()
    story.begin()
    run(db, "INSERT INTO t VALUES (1, 'a')", "TRUNCATE TABLE t", "INSERT INTO t VALUES (2, 'b')", "DROP TABLE t")
    run(db, "CREATE TABLE t (id int PRIMARY KEY, v varchar(9))", "INSERT INTO t VALUES (3, 'c')")
    run(db, "CREATE OR REPLACE TABLE t (id int PRIMARY KEY, v varchar(9))", "INSERT INTO t VALUES (4, 'd')")
    story.follow(db)
    assert story.ops() == ["c", "t", "c", "t", "c", "t", "c"]


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE OR REPLACE DATABASE shop", "USE shop", "CREATE TABLE t (id int PRIMARY KEY, v varchar(100))"),
        (
            "/*!40000 DROP DATABASE IF EXISTS `shop`*/",
            "CREATE DATABASE shop",
            "USE shop",
            "CREATE TABLE t (id int KEY)",
        ),
        ("/*!50000 TRUNCATE TABLE t */",),
        ("SET STATEMENT lock_wait_timeout=5 FOR TRUNCATE TABLE t",),
        ("SET STATEMENT lock_wait_timeout=5 FOR DROP TABLE t", "CREATE TABLE t (id int PRIMARY KEY)"),
    ],
)
def test_tables_are_emptied_however_the_statement_is_written(
    story: Story, db: Any, statements: tuple[str, ...]
) -> None:
    run(db, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    story.run()
    story.begin()
    run(db, *statements, "INSERT INTO t (id) VALUES (5)")
    story.follow(db)
    assert story.ops() == ["r", "r", "t", "c"]


def test_a_temporary_table_of_the_same_name_that_is_truncated_empties_nothing(story: Story, db: Any) -> None:
    run(db, "INSERT INTO t VALUES (1, 'a')")
    story.run()
    story.begin()
    run(db, "SET SESSION binlog_format = 'MIXED'", "CREATE TEMPORARY TABLE t (id int)", "TRUNCATE TABLE t")
    run(db, "DROP TABLE t", "CREATE TEMPORARY TABLE other (id int)")
    run(db, "ALTER TABLE t ADD w int", "DROP TABLE other", "SET SESSION binlog_format = 'ROW'")
    run(db, "INSERT INTO t VALUES (2, 'b', 1)", "UPDATE t SET w = 1")
    story.follow(db)
    assert "t" not in story.ops()
    run(db, "SET SESSION binlog_format = 'MIXED'", "CREATE TEMPORARY TABLE other (id int)", "TRUNCATE TABLE t")
    story.follow(db)
    assert story.ops()[-1] == "t"


@pytest.mark.parametrize(
    ("before", "statement"),
    [
        ((), "LOAD DATA INFILE '{file}' INTO TABLE t"),
        ((), "SET STATEMENT max_statement_time = 100 FOR DELETE FROM t WHERE id = 1"),
        (("CREATE VIEW w AS SELECT * FROM t",), "DELETE FROM w WHERE id = 1"),
        (
            (
                "CREATE TABLE o (id int)",
                "CREATE TRIGGER r AFTER INSERT ON o FOR EACH ROW DELETE FROM t WHERE id = NEW.id",
            ),
            "INSERT INTO o VALUES (1)",
        ),
        (("CREATE FUNCTION ff() RETURNS int BEGIN DELETE FROM t WHERE id = 1; RETURN 1; END",), "DO ff()"),
    ],
)
def test_rows_that_a_statement_changes_by_any_way_stop_the_capture(
    story: Story, server: MariaServer, db: Any, before: tuple[str, ...], statement: str
) -> None:
    file = server.folder / "data" / "load.txt"
    file.write_text("7\tz\n")
    file.chmod(0o644)
    run(db, "SET GLOBAL log_bin_trust_function_creators = 1", "INSERT INTO t VALUES (1, 'a')", *before)
    story.run()
    story.begin()
    run(db, "SET SESSION binlog_format = 'STATEMENT'", statement.format(file=file))
    with pytest.raises(StoreError, match=r"rows (of shop.t|in shop) .* changed by a statement.*capture reset shop"):
        story.until(lambda: False)


def test_a_table_that_takes_the_name_of_another_is_read_again(story: Story, db: Any) -> None:
    run(db, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    story.run()
    story.begin()
    run(db, "CREATE TABLE _t_gho (code varchar(9) PRIMARY KEY, id int, v varchar(9))")
    run(db, "INSERT INTO _t_gho VALUES ('x', 1, 'A'), ('y', 7, 'q')", "RENAME TABLE t TO _t_del, _t_gho TO t")
    run(db, "DROP TABLE _t_del", "UPDATE t SET v = 'c' WHERE id = 7")
    wanted = {("shop.t", '{"code":"x"}'): "A", ("shop.t", '{"code":"y"}'): "c"}
    story.until(lambda: {name: row["v"] for name, row in story.live().items()} == wanted)
    story.run()
    run(db, "DELETE FROM t WHERE id = 1")
    story.until(lambda: len(story.live()) == 1)


def test_a_table_that_was_renamed_away_is_empty_until_another_one_comes(story: Story, db: Any) -> None:
    run(db, "INSERT INTO t VALUES (1, 'a')", "CREATE TABLE x LIKE t", "INSERT INTO x VALUES (4, 'd')")
    story.run()
    story.begin()
    run(db, "RENAME TABLE t TO old")
    story.until(lambda: story.live() == {})
    run(db, "ALTER TABLE x RENAME TO t", "INSERT INTO t VALUES (5, 'e')")
    story.follow(db)
    assert len(story.live()) == 2


def test_a_table_that_lost_a_partition_is_read_again(story: Story, db: Any) -> None:
    run(db, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    run(
        db, "ALTER TABLE t PARTITION BY RANGE (id) (PARTITION a VALUES LESS THAN (2), PARTITION b VALUES LESS THAN (9))"
    )
    story.run()
    story.begin()
    run(db, "ALTER TABLE t DROP PARTITION a", "INSERT INTO t VALUES (3, 'c')")
    story.follow(db)
    assert {row["id"] for row in story.live().values()} == {2, 3}


def test_rows_by_another_primary_key_are_refused_unless_the_table_was_empty_between(story: Story, db: Any) -> None:
    run(db, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    story.run()
    story.begin()
    run(db, "CREATE OR REPLACE TABLE t (id int, v varchar(9), PRIMARY KEY (id, v))", "INSERT INTO t VALUES (1, 'a')")
    story.until(lambda: list(story.live()) == [("shop.t", '{"id":1,"v":"a"}')])
    story.end()
    run(db, "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (v)", "UPDATE t SET id = 11")
    place = {name: value for name, value in story.place.items() if name != "keys"}
    story.run()
    with pytest.raises(StoreError, match=r"shop.t is no longer \(id, v\) but \(v\).*capture reset shop"):
        story.until(lambda: False)
    # A place that does not know the key yet learns it of the first row.
    story.place = place
    story.run()
    story.until(lambda: bool(story.place["keys"]))
    assert {name: tuple(key) for name, key in story.place["keys"].items()} == {"shop.t": ("v",)}


def test_a_change_by_statement_stops_the_capture_and_says_how_to_go_on(story: Story, db: Any) -> None:
    story.run()
    story.begin()
    run(db, "SET SESSION binlog_format = 'STATEMENT'", "INSERT INTO t VALUES (1, 'a')")
    with pytest.raises(StoreError, match=r"rows of shop.t were changed by a statement.*capture reset shop"):
        story.until(lambda: bool(story.records))


def test_a_distributed_transaction_stops_the_capture_as_it_may_be_rolled_back(story: Story, db: Any) -> None:
    story.run()
    story.begin()
    run(db, "XA START 'x'", "INSERT INTO t VALUES (1, 'a')", "XA END 'x'", "XA PREPARE 'x'")
    try:
        with pytest.raises(StoreError, match=r"distributed transaction"):
            story.until(lambda: bool(story.records))
    finally:
        run(db, "XA ROLLBACK 'x'")


# Quiet and broken servers


def test_a_quiet_server_says_every_second_that_there_is_nothing_more(story: Story, db: Any) -> None:
    tap = story.run()
    story.begin()
    run(db, "CREATE TABLE other (id int)", "INSERT INTO other VALUES (1)")
    begin, before = system_clock(), story.place
    seen: list[int] = []
    deadline = time.monotonic() + DEADLINE
    while len(seen) < 2 and time.monotonic() < deadline:
        drawn = tap.draw(10)
        if drawn is not None and drawn.caught_up and drawn.event_time is not None and drawn.event_time > begin:
            assert drawn.records == ()
            seen.append(drawn.event_time)
            story.place = drawn.place
    assert seen[1] - seen[0] <= 1000
    assert story.place["end"]["pos"] > before["end"]["pos"]


def test_a_killed_server_is_found_again_and_nothing_is_lost(story: Story, server: MariaServer, db: Any) -> None:
    run(db, "INSERT INTO t VALUES (0, 'a')")
    story.run()
    story.follow(db)
    run(db, "INSERT INTO t SELECT seq, 'b' FROM seq_1_to_2000")
    story.draw(10)
    server.kill()
    for _ in range(5):
        story.draw(10)
    server.start()
    again = server.connect(database="shop")
    run(again, "UPDATE t SET v = 'c' WHERE id % 2 = 0", "DELETE FROM t WHERE id % 3 = 0")
    story.follow(again)
    assert story.ops().count("c") == 2000
    again.close()


def test_closing_ends_the_thread_that_reads(story: Story, db: Any) -> None:
    story.run()
    story.until(lambda: any(thread.name == "binlog-shop" for thread in threading.enumerate()))
    story.end()
    assert not any(thread.name == "binlog-shop" for thread in threading.enumerate())


def test_a_binlog_that_was_removed_is_a_gap_that_says_how_to_go_on(story: Story, db: Any) -> None:
    story.run()
    story.begin()
    story.end()
    run(db, "INSERT INTO t VALUES (1, 'a')", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2, 'b')")
    purge = f"PURGE BINARY LOGS TO '{one(db, 'SHOW MASTER STATUS')[0]}'"
    deadline = time.monotonic() + DEADLINE
    while len(one_column(db, "SHOW BINARY LOGS")) > 1 and time.monotonic() < deadline:
        run(db, purge)
    with pytest.raises(StoreError, match=r"no longer has what comes next") as raised:
        story.run()
    assert raised.value.hint.startswith("`headrace capture reset shop`")
    assert faults_of(story) == [raised.value.detail]


def faults_of(story: Story) -> list[str]:
    """Return the errors that `check` says of the place."""
    found = admin.find_faults(story.settings, Place(story.place, None, False, 0, 0))
    return [f"capture 'shop': {finding.detail}" for finding in found if finding.level == "error"]


def one_column(db: Any, statement: str) -> list[Any]:
    with db.cursor() as cursor:
        cursor.execute(statement)
        return [row[0] for row in cursor.fetchall()]


def refused_as_begun_anew(story: Story) -> None:
    with pytest.raises(StoreError, match=r"another one than before, or was begun anew") as raised:
        story.run()
    assert raised.value.hint.startswith("raise `generation`")
    assert faults_of(story) == [raised.value.detail]


def test_a_binlog_that_was_begun_anew_is_refused_however_many_transactions_are_in_it(story: Story, db: Any) -> None:
    story.run()
    run(db, "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    story.follow(db)
    story.end()
    run(db, "DELETE FROM t WHERE id = 1", "RESET MASTER")
    refused_as_begun_anew(story)
    insert(db, range(100, 105 + int(story.place["end"]["gtid"].split("-")[2])))
    refused_as_begun_anew(story)


def test_another_server_with_the_same_number_is_refused(story: Story, db: Any) -> None:
    story.run()
    run(db, "INSERT INTO t VALUES (1, 'a')")
    story.follow(db)
    story.end()
    with another() as restored:
        session = restored.connect()
        run(session, "CREATE DATABASE shop", "USE shop", "CREATE TABLE t (id int PRIMARY KEY, v varchar(100))")
        insert(session, range(int(story.place["end"]["gtid"].split("-")[2])))
        story.settings = story.settings.model_copy(update={"port": restored.port})
        refused_as_begun_anew(story)
        session.close()


def test_two_captures_with_the_same_number_are_told_to_have_their_own(story: Story, db: Any) -> None:
    other = Story(story.settings.model_copy(update={"name": "other"}))
    story.run()
    other.run()
    with pytest.raises(StoreError, match=r"another one reads the binlog as server 5701.*server_id"):
        story.until(lambda: bool(other.draw() and story.draw()))
    other.end()


def test_a_place_in_another_servers_binlog_is_refused(story: Story) -> None:
    story.run()
    story.begin()
    story.place = {**story.place, "server": "mariadb:99"}
    with pytest.raises(StoreError, match="another server than before") as raised:
        story.run()
    assert "generation" in raised.value.hint


# What is refused, in one line


def refused(settings: MysqlTapSettings) -> str:
    """Return what opening says, which `check` says as well."""
    with pytest.raises(StoreError) as raised:
        MysqlTap(settings, None, system_clock, MysqlDecoder("shop", "shop"))
    found = [finding.detail for finding in admin.find_faults(settings, None) if finding.level == "error"]
    assert raised.value.detail == f"capture 'shop': {found[0]}"
    said = str(raised.value)
    assert "\n" not in said
    assert "sesame" not in said
    assert raised.value.hint
    return said


def test_wrong_hosts_passwords_and_missing_grants_are_told_in_one_line_with_the_remedy(
    story: Story, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = story.settings
    run(db, "CREATE OR REPLACE USER reader@'%' IDENTIFIED BY 'open'")
    assert "cannot be reached" in refused(settings.model_copy(update={"port": 1}))
    reader = settings.model_copy(update={"user": "reader", "password_variable": "SHOP_PASSWORD"})
    assert "SHOP_PASSWORD is not set" in refused(reader)
    monkeypatch.setenv("SHOP_PASSWORD", "sesame")
    assert "put the right password into the variable SHOP_PASSWORD" in refused(reader)
    monkeypatch.setenv("SHOP_PASSWORD", "open")
    assert "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'reader'@'%'" in refused(reader)
    run(db, "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO reader@'%'")
    assert "GRANT SELECT ON `shop`.`t`" in refused(reader)
    run(db, "GRANT SELECT ON shop.t TO reader@'%'")
    assert admin.find_faults(reader, None) == []
    told = Story(reader)
    told.run()
    run(db, "INSERT INTO t VALUES (1, 'a')")
    told.follow(db)
    told.end()


@pytest.mark.parametrize(
    ("name", "value"), [("binlog_format", "MIXED"), ("binlog_row_image", "MINIMAL"), ("binlog_row_metadata", "MINIMAL")]
)
def test_a_server_whose_binlog_does_not_say_enough_is_refused(story: Story, db: Any, name: str, value: str) -> None:
    before = one(db, f"SELECT @@GLOBAL.{name}")[0]
    run(db, f"SET GLOBAL {name} = '{value}'")
    try:
        assert f"the server's {name} is {value}, not {before}" in refused(story.settings)
    finally:
        run(db, f"SET GLOBAL {name} = '{before}'")


def test_tables_that_are_not_there_and_views_are_refused_and_a_missing_key_is_warned_of(story: Story, db: Any) -> None:
    assert "no table shop.none" in refused(story.settings.model_copy(update={"tables": ("shop.none",)}))
    run(db, "CREATE VIEW v AS SELECT * FROM t", "CREATE TABLE keyless (a int)")
    assert "shop.v is no table" in refused(story.settings.model_copy(update={"tables": ("shop.v",)}))
    run(db, "CREATE TABLE old (id int PRIMARY KEY) WITH SYSTEM VERSIONING")
    assert "DROP SYSTEM VERSIONING" in refused(story.settings.model_copy(update={"tables": ("shop.old",)}))
    assert "has the number 1" in refused(story.settings.model_copy(update={"server_id": 1}))
    (finding,) = admin.find_faults(story.settings.model_copy(update={"tables": ("shop.keyless",)}), None)
    assert (finding.level, finding.detail) == (
        "warning", "shop.keyless has no primary key: nothing tells its rows apart",
    )  # fmt: skip


def test_foreign_keys_that_change_rows_by_themselves_are_warned_of_at_check_and_at_the_start(
    story: Story, db: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rule = "FOREIGN KEY (t) REFERENCES t (id)"
    run(db, f"CREATE TABLE kept (id int PRIMARY KEY, t int, {rule} ON DELETE RESTRICT ON UPDATE NO ACTION)")
    run(db, f"CREATE TABLE child (id int PRIMARY KEY, t int, {rule} ON UPDATE SET NULL)")
    settings = story.settings.model_copy(update={"tables": ("shop.t", "shop.kept", "shop.child")})
    (finding,) = admin.find_faults(settings, None)
    assert (finding.level, "shop.child" in finding.detail, "RESTRICT" in finding.hint) == ("warning", True, True)
    story.run(tables=settings.tables)
    assert caplog.text.count("foreign keys change rows of shop.child by themselves") == 1


# The buffer


def test_the_binlog_is_taken_in_pieces_that_are_whole_and_in_order(story: Story, db: Any) -> None:
    session = Session(story.settings)
    catalog = MysqlCatalog(session)
    point: BinlogPoint = catalog.point()
    insert(db, range(20))
    binlog = Binlog(story.settings, point, system_clock, mariadb=True)
    decoder = MysqlDecoder("shop", "shop")
    decoder.begin(catalog, frozenset({"shop.t"}), BinlogProgress(point))
    records: list[LogRecord] = []
    deadline = time.monotonic() + DEADLINE
    while len(records) < 20 and time.monotonic() < deadline:
        records += decoder.decode(binlog.take(1, 1, 0.01)[0])
    binlog.close()
    session.close()
    assert [record.key for record in records] == [b'{"id":%d}' % number for number in range(20)]
