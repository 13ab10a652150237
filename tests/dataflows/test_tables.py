"""The tables flow over recorded streams: the same content whatever the workers and batches, and nothing lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stores.rows.base import RowQuery
from stores.rows.choose import open_row_reader
from tests.dataflows.tables_content import STREAMS, replay, rows_of, settings_of


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what one worker makes of the recorded stream."""
    return replay(STREAMS, tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_content_depends_neither_on_workers_nor_on_batches(
    tmp_path: Path, plain: dict[str, Any], workers: int, batch: int
) -> None:
    assert replay(STREAMS, tmp_path, workers=workers, batch=batch) == plain


def test_the_rows_are_those_that_the_database_had_in_the_end(plain: dict[str, Any]) -> None:
    expected = json.loads((STREAMS / "operations.final.json").read_text(encoding="utf-8"))
    assert len(expected) >= 5
    for table, rows in expected.items():
        assert rows_of(plain, table) == rows, table


def test_a_second_replay_changes_nothing(tmp_path: Path, plain: dict[str, Any]) -> None:
    def applied_at() -> dict[str, int]:
        reader = open_row_reader(settings_of(tmp_path))
        return {row.key: row.applied_at for row in reader.select(RowQuery(table="flights", limit=100_000))}

    assert replay(STREAMS, tmp_path) == plain
    before = applied_at()
    assert replay(STREAMS, tmp_path) == plain
    assert applied_at() == before
