"""What is PostgreSQL's own about the row store kept there; the contract is in tests/contract/test_rows.py."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from events.errors import RejectedError, StoreError
from stores.rows.base import Condition, LiveTable, RowQuery
from stores.rows.postgres import PostgresRows
from stores.rows.postgres_image import from_json, from_text, image_of, image_text, to_text
from stores.rows.postgres_reader import PostgresRowReader
from stores.rows.postgres_schema import fitting, view_columns
from stores.rows.postgres_select import select_query
from stores.rows.postgres_session import Session
from stores.rows.postgres_statement import STABLE, Surroundings, checked_statement
from tests.contract.row_samples import RowPlace, postgres_place, row
from tests.servers.postgres import PostgresServer, running

SECRETS = "hunter2", "db.invalid", "somebody", "payroll"


@pytest.fixture
def server(request: pytest.FixtureRequest) -> PostgresServer:
    return running(request.config)


@pytest.fixture
def place(server: PostgresServer) -> Iterator[RowPlace]:
    with postgres_place(server.dsn()) as made:
        yield made


@pytest.fixture
def admin(server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    with server.connect() as session:
        yield session


@pytest.fixture
def writer(place: RowPlace) -> Iterator[PostgresRows]:
    opened = PostgresRows(place.dsn, place.schema, patience_millis=100)
    yield opened
    opened.close()


@pytest.fixture
def reader(place: RowPlace) -> Iterator[PostgresRowReader]:
    opened = PostgresRowReader(place.dsn, place.schema)
    yield opened
    opened.close()


def end_sessions(admin: psycopg.Connection[Any]) -> None:
    """End the sessions of all writers and readers."""
    admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'headrace'")


# Connections


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://somebody:hunter2@db.invalid/payroll",
        "host=db.invalid user=somebody password=hunter2 dbname=payroll",
        "host=127.0.0.1 port=1 user=somebody password=hunter2 dbname=payroll",
        "host=/nowhere/db.invalid user=somebody password=hunter2 dbname=payroll",
        "host=db.invalid hunter2",
        "hunter2=somebody",
        "postgresql://somebody:hunter2@db.invalid:port/payroll",
        "password=hunter2\0",
    ],
)
def test_no_error_tells_the_connection_string(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(StoreError) as writing:
        PostgresRows(dsn, "headrace")
    reader = PostgresRowReader(dsn, "headrace")
    with pytest.raises(StoreError) as reading:
        reader.counts()
    for error in (writing.value, reading.value):
        assert error.hint
        assert error.__suppress_context__
        assert not [secret for secret in SECRETS if secret in f"{error} {caplog.text}"]


def test_a_refused_user_is_not_named(server: PostgresServer) -> None:
    with pytest.raises(StoreError, match="does not exist") as refused:
        PostgresRows(server.dsn("somebody"), "headrace")
    assert "somebody" not in str(refused.value)


def test_a_writer_whose_session_is_lost_stops_and_lets_go_of_the_store(
    admin: psycopg.Connection[Any], place: RowPlace, writer: PostgresRows
) -> None:
    writer.put("t", [row(1)])

    def go_on() -> None:
        with writer.transaction():
            writer.put("t", [row(2)])
            end_sessions(admin)
            writer.put("t", [row(3)])

    with pytest.raises(StoreError, match="connection to PostgreSQL is lost"):
        go_on()
    with pytest.raises(StoreError, match="connection to PostgreSQL is lost"):
        writer.put("t", [row(4)])
    successor = place.writer()
    assert set(successor.fetch("t", [row(number).id for number in range(5)])) == {row(1).id}
    successor.close()


def test_a_reader_whose_session_is_lost_opens_another(
    admin: psycopg.Connection[Any], writer: PostgresRows, reader: PostgresRowReader
) -> None:
    writer.put("t", [row(1)])
    writer.expose(LiveTable("t", {"id": "int"}))
    asked: list[tuple[Callable[[], object], object]] = [
        (lambda: reader.select(RowQuery(table="t")), [row(1)]),
        (reader.counts, {"t": (1, 0, row(1).as_of)}),
        (lambda: reader.sql("SELECT id FROM t", rows=1, seconds=5).rows, [(1,)]),
    ]
    for ask, answer in asked:
        assert ask() == answer
        end_sessions(admin)
        assert ask() == answer


def test_a_schema_of_something_else_is_refused(admin: psycopg.Connection[Any], place: RowPlace) -> None:
    admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(place.schema)))
    admin.execute(sql.SQL("CREATE TABLE {} (a int)").format(sql.Identifier(place.schema, "orders")))
    with pytest.raises(StoreError, match="holds other tables"):
        place.writer()


def test_an_empty_schema_that_was_made_for_us_is_used(admin: psycopg.Connection[Any], place: RowPlace) -> None:
    admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(place.schema)))
    opened = place.writer()
    opened.put("t", [row(1)])
    assert opened.tally("t", 1000).live == 1
    opened.close()


def test_a_store_of_another_version_is_refused(admin: psycopg.Connection[Any], place: RowPlace) -> None:
    place.writer().close()
    admin.execute(sql.SQL("UPDATE {} SET version = 99").format(sql.Identifier(place.schema, "headrace_store")))
    with pytest.raises(StoreError, match="another version"):
        place.writer()


def test_a_database_that_cannot_hold_all_texts_is_refused(
    server: PostgresServer, admin: psycopg.Connection[Any]
) -> None:
    admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    try:
        with pytest.raises(StoreError, match="UTF8"):
            PostgresRows(server.dsn(database="latin"), "headrace")
    finally:
        admin.execute("DROP DATABASE latin")


def test_stores_in_two_schemas_have_a_writer_each(place: RowPlace, writer: PostgresRows) -> None:
    other = PostgresRows(place.dsn, f"{place.schema}_2", patience_millis=100)
    other.put("t", [row(1)])
    assert writer.fetch("t", [row(1).id]) == {}
    other.close()


# Rights


def test_a_role_that_may_only_read_is_enough_for_readers(
    server: PostgresServer, admin: psycopg.Connection[Any], place: RowPlace, writer: PostgresRows
) -> None:
    role = sql.Identifier(f"{place.schema}_reader")
    schema = sql.Identifier(place.schema)
    admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
    admin.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role))
    admin.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(schema, role))
    defaults = "ALTER DEFAULT PRIVILEGES IN SCHEMA {} GRANT SELECT ON TABLES TO {}"
    admin.execute(sql.SQL(defaults).format(schema, role))
    reader = PostgresRowReader(server.dsn(f"{place.schema}_reader"), place.schema)
    try:
        for kind in ("int", "text"):  # the view is made anew
            writer.put("t", [row(1)])
            writer.expose(LiveTable("t", {"id": kind}))
            assert len(reader.sql("SELECT id FROM t", rows=1, seconds=5).rows) == 1
        assert reader.select(RowQuery(table="t")) == [row(1)]
        assert reader.counts() == {"t": (1, 0, row(1).as_of)}
        writer.close()
        with pytest.raises(StoreError, match="may not make tables"):
            PostgresRows(server.dsn(f"{place.schema}_reader"), place.schema)
    finally:
        reader.close()
        admin.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(role))


def test_what_others_built_on_a_view_stays_when_it_gains_columns_and_stops_its_remaking(
    admin: psycopg.Connection[Any], place: RowPlace, writer: PostgresRows
) -> None:
    view, theirs = sql.Identifier(place.schema, "t"), sql.Identifier(place.schema, "theirs")
    writer.put("t", [row(1, a=2)])
    writer.expose(LiveTable("t", {"id": "int"}))
    admin.execute(sql.SQL("CREATE VIEW {} AS SELECT id FROM {}").format(theirs, view))
    writer.expose(LiveTable("t", {"id": "int", "a": "int"}))
    assert admin.execute(sql.SQL("SELECT * FROM {}").format(theirs)).fetchall() == [(1,)]
    with pytest.raises(StoreError, match="drop the views"):
        writer.expose(LiveTable("t", {"id": "text", "a": "int"}))
    assert admin.execute(sql.SQL("SELECT a FROM {}").format(view)).fetchall() == [(2,)]


HARMFUL = [
    "SELECT pg_sleep(9)",
    'SELECT "pg_sleep"(9)',
    "SELECT PG_SLEEP (9)",
    "SELECT pg_catalog.pg_sleep(9)",
    "SELECT pg_sleep/* a comment */(9)",
    "SELECT pg_sleep--\n(9)",
    'SELECT U&"pg\\005fsleep"(9)',
    "SELECT (9::float8).pg_sleep",
    "SELECT ('/etc/passwd'::text).pg_read_file",
    "SELECT ('/etc/passwd'::text) . \"pg_read_file\"",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM pg_ls_dir('/')",
    "SELECT query_to_xml('SELECT * FROM pg_authid', true, true, '')",
    "SELECT table_to_xml('pg_authid', true, true, '')",
    "SELECT set_config('statement_timeout', '0', false)",
    "SELECT current_setting('data_directory')",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_advisory_lock(1)",
    "SELECT lo_import('/etc/passwd')",
    "SELECT nextval('x')",
    "SELECT repeat('x', 1000000000)",
    "SELECT public.anything(1)",
    "SELECT 1 OPERATOR(public.+) 2",
    "SELECT current_user",
    "SELECT 'pg_authid'::regclass",
    "SELECT * FROM pg_authid",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT name, setting FROM pg_settings",
    "SELECT * FROM pg_hba_file_rules",
    "SELECT * FROM pg_stat_bgwriter",
    "SELECT * FROM pg_locks, t",
    'SELECT * FROM "pg_config"',
    "SELECT * FROM information_schema.columns",
    "SELECT user",
    "SELECT current_schema",
    "SELECT current_catalog",
    "SELECT * FROM information_schema.tables",
    "TABLE pg_stat_activity",
    "SELECT * FROM t WHERE id IN (SELECT oid::int FROM pg_class)",
    "WITH x AS MATERIALIZED (SELECT * FROM pg_proc) SELECT 1 FROM x",
    "SELECT (SELECT max(rolname) FROM pg_roles)",
    "SELECT * FROM t FOR UPDATE",
    "SELECT * INTO x FROM t",
    "SELECT E'a'\n'b\\' || ' || pg_sleep(9) || '",
    "SELECT /* /* */ 1 */ + pg_sleep(9)",
    "SELECT $a$ $$ $a$, pg_sleep(9), $$ $$",
    "SELECT '\\', pg_sleep(9), '\\'",
    "SELECT 1\u00a0; SELECT 2",
    "SELECT $1",
    "SELECT '\ud800'",
    "EXPLAIN ANALYZE SELECT 1",
    "EXECUTE x",
    "SHOW data_directory",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "DO $$ BEGIN END $$",
    "CALL x()",
    "LISTEN x",
    "LOCK t",
    "SELECT 1; COMMIT; DROP VIEW t",
]


@pytest.mark.parametrize("statement", HARMFUL, ids=ascii)
def test_a_statement_cannot_reach_beyond_live_tables(
    writer: PostgresRows, reader: PostgresRowReader, statement: str
) -> None:
    writer.put("t", [row(1)])
    writer.expose(LiveTable("t", {"id": "int"}))
    with pytest.raises(RejectedError) as refused:
        reader.sql(statement, rows=10, seconds=3)
    assert refused.value.hint
    assert reader.sql("SELECT id FROM t", rows=10, seconds=3).rows == [(1,)]


HARMLESS = [
    "SELECT count(*), sum(id), avg(id), min(a), max(a), string_agg(a, ',' ORDER BY a) FROM t",
    "SELECT lower(a) || upper(a), length(a), coalesce(a, 'none'), substring(a FROM 1 FOR 2), trim(a) FROM t",
    "SELECT date_trunc('day', _as_of::timestamptz), extract(hour FROM _as_of::timestamptz), now() > '2020-1-1' FROM t",
    "SELECT row_number() OVER (PARTITION BY a ORDER BY id), lag(id) OVER w FROM t WINDOW w AS (ORDER BY id)",
    "SELECT id, CASE WHEN id IN (1, 2) THEN 'few' ELSE 'many' END FROM t WHERE a LIKE '%a%' OR a ~* '^a'",
    "SELECT x.id FROM t AS x (source) JOIN (VALUES (1, 'one')) AS y (id, name) ON x.id = y.id",
    "SELECT j ->> 'k', jsonb_array_length(j -> 'l'), e FROM t, jsonb_array_elements(j -> 'l') AS e",
    "(SELECT id FROM t) UNION ALL (SELECT i FROM generate_series(1, 3) AS i) ORDER BY 1 LIMIT 2 OFFSET 1",
    "SELECT to_char(now(), 'YYYY'), round(id / 3.0, 2), date '2026-01-01' + 1, interval '1 d', 1e3, .5, $$'$$ FROM t",
    "VALUES (1, E'a\\'b', U&'d\\0061t', B'101')",
    "TABLE t",
    "SELECT t FROM t",
    "select /* one */ id -- two\n from t;",
]


@pytest.mark.parametrize("statement", HARMLESS)
def test_a_statement_may_compute_what_it_likes_from_live_tables(
    writer: PostgresRows, reader: PostgresRowReader, statement: str
) -> None:
    writer.put("t", [row(1, a="ab", j={"k": "v", "l": [1, 2]})])
    writer.expose(LiveTable("t", {"id": "int", "a": "text", "j": "json"}))
    assert reader.sql(statement, rows=10, seconds=5).rows


def test_time_is_limited_over_all_of_a_statement(writer: PostgresRows, reader: PostgresRowReader) -> None:
    writer.expose(LiveTable("t", {"id": "int"}))
    with pytest.raises(RejectedError, match=r"longer than 0.2 s"):
        reader.sql("SELECT count(*) FROM generate_series(1, 1000000000)", rows=1, seconds=0.2)


@given(st.text())
def test_any_text_is_taken_or_refused_as_a_statement(text: str) -> None:
    around = Surroundings(frozenset({"f"}), frozenset({"f"}), frozenset({"row_t"}))
    with suppress(RejectedError):
        assert text.startswith(checked_statement(text, around))


def test_what_statements_may_call_changes_nothing(admin: psycopg.Connection[Any]) -> None:
    changing = admin.execute(
        "SELECT DISTINCT proname::text FROM pg_proc WHERE proname = ANY(%s) AND provolatile = 'v'", (list(STABLE),)
    ).fetchall()
    assert {name for (name,) in changing} == {"clock_timestamp", "random"}


# Names, texts and indexes


@given(st.lists(st.text(), max_size=30))
def test_every_column_gets_a_name_of_its_own_that_fits(names: list[str]) -> None:
    shown = view_columns(names)
    assert list(shown) == list(dict.fromkeys(names))
    assert len(set(shown.values())) == len(shown)
    assert all(0 < len(label.encode(errors="replace")) <= 63 and "\0" not in label for label in shown.values())


def test_names_that_fit_stay_and_others_keep_their_beginning() -> None:
    assert view_columns(["a", "Größe", "x" * 63]) == {"a": "a", "Größe": "Größe", "x" * 63: "x" * 63}
    assert fitting("x" * 64).startswith("x" * 50)
    assert fitting("x" * 64) != fitting("x" * 65)


TEXTS = st.text(st.sampled_from("\0\x01\x02\ufdd0\ufdd1\\u01a\"'") | st.characters(exclude_categories=["Cs"]))


@given(TEXTS, TEXTS)
def test_texts_stay_distinct_and_in_order(one: str, other: str) -> None:
    assert "\0" not in to_text(one)
    assert from_text(to_text(one)) == one
    assert (one < other) == (to_text(one) < to_text(other))


@given(st.recursive(TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner)))
def test_images_come_back_from_their_text(value: object) -> None:
    stored = image_text({"column": value})
    assert stored is not None
    assert "\\u0000" not in stored.replace("\\\\", "")
    assert image_of(stored) == {"column": value}
    assert from_json(stored).count("\ufdd0") == str(value).count("\ufdd0") or "\ufdd0" in stored


def plan(admin: psycopg.Connection[Any], query: sql.Composable) -> str:
    admin.execute("SET enable_seqscan = off")
    return str(admin.execute(sql.SQL("EXPLAIN {}").format(query)).fetchall())


@pytest.mark.parametrize("indexed", [("int", 7), ("decimal", 7.5), ("text", "x"), ("mixed", "x")], ids=str)
def test_look_ups_by_an_indexed_column_use_the_index(
    admin: psycopg.Connection[Any], place: RowPlace, writer: PostgresRows, indexed: tuple[str, Any]
) -> None:
    kind, value = indexed
    writer.put("t", [row(number, v=number) for number in range(50)])
    writer.expose(LiveTable("t", {"id": "int", "v": kind}, indexes=("v", "not seen yet")))
    view = sql.SQL("SELECT * FROM {} WHERE v = {}").format(sql.Identifier(place.schema, "t"), sql.Literal(value))
    query = RowQuery(table="t", where=(Condition("v", "=", value),))
    table = sql.Identifier(place.schema, "row_t")
    selected = select_query(query, table, sql.Identifier("C"))
    assert "row_by_" in plan(admin, view)
    assert "row_by_" in plan(admin, selected)
    writer.expose(LiveTable("t", {"id": "int", "v": kind}))
    assert "row_by_" not in plan(admin, view)


def test_an_indexed_column_may_hold_values_of_any_length(writer: PostgresRows, reader: PostgresRowReader) -> None:
    writer.expose(LiveTable("t", {"v": "text", "n": "int"}, indexes=("v", "n")))
    stored = row(1, v="long " * 100_000, n=10**4000)
    writer.put("t", [stored])
    assert reader.select(RowQuery(table="t", where=(Condition("v", "=", "long " * 100_000),))) == [stored]


# Cuts


def test_a_cut_whose_session_the_server_has_ended_says_so_and_the_next_one_works(
    writer: PostgresRows, reader: PostgresRowReader, admin: psycopg.Connection[Any]
) -> None:
    writer.put("t", [row(1)])
    with reader.cut() as cut:
        assert len(cut.select(RowQuery(table="t"))) == 1
        admin.execute("""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE state = 'idle in transaction' AND pid <> pg_backend_pid()""")
        for _ in range(2):
            with pytest.raises(StoreError, match=r"cannot be read any more: the connection is lost.*begin another one"):
                cut.select(RowQuery(table="t"))
    with reader.cut() as cut:
        assert len(cut.select(RowQuery(table="t"))) == 1


def test_a_cut_begins_in_another_session_where_the_idle_ones_are_lost(
    writer: PostgresRows, reader: PostgresRowReader, admin: psycopg.Connection[Any]
) -> None:
    writer.put("t", [row(1)])
    with reader.cut(), reader.cut():
        pass
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'headrace' AND query LIKE 'ROLLBACK%'"
    idle = admin.execute(query).fetchall()
    assert len(idle) == 2
    for (pid,) in idle:
        admin.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
    with reader.cut() as cut:
        assert len(cut.select(RowQuery(table="t"))) == 1


def test_a_cut_only_reads_and_does_not_rest_for_ever(writer: PostgresRows, reader: PostgresRowReader) -> None:
    writer.put("t", [row(1)])
    settings = ("transaction_isolation", "transaction_read_only", "idle_in_transaction_session_timeout")

    def shown(asked: PostgresRowReader) -> list[object]:
        def run(db: Session) -> list[object]:
            return [found for name in settings for found in db.execute(f"SHOW {name}").fetchone() or ()]

        return asked._read(run, [])

    with reader.cut() as cut:
        assert shown(cut) == ["repeatable read", "on", "30s"]
    assert shown(reader) == ["repeatable read", "on", "0"]
