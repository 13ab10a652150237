"""Stores of live tables as the layout before made them: read as they are, and brought on by the first writer.

The old layout is written out here, so that it stays what it was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from events.changes import pack_position
from events.errors import StoreError
from events.log import Applied
from stores.rows.base import APPLIED, LIVE, Former, LiveTable, RowQuery, RowReader, RowWriter, applied_fact
from stores.rows.intake import RowIntake
from tests.contract.row_samples import RowPlace, postgres_place
from tests.servers.postgres import running
from tests.stores.row_events import LIVE_NAME, NOW, SOURCE, change, key_of, settings

SHOWN = LiveTable(LIVE_NAME, {"id": "int", "fare": "int"})
MARK = Applied("changes", "0", 8, 7, 7, caught_up=False, applied_at=NOW)
ID = SOURCE, key_of(1)

POSTGRES = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.headrace_store (identity text NOT NULL, version integer NOT NULL);
INSERT INTO {schema}.headrace_store VALUES ('the old one', 1);
CREATE TABLE {schema}.headrace_tables (name text COLLATE "C" PRIMARY KEY, shown text);
CREATE TABLE {schema}.headrace_facts (
    kind text COLLATE "C", name text COLLATE "C", value bytea NOT NULL, PRIMARY KEY (kind, name));
CREATE TABLE {schema}.row_flights (
    source text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL, ident jsonb, state smallint NOT NULL,
    image jsonb, position bytea NOT NULL, place text NOT NULL, stream text NOT NULL, partition bigint NOT NULL,
    "offset" bigint NOT NULL, as_of bigint NOT NULL, applied_at bigint NOT NULL, initiator text NOT NULL,
    transaction text NOT NULL, gaps text, gone_at bigint, PRIMARY KEY (source, key)) WITH (fillfactor = 85);
CREATE INDEX ON {schema}.row_flights (gone_at) WHERE gone_at IS NOT NULL;
CREATE VIEW {schema}.flights AS SELECT (image ->> 'fare') AS fare FROM {schema}.row_flights WHERE state = 0;
"""
SQLITE = """
PRAGMA application_id = 1213353815;
PRAGMA user_version = 1;
CREATE TABLE headrace_store (identity TEXT NOT NULL, made_at INTEGER NOT NULL) STRICT;
INSERT INTO headrace_store VALUES ('the old one', 1);
CREATE TABLE headrace_tables (name TEXT PRIMARY KEY, newest INTEGER) STRICT, WITHOUT ROWID;
INSERT INTO headrace_tables VALUES ('flights', 1);
CREATE TABLE headrace_facts (kind TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (kind, name)) STRICT, WITHOUT ROWID;
CREATE TABLE row_flights (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, source TEXT NOT NULL, state INTEGER NOT NULL, position BLOB NOT NULL,
    stream TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, as_of INTEGER NOT NULL, gaps TEXT,
    place TEXT NOT NULL, applied_at INTEGER NOT NULL, initiator TEXT NOT NULL, transaction_id TEXT NOT NULL,
    image TEXT, UNIQUE (source, key)) STRICT;
CREATE INDEX "row_flights imaged" ON row_flights (as_of) WHERE state = 1 AND image IS NOT NULL;
CREATE INDEX "row_flights bare" ON row_flights (as_of) WHERE state = 1 AND image IS NULL;
CREATE INDEX "row_flights held" ON row_flights (as_of) WHERE state = 2;
CREATE VIEW flights AS SELECT json_extract(image, '$.fare') AS fare FROM row_flights WHERE state = 0;
"""


def make_postgres(place: RowPlace) -> None:
    """Make a store of layout 1 with one row, whose fare is 7 since position 7."""
    name, value = applied_fact(MARK)
    with psycopg.connect(place.dsn, autocommit=True) as db:
        schema = Identifier(place.schema)
        db.execute(SQL(POSTGRES).format(schema=schema))
        db.execute(SQL("INSERT INTO {}.headrace_facts VALUES (%s, %s, %s)").format(schema), (APPLIED, name, value))
        shown = msgspec.json.encode(SHOWN).decode()
        db.execute(SQL("INSERT INTO {}.headrace_tables VALUES (%s, %s)").format(schema), (LIVE_NAME, shown))
        row = (SOURCE, key_of(1), key_of(1), LIVE, '{"id": 1, "fare": 7}', pack_position((0, 7)))
        db.execute(
            SQL(
                "INSERT INTO {}.row_flights VALUES (%s, %s, %s, %s, %s, %s, '0/7', 'changes', 0, 7, 7, 7, '', '')"
            ).format(schema),
            row,
        )


def make_sqlite(place: RowPlace) -> None:
    """Make the same in a file."""
    name, value = applied_fact(MARK)
    with closing(sqlite3.connect(place.path)) as db, db:
        db.executescript(SQLITE)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("INSERT INTO headrace_facts VALUES (?, ?, ?)", (APPLIED, name, value))
        row = (key_of(1), SOURCE, LIVE, pack_position((0, 7)), '{"id":1,"fare":7}')
        db.execute(
            """INSERT INTO row_flights (key, source, state, position, image, stream, partition, offset, as_of, place,
            applied_at, initiator, transaction_id) VALUES (?, ?, ?, ?, ?, 'changes', 0, 7, 7, '0/7', 7, '', '')""",
            row,
        )


MAKE: dict[str, Callable[[RowPlace], None]] = {"postgres": make_postgres, "sqlite": make_sqlite}


@pytest.fixture(params=MAKE)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RowPlace]:
    if request.param == "sqlite":
        where = RowPlace("sqlite", path=str(tmp_path / "tables.sqlite3"))
        make_sqlite(where)
        yield where
        return
    with postgres_place(running(request.config).dsn()) as where:
        make_postgres(where)
        yield where


@pytest.fixture
def reader(place: RowPlace) -> Iterator[RowReader]:
    with closing(place.reader()) as opened:
        yield opened


def take(writer: RowWriter, at: int) -> None:
    """Take in the change at position `at`, by which the fare becomes that number."""
    RowIntake(writer, settings(), lambda: NOW, lambda hold: None).write([change(1, at, {"fare": at})])


def fares(reader: RowReader) -> list[object]:
    return [row.image and row.image["fare"] for row in reader.select(RowQuery(table=LIVE_NAME))]


def former(reader: RowReader) -> list[Former]:
    return reader.former(LIVE_NAME, [ID], 0).get(ID, [])


def test_a_store_of_the_layout_before_is_read_before_any_writer_has_come(reader: RowReader) -> None:
    assert fares(reader) == [7]
    assert reader.applied() == [MARK]
    assert former(reader) == []
    with reader.cut() as cut:
        assert (fares(cut), former(cut)) == ([7], [])


def test_its_first_writer_keeps_everything_and_begins_to_keep_what_rows_were(
    place: RowPlace, reader: RowReader
) -> None:
    assert fares(reader) == [7]
    with closing(place.writer()) as writer:
        assert writer.identity() == "the old one"
        assert (fares(reader), former(reader), reader.applied()) == ([7], [], [MARK])
        take(writer, 6)
        assert fares(reader) == [7], "an older change than the row's must not count"
        take(writer, 9)
        assert fares(reader) == [9]
        assert former(reader) == [Former((0, 9), 9, {"fare": 7})]
    with closing(place.writer()) as writer:
        take(writer, 11)
        assert [one.was for one in former(reader)] == [{"fare": 9}, {"fare": 7}]


def test_a_layout_that_nobody_knows_is_refused(place: RowPlace) -> None:
    if place.kind == "sqlite":
        with closing(sqlite3.connect(place.path)) as db:
            db.execute("PRAGMA user_version = 0")
    else:
        with psycopg.connect(place.dsn, autocommit=True) as db:
            db.execute(SQL("UPDATE {} SET version = 0").format(Identifier(place.schema, "headrace_store")))
    with pytest.raises(StoreError):
        place.writer()
