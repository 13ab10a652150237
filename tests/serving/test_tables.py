"""Questions to the live tables: conditions as people write them, columns that are checked, rows past their time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from events.changes import Change, Kind, Sighting
from events.errors import HeadraceError
from serving.commands.tables import millis
from serving.tables import LiveTables, condition
from stores.log.files import FileLog
from stores.rows.base import Condition
from stores.rows.choose import open_row_reader, open_row_writer
from stores.rows.intake import RowIntake
from stores.settings import load

NOW = 1_000_000


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("status=cancelled", Condition("status", "=", "cancelled")),
        ("fare < 100", Condition("fare", "<", 100)),
        ("fare>=-1.5e2", Condition("fare", ">=", -150.0)),
        ("note~late, again", Condition("note", "~", "late, again")),
        ("gate=null", Condition("gate", "=", None)),
        ("paid!=true", Condition("paid", "!=", True)),
        ('code="007"', Condition("code", "=", "007")),
        ("code=007", Condition("code", "=", "007")),
        ("name=", Condition("name", "=", "")),
        ("a=b=c", Condition("a", "=", "b=c")),
        ("first name=Ana", Condition("first name", "=", "Ana")),
    ],
)
def test_a_condition_is_read_as_it_is_written(text: str, wanted: Condition) -> None:
    assert condition(text) == wanted


def test_of_a_column_of_texts_a_number_is_a_text() -> None:
    assert condition("number=204", as_text=True) == Condition("number", "=", "204")
    assert condition("number=2.50", as_text=True) == Condition("number", "=", "2.50")
    assert condition("number=null", as_text=True) == Condition("number", "=", None)


@pytest.mark.parametrize("text", ["status", "=1", "", "a b c"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(HeadraceError, match="is not a condition"):
        condition(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("500ms", 500), ("5s", 5000), ("5", 5000), ("1.5h", 5_400_000), ("2min", 120_000), ("1d", 86_400_000)],
)
def test_a_time_span_is_read_in_its_unit(text: str, wanted: int) -> None:
    assert millis(text) == wanted


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[LiveTables]:
    """Hold flight 204, changed at NOW - 5000, in a table with a time-to-live of 10 s and in one without."""
    live = [{"name": name, "table": name, **more} for name, more in (("flights", {"ttl_seconds": 10}), ("crews", {}))]
    settings = load(data_dir=tmp_path, tables={"streams": [{"name": "ops"}], "live": live})
    intake = RowIntake(open_row_writer(settings, lambda: NOW), settings.tables, lambda: NOW, lambda hold: None)
    row = {"id": 1, "number": "204", "seats": 180}
    at = NOW - 5000
    columns: dict[tuple[str, Kind], tuple[int, int]] = {
        ("id", "int"): (at, at),
        ("number", "text"): (at, at),
        ("seats", "int"): (at, at),
    }
    for table in ("flights", "crews"):
        change = Change("db", table, '{"id":1}', "create", None, row, at, (0, 7), initiator="ana", stream="ops")
        intake.write([Sighting("db", table, columns, at, at), change])
    intake.close()
    found = LiveTables(settings, open_row_reader(settings), FileLog(settings.log_dir), lambda: NOW)
    yield found
    found.reader.close()


def test_a_row_says_where_it_comes_from_and_how_old_it_is(tables: LiveTables) -> None:
    (found,) = tables.rows("flights", [tables.condition("flights", "number=204")])
    assert found.row == {"id": 1, "number": "204", "seats": 180}
    assert (found.source, found.position, found.as_of, found.initiator) == ("db", (0, 7), NOW - 5000, "ana")
    assert found.unknown_since is None


def test_past_its_time_a_row_answers_by_its_key_alone(tables: LiveTables) -> None:
    later = LiveTables.of(tables.settings, lambda: NOW + 5001)
    (found,) = later.rows("flights", [Condition("id", "=", 1)])
    assert found.row is None
    assert found.key == {"id": 1}
    assert found.unknown_since == NOW + 5000
    assert later.rows("flights", [Condition("number", "=", "204")]) == []
    assert later.rows("crews", [Condition("number", "=", "204")])[0].row is not None


def test_an_unknown_column_or_table_is_one_line_with_the_nearest_name(tables: LiveTables) -> None:
    with pytest.raises(HeadraceError, match="did you mean 'number'"):
        tables.condition("flights", "numbr=204")
    with pytest.raises(HeadraceError, match="there are: flights, crews"):
        tables.rows("fligts")
