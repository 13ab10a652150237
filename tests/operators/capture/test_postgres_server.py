"""What a real server sends, asked for by SQL (`pg_logical_slot_get_binary_changes`), against its own tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from events.capture import Column, Progress, Relation, TypeInfo
from events.changes import Change, Truncation
from events.log import LogRecord
from operators.capture.postgres import PostgresDecoder
from operators.changes.debezium import debezium
from operators.changes.rules import StreamRules
from tests.servers.postgres import running

Database = psycopg.Connection[Any]
SLOT = "decoding"
SESSION = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, MDY",
    "timezone": "UTC",
    "intervalstyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "lc_monetary": "C",
}
CHANGES = "SELECT data FROM pg_logical_slot_get_binary_changes('decoding', NULL, NULL, {options})"
OPTIONS = "'proto_version', '1', 'publication_names', 'decoding', 'messages', 'true'"


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    server = running(request.config)
    with server.connect() as connection:
        connection.execute("CREATE DATABASE decoding")
        with server.connect(database="decoding") as made:
            for name, value in SESSION.items():
                made.execute("SELECT set_config(%s, %s, false)", (name, value))
            made.execute("CREATE PUBLICATION decoding FOR ALL TABLES")
            made.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (SLOT,))
            yield made
            made.execute("SELECT pg_drop_replication_slot(%s)", (SLOT,))
        connection.execute("DROP DATABASE decoding")


class Catalog:
    """Asks the database itself."""

    database = "decoding"

    def __init__(self, connection: Database) -> None:
        self._connection = connection

    def key_of(self, relation: int, schema: str, table: str) -> tuple[str, ...]:
        query = """SELECT a.attname FROM pg_index i JOIN pg_attribute a
            ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) WHERE i.indrelid = %s AND i.indisprimary"""
        return tuple(name for (name,) in self._connection.execute(query, (relation,)))

    def type_of(self, oid: int) -> TypeInfo:
        query = """SELECT typname, CASE typtype WHEN 'd' THEN typbasetype ELSE oid END::bigint,
            CASE typcategory WHEN 'A' THEN typelem ELSE 0 END::bigint, typtype = 'e' FROM pg_type WHERE oid = %s"""
        found = self._connection.execute(query, (oid,)).fetchone()
        return TypeInfo(*found) if found else TypeInfo("", oid)


def payloads(database: Database) -> list[bytes]:
    return [data for (data,) in database.execute(CHANGES.format(options=OPTIONS))]


def decoded(database: Database, stream: Sequence[bytes]) -> list[LogRecord]:
    decoder = PostgresDecoder("shop", "changes")
    decoder.begin(Catalog(database), Progress())
    return decoder.decode(stream)


def changes(records: Sequence[LogRecord]) -> list[Change | Truncation]:
    decode = debezium(StreamRules("changes"))
    return [change for record in records for change in decode(record)]


def ended(said: Sequence[Change | Truncation]) -> dict[str, dict[str, Any]]:
    """Return the rows that changes, applied in the order of their positions, end in, by key."""
    rows: dict[str, dict[str, Any]] = {}
    for change in sorted(said, key=lambda change: change.position):
        if isinstance(change, Truncation):
            rows.clear()
        elif change.after is None:
            rows.pop(change.key, None)
        else:
            known = rows.get(change.key, {})
            kept = {name: known[name] for name in change.unavailable if name in known}
            rows[change.key] = {**kept, **change.after}
    return rows


VALUES = {
    "bool": ("boolean", "true", True),
    "small": ("smallint", "-3", -3),
    "big": ("bigint", "9223372036854775807", 9223372036854775807),
    "single": ("real", "0.1", 0.1),
    "double": ("double precision", "1e300", 1e300),
    "nan": ("double precision", "'NaN'", "NaN"),
    "price": ("numeric(30,10)", "12345678901234567890.5", Decimal("12345678901234567890.5000000000")),
    "cash": ("money", "1234.5", Decimal("1234.50")),
    "name": ("varchar(9)", "'Zoë \"x\"'", 'Zoë "x"'),
    "padded": ("char(4)", "'ab'", "ab  "),
    "day": ("date", "'2024-02-29'", "2024-02-29"),
    "forever": ("date", "'infinity'", "infinity"),
    "ancient": ("date", "'0044-03-15 BC'", "-0043-03-15"),
    "moment": ("timestamp", "'2024-02-29 12:00:00.5'", "2024-02-29T12:00:00.500"),
    "instant": ("timestamptz", "'2024-02-29 12:00:00.123456+02'", "2024-02-29T10:00:00.123456Z"),
    "clock": ("time", "'24:00'", "24:00:00"),
    "zoned": ("timetz", "'12:00:00.25-03:30'", "15:30:00.25Z"),
    "span": ("interval", "'1 year 2 mons 3 days 04:05:06.5'", "P1Y2M3DT4H5M6.5S"),
    "id128": ("uuid", "'0e37df36-f698-11e6-8dd4-cb9ced3df976'", "0e37df36-f698-11e6-8dd4-cb9ced3df976"),
    "facts": ("jsonb", "'{\"a\": [1, null]}'", {"a": [1, None]}),
    "raw": ("bytea", "'\\x00ff'", "AP8="),
    "flag": ("bit(1)", "B'1'", True),
    "address": ("inet", "'10.0.0.1/8'", "10.0.0.1/8"),
    "period": ("int4range", "'[1,5)'", "[1,5)"),
    "spot": ("point", "'(1,2)'", {"x": 1.0, "y": 2.0, "wkb": "AQEAAAAAAAAAAADwPwAAAAAAAABA", "srid": None}),
    "tags": ("text[]", "ARRAY['a', NULL, 'b \"c\", d']", ["a", None, 'b "c", d']),
    "grid": ("integer[]", "'{{1,2},{3,4}}'", [[1, 2], [3, 4]]),
    "mood": ("mood", "'glad'", "glad"),
    "moods": ("mood[]", "ARRAY['glad','sad']::mood[]", ["glad", "sad"]),
    "cents": ("cents", "5.25", Decimal("5.25")),
    "pair": ("pair", "ROW(1, 'x')", "(1,x)"),
    "nothing": ("text", "NULL", None),
}
"""Column, its type, a value in SQL, and what a row has for it."""


def test_values_of_every_type_come_out_as_they_are_by_the_stream_and_by_a_snapshot(database: Database) -> None:
    database.execute("CREATE TYPE mood AS ENUM ('glad', 'sad')")
    database.execute("CREATE TYPE pair AS (a integer, b text)")
    database.execute("CREATE DOMAIN cents AS numeric(10,2) CHECK (VALUE > 0)")
    columns = ", ".join(f"{name} {type_}" for name, (type_, _, _) in VALUES.items())
    database.execute(f"CREATE TABLE v (id integer PRIMARY KEY, {columns})")
    values = ", ".join(sql for _, sql, _ in VALUES.values())
    database.execute(f"INSERT INTO v VALUES (1, {values})")  # noqa: S608  # ours

    (streamed,) = changes(decoded(database, payloads(database)))
    assert isinstance(streamed, Change)
    assert streamed.after == {"id": 1} | {name: value for name, (_, _, value) in VALUES.items()}

    described = database.execute(
        "SELECT attname, atttypid::bigint, atttypmod FROM pg_attribute WHERE attrelid = 'v'::regclass AND attnum > 0"
        " ORDER BY attnum"
    ).fetchall()
    query = f"SELECT {', '.join(f'{name}::text' for name, *_ in described)} FROM v"  # noqa: S608  # ours
    texts = database.execute(query).fetchall()
    # A cast to text takes the blanks from the end of a `char(n)`, and prints a truth value as a word.
    texts = [[{"true": "t", "ab": "ab  "}.get(text, text) for text in row] for row in texts]
    decoder = PostgresDecoder("shop", "changes")
    decoder.begin(Catalog(database), Progress())
    table = Relation(1, "public", "v", tuple(Column(*column) for column in described), ("id",))
    (read,) = changes(decoder.read(table, texts, 1, 1_767_225_600_000))
    assert isinstance(read, Change)
    assert read.after == streamed.after


def test_a_history_with_large_values_moves_ddl_and_rolled_back_work_ends_as_the_table(database: Database) -> None:
    database.execute("CREATE TABLE t (id integer PRIMARY KEY, note text, price numeric)")
    database.execute("ALTER TABLE t ALTER note SET STORAGE EXTERNAL")
    database.execute("INSERT INTO t SELECT n, repeat('x', 5000) || n, n / 3.0 FROM generate_series(1, 20) n")
    with database.transaction():
        database.execute("UPDATE t SET price = 7 WHERE id <= 5")
        database.execute("UPDATE t SET id = id + 100 WHERE id = 3")
        database.execute("SAVEPOINT s")
        database.execute("DELETE FROM t")
        database.execute("ROLLBACK TO s")
        database.execute("ALTER TABLE t ADD gate text DEFAULT 'A1'")
        database.execute("UPDATE t SET gate = 'B2' WHERE id = 4")
    database.execute("DELETE FROM t WHERE id > 17")
    with pytest.raises(psycopg.errors.DivisionByZero), database.transaction():
        database.execute("UPDATE t SET price = 1 / 0")
    database.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    database.execute("UPDATE t SET price = price + 1 WHERE id > 10")
    database.execute("ALTER TABLE t RENAME note TO remark")
    database.execute("UPDATE t SET remark = 'short' WHERE id = 1")

    rows = ended(changes(decoded(database, payloads(database))))
    truth = {
        f'{{"id":{row[0]}}}': {"id": row[0], "price": row[2], "gate": row[3], "remark": row[1]}
        for row in database.execute("SELECT id, remark, price, gate FROM t")
    }
    assert rows.keys() == truth.keys()
    for key, row in rows.items():
        # What no event has said since a column came, or was renamed, nobody can know. Nor can they what a large value
        # was that did not change when its row's key did.
        row.setdefault("remark", row.pop("note", truth[key]["remark"] if row["id"] == 103 else None))
        row.setdefault("gate", "A1")
        assert {name: row[name] for name in truth[key]} == truth[key]


def test_of_two_transactions_that_write_one_key_the_one_that_commits_last_wins(
    database: Database, request: pytest.FixtureRequest
) -> None:
    database.execute("CREATE TABLE d (id integer PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, note text)")
    database.execute("ALTER TABLE d REPLICA IDENTITY FULL")
    database.execute("INSERT INTO d VALUES (1, 'first')")
    with running(request.config).connect(database="decoding") as other, other.transaction():
        # Written before the delete, committed after it: the constraint lets it be.
        other.execute("INSERT INTO d VALUES (1, 'second')")
        database.execute("DELETE FROM d WHERE note = 'first'")

    rows = ended(changes(decoded(database, payloads(database))))
    assert database.execute("SELECT id, note FROM d").fetchall() == [(1, "second")]
    assert list(rows.values()) == [{"id": 1, "note": "second"}]


def test_a_key_by_an_index_names_the_rows_of_updates_and_deletes(database: Database) -> None:
    database.execute("CREATE TABLE u (id integer PRIMARY KEY, email text NOT NULL UNIQUE)")
    database.execute("ALTER TABLE u REPLICA IDENTITY USING INDEX u_email_key")
    database.execute("INSERT INTO u VALUES (1, 'a@b.c'), (2, 'd@e.f'), (3, 'g@h.i')")
    database.execute("UPDATE u SET email = 'x@y.z' WHERE id = 2")
    database.execute("UPDATE u SET id = 9 WHERE id = 3")
    database.execute("DELETE FROM u WHERE id = 1")

    rows = ended(changes(decoded(database, payloads(database))))
    assert (
        sorted((row["id"], row["email"]) for row in rows.values())
        == database.execute("SELECT id, email FROM u ORDER BY id").fetchall()
    )


def test_truncates_and_messages_of_the_server_are_understood(database: Database) -> None:
    database.execute("CREATE TABLE a (id integer PRIMARY KEY)")
    database.execute("CREATE TABLE b (id integer PRIMARY KEY REFERENCES a)")
    database.execute("INSERT INTO a VALUES (1)")
    database.execute("TRUNCATE a CASCADE")
    database.execute("SELECT pg_logical_emit_message(true, 'note', 'within')")
    database.execute("SELECT pg_logical_emit_message(false, 'note', 'alone')")
    database.execute("INSERT INTO a VALUES (2)")

    records = decoded(database, payloads(database))
    events = [json.loads(record.value or b"") for record in records]
    assert [event["op"] for event in events] == ["c", "t", "t", "m", "m", "c"]
    assert {event["source"]["table"] for event in events[1:3]} == {"a", "b"}
    assert [event["transaction"] is None for event in events] == [False, False, False, False, True, False]
    # What is of no transaction has a place in the same order.
    places = [event["source"]["lsn"] for event in events[3:]]
    assert places == sorted(set(places))


def test_reading_the_same_changes_again_gives_the_same_events(database: Database) -> None:
    database.execute("CREATE TABLE t (id integer PRIMARY KEY)")
    with database.transaction():
        database.execute("INSERT INTO t SELECT generate_series(1, 50)")
        database.execute("UPDATE t SET id = -id WHERE id > 40")
    peeked = [data for (data,) in database.execute(CHANGES.replace("_get_", "_peek_").format(options=OPTIONS))]

    assert decoded(database, peeked) == decoded(database, payloads(database))
