"""One history, every format: decoded, all say the same, but for what a format cannot say."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from events.changes import Change, Row, Standing, Truncation, pack_position, supersedes
from events.errors import RejectedError
from operators.changes.decode import decoder
from operators.changes.reading import END_OF_TIME
from operators.changes.rules import StreamRules
from tests.operators.changes.histories import FORMATS, TABLES, Ability, Event

BEGIN = 1_772_359_201_250
"""2026-03-01T10:00:01.250Z"""

MARKS = {"id": 7, "gate": "B2", "price": Decimal("12.30"), "delay": None, "load": 0.75, "open": True}
MOVED = {**MARKS, "gate": "Zürich ✈ 東京", "price": Decimal("-0.05")}
SEAT = {"flight": 7, "seat": "1A", "taken": False, "price": Decimal("99999999999999.99")}
TAKEN = {**SEAT, "taken": True}
OTHER = {**TAKEN, "seat": "2C"}

HISTORY = (
    Event("create", "flights", {"id": 7}, None, MARKS, 1, BEGIN),
    Event("create", "seats", {"flight": 7, "seat": "1A"}, None, SEAT, 2, BEGIN + 1),
    Event("update", "flights", {"id": 7}, MARKS, MOVED, 3, BEGIN + 2000),
    Event("update", "seats", {"flight": 7, "seat": "1A"}, SEAT, TAKEN, 4, BEGIN + 3000),
    Event("update", "seats", {"flight": 7, "seat": "2C"}, TAKEN, OTHER, 5, BEGIN + 4000),
    Event("delete", "flights", {"id": 7}, MOVED, None, 6, BEGIN + 5000),
    Event("create", "flights", {"id": 7}, None, {**MARKS, "id": 7, "note": 'a "b":\\ c'}, 7, BEGIN + 6000),
    Event("delete", "seats", {"flight": 7, "seat": "2C"}, OTHER, None, 8, BEGIN + 7000),
)
UNAVAILABLE = Event(
    "update", "flights", {"id": 7}, None, {"id": 7, "gate": "C1"}, 9, BEGIN + 8000, unavailable=("note",)
)
READ = Event("read", "flights", {"id": 8}, None, {"id": 8, "gate": "A1"}, 10, BEGIN + 9000)
TRUNCATE = Event("truncate", "flights", {}, None, None, 11, BEGIN + 10_000)

LACKS: dict[str, set[Ability]] = {
    "debezium": {"before"},
    "debezium-mysql": {"unavailable"},
    "debezium-schema": {"before"},
    "debezium-flat": {"truncate", "before"},
    "dms": {"truncate", "unavailable"},
    "dynamodb": {"truncate", "unavailable", "read", "time"},
    "dynamodb-kinesis": {"truncate", "unavailable", "read", "time"},
    "maxwell": {"truncate", "unavailable", "read", "time"},
    "headrace": set(),
    "headrace-offsets": {"truncate"},
}
"""What each format cannot say. Of what a row was, PostgreSQL's default replica identity has the key and inventions, and
flattened Debezium has nothing."""

ORDERED = {"dms", "headrace-offsets"}
"""Formats whose order is that of the log: loaded rows of AWS DMS, and our own events without positions."""


class Said(msgspec.Struct, frozen=True):
    """What a change says in every format."""

    op: str
    table: str
    key: str
    after: Row | None
    unavailable: tuple[str, ...] = ()


def expected(history: Sequence[Event]) -> list[Said]:
    """Say what a history says, written down by another way than the decoders' own."""
    said: list[Said] = []
    for event in history:
        if event.op == "truncate":
            said.append(Said("truncate", event.table, "", None))
        elif event.op == "update" and event.old_key != event.key:
            said.append(Said("delete", event.table, text_of(event.old_key), None))
            said.append(Said("create", event.table, text_of(event.key), event.after, event.unavailable))
        else:
            said.append(Said(event.op, event.table, text_of(event.key), event.after, event.unavailable))
    return said


def text_of(key: Row) -> str:
    parts = (f'"{name}":{value}' if isinstance(value, int) else f'"{name}":"{value}"' for name, value in key.items())
    return "{" + ",".join(sorted(parts)) + "}"


def said_by(changes: Sequence[Change | Truncation]) -> list[Said]:
    said: list[Said] = []
    for change in changes:
        table = change.table.rpartition(".")[2]
        if isinstance(change, Truncation):
            said.append(Said("truncate", table, "", None))
        else:
            said.append(Said(change.op, table, change.key, change.after, change.unavailable))
    return said


def decoded(name: str, history: Sequence[Event], *, auto: bool = False) -> list[Change | Truncation]:
    encoder = FORMATS[name]
    rules = msgspec.structs.replace(encoder.rules, format="auto") if auto else encoder.rules
    decode = decoder(rules)
    records = encoder.encode(history)
    return [
        change
        for offset, record in enumerate(records)
        for change in decode(msgspec.structs.replace(record, offset=offset))
    ]


def sayable(name: str, *more: tuple[Ability, Event]) -> list[Event]:
    return [*HISTORY, *(event for ability, event in more if ability not in LACKS[name])]


def whole(name: str) -> list[Event]:
    return sayable(name, ("unavailable", UNAVAILABLE), ("read", READ), ("truncate", TRUNCATE))


def test_the_table_of_what_formats_lack_is_that_of_the_encoders() -> None:
    assert {name: set(encoder.lacks) for name, encoder in FORMATS.items()} == LACKS
    assert {name for name, encoder in FORMATS.items() if encoder.ordered} == ORDERED


@pytest.mark.parametrize("auto", [False, True], ids=["told", "auto"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_the_same(name: str, auto: bool) -> None:
    history = whole(name)
    assert said_by(decoded(name, history, auto=auto)) == expected(history)


@pytest.mark.parametrize("name", FORMATS)
def test_values_have_the_same_types_in_every_format(name: str) -> None:
    def types(value: Any) -> Any:
        # DynamoDB has numbers, and no floats among them; schema-ful Debezium has them all.
        loose = isinstance(value, float | Decimal) and name.startswith("dynamodb")
        return "number" if loose else type(value)

    for change, said in zip(said_by(decoded(name, HISTORY)), expected(HISTORY), strict=True):
        if change.after is not None and said.after is not None:
            assert {c: types(v) for c, v in change.after.items()} == {c: types(v) for c, v in said.after.items()}


@pytest.mark.parametrize("name", FORMATS)
def test_positions_order_the_changes_as_the_source_did(name: str) -> None:
    changes = decoded(name, HISTORY)
    if name == "headrace-offsets":
        assert {change.position for change in changes} == {()}
        return
    positions = [change.position for change in changes]
    assert all(position[0] == 0 and len(position) > 1 for position in positions)
    assert sorted(positions) == positions
    # Only the delete and the create of one changed key share a position.
    assert len(set(positions)) == len(HISTORY)


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ORDERED])
def test_the_newest_change_of_each_row_is_the_same_in_any_order_of_the_log(name: str) -> None:
    changes = [change for change in decoded(name, HISTORY) if isinstance(change, Change)]
    last = {said.key: said for said in expected(HISTORY)}
    for seed in range(20):
        newest: dict[str, Change] = {}
        shuffled = random.Random(seed).sample(changes, len(changes))
        for offset, change in enumerate(shuffled):
            moved = msgspec.structs.replace(change, offset=offset)
            old = newest.get(moved.key)
            if old is None or supersedes(standing(moved), standing(old)):
                newest[moved.key] = moved
        assert {key: said_by([change])[0] for key, change in newest.items()} == last


def standing(change: Change) -> Standing:
    return Standing(change.position, change.stream, change.partition, change.offset)


@pytest.mark.parametrize("name", FORMATS)
def test_what_was_before_is_what_the_source_had(name: str) -> None:
    befores = [event.before for event in HISTORY for said in expected([event]) if said.op in {"update", "delete"}]
    changes = [change for change in decoded(name, HISTORY) if isinstance(change, Change)]
    told = [change.before for change in changes if change.op in {"update", "delete"}]
    if "before" not in LACKS[name]:
        assert told == befores
        return
    for before, whole_row in zip(told, befores, strict=True):
        assert whole_row is not None
        assert (before or {}).items() <= whole_row.items()


@pytest.mark.parametrize("name", FORMATS)
def test_times_are_those_of_the_commit_as_finely_as_the_format_has_them(name: str) -> None:
    changes = decoded(name, HISTORY)
    times = [event.time for event in HISTORY for _ in expected([event])]
    if name == "dynamodb-kinesis":
        # Its time is its order: the encoder's clock ticks once for each event.
        return
    if "time" in LACKS[name]:
        times = [time // 1000 * 1000 for time in times]
    assert [change.event_time for change in changes] == times


@pytest.mark.parametrize("name", FORMATS)
def test_every_change_knows_its_source_and_its_place_in_the_log(name: str) -> None:
    changes = decoded(name, HISTORY)
    assert {(change.source, change.stream, change.partition) for change in changes} == {("travel", "changes", 0)}
    offsets = [change.offset for change in changes]
    assert sorted(offsets) == offsets


@pytest.mark.parametrize("name", FORMATS)
def test_the_tables_are_found_by_their_full_names_in_the_rules_too(name: str) -> None:
    rules: StreamRules = FORMATS[name].rules
    changes = decoded(name, HISTORY)
    full = {f"{change.table}": rules.of(change.table.rpartition(".")[2]) for change in changes}
    decode = decoder(msgspec.structs.replace(rules, tables=full))
    again = [
        change
        for offset, record in enumerate(FORMATS[name].encode(HISTORY))
        for change in decode(msgspec.structs.replace(record, offset=offset))
    ]
    assert again == changes
    assert {table.rpartition(".")[2] for table in full} == set(TABLES)


ODD: tuple[Any, ...] = (None, True, 0, -1, 10**30, 1e300, "", "x", "9" * 400, [], [None], {}, {"a": {"b": []}})


def variants(value: Any) -> Iterator[Any]:
    """Yield `value` with each of its parts left out, or exchanged for each of the odd values."""
    yield from ODD
    if isinstance(value, dict):
        for name, part in value.items():
            yield {other: kept for other, kept in value.items() if other != name}
            yield from ({**value, name: variant} for variant in variants(part))


@pytest.mark.parametrize("auto", [False, True], ids=["told", "auto"])
@pytest.mark.parametrize("name", FORMATS)
def test_no_odd_value_anywhere_does_more_than_reject_the_event(name: str, auto: bool) -> None:
    encoder = FORMATS[name]
    decode = decoder(msgspec.structs.replace(encoder.rules, format="auto") if auto else encoder.rules)
    decoded_ones = rejected = 0
    for record in encoder.encode(HISTORY[2:3] + HISTORY[4:6]):
        for value in variants(msgspec.json.decode(record.value or b"null")):
            try:
                changes = decode(msgspec.structs.replace(record, value=msgspec.json.encode(value)))
            except RejectedError as error:
                rejected += 1 if error.hint and "\n" not in str(error) else 10**9
                continue
            decoded_ones += 1
            for change in changes:
                # What was accepted can be kept: in order, as JSON, at a time that is one.
                pack_position(change.position)
                msgspec.json.encode(change)
                assert 0 <= change.event_time < END_OF_TIME
    assert decoded_ones > 10
    assert 10 < rejected < 10**9
