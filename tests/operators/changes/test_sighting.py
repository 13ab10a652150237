"""Sightings: what columns were seen when, summed over the changes since the last time."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

from events.changes import Change, Kind, Sighting
from operators.changes.sighting import Sightings


def change(after: dict[str, Any] | None, time: int, table: str = "t", **more: Any) -> Change:
    return Change("s", table, '{"id":1}', "update" if after is not None else "delete", None, after, time, **more)


def test_every_kind_of_value_is_told_apart() -> None:
    seen = Sightings()
    row = {
        "n": None,
        "b": True,
        "i": 1,
        "f": 1.0,
        "d": Decimal(1),
        "t": "x",
        "l": [1],
        "o": {"a": 1},
    }
    seen.observe(change(row, 5))
    kinds: dict[str, Kind] = {
        "n": "null",
        "b": "bool",
        "i": "int",
        "f": "float",
        "d": "decimal",
        "t": "text",
        "l": "json",
        "o": "json",
    }
    assert seen.take() == [Sighting("s", "t", {(name, kind): (5, 5) for name, kind in kinds.items()}, 5, 5)]


def test_times_are_the_oldest_and_the_newest_of_each_column_and_kind_in_any_order() -> None:
    changes = [
        change({"a": 1}, 30),
        change({"a": None}, 40),
        change({"a": 1, "b": "x"}, 20),
        change({"b": "x", "a": 2}, 25),
        change({}, 50),
    ]
    expected = Sighting("s", "t", {("a", "int"): (20, 30), ("a", "null"): (40, 40), ("b", "text"): (20, 25)}, 20, 50)
    for seed in range(20):
        seen = Sightings()
        for one in random.Random(seed).sample(changes, len(changes)):
            seen.observe(one)
        assert seen.take() == [expected]


def test_sources_and_tables_are_told_apart() -> None:
    seen = Sightings()
    seen.observe(change({"a": 1}, 1))
    seen.observe(change({"a": 1}, 2, table="u"))
    assert [(one.table, one.first) for one in seen.take()] == [("t", 1), ("u", 2)]


def test_deletes_and_unavailable_columns_are_no_sighting() -> None:
    seen = Sightings()
    seen.observe(change(None, 9))
    assert seen.take() == []
    seen.observe(change({"a": 1}, 3, unavailable=("b",)))
    assert seen.take() == [Sighting("s", "t", {("a", "int"): (3, 3)}, 3, 3)]


def test_what_was_taken_is_not_told_again() -> None:
    seen = Sightings()
    seen.observe(change({"a": 1}, 3))
    seen.take()
    assert seen.take() == []
    seen.observe(change({"a": 1}, 8))
    assert seen.take() == [Sighting("s", "t", {("a", "int"): (8, 8)}, 8, 8)]
