"""AWS DMS: samples written after the service's user guide, and what must not pass."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from events.changes import Change
from events.errors import RejectedError, SettingsError
from events.log import LogRecord
from operators.changes.dms import dms, stream_position
from operators.changes.rules import StreamRules, TableRules

RULES = StreamRules("orders", source="shop", tables={"public.orders": TableRules(key=("id",))})
POSITION = "00000002/7C007178.3.00000002/7C007190"


def event(operation: str, data: Any, **more: Any) -> dict[str, Any]:
    metadata = {
        "timestamp": "2026-03-01T10:00:01.500000Z",
        "record-type": "data",
        "operation": operation,
        "partition-key-type": "schema-table",
        "schema-name": "public",
        "table-name": "orders",
    }
    image = {"before-image": more.pop("image")} if "image" in more else {}
    return {"data": data, **image, "metadata": {**metadata, **{k.replace("_", "-"): v for k, v in more.items()}}}


def decoded(value: Any, rules: StreamRules = RULES) -> list[Change]:
    raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
    changes = list(dms(rules)(LogRecord("orders", 3, 17, 5, None, raw)))
    assert all(isinstance(change, Change) for change in changes)
    return changes  # type: ignore[return-value]  # as asserted


def test_an_insert_is_a_create_at_its_place_in_the_sources_log() -> None:
    more = {
        "commit_timestamp": "2026-03-01T10:00:01.250000Z",
        "transaction_id": 1139,
        "transaction_record_id": 1,
        "stream_position": POSITION,
    }
    assert decoded(event("insert", {"id": 7, "total": 1.5, "note": None}, **more)) == [
        Change(
            source="shop",
            table="public.orders",
            key='{"id":7}',
            op="create",
            before=None,
            after={"id": 7, "total": 1.5, "note": None},
            event_time=1_772_359_201_250,
            position=(0, 0x27C007178, 3, 0x27C007190),
            transaction="1139",
            stream="orders",
            partition=3,
            offset=17,
        )
    ]


def test_a_loaded_row_is_a_read_without_a_position_at_the_time_of_the_event() -> None:
    (change,) = decoded(event("load", {"id": 7}, stream_position=POSITION))
    assert (change.op, change.position, change.event_time) == ("read", (), 1_772_359_201_500)


def test_an_update_has_the_before_image_if_one_is_sent() -> None:
    (without,) = decoded(event("update", {"id": 7, "total": 2}, image={}))
    (with_image,) = decoded(event("update", {"id": 7, "total": 2}, image={"id": 7, "total": 1}))
    assert (without.op, without.before, without.after) == ("update", None, {"id": 7, "total": 2})
    assert with_image.before == {"id": 7, "total": 1}


def test_a_changed_key_is_a_delete_and_a_create() -> None:
    gone, made = decoded(event("update", {"id": 45, "total": 2}, image={"id": 46}))
    assert (gone.op, gone.key, gone.before, gone.after) == ("delete", '{"id":46}', {"id": 46}, None)
    assert (made.op, made.key, made.before, made.after) == ("create", '{"id":45}', None, {"id": 45, "total": 2})


def test_one_changed_column_of_a_composite_key_keeps_the_other() -> None:
    rules = StreamRules("s", tables={"orders": TableRules(key=("id", "line"))})
    gone, made = decoded(event("update", {"id": 1, "line": 5, "n": 2}, image={"line": 4}), rules)
    assert (gone.key, made.key) == ('{"id":1,"line":4}', '{"id":1,"line":5}')
    assert gone.before == {"id": 1, "line": 4}


def test_the_nulls_of_a_deleted_row_are_not_taken_for_what_it_was() -> None:
    (change,) = decoded(event("delete", {"id": 7, "total": None, "note": None}))
    (with_values,) = decoded(event("delete", {"id": 7, "total": 2, "note": None}))
    assert (change.op, change.key, change.before, change.after) == ("delete", '{"id":7}', {"id": 7}, None)
    assert with_values.before == {"id": 7, "total": 2}


def test_a_deleted_row_with_a_before_image_says_what_it_was() -> None:
    (change,) = decoded(event("delete", {"id": 7, "total": None}, image={"id": 7, "total": 2}))
    assert change.before == {"id": 7, "total": 2}


@pytest.mark.parametrize(
    ("text", "record", "numbers"),
    [
        (POSITION, 1, (0x27C007178, 3, 0x27C007190)),
        ("mysql-bin-changelog.000024:33281", 2, (24, 33281, 2)),
        (
            "mysql-bin-changelog.157832:1975:-1:2002:677883278264080:mysql-bin-changelog.157832:1876",
            1,
            (157832, 1975, 1),
        ),
        ("0000002d00000120000100000000", 1, ()),
        ("", 1, ()),
        ("00000002/7C007178", 1, ()),
    ],
)
def test_a_stream_position_is_read_as_far_as_its_writing_is_known(
    text: str, record: int, numbers: tuple[int, ...]
) -> None:
    assert stream_position(text, record) == numbers


def test_the_generation_comes_first() -> None:
    rules = msgspec.structs.replace(RULES, generation=4)
    (change,) = decoded(event("insert", {"id": 7}, stream_position="mysql-bin.000024:8"), rules)
    assert change.position == (4, 24, 8, 0)


@pytest.mark.parametrize("operation", ["create-table", "drop-table", "add-column", "rename-column"])
def test_control_records_say_nothing_of_rows(operation: str) -> None:
    metadata = {"record-type": "control", "operation": operation, "schema-name": "public", "table-name": "orders"}
    assert decoded({"control": {}, "metadata": metadata}) == []


def test_the_services_own_tables_say_nothing_of_rows() -> None:
    exceptions = event("insert", {"TASK_NAME": "t"}, schema_name="", table_name="awsdms_apply_exceptions")
    assert decoded(exceptions) == []


def test_a_record_without_a_value_says_nothing_unless_the_rules_say_so() -> None:
    record = LogRecord("orders", 0, 9, 5, b'{"id":7}', None)
    deleting = msgspec.structs.replace(RULES, tombstones="delete", table="public.orders")
    assert list(dms(RULES)(record)) == []
    (change,) = dms(deleting)(record)
    assert isinstance(change, Change)
    assert (change.op, change.record, change.event_time) == ("delete", 'shop/public.orders/{"id":7}', 5)


def test_the_initiator_comes_from_the_column_that_the_rules_name() -> None:
    rules = StreamRules("s", tables={"orders": TableRules(key=("id",), initiator="by")})
    (written,) = decoded(event("insert", {"id": 7, "by": "ann"}), rules)
    (gone,) = decoded(event("delete", {"id": 7, "by": None}, image={"by": "bob"}), rules)
    assert (written.initiator, gone.initiator) == ("ann", "bob")


def test_a_decimal_keeps_every_digit_where_the_rules_name_it_and_other_numbers_stay_floats() -> None:
    rules = StreamRules("s", tables={"orders": TableRules(key=("id",), columns={"total": "decimal"})})
    raw = msgspec.json.encode(event("insert", {"id": 7, "weight": 1.25, "more": [0.5, {"a": 1.5}]}))
    raw = raw.replace(b'"weight"', b'"total":12345678901234567890.10,"weight"')
    (change,) = decoded(raw, rules)
    assert change.after == {
        "id": 7,
        "total": Decimal("12345678901234567890.10"),
        "weight": 1.25,
        "more": [0.5, {"a": 1.5}],
    }
    assert change.after is not None
    assert type(change.after["weight"]) is float


def test_an_unknown_encoding_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="decimall"):
        dms(StreamRules("s", tables={"orders": TableRules(columns={"total": "decimall"})}))


REJECTED: list[tuple[Any, str]] = [
    ({"control": {}, "metadata": {"operation": "insert"}}, "control record with the operation 'insert'"),
    ({"control": {}, "metadata": {"operation": "FOOBAR", "table-name": "foo"}}, "control record with .* 'FOOBAR'"),
    (event("upsert", {"id": 7}), "'upsert' is not load, insert, update or delete"),
    (event("insert", None), "has no data"),
    (event("insert", {}), "has no data"),
    (event("insert", [1]), r"not an event of AWS DMS: .*`\$.data`"),
    (event("insert", {"total": 7}), "key column 'id' is not in the event"),
    (event("insert", {"id": None}), "key column 'id' has no value"),
    (event("insert", {"id": {"a": 1}}), "key column 'id' holds a dict"),
    (event("insert", {"id": 7}, table_name=None), "names no table"),
    (event("insert", {"id": 7}, table_name="other"), "public.other: .* do not say which columns are the primary key"),
    (event("insert", {"id": 7}, timestamp="yesterday"), "timestamp is not an ISO 8601 time"),
    (event("insert", {"id": 7}, commit_timestamp="0001-01-01T00:00:00Z"), "not between 1970 and 9999"),
    ({"data": {"id": 7}}, "missing required field `metadata`"),
    (b'{"data": {"id": 7', "not JSON"),
    (b"[1]", "not an event of AWS DMS"),
    (b'{"data":{"id":7,"id":8},"metadata":{"operation":"insert","table-name":"orders"}}', "'id' occurs twice"),
    (b'{"data":{"id":"\\ud800"},"metadata":{"operation":"insert","table-name":"orders"}}', "not JSON"),
    (b'{"data":{"id":"\xff"},"metadata":{"operation":"insert","table-name":"orders"}}', "not UTF-8"),
    (b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
]


@pytest.mark.parametrize(("value", "reason"), REJECTED, ids=[reason for _, reason in REJECTED])
def test_what_cannot_be_an_event_is_rejected_with_the_reason_and_a_remedy(value: Any, reason: str) -> None:
    with pytest.raises(RejectedError, match=reason) as caught:
        decoded(value)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
