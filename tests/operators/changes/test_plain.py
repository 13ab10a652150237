"""Our own format: what its documentation promises, and what must not pass."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from events.changes import Change, Truncation
from events.errors import RejectedError
from events.log import LogRecord
from operators.changes.plain import plain
from operators.changes.rules import StreamRules, TableRules

RULES = StreamRules("ops", tables={"seats": TableRules(key=("flight", "seat"))})


def decoded(value: Any, rules: StreamRules = RULES, key: bytes | None = b"k") -> list[Change | Truncation]:
    raw = value if isinstance(value, bytes) or value is None else msgspec.json.encode(value)
    return list(plain(rules)(LogRecord("ops", 1, 2, 3, key, raw)))


def one(value: Any, rules: StreamRules = RULES, key: bytes | None = b"k") -> Change:
    (change,) = decoded(value, rules, key)
    assert isinstance(change, Change)
    return change


def test_the_shortest_event_is_an_update_ordered_by_the_log() -> None:
    assert one({"table": "flights", "key": {"id": 7}, "after": {"gate": "B2"}}) == Change(
        source="ops",
        table="flights",
        key='{"id":7}',
        op="update",
        before=None,
        after={"id": 7, "gate": "B2"},
        event_time=3,
        stream="ops",
        partition=1,
        offset=2,
    )


def test_every_member_says_what_the_documentation_says() -> None:
    value = {
        "table": "flights",
        "key": {"id": 7},
        "op": "create",
        "after": {"id": 7, "gate": "B2"},
        "before": {"gate": None},
        "unavailable": ["menu"],
        "position": [3, 14],
        "time": "2026-01-01T00:00:00.250Z",
        "transaction": 99,
        "initiator": "ann",
        "source": "dispatch",
    }
    assert one(value, msgspec.structs.replace(RULES, generation=6)) == Change(
        source="dispatch",
        table="flights",
        key='{"id":7}',
        op="create",
        before={"gate": None},
        after={"id": 7, "gate": "B2"},
        event_time=1_767_225_600_250,
        position=(6, 3, 14),
        transaction="99",
        initiator="ann",
        unavailable=("menu",),
        stream="ops",
        partition=1,
        offset=2,
    )


def test_the_rules_go_before_the_event() -> None:
    rules = StreamRules("ops", source="main", table="flights", tables={"flights": TableRules(initiator="by")})
    change = one({"key": {"id": 7}, "after": {"by": "bob"}, "source": "x", "initiator": "ann"}, rules)
    assert (change.source, change.table, change.initiator) == ("main", "flights", "bob")


def test_the_key_may_be_columns_that_the_rules_name() -> None:
    upsert = one({"table": "seats", "after": {"seat": "1A", "flight": 7, "taken": True}})
    delete = one({"table": "seats", "op": "delete", "before": {"seat": "1A", "flight": 7, "taken": True}})
    assert upsert.key == delete.key == '{"flight":7,"seat":"1A"}'


def test_a_delete_is_told_by_its_key() -> None:
    change = one({"table": "flights", "key": {"id": 7}, "op": "delete"})
    assert (change.op, change.before, change.after) == ("delete", {"id": 7}, None)


def test_a_changed_key_is_a_delete_and_a_create() -> None:
    value = {"table": "flights", "key": {"id": 8}, "after": {"n": 2}, "before": {"id": 7, "n": 1}, "position": 5}
    gone, made = decoded(value)
    assert isinstance(gone, Change)
    assert isinstance(made, Change)
    assert (gone.op, gone.key, gone.before, gone.position) == ("delete", '{"id":7}', {"id": 7, "n": 1}, (0, 5))
    assert (made.op, made.key, made.after, made.position) == ("create", '{"id":8}', {"id": 8, "n": 2}, (0, 5))


def test_a_truncate_is_for_the_whole_table() -> None:
    (truncation,) = decoded({"table": "flights", "op": "truncate", "position": 9, "time": 1000}, key=None)
    assert truncation == Truncation("ops", "flights", 1000, (0, 9), stream="ops", partition=1, offset=2)


@pytest.mark.parametrize(
    ("key", "record"),
    [
        (b'{"id":7}', 'ops/flights/{"id":7}'),
        (b'{"table":"rooms","key":{"id":7}}', 'ops/rooms/{"id":7}'),
        (b'{"table":"rooms","key":{"id":7},"source":"main"}', 'main/rooms/{"id":7}'),
        (b'{"table":"a","key":"b"}', 'ops/flights/{"key":"b","table":"a"}'),
    ],
)
def test_a_record_without_a_value_deletes_the_row_that_its_key_names(key: bytes, record: str) -> None:
    change = one(None, msgspec.structs.replace(RULES, table="flights"), key)
    assert (change.op, change.record, change.position, change.event_time) == ("delete", record, (), 3)


def test_tombstones_can_mean_nothing() -> None:
    assert decoded(None, msgspec.structs.replace(RULES, tombstones="ignore"), b'{"id":7}') == []


FLIGHT = {"table": "flights", "key": {"id": 7}}
REJECTED: list[tuple[Any, bytes | None, str]] = [
    ({**FLIGHT, "after": {}}, None, "neither a position nor a record's key"),
    ({**FLIGHT, "after": {}}, b"", "neither a position nor a record's key"),
    ({"key": {"id": 7}, "after": {}}, b"k", "names no table"),
    ({"table": "flights", "after": {"id": 7}}, b"k", "does not say which columns are the primary key"),
    ({"table": "seats", "after": {"seat": "1A"}}, b"k", "key column 'flight' is not in the event"),
    ({"table": "seats", "key": {"seat": "1A"}, "after": {}}, b"k", "key column 'flight' is not in the event"),
    ({**FLIGHT, "key": {"id": None}, "after": {}}, b"k", "key column 'id' has no value"),
    (FLIGHT, b"k", "neither `op` nor `after`"),
    ({**FLIGHT, "op": "create"}, b"k", "the op 'create' needs the row"),
    ({**FLIGHT, "op": "delete", "after": {}}, b"k", "the op 'delete' has the row"),
    ({**FLIGHT, "op": "upsert", "after": {}}, b"k", r"`\$.op`"),
    ({**FLIGHT, "after": {"id": 8}}, b"k", "'id' of `key` is another in the row"),
    ({**FLIGHT, "after": {"n": 1}, "unavailable": ["n"]}, b"k", "'n' is unavailable and has a value"),
    ({**FLIGHT, "after": {}, "before": {"id": 6}}, b"k", "changed primary key without a position"),
    ({"table": "flights", "op": "truncate"}, b"k", "truncate without a position"),
    ({**FLIGHT, "after": {}, "position": -1}, b"k", "negative"),
    ({**FLIGHT, "after": {}, "position": 10**78}, b"k", "more than 77 digits"),
    ({**FLIGHT, "after": {}, "position": []}, b"k", "a position of 0 numbers"),
    ({**FLIGHT, "after": {}, "position": list(range(17))}, b"k", "a position of 17 numbers"),
    ({**FLIGHT, "after": {}, "position": "5"}, b"k", r"`\$.position`"),
    ({**FLIGHT, "after": {}, "position": 1.5}, b"k", r"`\$.position`"),
    ({**FLIGHT, "after": {}, "time": "soon"}, b"k", "time is not an ISO 8601 time"),
    ({**FLIGHT, "after": {}, "time": 10**18}, b"k", "time is not between 1970 and 9999"),
    ({**FLIGHT, "after": {}, "positon": 1}, b"k", "unknown field `positon`"),
    ({**FLIGHT, "after": [1]}, b"k", r"`\$.after`"),
    (b'{"table":"flights","key":{"id":7},"after":{"a":1,"a":2}}', b"k", "'a' occurs twice"),
    (b"7", b"k", "not a change event of Headrace"),
    (None, b"7", "not a JSON object of the key's columns"),
    (None, b'{"table":7,"key":{"id":7}}', r"`\$.table`"),
    (None, b"id=7", "key of a record without a value cannot be read"),
    (None, None, "not a JSON object of the key's columns"),
    (None, b'{"id":7}', "names no table"),
]


@pytest.mark.parametrize(("value", "key", "reason"), REJECTED, ids=[str(number) for number in range(len(REJECTED))])
def test_what_says_too_little_or_two_things_is_rejected_with_the_reason_and_a_remedy(
    value: Any, key: bytes | None, reason: str
) -> None:
    with pytest.raises(RejectedError, match=reason) as caught:
        decoded(value, key=key)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
