"""Values in filters: whatever they hold, they are compared and never executed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stores.vectors.lance_schema import begins, literal, one_of, shares_one

# Quotes, escapes and comments much more often than chance would have them.
values = st.text(st.sampled_from("'\"\\%_-;/*`\n\x00a é😀") | st.characters(exclude_categories=["Cs"]), max_size=12)


@pytest.fixture(scope="module")
def table() -> Iterator[Any]:
    import lancedb

    schema = pa.schema([("value", pa.string()), ("labels", pa.list_(pa.string()))])
    with tempfile.TemporaryDirectory() as folder:
        yield lancedb.connect(folder).create_table("values", schema=schema)


def matching(table: Any, rows: list[str], where: str) -> list[str]:
    table.add(
        pa.table({"value": rows, "labels": [[row, "other"] for row in rows]}, schema=table.schema), mode="overwrite"
    )
    found: list[str] = table.search().where(where).to_arrow()["value"].to_pylist()
    return sorted(found)


@given(rows=st.lists(values, min_size=1, max_size=6, unique=True), data=st.data())
def test_filters_select_exactly_the_rows_that_python_selects(table: Any, rows: list[str], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.sampled_from(rows) | values, min_size=1, max_size=3))
    chosen = sorted(row for row in rows if row in wanted)
    assert matching(table, rows, f"value = {literal(wanted[0])}") == [row for row in rows if row == wanted[0]]
    assert matching(table, rows, one_of("value", wanted)) == chosen
    assert matching(table, rows, shares_one("labels", wanted)) == (sorted(rows) if "other" in wanted else chosen)
    prefix = wanted[0][: data.draw(st.integers(1, 12))]
    assert matching(table, rows, begins("value", prefix)) == sorted(row for row in rows if row.startswith(prefix))
