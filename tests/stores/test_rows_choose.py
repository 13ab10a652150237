from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from stores.rows.base import RowQuery
from stores.rows.choose import open_row_reader, open_row_writer
from stores.settings import RowSettings, Settings
from tests.contract.row_samples import NOW, postgres_place, row
from tests.servers.postgres import running


def settings(tmp_path: Path, rows: RowSettings) -> Settings:
    return Settings(data_dir=tmp_path / "data", rows=rows)


def holds_what_is_put(chosen: Settings) -> bool:
    reader = open_row_reader(chosen)
    assert reader.select(RowQuery(table="t")) == []
    writer = open_row_writer(chosen, lambda: NOW)
    writer.put("t", [row(1)])
    writer.close()
    found = reader.select(RowQuery(table="t"))
    reader.close()
    return found == [row(1)]


def test_rows_are_kept_in_the_data_folder_by_default(tmp_path: Path) -> None:
    chosen = settings(tmp_path, RowSettings())
    assert not chosen.tables_path.exists()
    assert holds_what_is_put(chosen)
    assert chosen.tables_path.exists()


def test_rows_are_kept_in_postgresql_where_the_settings_say_so(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with postgres_place(running(request.config).dsn()) as place:
        rows = RowSettings(backend="postgres", dsn=SecretStr(place.dsn), db_schema=place.schema)
        chosen = settings(tmp_path, rows)
        assert holds_what_is_put(chosen)
        assert not chosen.data_dir.exists()
