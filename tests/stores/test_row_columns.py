"""What is known of the columns of a live table."""

from __future__ import annotations

import itertools
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.changes import Kind, Sighting
from stores.rows.columns import Seen, SeenKind, history, joined, kinds_of, seen_of, widest

# What each kind can hold, written out: the least kind that holds two others is looked up here, not computed.
HOLDS = {
    "null": {"null"},
    "bool": {"null", "bool"},
    "int": {"null", "int"},
    "decimal": {"null", "int", "decimal"},
    "float": {"null", "int", "float"},
    "text": {"null", "text"},
    "json": {"null", "json"},
    "mixed": {"null", "bool", "int", "decimal", "float", "text", "json"},
}


@pytest.mark.parametrize("kinds", [set(pair) for n in (1, 2, 3) for pair in itertools.combinations(get_args(Kind), n)])
def test_a_column_has_the_least_kind_that_holds_all_its_values(kinds: set[str]) -> None:
    fitting = [kind for kind, held in HOLDS.items() if kinds <= held]
    assert widest(kinds) == min(fitting, key=lambda kind: len(HOLDS[kind]))


def sighting(first: int, last: int, **columns: Kind) -> Sighting:
    return Sighting(
        "operations", "flights", {(name, kind): (first, last) for name, kind in columns.items()}, first, last
    )


_spans = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda span: (min(span), max(span)))


@st.composite
def _sightings(draw: st.DrawFn) -> Sighting:
    names = st.tuples(st.sampled_from("abC "), st.sampled_from(get_args(Kind)))
    columns = draw(st.dictionaries(names, _spans, min_size=1, max_size=5))
    first, last = draw(_spans)
    ends = [*columns.values(), (first, last)]
    return Sighting("s", "t", columns, min(begin for begin, _ in ends), max(end for _, end in ends))


@given(st.lists(_sightings(), min_size=1, max_size=6), st.data())
def test_the_order_and_number_of_sightings_do_not_matter(sightings: list[Sighting], data: st.DataObject) -> None:
    seen: Seen | None = None
    for one in sightings:
        seen = joined(seen, one)
    other: Seen | None = None
    for one in [*data.draw(st.permutations(sightings)), *data.draw(st.lists(st.sampled_from(sightings)))]:
        other = joined(other, one)
    assert other == seen
    spans: dict[tuple[str, str], list[int]] = {}
    for one in sightings:
        for key, span in one.columns.items():
            spans.setdefault(key, []).extend(span)
    assert seen is not None
    assert {(kind.column, kind.kind): (kind.first, kind.last) for kind in seen.kinds} == {
        key: (min(times), max(times)) for key, times in spans.items()
    }
    assert seen_of(msgspec.json.encode(seen)) == seen
    assert joined(seen, sightings[0]) is seen


def test_the_history_tells_when_columns_came_changed_and_went() -> None:
    seen = None
    for one in (
        sighting(100, 200, id="int", price="int", old="text"),
        sighting(250, 300, id="int", price="decimal"),
        sighting(280, 290, gate="null"),
    ):
        seen = joined(seen, one)
    columns = {column.column: column for column in history(seen)}
    assert list(columns) == ["id", "old", "price", "gate"]
    assert columns["price"].kind == "decimal"
    assert columns["price"].seen == (SeenKind("price", "int", 100, 200), SeenKind("price", "decimal", 250, 300))
    assert [columns[name].absent_since for name in ("id", "old", "price", "gate")] == [None, 200, None, 290]
    assert kinds_of(seen) == {"id": "int", "old": "text", "price": "decimal", "gate": "null"}


def test_a_table_that_was_never_seen_has_no_history() -> None:
    assert history(None) == []
    assert kinds_of(seen_of(None)) == {}
