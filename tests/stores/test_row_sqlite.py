"""What is particular to live tables in SQLite."""

from __future__ import annotations

import multiprocessing.pool
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events.errors import RejectedError, StoreError
from stores.rows.base import GONE, Condition, LiveTable, RowQuery, StoredRow
from stores.rows.sqlite import SqliteRows
from stores.rows.sqlite_file import WriteAheadLog
from stores.rows.sqlite_image import from_text, to_text
from stores.rows.sqlite_reader import SqliteRowReader
from stores.rows.sqlite_schema import view_columns
from tests.contract.row_samples import AS_OF, NOW, SOURCE, key_of, row, shown

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tables.sqlite3"


@pytest.fixture
def writer(path: Path) -> Iterator[SqliteRows]:
    opened = opened_at(path)
    yield opened
    opened.close()


@pytest.fixture
def reader(path: Path) -> Iterator[SqliteRowReader]:
    opened = SqliteRowReader(path)
    yield opened
    opened.close()


def opened_at(path: Path) -> SqliteRows:
    return SqliteRows(path, lambda: NOW)


def plan(path: Path, statement: str) -> str:
    with closing(sqlite3.connect(path)) as db:
        return " / ".join(str(step[3]) for step in db.execute(f"EXPLAIN QUERY PLAN {statement}"))


# The file


def test_a_second_writer_is_told_which_process_writes(path: Path, writer: SqliteRows) -> None:
    del writer
    with pytest.raises(StoreError, match=f"process {os.getpid()}"):
        opened_at(path)


@pytest.mark.parametrize("content", [b"no database" * 500, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_refused_with_the_remedy(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    for use in (opened_at, lambda path: SqliteRowReader(path).counts()):
        with pytest.raises(StoreError, match="move it aside"):
            use(path)
    assert path.read_bytes() == content


def test_a_database_of_another_kind_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")
    for use in (opened_at, lambda path: SqliteRowReader(path).counts()):
        with pytest.raises(StoreError, match="another kind"):
            use(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


def test_a_store_of_another_layout_is_refused(path: Path) -> None:
    opened_at(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="layout 99"):
        opened_at(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 1")
    opened_at(path).close()


def test_a_reader_goes_on_with_a_store_that_was_put_in_the_place_of_another(
    path: Path, reader: SqliteRowReader
) -> None:
    for number in (1, 2):
        writer = opened_at(path)
        writer.put("t", [row(number)])
        writer.close()
        assert [found.key for found in reader.select(RowQuery(table="t"))] == [key_of(number)]
        path.unlink()
        assert reader.select(RowQuery(table="t")) == []


def test_a_path_may_hold_what_a_uri_may_not(tmp_path: Path) -> None:
    path = tmp_path / "a ?mode=rwc&x#%41" / "t.sqlite3"
    writer, reader = opened_at(path), SqliteRowReader(path)
    writer.put("t", [row(1)])
    assert reader.select(RowQuery(table="t")) == [row(1)]
    writer.close()
    reader.close()


KILLED = """
import sys
from pathlib import Path
from stores.rows.sqlite import SqliteRows
from tests.contract.row_samples import row
writer = SqliteRows(Path(sys.argv[1]), lambda: 0)
for round in range(100_000):
    with writer.transaction():
        writer.put("t", [row(number, round=round) for number in range(200)])
        writer.note("round", {"number": str(round).encode()})
    print(round, flush=True)
"""


def test_a_killed_writer_leaves_a_whole_commit(path: Path, reader: SqliteRowReader) -> None:
    for rounds in (1, 15):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", KILLED, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            seen = [process.stdout.readline() for _ in range(rounds)][-1]
            process.send_signal(signal.SIGKILL)
            process.wait()
        writer = opened_at(path)
        committed = int(writer.facts("round")["number"])
        assert committed >= int(seen)
        found = reader.select(RowQuery(table="t", limit=1000))
        assert [stored.image and stored.image["round"] for stored in found] == [committed] * 200
        assert writer._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        writer.put("t", [row(1)])
        writer.close()


def test_a_forked_reader_opens_the_store_for_itself(
    writer: SqliteRows, reader: SqliteRowReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened_by: list[int] = []
    monkeypatch.setattr("stores.rows.sqlite_snapshot.register", lambda _: opened_by.append(os.getpid()))
    writer.put("t", [row(1)])
    assert len(reader.select(RowQuery(table="t"))) == 1
    assert opened_by == [os.getpid()]

    def read() -> None:
        found = len(reader.select(RowQuery(table="t")))
        sys.exit(7 if found == 1 and opened_by[1:] == [os.getpid()] else 1)

    process = multiprocessing.get_context("fork").Process(target=read)
    process.start()
    process.join(20)
    assert process.exitcode == 7
    assert len(reader.select(RowQuery(table="t"))) == 1


# Cuts


def test_a_cut_that_is_open_for_too_long_ends_so_that_the_log_can_begin_anew(
    path: Path, writer: SqliteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stores.rows.sqlite_snapshot.CUT_SECONDS", 0.05)
    reader = SqliteRowReader(path)
    writer.put("t", [row(1)])
    with reader.cut() as cut:
        assert len(cut.select(RowQuery(table="t"))) == 1
        writer.put("t", [row(2)])
        assert _checkpointed(path) is False
        deadline = time.monotonic() + 20
        # Whoever reads next ends it, also while its own thread is busy elsewhere.
        while not _checkpointed(path):
            assert len(reader.select(RowQuery(table="t"))) == 2
            assert time.monotonic() < deadline
        with pytest.raises(StoreError, match=r"open for more than 0\.05 s.*begin another one"):
            cut.select(RowQuery(table="t"))
    assert len(reader.select(RowQuery(table="t"))) == 2
    reader.close()


def test_a_query_that_takes_too_long_for_its_cut_is_stopped(
    path: Path, writer: SqliteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.put("t", [row(number, text="x" * 200) for number in range(20_000)])
    reader = SqliteRowReader(path)
    where = tuple(Condition("text", "~", f"y{number}") for number in range(20))
    monkeypatch.setattr("stores.rows.sqlite_snapshot._STEPS", 100)
    monkeypatch.setattr("stores.rows.sqlite_snapshot.CUT_SECONDS", 0.02)
    with reader.cut() as cut, pytest.raises(StoreError, match=r"open for more than 0\.02 s.*begin another one"):
        cut.select(RowQuery(table="t", where=where))
    assert len(reader.select(RowQuery(table="t", limit=20_000))) == 20_000
    reader.close()


def _checkpointed(path: Path) -> bool:
    """Return whether nobody keeps the write-ahead log, now empty, from beginning anew."""
    with closing(sqlite3.connect(path, timeout=0)) as db:
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def test_the_log_begins_anew_though_readers_come_one_after_another(path: Path, writer: SqliteRows) -> None:
    most = 1_000_000
    writer._log = WriteAheadLog(writer._db, path, most)
    writer._db.execute("PRAGMA wal_autocheckpoint = 50")
    reader = SqliteRowReader(path)
    writer.put("t", [row(1)])
    stopped = threading.Event()

    def read() -> None:
        while not stopped.is_set():
            with reader.cut() as cut:
                for _ in range(20):
                    cut.select(RowQuery(table="t", limit=20))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for thread in readers:
        thread.start()
    sizes = []
    for offset in range(200):
        writer.put("t", [row(number, text="x" * 1_000, offset=offset) for number in range(50)])
        sizes.append(path.with_name(f"{path.name}-wal").stat().st_size)
    stopped.set()
    for thread in readers:
        thread.join()
    # 200 times more than 50,000 bytes were written.
    assert max(sizes) < 4 * most
    reader.close()


def test_a_reader_that_keeps_the_log_does_not_keep_the_writer(path: Path, writer: SqliteRows) -> None:
    writer._log = WriteAheadLog(writer._db, path, 100_000)
    reader = SqliteRowReader(path)
    writer.put("t", [row(1)])
    with reader.cut() as cut:
        for offset in range(10):
            writer.put("t", [row(number, text="x" * 1_000, offset=offset) for number in range(50)])
        assert len(cut.select(RowQuery(table="t"))) == 1
    writer.put("t", [row(51, text="x" * 200_000)])
    assert len(reader.select(RowQuery(table="t"))) == 51
    assert writer._db.execute("PRAGMA busy_timeout").fetchone() == (30_000,)
    reader.close()


# Indexes


def test_conditions_on_an_indexed_column_use_its_index(path: Path, writer: SqliteRows) -> None:
    writer.put("t", [row(number, gate=f"A{number}") for number in range(50)])
    for ttl in (None, 60_000):
        writer.expose(LiveTable("t", {"id": "int", "gate": "text"}, ttl_millis=ttl, indexes=("gate",)))
        steps = plan(path, "SELECT id FROM t WHERE gate = 'A7'")
        assert "USING INDEX row_t by 0" in steps
        assert "SCAN row_t" not in steps


def test_a_query_uses_the_index_of_its_column(
    path: Path, writer: SqliteRows, reader: SqliteRowReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.put("t", [row(number, gate=f"A{number}", seats=number) for number in range(50)])
    writer.expose(LiveTable("t", {}, indexes=("gate", "seats")))
    statements: list[str] = []
    monkeypatch.setattr("stores.rows.sqlite_snapshot.register", _traced(statements))
    for condition, index in ((Condition("gate", "=", "A7"), "by 0"), (Condition("seats", "=", 49), "by 1")):
        assert len(reader.select(RowQuery(table="t", where=(condition,)))) == 1
        assert f"row_t {index}" in _explained(path, statements[-1])


def _traced(statements: list[str]) -> Any:
    from stores.rows.sqlite_select import register

    def registered(db: sqlite3.Connection) -> None:
        register(db)
        db.set_trace_callback(lambda text: statements.append(text) if "json_extract" in text else None)

    return registered


def _explained(path: Path, statement: str) -> str:
    from stores.rows.sqlite_select import register

    with closing(sqlite3.connect(path)) as db:
        register(db)
        return " / ".join(str(step[3]) for step in db.execute(f"EXPLAIN QUERY PLAN {statement}"))


def test_an_index_that_is_not_wanted_any_more_goes(path: Path, writer: SqliteRows) -> None:
    writer.put("t", [row(1, gate="A")])
    writer.expose(LiveTable("t", {"gate": "text"}, indexes=("gate",)))
    writer.expose(LiveTable("t", {"gate": "text"}))
    assert "SCAN" in plan(path, "SELECT gate FROM t WHERE gate = 'A'")


def test_what_is_forgotten_is_found_without_looking_at_live_rows(path: Path, writer: SqliteRows) -> None:
    from stores.rows.sqlite_schema import forget, restate

    writer.put("t", [row(1), row(2, state=GONE)])
    for statement in (*forget("t"), restate("t", 1, 2), restate("t", 2, 1)):
        literal = statement.replace("?", "0")
        assert "USING INDEX row_t" in plan(path, literal) or "USING COVERING INDEX row_t" in plan(path, literal)


# Names and values


def test_names_that_differ_in_case_only_are_told_apart_by_a_number(writer: SqliteRows, reader: SqliteRowReader) -> None:
    stored = row(1, image={"id": 1, "Id": 2, "ID": 3, "_key": 4, "id_2": 5})
    writer.put("t", [stored])
    writer.expose(shown("t", [stored]))
    answer = reader.sql("SELECT id, Id_2, ID_3, _key_2, id_2_2 FROM t", rows=1, seconds=5)
    assert answer.rows == [(1, 2, 3, 4, 5)]
    assert view_columns(["a", "A", "a_2"]) == {"a": "a", "A": "A_2", "a_2": "a_2_2"}


_texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["", '"', "'", "');--", '";DROP TABLE row_t;--', "$", "$.a", "%22", "\0", "?", ":a", "]", "\\", "Id", "id"]
)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | _texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(_texts, _values, max_size=6))
def test_any_image_comes_back_with_every_digit(image: dict[str, Any]) -> None:
    back = from_text(to_text(image))
    assert _digits(back) == _digits(image)
    assert to_text(back) == to_text(image)


def _digits(value: Any) -> Any:
    """Return `value` with floats as the decimal numbers that they are written as."""
    if isinstance(value, dict):
        return {key: _digits(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_digits(item) for item in value]
    return Decimal(repr(value)) if isinstance(value, float) else value


@given(image=st.dictionaries(_texts, _texts | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6))
@example(image={"true": 1, "false": "x", "null": 2})
def test_no_name_and_no_value_can_say_anything_in_sql(
    tmp_path_factory: pytest.TempPathFactory, image: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.sqlite3"
    writer, reader = opened_at(path), SqliteRowReader(path)
    stored = row(1, image=image)
    writer.put("t", [stored])
    writer.expose(LiveTable("t", dict.fromkeys(image, "mixed"), ttl_millis=10**13, indexes=tuple(image)))
    assert writer.fetch("t", [stored.id]) == {stored.id: stored}
    labels = view_columns(image)
    answer = reader.sql("SELECT * FROM t", rows=5, seconds=5)
    by_label = dict(zip(answer.columns, answer.rows[0], strict=True))
    for column, value in image.items():
        assert reader.select(RowQuery(table="t", where=(Condition(column, "=", value),), order=column)) == [stored]
        # SQLite's own JSON ends a text at a NUL; queries and images do not.
        expected = value.partition("\0")[0] if isinstance(value, str) else value
        assert by_label[labels[column]] == expected
    assert set(reader.counts()) == {"t"}
    writer.close()
    reader.close()


def test_long_numbers_are_compared_to_the_last_digit(writer: SqliteRows, reader: SqliteRowReader) -> None:
    writer.put("t", [row(1, v=Decimal("0.1000000000000000000001")), row(2, v=10**30), row(3, v=10**30 + 1)])

    def found(comparison: Any, value: float) -> list[str]:
        return [stored.key for stored in reader.select(RowQuery(table="t", where=(Condition("v", comparison, value),)))]

    assert found("=", 0.1) == []
    assert found("<=", 0.1) == []
    assert found(">", 0.1) == [key_of(1), key_of(2), key_of(3)]
    assert found("=", 10**30) == [key_of(2)]
    assert found(">", 10**30) == [key_of(3)]


# Statements of the user


@pytest.mark.parametrize(
    "statement",
    [
        "WITH t AS (SELECT * FROM sqlite_schema) SELECT * FROM t",
        "WITH t AS (SELECT * FROM headrace_facts) SELECT * FROM t",
        "WITH t AS (SELECT * FROM row_t) SELECT * FROM t",
        "WITH t AS (SELECT * FROM [ROW_T]) SELECT * FROM t",
        "SELECT * FROM pragma_table_info('row_' || 't')",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM dbstat",
        "SELECT load_extension('x')",
        "SELECT fts3_tokenizer('x')",
        "CREATE TEMP TABLE x (a)",
        "SELECT zeroblob(1000000000)" if sys.version_info >= (3, 11) else "SELECT",
        "SELECT '\ud800'",
    ],
)
def test_a_statement_reaches_nothing_but_the_views(writer: SqliteRows, reader: SqliteRowReader, statement: str) -> None:
    writer.put("t", [row(1), row(2, state=GONE)])
    writer.expose(LiveTable("t", {"id": "int"}))
    writer.note("secret", {"a": b"1"})
    with pytest.raises(RejectedError, match="live tables: t"):
        reader.sql(statement, rows=10, seconds=5)
    own = reader.sql("WITH x AS (SELECT id FROM t) SELECT * FROM x, json_each('[7]') j", rows=5, seconds=5)
    assert own.rows[0][0] == 1


def test_functions_over_json_and_time_are_there(writer: SqliteRows, reader: SqliteRowReader) -> None:
    writer.put("t", [row(1, tags=["a", "b"])])
    writer.expose(LiveTable("t", {"id": "int", "tags": "json"}))
    statement = "SELECT j.value FROM t, json_each(t.tags) AS j WHERE _as_of > datetime(0, 'unixepoch') ORDER BY 1"
    assert reader.sql(statement, rows=5, seconds=5).rows == [("a",), ("b",)]


def test_a_statement_over_a_store_that_is_not_there_names_no_table(reader: SqliteRowReader) -> None:
    with pytest.raises(RejectedError, match="none yet"):
        reader.sql("SELECT * FROM flights", rows=1, seconds=5)


def test_a_long_statement_keeps_nobody_else_waiting(writer: SqliteRows, reader: SqliteRowReader) -> None:
    writer.put("t", [row(1)])
    bomb = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    with multiprocessing.pool.ThreadPool(1) as pool:
        running = pool.apply_async(reader.sql, (bomb,), {"rows": 1, "seconds": 1.0})
        begun = time.monotonic()
        assert reader.select(RowQuery(table="t")) == [row(1)]
        writer.put("t", [row(2)])
        assert time.monotonic() - begun < 1
        with pytest.raises(RejectedError, match="longer than 1 s"):
            running.get(20)


def test_the_view_is_readable_by_any_tool(path: Path, writer: SqliteRows) -> None:
    writer.put("t", [row(1, price=Decimal("12.50")), row(2, state=GONE)])
    writer.expose(LiveTable("t", {"id": "int", "price": "decimal"}, ttl_millis=10**13))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT id, price, _source FROM t").fetchall() == [(1, 12.5, SOURCE)]


def test_times_are_shown_to_the_millisecond(writer: SqliteRows, reader: SqliteRowReader) -> None:
    from events.clock import to_iso

    moments = [0, 1, 999, AS_OF + 1, AS_OF + 499, AS_OF + 999, -1]
    writer.put("t", [row(number, as_of=moment) for number, moment in enumerate(moments)])
    writer.expose(LiveTable("t", {"id": "int"}))
    answer = reader.sql("SELECT _as_of FROM t ORDER BY id", rows=20, seconds=5)
    assert [text for (text,) in answer.rows] == [to_iso(moment) for moment in moments]


def test_rows_of_two_sources_with_one_key_stay_apart(writer: SqliteRows) -> None:
    rows = {stored.id: stored for stored in (row(1, a=1), row(1, a=2, source="other"))}
    writer.put("t", list(rows.values()))
    found: dict[tuple[str, str], StoredRow] = writer.fetch("t", list(rows))
    assert found == rows
