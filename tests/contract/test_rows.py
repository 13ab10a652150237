"""What every row store must do, whatever it is kept in. An adapter joins by an entry in `ADAPTERS`."""

from __future__ import annotations

import json
import math
import operator
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from events.changes import Change, Position, Row, Standing, position_text, supersedes
from events.clock import to_iso
from events.errors import RejectedError, StoreError
from events.log import Applied
from stores.rows.base import (
    APPLIED,
    GONE,
    HELD,
    LIVE,
    Comparison,
    Condition,
    Former,
    Kept,
    Known,
    LiveTable,
    RowQuery,
    RowReader,
    RowWriter,
    StoredRow,
    Tally,
    applied_fact,
)
from stores.rows.former import extended
from stores.rows.intake import RowIntake
from stores.rows.join import standing_of
from stores.settings import LiveTableSettings, TablesSettings
from tests.contract.row_samples import (
    AS_OF,
    NOW,
    REPLACED,
    ROUNDS,
    SOURCE,
    RowPlace,
    key_of,
    postgres_place,
    row,
    shown,
    started_replacing,
)
from tests.property.former_world import IDS, LIVE_TABLES, delivered, expected, some_events
from tests.servers.postgres import running

HOSTILE_NAMES = (
    "", " ", '"', "'", "a b", 'x" , (SELECT 1) AS "y', "'; DROP TABLE t; --", "$.a", "a.b", "[0]", "#", "%", "%s",
    "{}", "{0}", "?", ":a", "\\", "\\u0000", "\0", "a\0b", "\x01", "Id", "id", "ID", "größe", "数", "👩‍✈️", "a" * 63,
    "a" * 64, "a" * 300, "ü" * 63,
    "_source", "_key", "_unknown_since", "source", "key", "image", "select", "\n", "\t",
)  # fmt: skip
HOSTILE_VALUES = (
    *HOSTILE_NAMES, "\\\\u0000", "\\\0", "\0\0", "\x01\ufdd0", "\x01\ufdd1", "\ufdd0", "x" * 100_000, "\u2028",
)  # fmt: skip


@pytest.fixture(params=("sqlite", "postgres"))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RowPlace]:
    if request.param == "sqlite":
        yield RowPlace("sqlite", path=str(tmp_path / "tables.sqlite3"))
    else:
        with postgres_place(running(request.config).dsn()) as made:
            yield made


@pytest.fixture
def writer(place: RowPlace) -> Iterator[RowWriter]:
    opened = place.writer()
    yield opened
    opened.close()


@pytest.fixture
def reader(place: RowPlace) -> Iterator[RowReader]:
    opened = place.reader()
    yield opened
    opened.close()


def everything(writer: RowWriter, table: str, numbers: range = range(20)) -> dict[int, StoredRow]:
    """Return the rows of our source by number."""
    found = writer.fetch(table, [(SOURCE, key_of(number)) for number in numbers])
    return {int(json.loads(key)["id"]): stored for (_, key), stored in found.items()}


def states(writer: RowWriter, table: str) -> dict[int, int]:
    return {number: stored.state for number, stored in everything(writer, table).items()}


def numbers(reader: RowReader, *where: Condition, **query: Any) -> list[int]:
    """Return the numbers of the rows of `t` that fulfil `where`, in their order."""
    rows = reader.select(RowQuery(table="t", where=where, **query))
    return [int(json.loads(stored.key)["id"]) for stored in rows]


def exact(value: Any) -> Any:
    """Return `value` with floats as the decimal numbers that they are written as."""
    if isinstance(value, dict):
        return {name: exact(part) for name, part in value.items()}
    if isinstance(value, list):
        return [exact(part) for part in value]
    return Decimal(repr(value)) if isinstance(value, float) else value


# Storing


def test_a_store_that_was_never_written_is_empty(place: RowPlace, reader: RowReader) -> None:
    def look() -> None:
        assert reader.select(RowQuery(table="flights")) == []
        assert reader.counts() == {}
        assert reader.facts("holds") == {}
        assert reader.applied() == []

    look()
    place.writer().close()
    look()


def test_a_table_that_does_not_exist_holds_nothing_for_any_verb(writer: RowWriter) -> None:
    standing = Standing((), "changes", 0, 1)
    assert writer.fetch("t", [(SOURCE, key_of(1))]) == {}
    assert writer.standings("t", [(SOURCE, key_of(1))]) == {}
    assert writer.gapped("t", SOURCE) == []
    assert writer.bury("t", SOURCE, standing, AS_OF, NOW) == 0
    assert writer.restate("t", GONE, HELD, 0, 2 * AS_OF) == 0
    writer.forget("t", AS_OF, AS_OF)
    assert writer.tally("t", 1000) == Tally()


def test_what_is_put_is_fetched_whole(writer: RowWriter) -> None:
    stored = StoredRow(
        source="crm",
        key='{"a":1,"b":"x"}',
        image={"a": 1, "b": "x", "c": None, "d": True, "e": 2.5, "f": [1, {"g": "h"}], "i": {}},
        state=HELD,
        standing=Standing((2, 2**63, 5), "changes", 3, 2**40),
        as_of=AS_OF,
        applied_at=NOW,
        initiator="anna",
        transaction="tx-1",
        gaps={"b": (2, 17), "c": None, "e": ()},
    )
    writer.put("t", [stored])
    assert writer.fetch("t", [stored.id]) == {stored.id: stored}


def test_only_the_rows_that_are_asked_for_are_fetched(writer: RowWriter) -> None:
    writer.put("t", [row(1), row(2), row(2, source="other")])
    assert set(writer.fetch("t", [(SOURCE, key_of(2)), (SOURCE, key_of(9))])) == {(SOURCE, key_of(2))}
    assert writer.fetch("t", []) == {}


@pytest.mark.parametrize("state", [LIVE, GONE, HELD])
def test_a_row_is_fetched_in_any_state(writer: RowWriter, state: int) -> None:
    stored = row(1, state=state)
    writer.put("t", [stored])
    assert everything(writer, "t") == {1: stored}


def test_a_row_without_an_image_stays_without_one(writer: RowWriter) -> None:
    stored = row(1, state=GONE, imaged=False)
    writer.put("t", [stored])
    assert everything(writer, "t")[1].image is None


def test_a_row_is_put_over_what_was_there(writer: RowWriter) -> None:
    writer.put("t", [row(1, a="old", b=1, gaps={"a": None}), row(2)])
    newer = row(1, a="new", state=GONE, position=(0, 9), offset=5, as_of=AS_OF + 1)
    writer.put("t", [newer])
    assert everything(writer, "t") == {1: newer, 2: row(2)}


def test_dropped_rows_are_gone_without_a_trace(writer: RowWriter) -> None:
    writer.put("t", [row(1), row(2, state=GONE), row(3)])
    ids = [(SOURCE, key_of(number)) for number in (1, 2, 9)]
    assert writer.drop_rows("t", ids) == 2
    assert writer.drop_rows("t", ids) == writer.drop_rows("nowhere", ids) == writer.drop_rows("t", []) == 0
    assert set(everything(writer, "t")) == {3}
    assert writer.tally("t", 1000) == Tally(live=1)


def test_putting_twice_is_putting_once(writer: RowWriter) -> None:
    rows = [row(number, a=number) for number in range(10)]
    writer.put("t", rows)
    writer.put("t", rows)
    assert everything(writer, "t") == dict(enumerate(rows))


def test_several_puts_of_one_transaction_all_count(writer: RowWriter) -> None:
    with writer.transaction():
        writer.put("t", [row(1, a=1), row(2, a=1)])
        writer.put("u", [row(3)])
        writer.put("t", [row(2, a=2)])
        writer.put("t", [])
    assert everything(writer, "t") == {1: row(1, a=1), 2: row(2, a=2)}
    assert everything(writer, "u") == {3: row(3)}


def test_many_rows_are_put_and_fetched_at_once(writer: RowWriter) -> None:
    rows = [row(number, text="x" * 200) for number in range(3000)]
    writer.put("t", rows)
    assert everything(writer, "t", range(3000)) == dict(enumerate(rows))


def test_standings_say_what_fetching_says_but_for_the_image(writer: RowWriter) -> None:
    rows = [
        row(1, position=(0, 5), offset=7, gaps={"a": (0, 3), "b": None}),
        row(2, state=GONE, imaged=False),
        row(3, state=HELD, stream="other", partition=4),
    ]
    writer.put("t", rows)
    expected = {r.id: Known(r.state, r.standing, r.as_of, r.image is not None, r.gaps) for r in rows}
    assert writer.standings("t", [*(r.id for r in rows), (SOURCE, key_of(9))]) == expected


def test_rows_with_gaps_are_found_unless_they_are_gone(writer: RowWriter) -> None:
    gapped = row(1, gaps={"a": None})
    held = row(2, state=HELD, gaps={"a": (0, 1)})
    writer.put("t", [gapped, held, row(3), row(4, state=GONE, gaps={"a": None}), row(5, source="o", gaps={"a": None})])
    assert sorted(writer.gapped("t", SOURCE), key=lambda r: r.key) == [gapped, held]


# Values


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_a_column_may_have_any_name(writer: RowWriter, reader: RowReader, name: str) -> None:
    stored = row(1, image={name: "value", "other": 1}, gaps={name: None})
    writer.put("t", [stored, row(2, image={"other": 2})])
    writer.expose(LiveTable("t", {name: "text", "other": "int"}, indexes=(name, "other")))
    assert everything(writer, "t")[1] == stored
    assert numbers(reader, Condition(name, "=", "value")) == [1]
    assert numbers(reader, Condition(name, "=", None)) == [2]
    assert numbers(reader, order=name) == [1, 2]
    answer = reader.sql("SELECT * FROM t ORDER BY _key", rows=10, seconds=10)
    assert [{"value", 1} <= set(found) for found in answer.rows] == [True, False]
    assert len(set(answer.columns)) == len(answer.columns)


def test_columns_of_all_hostile_names_are_shown_side_by_side(writer: RowWriter, reader: RowReader) -> None:
    names = list(dict.fromkeys(HOSTILE_NAMES))
    stored = row(1, image={name: f"value {number}" for number, name in enumerate(names)})
    writer.put("t", [stored])
    writer.expose(shown("t", [stored]))
    answer = reader.sql("SELECT * FROM t", rows=10, seconds=10)
    assert {f"value {number}" for number in range(len(names))} <= set(answer.rows[0])
    assert len({column.lower() for column in answer.columns}) >= len(names) - len({"id", "key", "source"})


@pytest.mark.parametrize("value", HOSTILE_VALUES, ids=lambda value: ascii(value[:20]))
def test_a_text_may_hold_anything(writer: RowWriter, reader: RowReader, value: str) -> None:
    stored = msgspec.structs.replace(row(1, a=value, b=[value, {value: value}]), initiator=value, transaction=value)
    writer.put("t", [stored, row(2, a="other")])
    writer.expose(shown("t", [stored], a="text", b="json"))
    assert everything(writer, "t")[1] == stored
    assert reader.select(RowQuery(table="t", where=(Condition("a", "=", value),))) == [stored]
    assert len(reader.sql("SELECT * FROM t", rows=10, seconds=10).rows) == 2


@pytest.mark.parametrize("source", ["a'b", 'a"b', "a\0b", "ü", "%s", ""], ids=ascii)
def test_a_source_and_a_key_may_be_any_text(writer: RowWriter, reader: RowReader, source: str) -> None:
    stored = msgspec.structs.replace(row(1), source=source, key=json.dumps({"id": source}, ensure_ascii=False))
    writer.put("t", [stored, row(1)])
    assert writer.fetch("t", [stored.id]) == {stored.id: stored}
    assert stored in reader.select(RowQuery(table="t"))
    assert writer.bury("t", source, Standing((), "changes", 0, 9), AS_OF, NOW) == 1
    assert states(writer, "t") == {1: LIVE}


@pytest.mark.parametrize(
    "value",
    [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 10**40, 0.1, -2.5, 1e300, 5e-324, 1e16, -0.0, True, False, None, [], {}],
    ids=str,
)
def test_a_value_comes_back_as_it_was(writer: RowWriter, reader: RowReader, value: object) -> None:
    stored = row(1, a=value, b=[value], c={"d": value})
    writer.put("t", [stored])
    writer.expose(shown("t", [stored]))
    assert exact(everything(writer, "t")[1].image) == exact(stored.image)
    assert [exact(found.image) for found in reader.select(RowQuery(table="t"))] == [exact(stored.image)]
    assert len(reader.sql("SELECT * FROM t", rows=2, seconds=10).rows) == 1


@pytest.mark.parametrize("digits", ["1.10", "0.30", "12345678901234567890.12345678901234567890", "-0.000000001000"])
def test_a_decimal_keeps_every_digit(writer: RowWriter, reader: RowReader, digits: str) -> None:
    writer.put("t", [row(1, price=Decimal(digits))])
    images = [everything(writer, "t")[1].image, reader.select(RowQuery(table="t"))[0].image]
    assert [str(image and image["price"]) for image in images] == [str(Decimal(digits))] * 2


@pytest.mark.parametrize("value", [Decimal("1e5000"), Decimal("-1e-5000"), Decimal("7e4299")])
def test_a_very_long_number_keeps_its_value(writer: RowWriter, reader: RowReader, value: Decimal) -> None:
    stored = row(1, a=value, b=[value])
    writer.put("t", [stored])
    writer.expose(LiveTable("t", {"a": "decimal", "b": "json"}))
    assert everything(writer, "t") == {1: stored}
    assert reader.select(RowQuery(table="t")) == [stored]
    assert len(reader.sql("SELECT a, b FROM t", rows=1, seconds=10).rows) == 1


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("-Infinity"), Decimal("1e200000"), Decimal("1e-20000")])
def test_a_number_that_cannot_be_kept_as_one_harms_nobody(writer: RowWriter, reader: RowReader, value: Decimal) -> None:
    with writer.transaction():
        writer.put("t", [row(1, a=1), row(2, a=value, b="kept")])
        writer.expose(LiveTable("t", {"a": "decimal", "b": "text"}))
    assert numbers(reader, Condition("b", "=", "kept")) == [2]
    assert numbers(reader, Condition("a", "=", 1)) == [1]
    assert len(reader.sql("SELECT a, b FROM t", rows=10, seconds=10).rows) == 2


@pytest.mark.parametrize("position", [(), (0,), (0, 0), (1, 255, 256, 0), (0, *range(30)), (0, 2**200, 2**64)], ids=str)
def test_a_position_comes_back_as_it_was(writer: RowWriter, reader: RowReader, position: Position) -> None:
    stored = row(1, position=position, gaps={"a": position})
    writer.put("t", [stored])
    writer.expose(LiveTable("t", {"id": "int"}))
    assert everything(writer, "t") == {1: stored}
    assert reader.select(RowQuery(table="t")) == [stored]
    ((text,),) = reader.sql("SELECT _position FROM t", rows=1, seconds=10).rows
    assert (text or "") == position_text(position)


# Deleting


STANDINGS = [
    Standing(position, stream, partition, offset)
    for position, stream, partition, offset in product(
        ((), (0, 5), (0, 5, 1), (0, 300), (1, 1)), ("changes", "other"), (0, 1), (10, 20)
    )
]


@pytest.mark.parametrize("standing", STANDINGS, ids=str)
def test_a_truncation_buries_what_it_supersedes(writer: RowWriter, standing: Standing) -> None:
    rows = {number: msgspec.structs.replace(row(number), standing=old) for number, old in enumerate(STANDINGS)}
    writer.put("t", list(rows.values()))
    expected = dict(rows)
    for number, old in rows.items():
        if supersedes(standing, old.standing):
            taken = msgspec.structs.replace(standing, position=standing.position or old.standing.position)
            expected[number] = msgspec.structs.replace(
                old, state=GONE, standing=taken, as_of=AS_OF + 5, applied_at=NOW + 7
            )
    buried = sum(stored.state == GONE for stored in expected.values())
    assert writer.bury("t", SOURCE, standing, AS_OF + 5, NOW + 7) == buried
    assert everything(writer, "t", range(len(rows))) == expected
    assert writer.tally("t", 10).live == len(rows) - buried


def test_a_truncation_deletes_held_rows_anew_and_leaves_gone_ones(writer: RowWriter) -> None:
    held = row(2, state=HELD, gaps={"a": None})
    gone = row(3, state=GONE)
    other = row(4, source="other")
    marked = msgspec.structs.replace(row(1), initiator="anna", transaction="7")
    writer.put("t", [marked, held, gone, other])
    standing = Standing((0, 9), "changes", 0, 50)
    assert writer.bury("t", SOURCE, standing, AS_OF + 9, NOW) == 1
    changed = {"state": GONE, "standing": standing, "as_of": AS_OF + 9, "gaps": {}}
    assert everything(writer, "t") == {
        1: msgspec.structs.replace(row(1), **changed),
        2: msgspec.structs.replace(held, **changed),
        3: gone,
    }
    assert writer.fetch("t", [other.id]) == {other.id: other}
    assert writer.bury("t", SOURCE, standing, AS_OF + 9, NOW) == 0


@pytest.mark.parametrize(("old", "state"), [(GONE, HELD), (HELD, GONE), (HELD, LIVE), (LIVE, HELD)])
def test_rows_of_a_span_are_restated(writer: RowWriter, old: int, state: int) -> None:
    rows = [row(number, state=old, as_of=AS_OF + number) for number in range(6)]
    other = next(iter({LIVE, GONE, HELD} - {old, state}))
    writer.put("t", [*rows, row(6, state=old, as_of=AS_OF + 3, imaged=False), row(7, state=other, as_of=AS_OF + 3)])
    assert writer.restate("t", old, state, AS_OF + 2, AS_OF + 5) == 3
    assert states(writer, "t") == {0: old, 1: old, 2: state, 3: state, 4: state, 5: old, 6: old, 7: other}
    assert writer.restate("t", old, state, AS_OF + 2, AS_OF + 5) == 0
    assert writer.restate("t", state, old, AS_OF + 2, AS_OF + 5) == 3
    assert everything(writer, "t")[2] == rows[2]


def test_of_deleted_rows_first_the_image_is_forgotten_and_then_the_row(writer: RowWriter) -> None:
    rows = [row(number, state=GONE, as_of=AS_OF + number) for number in range(6)]
    kept = [row(10, as_of=AS_OF), row(11, state=HELD, as_of=AS_OF)]
    writer.put("t", [*rows, *kept])
    writer.forget("t", AS_OF + 4, AS_OF + 2)
    found = everything(writer, "t")
    assert {number: stored.image is None for number, stored in found.items()} == {
        2: True, 3: True, 4: False, 5: False, 10: False, 11: False,
    }  # fmt: skip
    assert found[2] == msgspec.structs.replace(rows[2], image=None)


def test_rows_are_counted_by_state_and_slice(writer: RowWriter) -> None:
    times = [0, 1, 999, 1000, 1001, 2999, 3000, -1, -1000, -1001, AS_OF]
    rows = [row(number, state=GONE, as_of=time_) for number, time_ in enumerate(times)]
    rows += [row(20 + number, state=HELD, as_of=time_) for number, time_ in enumerate(times[3:])]
    rows += [row(40 + number) for number in range(5)]
    writer.put("t", [*rows, row(60, state=GONE, imaged=False), row(61, state=HELD, imaged=False)])
    expected = Tally(live=5)
    for stored in rows[:-5]:
        counted = expected.gone if stored.state == GONE else expected.held
        counted[stored.as_of // 1000] = counted.get(stored.as_of // 1000, 0) + 1
    assert writer.tally("t", 1000) == expected


def test_tallies_follow_every_verb(writer: RowWriter) -> None:
    writer.put("t", [row(number) for number in range(6)])
    writer.put("t", [row(number, state=GONE) for number in range(3)])
    writer.restate("t", GONE, HELD, AS_OF, AS_OF + 1)
    writer.put("t", [row(0)])
    slice_ = AS_OF // 1000
    assert writer.tally("t", 1000) == Tally(live=4, held={slice_: 2})
    writer.bury("t", SOURCE, Standing((), "changes", 0, 9), AS_OF + 1000, NOW)
    assert writer.tally("t", 1000) == Tally(gone={slice_ + 1: 6})
    writer.forget("t", AS_OF + 1001, 0)
    assert writer.tally("t", 1000) == Tally()


# Facts, transactions, one writer


def test_facts_are_kept_by_kind_and_name_in_the_order_of_names(writer: RowWriter, reader: RowReader) -> None:
    writer.note("holds", {"b": b"1", "Z": b"2", "ä": b"3", "a'\"\0": b'{"x":"\\u0000"}'})
    writer.note("columns", {"b": b"9"})
    writer.note("holds", {"b": b"4"})
    writer.note("holds", {})
    for facts in (writer.facts, reader.facts):
        assert list(facts("holds").items()) == [
            ("Z", b"2"), ("a'\"\0", b'{"x":"\\u0000"}'), ("b", b"4"), ("ä", b"3"),
        ]  # fmt: skip
        assert facts("columns") == {"b": b"9"}
        assert facts("nothing") == {}


def test_how_far_the_store_has_taken_in_is_read_back(writer: RowWriter, reader: RowReader) -> None:
    applied = [
        Applied("changes", str(partition), 10 + partition, AS_OF, NOW, True, NOW + 1, {"shop": (0, 2**64, partition)})
        for partition in range(3)
    ]
    writer.note(APPLIED, dict(map(applied_fact, applied)))
    assert reader.applied() == applied
    writer.note(APPLIED, dict([applied_fact(msgspec.structs.replace(applied[1], offset=99))]))
    assert [one.offset for one in reader.applied()] == [10, 99, 12]


def test_a_transaction_is_undone_by_an_exception(writer: RowWriter, reader: RowReader) -> None:
    with writer.transaction():
        writer.put("t", [row(1), row(2, state=GONE)])
        writer.expose(LiveTable("t", {"id": "int"}))
        writer.note("holds", {"a": b"1"})
    before = everything(writer, "t")

    def fail() -> None:
        with writer.transaction():
            writer.put("t", [row(1, a=2), row(3)])
            writer.bury("t", SOURCE, Standing((), "changes", 0, 9), AS_OF, NOW)
            writer.restate("t", GONE, HELD, 0, 2 * AS_OF)
            writer.forget("t", 2 * AS_OF, 2 * AS_OF)
            writer.note("holds", {"a": b"2", "b": b"2"})
            writer.expose(LiveTable("t", {"id": "int", "a": "int"}))
            writer.put("u", [row(1)])
            writer.expose(LiveTable("u", {"id": "int"}))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert everything(writer, "t") == before
    assert writer.facts("holds") == {"a": b"1"}
    assert reader.counts() == {"t": (1, 0, AS_OF)}
    assert "a" not in reader.sql("SELECT * FROM t", rows=1, seconds=10).columns
    with writer.transaction():  # nothing of the undone one is taken as done
        writer.put("u", [row(1)])
        writer.expose(LiveTable("u", {"id": "int"}))
        writer.expose(LiveTable("t", {"id": "int", "a": "int"}))
    assert reader.sql("SELECT id FROM u", rows=1, seconds=10).rows == [(1,)]
    assert "a" in reader.sql("SELECT * FROM t", rows=1, seconds=10).columns


def test_readers_see_nothing_of_a_transaction_before_its_end(writer: RowWriter, reader: RowReader) -> None:
    writer.put("t", [row(1)])
    with writer.transaction():
        writer.put("t", [row(1, a=2), row(2)])
        writer.note("holds", {"a": b"1"})
        assert reader.select(RowQuery(table="t")) == [row(1)]
        assert reader.facts("holds") == {}
    assert reader.select(RowQuery(table="t")) == [row(1, a=2), row(2)]
    assert reader.facts("holds") == {"a": b"1"}


def test_a_second_writer_is_refused_with_the_remedy(place: RowPlace, writer: RowWriter) -> None:
    with pytest.raises(StoreError) as refused:
        place.writer()
    assert refused.value.hint
    writer.put("t", [row(1)])
    assert everything(writer, "t") == {1: row(1)}


def test_a_store_is_found_again_by_the_next_writer(place: RowPlace) -> None:
    first = place.writer()
    first.put("t", [row(1)])
    first.expose(LiveTable("t", {"id": "int"}))
    identity = first.identity()
    first.close()
    first.close()
    second = place.writer()
    assert identity
    assert second.identity() == identity
    assert everything(second, "t") == {1: row(1)}
    second.put("t", [row(2)])
    second.close()
    reader = place.reader()
    assert [found.key for found in reader.select(RowQuery(table="t"))] == [key_of(1), key_of(2)]
    reader.close()


def test_two_stores_have_two_identities(place: RowPlace, writer: RowWriter) -> None:
    changed = {"path": f"{place.path}.other"} if place.path else {"schema": f"{place.schema}_other"}
    other = msgspec.structs.replace(place, **changed).writer()
    assert other.identity() != writer.identity()
    other.close()


def test_a_reader_in_another_process_sees_the_newest_commit_and_it_whole(place: RowPlace, reader: RowReader) -> None:
    process = started_replacing(place)
    seen = 0
    deadline = time.monotonic() + 60
    while seen < ROUNDS and process.exitcode in {None, 0} and time.monotonic() < deadline:
        rows = reader.select(RowQuery(table="pairs"))
        pairs = {(found.image["a"], found.image["b"]) for found in rows if found.image}
        assert len(pairs) <= 1
        assert len(rows) in {0, REPLACED}
        for a, b in pairs:
            assert str(a) == b
            assert seen <= a
            seen = a
        if seen:
            answer = reader.sql("SELECT min(a), max(a), min(b), max(b), count(*) FROM pairs", rows=1, seconds=10)
            ((low, high, low_text, high_text, count),) = answer.rows
            assert seen <= low == high
            assert str(low) == low_text == high_text
            assert count == REPLACED
            assert int(reader.facts("round")["number"]) >= low
    process.join(30)
    assert process.exitcode == 0
    assert seen == ROUNDS


# Selecting


VALUES: dict[int, Any] = dict(
    enumerate(
        [
            0, 1, -1, 2**53, 2**53 + 1, 0.5, 2.5, Decimal("2.50"), Decimal("10.00"), 1e300,
            "", "0", "1", "2.5", "a", "A", "b", "ab", "aB", "ä", "Ä", "Straße", "ЖЁ", "жё", "%", "_", "a%b", "a_b",
            "a\\b", "👩", "\uffff", True, False, None, [1], {"a": 1}, "null", "true",
        ]
    )
)  # fmt: skip
MISSING = len(VALUES)
ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def sort_of(value: object) -> str:
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        return type(value).__name__
    return "text" if isinstance(value, str) else "number"


def fulfils(value: Any, comparison: str, wanted: Any) -> bool:
    """Say what `Condition` says, in Python."""
    if comparison == "!=":
        return not fulfils(value, "=", wanted)
    if sort_of(value) != sort_of(wanted):
        return False
    if comparison == "~":
        return isinstance(wanted, str) and wanted.lower() in value.lower()
    if wanted is None:
        return comparison == "="
    return ORDERED[comparison](value, wanted)


@pytest.fixture
def assorted(writer: RowWriter) -> RowWriter:
    rows = [row(number, v=value) for number, value in VALUES.items()]
    writer.put("t", [*rows, row(MISSING), row(90, state=GONE, v=1), row(91, state=GONE, v="a")])
    return writer


WANTED = [
    0,
    1,
    2.5,
    2**53 + 1,
    0.1,
    1e300,
    "",
    "1",
    "a",
    "A",
    "b",
    "Ä",
    "STRASSE",
    "aß",
    "жё",
    "%",
    "_",
    "\\",
    "a%",
    "👩",
]


@pytest.mark.parametrize("wanted", WANTED, ids=str)
@pytest.mark.parametrize("comparison", ["=", "!=", "<", "<=", ">", ">=", "~"])
def test_conditions_mean_the_same_everywhere(
    assorted: RowWriter, reader: RowReader, comparison: Any, wanted: Any
) -> None:
    del assorted
    expected = [number for number, value in VALUES.items() if fulfils(value, comparison, wanted)]
    expected += [MISSING] if fulfils(None, comparison, wanted) else []
    assert sorted(numbers(reader, Condition("v", comparison, wanted))) == expected


@pytest.mark.parametrize("wanted", [True, False, None])
@pytest.mark.parametrize("comparison", ["=", "!="])
def test_truth_and_null_are_their_own_sorts(
    assorted: RowWriter, reader: RowReader, comparison: Any, wanted: bool | None
) -> None:
    del assorted
    expected = [number for number, value in VALUES.items() if fulfils(value, comparison, wanted)]
    expected += [MISSING] if fulfils(None, comparison, wanted) else []
    assert sorted(numbers(reader, Condition("v", comparison, wanted))) == expected


@pytest.mark.parametrize("comparison", ["<", "<=", ">", ">=", "~"])
def test_nothing_lies_before_or_after_null_or_in_it(assorted: RowWriter, reader: RowReader, comparison: Any) -> None:
    del assorted
    assert numbers(reader, Condition("v", comparison, None)) == []


@pytest.mark.parametrize("wanted", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_compares_with_nothing_and_infinity_with_all(
    assorted: RowWriter, reader: RowReader, wanted: float
) -> None:
    del assorted
    comparisons: tuple[Comparison, ...] = ("=", "<", ">=")
    for comparison in comparisons:
        met = {
            number for number, value in VALUES.items() if not math.isnan(wanted) and fulfils(value, comparison, wanted)
        }
        assert set(numbers(reader, Condition("v", comparison, wanted))) == met


def test_all_conditions_of_a_query_hold(assorted: RowWriter, reader: RowReader) -> None:
    del assorted
    where = (Condition("v", ">=", 1), Condition("v", "<", 3), Condition("v", "!=", 2.5))
    assert numbers(reader, *where) == [1]
    assert numbers(reader, Condition("v", ">", 0), Condition("id", "<", 3)) == [1]


def test_one_of_several_conditions_holds_beside_all_others(writer: RowWriter, reader: RowReader) -> None:
    writer.put("t", [row(n, owner=f"o{n % 3}", open=n < 4) for n in range(6)])
    mine = (Condition("owner", "=", "o0"), Condition("owner", "=", "o2"))

    def ids(query: RowQuery) -> list[object]:
        return sorted(found.image["id"] for found in reader.select(query) if found.image)

    assert ids(RowQuery(table="t", any_of=mine)) == [0, 2, 3, 5]
    assert ids(RowQuery(table="t", where=(Condition("open", "=", True),), any_of=mine)) == [0, 2, 3]
    assert ids(RowQuery(table="t", any_of=(Condition("owner", "=", "nobody"),))) == []


def test_a_column_that_no_row_has_is_null(assorted: RowWriter, reader: RowReader) -> None:
    del assorted
    everyone = [*VALUES, MISSING]
    assert sorted(numbers(reader, Condition("nobody's", "=", None))) == everyone
    assert sorted(numbers(reader, Condition("nobody's", "!=", 1))) == everyone
    assert numbers(reader, Condition("nobody's", "=", 1)) == []


def test_rows_come_by_source_and_key(writer: RowWriter, reader: RowReader) -> None:
    ids = [("b", '{"id":"a"}'), ("a", '{"id":"b"}'), ("a", '{"id":"B"}'), ("a", '{"id":"ä"}'), ("B", '{"id":1}')]
    writer.put("t", [msgspec.structs.replace(row(1), source=source, key=key) for source, key in ids])
    assert [found.id for found in reader.select(RowQuery(table="t"))] == sorted(ids)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(
    "values",
    [[3, 1, 2, 1, Decimal("1.5"), 10, -2.5], ["b", "a", "ä", "B", "Z", "", "ab", "a", "👩", "\uffff"]],
    ids=["numbers", "texts"],
)
def test_rows_are_sorted_with_ties_by_key(
    writer: RowWriter, reader: RowReader, values: list[Any], descending: bool
) -> None:
    writer.put("t", [row(number, v=value) for number, value in enumerate(values)])
    by_key = sorted(range(len(values)), key=key_of)
    expected = sorted(by_key, key=lambda number: values[number], reverse=descending)
    assert numbers(reader, order="v", descending=descending) == expected


@pytest.mark.parametrize("descending", [False, True])
def test_rows_without_the_column_come_last_by_key(writer: RowWriter, reader: RowReader, descending: bool) -> None:
    writer.put("t", [row(5, v=1), row(4), row(3, v=None), row(2, v=2), row(1)])
    expected = [2, 5] if descending else [5, 2]
    assert numbers(reader, order="v", descending=descending) == [*expected, 1, 3, 4]


@pytest.mark.parametrize("limit", [0, 1, 3, 100])
def test_as_many_rows_come_as_are_asked_for(writer: RowWriter, reader: RowReader, limit: int) -> None:
    writer.put("t", [row(number) for number in range(5)])
    assert numbers(reader, limit=limit) == list(range(5))[:limit]


def test_held_rows_are_selected_and_gone_ones_are_not(writer: RowWriter, reader: RowReader) -> None:
    writer.put("t", [row(1), row(2, state=HELD), row(3, state=GONE)])
    assert reader.select(RowQuery(table="t")) == [row(1), row(2, state=HELD)]


def test_of_a_row_that_outlived_its_time_only_the_key_is_known(writer: RowWriter, reader: RowReader) -> None:
    writer.put("t", [row(1, a=1, as_of=99), row(2, a=1, as_of=100), row(3, a=0, as_of=101)])
    rows = reader.select(RowQuery(table="t", fresh_since=100))
    assert rows == [row(1, as_of=99, imaged=False), row(2, a=1, as_of=100), row(3, a=0, as_of=101)]
    assert numbers(reader, Condition("a", "=", 1), fresh_since=100) == [2]
    assert numbers(reader, Condition("a", "=", None), fresh_since=100) == [1]
    assert numbers(reader, Condition("id", "<=", 2), fresh_since=100) == [1, 2]
    assert numbers(reader, order="a", fresh_since=100) == [3, 2, 1]
    assert numbers(reader, order="id", descending=True, fresh_since=100) == [3, 2, 1]


def test_live_tables_are_counted(writer: RowWriter, reader: RowReader) -> None:
    writer.put("t", [row(1), row(2), row(3, state=HELD), row(4, state=GONE, as_of=AS_OF + 4)])
    writer.put("u", [row(1, state=GONE, as_of=5)])
    writer.expose(LiveTable("v", {}))
    assert reader.counts() == {"t": (2, 1, AS_OF + 4), "u": (0, 0, 5), "v": (0, 0, None)}


# Views and SQL


def ask(reader: RowReader, statement: str, rows: int = 100) -> list[tuple[Any, ...]]:
    return reader.sql(statement, rows=rows, seconds=20).rows


def test_a_view_shows_columns_by_kind_and_where_each_row_comes_from(writer: RowWriter, reader: RowReader) -> None:
    image = {"i": 7, "f": 1.5, "d": Decimal("12.30"), "b": True, "t": "text", "j": {"a": [1]}, "m": "mixed", "n": None}
    stored = msgspec.structs.replace(row(1, image=image, position=(2, 7, 9)), initiator="anna")
    writer.put("t", [stored])
    kinds = {"i": "int", "f": "float", "d": "decimal", "b": "bool", "t": "text", "j": "json", "m": "mixed", "n": "null"}
    writer.expose(LiveTable("t", kinds))
    answer = reader.sql("SELECT i, f, d, b, t, m, n FROM t", rows=1, seconds=10)
    assert answer.columns == ("i", "f", "d", "b", "t", "m", "n")
    ((i, f, d, b, t, m, n),) = answer.rows
    assert (i, f, t, m, n) == (7, 1.5, "text", "mixed", None)
    assert float(d) == pytest.approx(12.3)
    assert bool(b) is True
    ours = ask(reader, "SELECT _source, _key, _position, _as_of, _applied_at, _initiator, _unknown_since FROM t")
    assert ours == [(SOURCE, key_of(1), "2:7.9", to_iso(AS_OF), to_iso(NOW), "anna", None)]


def test_a_view_can_be_filtered_grouped_and_joined(writer: RowWriter, reader: RowReader) -> None:
    writer.put("flights", [row(n, flight=f"HR{n}", seats=n * 10, gate=n % 2) for n in range(4)])
    writer.put("gates", [row(n, name=name) for n, name in enumerate("AB")])
    writer.expose(LiveTable("flights", {"id": "int", "flight": "text", "seats": "int", "gate": "int"}))
    writer.expose(LiveTable("gates", {"id": "int", "name": "text"}))
    statement = """WITH busy AS (SELECT gate, sum(seats) AS seats FROM flights WHERE seats >= 10 GROUP BY gate)
        SELECT g.name, b.seats FROM busy AS b JOIN gates g ON g.id = b.gate ORDER BY b.seats DESC; -- done"""
    assert ask(reader, statement) == [("B", 40), ("A", 20)]


def test_held_rows_are_shown_and_gone_ones_are_not(writer: RowWriter, reader: RowReader) -> None:
    writer.put("t", [row(1), row(2, state=HELD), row(3, state=GONE)])
    writer.expose(LiveTable("t", {"id": "int"}))
    assert ask(reader, "SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_a_view_follows_the_columns_and_their_kinds(writer: RowWriter, reader: RowReader) -> None:
    writer.put("t", [row(1, a=1), row(2, a="x", b=2)])
    writer.expose(LiveTable("t", {"id": "int"}))
    assert ask(reader, "SELECT id FROM t ORDER BY id") == [(1,), (2,)]
    for kinds in ({"id": "int", "b": "int"}, {"id": "int", "b": "text", "a": "mixed"}, {"a": "mixed"}):
        table = LiveTable("t", kinds, indexes=("a", "b"))
        writer.expose(table)
        writer.expose(table)
        columns = reader.sql("SELECT * FROM t", rows=1, seconds=10).columns
        assert [column for column in columns if not column.startswith("_")] == list(kinds)
    assert {str(value) for (value,) in ask(reader, "SELECT a FROM t")} == {"1", "x"}


def test_past_the_time_to_live_a_view_shows_the_key_alone_and_since_when(writer: RowWriter, reader: RowReader) -> None:
    writer.put("t", [row(1, a="old", as_of=1000), row(2, a="fresh", as_of=AS_OF * 2)])
    writer.expose(LiveTable("t", {"id": "int", "a": "text"}, ttl_millis=60_000, indexes=("id",)))
    assert ask(reader, "SELECT id, a, _as_of, _unknown_since FROM t ORDER BY id") == [
        (1, None, to_iso(1000), to_iso(61_000)),
        (2, "fresh", to_iso(AS_OF * 2), None),
    ]
    writer.expose(LiveTable("t", {"id": "int", "a": "text"}))
    assert ask(reader, "SELECT a, _unknown_since FROM t ORDER BY id") == [("old", None), ("fresh", None)]


def test_a_view_survives_values_of_other_kinds_than_its_columns(writer: RowWriter, reader: RowReader) -> None:
    values = [1, 1.5, 10**400, "text", "", True, None, [1], {"a": "\0"}, "\0"]
    writer.put("t", [row(number, v=value) for number, value in enumerate(values)])
    for kind in ("null", "bool", "int", "float", "decimal", "text", "json", "mixed"):
        writer.expose(LiveTable("t", {"id": "int", "v": kind}, indexes=("v",)))
        found = ask(reader, "SELECT id, v FROM t ORDER BY id")
        assert [number for number, _ in found] == list(range(len(values)))


def test_a_table_of_very_many_columns_is_shown(writer: RowWriter, reader: RowReader) -> None:
    stored = row(1, image={f"column_{number}": number for number in range(2500)})
    writer.put("t", [stored])
    writer.expose(shown("t", [stored]))
    answer = reader.sql("SELECT * FROM t", rows=1, seconds=20)
    assert len(answer.columns) > 1000
    assert reader.select(RowQuery(table="t", where=(Condition("column_2499", "=", 2499),))) == [stored]


def test_the_longest_names_of_tables_stay_apart(writer: RowWriter, reader: RowReader) -> None:
    names = ["t" * 62 + end for end in "ab"]
    for number, name in enumerate(names):
        writer.put(name, [row(number)])
        writer.expose(LiveTable(name, {"id": "int"}))
    for number, name in enumerate(names):
        assert ask(reader, "SELECT id FROM NAME".replace("NAME", name)) == [(number,)]
        assert list(everything(writer, name)) == [number]


def test_no_more_rows_come_than_are_asked_for(writer: RowWriter, reader: RowReader) -> None:
    writer.put("t", [row(number) for number in range(1200)])
    writer.expose(LiveTable("t", {"id": "int"}))
    for limit, cut in ((1, True), (3, True), (1199, True), (1200, False), (2000, False)):
        answer = reader.sql("SELECT id FROM t ORDER BY id", rows=limit, seconds=10)
        assert answer.rows == [(number,) for number in range(1200)][:limit]
        assert answer.cut is cut


REFUSED = {
    "nothing": "",
    "blank": "  -- nothing\n",
    "no SQL": "what is late?",
    "two statements": "SELECT 1; SELECT 2",
    "hidden second": "SELECT 1 FROM t; DROP TABLE t",
    "insert": "INSERT INTO t (id) VALUES (1)",
    "update": "UPDATE t SET id = 2",
    "delete": "DELETE FROM t",
    "delete within": "WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM x",
    "drop": "DROP VIEW t",
    "create": "CREATE TABLE x (a int)",
    "attach or copy": "ATTACH DATABASE 'x' AS y",
    "copy": "COPY t TO '/tmp/x'",
    "vacuum": "VACUUM",
    "setting": "SET search_path = public",
    "pragma": "PRAGMA journal_mode = DELETE",
    "begin": "BEGIN",
    "commit": "COMMIT",
    "unknown table": "SELECT * FROM nowhere",
    "unknown column": "SELECT nothing FROM t",
    "syntax": "SELECT FROM WHERE",
    "own table": "SELECT * FROM row_t",
    "own table, quoted": 'SELECT * FROM "row_t"',
    "facts": "SELECT * FROM headrace_facts",
    "facts, hidden": "SELECT id FROM t WHERE EXISTS (SELECT 1 FROM headrace_facts)",
    "division": "SELECT 1 / (id - id) FROM t, nowhere",
}


@pytest.mark.parametrize("statement", REFUSED.values(), ids=REFUSED)
def test_a_statement_that_does_more_than_read_live_tables_is_refused(
    writer: RowWriter, reader: RowReader, statement: str
) -> None:
    writer.put("t", [row(1)])
    writer.expose(LiveTable("t", {"id": "int"}))
    writer.note("holds", {"a": b"1"})
    with pytest.raises(RejectedError) as refused:
        reader.sql(statement, rows=10, seconds=10)
    assert refused.value.hint
    assert "\n" not in str(refused.value)
    assert ask(reader, "SELECT id FROM t") == [(1,)]
    writer.put("t", [row(2)])
    assert ask(reader, "SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_a_refusal_of_an_unknown_table_names_those_that_are_there(writer: RowWriter, reader: RowReader) -> None:
    writer.expose(LiveTable("flights", {"id": "int"}))
    writer.expose(LiveTable("gates", {"id": "int"}))
    with pytest.raises(RejectedError, match=r"flight\b.*\(.*flights.*gates"):
        reader.sql("SELECT * FROM flight", rows=1, seconds=10)


BOMBS = {
    "recursion": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "product": "SELECT count(*) FROM t a, t b, t c, t d, t e WHERE a.id + b.id + c.id + d.id + e.id < 0",
}


@pytest.mark.parametrize("statement", BOMBS.values(), ids=BOMBS)
def test_a_statement_is_stopped_in_time(writer: RowWriter, reader: RowReader, statement: str) -> None:
    writer.put("t", [row(number) for number in range(200)])
    writer.expose(LiveTable("t", {"id": "int"}))
    begun = time.monotonic()
    with pytest.raises(RejectedError):
        reader.sql(statement, rows=1, seconds=0.3)
    assert time.monotonic() - begun < 5
    assert ask(reader, "SELECT count(*) FROM t") == [(200,)]


def test_texts_in_a_statement_are_just_texts(writer: RowWriter, reader: RowReader) -> None:
    writer.put("t", [row(1, a="it's; -- 100 % /* not */ a comment")])
    writer.expose(LiveTable("t", {"id": "int", "a": "text"}))
    statement = "SELECT id /* one */ FROM t WHERE a = 'it''s; -- 100 % /* not */ a comment' AND a LIKE '%100 \\% /*%'"
    assert ask(reader, statement.replace(" \\%", "%")) == [(1,)]


def test_a_closed_reader_and_a_reader_closed_twice_do_no_harm(place: RowPlace, writer: RowWriter) -> None:
    writer.put("t", [row(1)])
    one, other = place.reader(), place.reader()
    assert one.select(RowQuery(table="t")) == other.select(RowQuery(table="t"))
    one.close()
    one.close()
    assert other.select(RowQuery(table="t")) == [row(1)]
    other.close()


def test_a_writer_that_is_killed_leaves_its_newest_commit_and_lets_go_of_the_store(
    place: RowPlace, reader: RowReader
) -> None:
    process = started_replacing(place)
    deadline = time.monotonic() + 60
    while not reader.select(RowQuery(table="pairs", limit=1)) and process.is_alive() and time.monotonic() < deadline:
        pass
    process.kill()
    process.join(30)
    writer = None
    while writer is None and time.monotonic() < deadline:
        with suppress(StoreError):  # a server takes a moment to notice
            writer = place.writer()
    assert writer is not None
    images = [stored.image for stored in everything(writer, "pairs", range(REPLACED)).values()]
    assert len(images) == REPLACED
    assert len({(image["a"], image["b"]) for image in images if image}) == 1
    writer.put("pairs", [row(1)])
    writer.close()


# Cuts; beside a writer that never rests they are tested in tests/stores/test_cuts.py


def test_a_cut_answers_every_verb_from_the_commit_that_it_began_with(writer: RowWriter, reader: RowReader) -> None:
    def answers(asked: RowReader) -> list[Any]:
        return [
            asked.select(RowQuery(table="t")),
            asked.select(RowQuery(table="t", where=(Condition("a", "=", 1),))),
            asked.values("t", "text", 9),
            asked.counts(),
            asked.facts("kind"),
            asked.applied(),
        ]

    mark = Applied("changes", "0", 1, 1, 1, caught_up=True, applied_at=1)
    writer.put("t", [row(1, a=1, text="x"), row(2, a=1, text="y")])
    writer.note("kind", {"a": b"1"})
    writer.note(APPLIED, dict([applied_fact(mark)]))
    before = answers(reader)
    with reader.cut() as cut:
        writer.put("t", [row(1, a=2, text="z"), row(2, state=GONE), row(3, a=1, text="v")])
        writer.put("other", [row(1)])
        writer.note("kind", {"a": b"2", "b": b"3"})
        writer.note(APPLIED, dict([applied_fact(msgspec.structs.replace(mark, offset=2))]))
        assert answers(cut) == before
        assert cut.select(RowQuery(table="other")) == []
        after = answers(reader)
        assert [one for one, other in zip(before, after, strict=True) if one == other] == []
        with cut.cut() as same:
            assert answers(same) == before
        assert answers(cut) == before
    with reader.cut() as cut:
        assert answers(cut) == after


def test_a_question_that_fails_leaves_its_cut_as_it_was(writer: RowWriter, reader: RowReader) -> None:
    writer.put("t", [row(1, a=1)])
    with reader.cut() as cut:
        before = cut.select(RowQuery(table="t"))
        writer.put("t", [row(2, a=2)])
        with pytest.raises(RejectedError, match="cannot be answered"):
            cut.select(RowQuery(table="t", limit=2**70))
        with pytest.raises(RejectedError):
            cut.select(RowQuery(table="t", where=(Condition("a", "=", "\ud800"),)))
        assert cut.select(RowQuery(table="nowhere")) == []
        assert cut.select(RowQuery(table="t")) == before
        assert len(before) == 1


def test_a_cut_is_over_with_its_block(writer: RowWriter, reader: RowReader) -> None:
    writer.put("t", [row(1)])
    with reader.cut() as cut:
        assert len(cut.select(RowQuery(table="t"))) == 1
    with pytest.raises(StoreError, match=r"cannot be read any more: it has been closed.*begin another one"):
        cut.select(RowQuery(table="t"))
    with pytest.raises(ZeroDivisionError), reader.cut() as cut:
        raise ZeroDivisionError
    with pytest.raises(StoreError):
        cut.applied()
    assert len(reader.select(RowQuery(table="t"))) == 1


def test_a_cut_runs_no_statements(writer: RowWriter, reader: RowReader) -> None:
    writer.put("t", [row(1)])
    with reader.cut() as cut:
        with pytest.raises(RejectedError, match="runs no statements"):
            cut.sql("SELECT 1", rows=1, seconds=1)
        assert len(cut.select(RowQuery(table="t"))) == 1


# What rows were before


ID = SOURCE, key_of(1)


def changed_to(at: int, **columns: Any) -> Change:
    """Return the event at a position by which the row 1 comes to have these columns."""
    event = Change(SOURCE, "t", key_of(1), "update", None, {"id": 1, **columns}, AS_OF + at, (0, at))
    return msgspec.structs.replace(event, stream="changes", offset=at)


def kept_of(*changes: Change) -> Kept:
    """Return the row 1 after these changes, with its history."""
    kept: Kept | None = None
    for change in changes:
        stored = msgspec.structs.replace(
            row(1, image=change.after), standing=standing_of(change), as_of=change.event_time
        )
        history, before = ("", None) if kept is None else (kept.history, kept.row)
        kept = Kept(stored, extended(history, before, stored, change))
    assert kept is not None
    return kept


ANY_TABLE = TablesSettings(live=(LiveTableSettings(name="t", table="t"),))
KEPT = kept_of(changed_to(1, a=1), changed_to(2, a=2), changed_to(3, a=3, b=1))
FORMERS = [Former((0, 3), AS_OF + 3, {"a": 2, "b": None}), Former((0, 2), AS_OF + 2, {"a": 1})]


def test_what_a_row_was_is_told_newest_change_first_and_no_further_back_than_asked(
    writer: RowWriter, reader: RowReader
) -> None:
    writer.put_kept("t", [KEPT])
    assert reader.former("t", [ID, (SOURCE, "{}")], 0) == {ID: FORMERS}
    assert reader.former("t", [ID], AS_OF + 3) == {ID: FORMERS[:1]}
    assert reader.former("t", [ID], AS_OF + 4) == {}
    assert reader.former("t", [], 0) == {}
    with reader.cut() as cut:
        assert cut.former("t", [ID], 0) == {ID: FORMERS}


def test_of_rows_without_a_history_nothing_is_told(writer: RowWriter, reader: RowReader) -> None:
    assert reader.former("t", [ID], 0) == {}
    assert writer.kept("t", [ID]) == {}
    assert writer.forget_former("t", AS_OF * 2, "", 10) == ""
    writer.put_kept("t", [])
    writer.put("t", [KEPT.row])
    assert reader.former("t", [ID], 0) == {}
    assert writer.kept("t", [ID]) == {ID: Kept(KEPT.row)}


def test_rows_with_histories_are_stored_as_other_rows_are(writer: RowWriter) -> None:
    writer.put_kept("t", [KEPT, Kept(row(2, a="\0"))])
    assert writer.kept("t", [ID, (SOURCE, key_of(2))]) == {ID: KEPT, (SOURCE, key_of(2)): Kept(row(2, a="\0"))}
    assert writer.fetch("t", [ID]) == {ID: KEPT.row}
    assert writer.tally("t", 1000).live == 2
    writer.put("t", [msgspec.structs.replace(KEPT.row, applied_at=5)])
    assert writer.kept("t", [ID])[ID].history == KEPT.history


def test_names_and_values_of_any_kind_survive_in_histories(writer: RowWriter, reader: RowReader) -> None:
    was: Row = {name: value for name, value in zip(HOSTILE_NAMES, HOSTILE_VALUES, strict=False) if len(value) <= 100}
    was |= {"n": Decimal("12345678901234567890.123456789"), "l": [1, {"ä": None}], "t": True}
    for begin in range(0, len(was), 5):
        some = dict(list(was.items())[begin : begin + 5])
        writer.put_kept("t", [kept_of(changed_to(1, **some), changed_to(2))])
        assert reader.former("t", [ID], 0) == {ID: [Former((0, 2), AS_OF + 2, some)]}


def test_numbers_that_come_back_in_another_form_have_not_changed(place: RowPlace, reader: RowReader) -> None:
    numbers: Row = {"a": 0.1, "b": Decimal("12.30"), "c": 1e-7, "d": [{"e": 129.1}], "f": 1e22, "g": Decimal("1E+3")}
    ups = (changed_to(1, **numbers, x=1), changed_to(2, **numbers, x=2), changed_to(3, **(numbers | {"a": 0.2}), x=2))
    for change in ups:
        intake = RowIntake(place.writer(), ANY_TABLE, lambda: NOW, lambda hold: None)
        intake.write([change])
        intake.close()
    first, second = reader.former("t", [ID], 0)[ID]
    assert (list(first.was), float(first.was["a"])) == (["a"], 0.1)
    assert second.was == {"x": 1}


def test_with_a_row_goes_its_history(writer: RowWriter, reader: RowReader) -> None:
    writer.put_kept("t", [KEPT])
    assert writer.drop_rows("t", [ID]) == 1
    writer.put("t", [KEPT.row])
    assert writer.kept("t", [ID])[ID].history == ""
    writer.put_kept("t", [msgspec.structs.replace(KEPT, row=msgspec.structs.replace(KEPT.row, state=GONE))])
    writer.forget("t", AS_OF + 100, 0)
    assert writer.kept("t", [ID])[ID].history == KEPT.history
    writer.forget("t", AS_OF + 100, AS_OF + 100)
    writer.put("t", [KEPT.row])
    assert reader.former("t", [ID], 0) == {}


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_old_histories_are_forgotten_bit_by_bit(writer: RowWriter, limit: int) -> None:
    ids = [(SOURCE, key_of(number)) for number in range(30)]
    rows = [row(number, as_of=AS_OF + number) for number in range(30)]
    writer.put_kept("t", [Kept(stored, KEPT.history) for stored in rows])
    after = writer.forget_former("t", AS_OF + 20, "", limit)
    calls = 1
    while after:
        assert sum(not one.history for one in writer.kept("t", ids).values()) <= calls * limit
        after = writer.forget_former("t", AS_OF + 20, after, limit)
        calls += 1
    kept = writer.kept("t", ids)
    assert [bool(kept[SOURCE, key_of(number)].history) for number in range(30)] == [False] * 20 + [True] * 10
    assert [kept[id_].row for id_ in ids] == rows


@pytest.mark.parametrize("mess", [0.0, 0.2, 1.0])
def test_what_is_told_is_a_function_of_the_set_of_events(place: RowPlace, reader: RowReader, mess: float) -> None:
    rng = Random(20260301)
    for _ in range(12):
        made = some_events(rng, rng.choice((6, 24)))
        arriving = delivered(made, rng, mess)
        again = RowPlace(place.kind, f"{place.path}{rng.random()}", place.dsn, f"{place.schema}_{rng.randrange(10**9)}")
        intake = RowIntake(again.writer(), LIVE_TABLES, lambda: NOW, lambda hold: None)
        while arriving:
            size = rng.choice((1, 5, 100))
            intake.write(arriving[:size])
            arriving = arriving[size:]
        intake.close()
        opened = again.reader()
        assert opened.former("flights", IDS, 0) == expected(made)
        opened.close()


# Different texts


@pytest.mark.parametrize("index", [(), ("city",)])
def test_the_texts_of_a_column_are_those_of_live_rows_in_order(
    writer: RowWriter, reader: RowReader, index: tuple[str, ...]
) -> None:
    texts = ["Köln", "Bonn", "Bonn", "Zürich", "\U0001f6eb", "", "10", "a{b}?%s"]
    cities: list[Any] = [*texts, 10, None, True, ["Rom"], {"a": "Rom"}, 1.5]
    rows = [row(number, city=city) for number, city in enumerate(cities)]
    rows += [row(98, city="Gone", state=GONE), row(99, city="Held", state=HELD), row(100)]
    writer.put("t", rows)
    writer.expose(LiveTable("t", {"id": "int", "city": "text"}, None, index))
    assert reader.values("t", "city", 100) == sorted({*texts})
    assert reader.values("t", "city", 2) == sorted({*texts})[:2]
    assert reader.values("t", "city", 0) == []
    assert reader.values("t", "no such", 5) == []
    assert reader.values("no such", "city", 5) == []
    assert reader.values("t", "\ud800", 5) == []
