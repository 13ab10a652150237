"""Maxwell's daemon: events written after its documentation, and what must not pass."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from events.changes import Change
from events.errors import RejectedError
from events.log import LogRecord
from operators.changes.maxwell import maxwell
from operators.changes.rules import StreamRules, TableRules

RULES = StreamRules("shop", tables={"shop.orders": TableRules(key=("id",))})
ROW = {"id": 1, "total": 4.5, "at": "2026-03-01 10:00:00.523000"}


def event(kind: str, **more: Any) -> dict[str, Any]:
    value = {"database": "shop", "table": "orders", "type": kind, "ts": 1_772_359_201, "xid": 23396, "data": ROW}
    return {name: item for name, item in {**value, **more}.items() if item is not None}


def decoded(value: Any, rules: StreamRules = RULES) -> list[Change]:
    raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return [one for one in maxwell(rules)(LogRecord("shop", 1, 2, 3, None, raw)) if isinstance(one, Change)]


def test_an_insert_is_a_create_without_a_position_unless_maxwell_is_told_to_send_it() -> None:
    assert decoded(event("insert", commit=True)) == [
        Change(
            source="shop",
            table="shop.orders",
            key='{"id":1}',
            op="create",
            before=None,
            after=ROW,
            event_time=1_772_359_201_000,
            transaction="23396",
            stream="shop",
            partition=1,
            offset=2,
        )
    ]


def test_rows_of_a_transaction_are_in_order_up_to_the_last_which_has_no_offset() -> None:
    place = "mysql-bin.000003:1234"
    rows = [
        event("insert", position=place, xoffset=0),
        event("insert", position=place, xoffset=1),
        event("insert", position=place, xoffset=10),
        event("insert", position=place, commit=True),
        event("insert", position="mysql-bin.000003:1300", xoffset=0),
        event("insert", position="mysql-bin.000010:4", xoffset=0),
    ]
    positions = [decoded(row)[0].position for row in rows]
    assert positions[1] == (0, 3, 1234, 1)
    assert sorted(positions) == positions
    assert len(set(positions)) == len(positions)


def test_a_place_alone_is_a_position() -> None:
    (change,) = decoded(event("insert", position="master.000006:800911"), msgspec.structs.replace(RULES, generation=1))
    assert change.position == (1, 6, 800911)


def test_an_update_is_laid_over_what_it_was() -> None:
    (change,) = decoded(event("update", old={"total": 3, "note": None}))
    assert (change.op, change.after) == ("update", ROW)
    assert change.before == {**ROW, "total": 3, "note": None}


def test_a_changed_key_is_a_delete_and_a_create() -> None:
    gone, made = decoded(event("update", old={"id": 9}))
    assert (gone.op, gone.key, gone.before, gone.after) == ("delete", '{"id":9}', {**ROW, "id": 9}, None)
    assert (made.op, made.key, made.before, made.after) == ("create", '{"id":1}', None, ROW)


def test_a_delete_says_what_the_row_was() -> None:
    (change,) = decoded(event("delete"))
    assert (change.op, change.before, change.after) == ("delete", ROW, None)


def test_rows_of_a_bootstrap_are_reads_and_its_marks_say_nothing() -> None:
    assert [change.op for change in decoded(event("bootstrap-insert", xid=None))] == ["read"]
    assert decoded(event("bootstrap-start", data={})) == []
    assert decoded(event("bootstrap-complete", data={})) == []


@pytest.mark.parametrize("kind", ["table-create", "table-alter", "table-drop", "database-create", "database-drop"])
def test_changes_of_structure_say_nothing_of_rows(kind: str) -> None:
    old = {"columns": [{"name": "id"}]}
    assert decoded({"type": kind, "database": "shop", "table": "orders", "old": old, "ts": 1_772_359_201_000}) == []


def test_the_key_is_what_maxwell_names_unless_the_rules_name_one() -> None:
    named = event("insert", primary_key=[4.5, 1], primary_key_columns=["total", "id"])
    (by_event,) = decoded(named, StreamRules("shop"))
    (by_rules,) = decoded(named)
    assert (by_event.key, by_rules.key) == ('{"id":1,"total":4.5}', '{"id":1}')


def test_decimals_keep_every_digit_where_the_rules_name_them() -> None:
    rules = StreamRules("shop", tables={"orders": TableRules(key=("id",), columns={"total": "decimal"})})
    raw = msgspec.json.encode(event("update", data={"id": 1, "total": 0}, old={"total": 1}))
    raw = raw.replace(b'"total":0', b'"total":12345678901234567890.10').replace(b'"total":1}', b'"total":0.10}')
    (change,) = decoded(raw, rules)
    assert change.after == {"id": 1, "total": Decimal("12345678901234567890.10")}
    assert change.before is not None
    assert str(change.before["total"]) == "0.10"


def test_a_record_without_a_value_deletes_by_maxwells_key_if_the_rules_say_so() -> None:
    rules = StreamRules("shop", tombstones="delete", tables={"orders": TableRules(key=("orderId",))})
    record = LogRecord("shop", 0, 9, 5, b'{"database":"shop","table":"orders","pk.orderid":7}', None)
    (change,) = maxwell(rules)(record)
    assert isinstance(change, Change)
    assert (change.op, change.record) == ("delete", 'shop/shop.orders/{"orderId":7}')
    assert list(maxwell(RULES)(record)) == []


REJECTED: list[tuple[Any, str]] = [
    (event("replace"), "'replace' is none that Maxwell has"),
    (event("insert", data=None), "has no data"),
    (event("insert", data="encrypted"), r"`\$.data`"),
    (event("insert", table=None), "names no table"),
    (event("insert", table="other"), "shop.other: .* does not say which columns are the primary key"),
    (event("insert", data={"total": 1}), "key column 'id' is not in the event"),
    (event("insert", primary_key_columns="id"), r"`\$.primary_key_columns`"),
    (event("insert", position="here"), "'here' is not a binlog's file and place"),
    (event("insert", position="mysql-bin.000003:1", xoffset=-1), "negative"),
    (event("insert", ts=10**15), "ts, .* is not between 1970 and 9999"),
    (event("insert", ts="now"), r"`\$.ts`"),
    ({"database": "shop"}, "missing required field `type`"),
    (b'{"type":"insert","data":{"id":1,"id":2}}', "'id' occurs twice"),
    (b"null", "not an event of Maxwell"),
    (b"", "not JSON"),
]


@pytest.mark.parametrize(("value", "reason"), REJECTED, ids=[reason for _, reason in REJECTED])
def test_what_cannot_be_an_event_is_rejected_with_the_reason_and_a_remedy(value: Any, reason: str) -> None:
    with pytest.raises(RejectedError, match=reason) as caught:
        decoded(value)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
