"""What is remembered of rows is what the store would answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.changes import Standing
from stores.rows.base import LIVE, RowId, StoredRow
from stores.rows.recent import RecentRows
from stores.rows.sqlite import SqliteRows


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[SqliteRows]:
    rows = SqliteRows(tmp_path / "rows.sqlite3", lambda: 1)
    yield rows
    rows.close()


def row(key: int, version: int) -> StoredRow:
    return StoredRow("db", f'{{"id":{key}}}', {"v": version}, LIVE, Standing((0, version), "s", 0, version), version, 1)


class Counting:
    """A store that counts how many rows it is asked for."""

    def __init__(self, rows: SqliteRows) -> None:
        self.rows = rows
        self.asked = 0

    def put(self, table: str, rows: Sequence[StoredRow]) -> None:
        self.rows.put(table, rows)

    def standings(self, table: str, ids: Sequence[RowId]) -> dict[RowId, object]:
        self.asked += len(ids)
        return dict(self.rows.standings(table, ids))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.sets(st.integers(0, 9), min_size=1, max_size=6), max_size=8))
def test_whatever_was_written_it_answers_as_the_store_does(writer: SqliteRows, batches: list[set[int]]) -> None:
    recent = RecentRows(writer, "t", most=5)
    ids = [row(key, 0).id for key in range(10)]
    for version, keys in enumerate(batches, 1):
        recent.put([row(key, version) for key in keys])
        assert recent.standings(ids) == writer.standings("t", ids)
    recent.forget()
    assert recent.standings(ids) == writer.standings("t", ids)


def test_rows_written_last_are_not_looked_up(writer: SqliteRows) -> None:
    store = Counting(writer)
    recent = RecentRows(store, "t", most=4)  # type: ignore[arg-type]  # two verbs are all that is used
    recent.put([row(key, 1) for key in range(4)])
    recent.standings([row(key, 1).id for key in range(4)])
    assert store.asked == 0
    recent.put([row(4, 1)])  # the two that were written first are forgotten
    assert set(recent.standings([row(key, 1).id for key in range(5)])) == {row(key, 1).id for key in range(5)}
    assert store.asked == 2
