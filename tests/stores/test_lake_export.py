"""Exports of the lake: every format holds the same, and a file is there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pyarrow.parquet as pq
import pytest

from events.errors import StoreError
from events.feedback import Point
from stores.lake.export import export, millis_of
from stores.lake.reader import LakeReader
from stores.lake.schema import schema
from tests.dataflows.lake_content import story
from tests.stores.test_lake import Home


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> LakeReader:
    """Return a lake of some conversations."""
    home = Home(tmp_path_factory.mktemp("lake"))
    home.take(*(event for event in story(4, 40) if not isinstance(event, Point)))
    return LakeReader(home.settings.lake_dir)


def rows_of(lake: LakeReader) -> list[dict[str, Any]]:
    return [row for batch in lake.rows() for row in batch.to_pylist()]


def test_parquet_holds_the_rows(tmp_path: Path, lake: LakeReader) -> None:
    counts: list[int] = []
    assert export(lake.rows(batch_size=9), tmp_path / "new" / "lake.parquet", "parquet", progress=counts.append) == 40
    table = pq.read_table(tmp_path / "new" / "lake.parquet")
    assert table.schema.equals(schema())
    assert table.to_pylist() == rows_of(lake)
    assert counts == [9, 18, 27, 36, 40]


def test_json_lines_hold_the_rows(tmp_path: Path, lake: LakeReader) -> None:
    export(lake.rows(), tmp_path / "lake.jsonl", "json")
    lines = (tmp_path / "lake.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line) for line in lines] == [msgspec.to_builtins(row) for row in rows_of(lake)]


def test_avro_holds_the_rows(tmp_path: Path, lake: LakeReader) -> None:
    export(lake.rows(), tmp_path / "lake.avro", "avro")
    with (tmp_path / "lake.avro").open("rb") as file:
        assert list(fastavro.reader(file)) == rows_of(lake)


def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path: Path, lake: LakeReader) -> None:
    path = tmp_path / "mine"
    path.write_text("mine")
    with pytest.raises(StoreError, match="is there already"):
        export(lake.rows(), path, "json")
    assert path.read_text() == "mine"
    assert export(lake.rows(), path, "json", force=True) == 40


def test_an_export_that_breaks_off_leaves_nothing(tmp_path: Path, lake: LakeReader) -> None:
    def broken() -> Iterator[Any]:
        yield next(lake.rows(batch_size=5))
        message = "the disk is full"
        raise OSError(message)

    with pytest.raises(StoreError, match="cannot be written"):
        export(broken(), tmp_path / "lake.avro", "avro")
    assert list(tmp_path.iterdir()) == []


def test_moments_are_read_in_utc() -> None:
    begin = datetime(2026, 11, 1, tzinfo=timezone.utc)
    for text in ("2026-11-01", "2026-11-01T00:00", "2026-11-01T00:00:00Z", "2026-11-01T01:00:00+01:00"):
        assert millis_of(text) == begin.timestamp() * 1000
    with pytest.raises(StoreError, match="not a moment"):
        millis_of("yesterday")
