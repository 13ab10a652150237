"""The database of a LanceDB store, as its readers and its writer open it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lancedb
import pyarrow as pa
import pytest

from stores.vectors import lance_folder

BOUND = 2**20
VERSIONS = 120


def test_whoever_follows_a_table_for_long_keeps_no_more_of_it_than_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions: list[Any] = []
    make = lancedb.Session

    def made(**bounds: int) -> Any:
        sessions.append(make(**bounds))
        return sessions[-1]

    monkeypatch.setattr(lancedb, "Session", made)
    monkeypatch.setattr(lance_folder, "METADATA_BYTES", BOUND)
    monkeypatch.setattr(lance_folder, "INDEX_BYTES", BOUND)
    written = lance_folder.connect(tmp_path).create_table("values", pa.table({"n": [0]}))
    followed = lance_folder.connect(tmp_path).open_table("values")

    for number in range(1, VERSIONS):
        written.add(pa.table({"n": [number]}))
        followed.checkout_latest()
        assert followed.count_rows(f"n = {number}") == 1

    writer, reader = sessions
    assert BOUND / 2 < reader.size_bytes < 2 * BOUND
    assert writer.size_bytes < 2 * BOUND
