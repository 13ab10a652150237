from __future__ import annotations

import json
from typing import Any

import pytest

from events.changes import Change
from events.errors import RejectedError, SettingsError
from events.log import LogRecord
from operators.changes.debezium_flat import debezium_flat
from operators.changes.rules import StreamRules, TableRules
from operators.changes.unavailable import MARK

ROW = {"id": 101, "origin": "BER"}


def record(value: Any, key: Any = None, **fields: Any) -> LogRecord:
    raw = value if value is None or isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    raw_key = key if key is None or isinstance(key, bytes) else json.dumps(key, separators=(",", ":")).encode()
    return LogRecord("s", 2, 7, 5, raw_key, raw, **fields)


def change_of(value: Any, key: Any = None, *, table: str = "public.flights", **rules: Any) -> Change:
    (made,) = debezium_flat(StreamRules("s", table=table, **rules))(record(value, key))
    assert isinstance(made, Change)
    return made


def reason(value: Any, key: Any = None, *, table: str = "public.flights", **rules: Any) -> str:
    with pytest.raises(RejectedError) as caught:
        debezium_flat(StreamRules("s", table=table, **rules))(record(value, key))
    assert caught.value.hint
    return str(caught.value)


def test_what_the_transform_added_is_not_the_rows() -> None:
    added = {
        "__deleted": "false",
        "__op": "u",
        "__table": "flights",
        "__schema": "public",
        "__source_lsn": 77,
        "__source_ts_ms": 1700000000000,
        "__ts_ms": 1800000000000,
        "__source_txId": 9,
        "__source_connector": "postgresql",
        "__source_name": "travel",
    }
    assert change_of({**ROW, **added}, {"id": 101}, generation=1) == Change(
        source="s",
        table="public.flights",
        key='{"id":101}',
        op="update",
        before=None,
        after=ROW,
        event_time=1700000000000,
        position=(1, 77),
        transaction="9",
        stream="s",
        partition=2,
        offset=7,
    )


@pytest.mark.parametrize(("op", "expected"), [("c", "create"), ("u", "update"), ("r", "read"), (None, "update")])
def test_the_operation_is_what_the_transform_added_else_an_update(op: Any, expected: str) -> None:
    change = change_of({**ROW, "__op": op} if op else ROW, {"id": 101})
    assert (change.op, change.after, change.event_time, change.position) == (expected, ROW, 5, ())


@pytest.mark.parametrize("added", [{"__deleted": "true"}, {"__deleted": True}, {"__op": "d"}])
def test_a_row_that_is_marked_as_deleted_is_a_delete_of_its_key(added: dict[str, Any]) -> None:
    change = change_of({"id": 101, "origin": "", **added, "__lsn": 5}, {"id": 101})
    assert (change.op, change.key, change.before, change.after) == ("delete", '{"id":101}', {"id": 101}, None)
    assert change.position == (0, 5)
    change = change_of({"id": 101, "origin": "", **added}, None, tables={"flights": TableRules(key=("id",))})
    assert (change.op, change.key, change.before) == ("delete", '{"id":101}', {"id": 101})


@pytest.mark.parametrize("tombstones", ["auto", "delete"])
def test_a_record_without_a_value_deletes_the_row_of_its_key(tombstones: Any) -> None:
    row, gone = change_of(ROW, {"id": 101}), change_of(None, {"id": 101}, tombstones=tombstones)
    assert (gone.op, gone.before, gone.after) == ("delete", {"id": 101}, None)
    assert (gone.source, gone.table, gone.key) == (row.source, row.table, row.key)


def test_a_record_without_a_value_can_be_ignored() -> None:
    assert debezium_flat(StreamRules("s", tombstones="ignore"))(record(None, {"id": 101})) == ()


def test_a_table_without_its_schema_is_the_one_of_the_settings() -> None:
    assert change_of({**ROW, "__table": "flights"}, {"id": 101}).table == "public.flights"
    assert change_of({**ROW, "__table": "rooms"}, {"id": 101}).table == "rooms"
    assert change_of({**ROW, "__db": "shop", "__table": "rooms"}, {"id": 101}).table == "shop.rooms"


@pytest.mark.parametrize(
    ("added", "position"),
    [
        ({"__source_file": "b.000002", "__source_pos": 9, "__source_row": 1}, (0, 2, 9, 1)),
        ({"__file": "b.000002", "__pos": 9}, (0, 2, 9, 0)),
        ({"__lsn": 7, "__transaction_total_order": 2, "__transaction_id": "5:77"}, (0, 7, 2)),
        ({"__source_ord": 4, "__source_ts_ms": 3000}, (0, 3, 4)),
        ({"__source_commit_scn": "8", "__source_scn": "7"}, (0, 8, 7)),
        ({"__ts_ms": 3000}, ()),
    ],
)
def test_positions_are_those_of_the_added_fields(added: dict[str, Any], position: tuple[int, ...]) -> None:
    assert change_of({**ROW, **added}, {"id": 101}).position == position


def test_rows_with_a_schema_are_read_by_it() -> None:
    schema = {
        "type": "struct",
        "fields": [
            {"type": "int32", "field": "id"},
            {"type": "int32", "name": "io.debezium.time.Date", "field": "day"},
            {"type": "string", "field": "__deleted"},
        ],
    }
    value = {"schema": schema, "payload": {"id": 1, "day": 0, "__deleted": "false"}}
    decode = debezium_flat(StreamRules("s", table="t"))
    for _ in range(3):
        (change,) = decode(record(value, {"id": 1}))
        assert isinstance(change, Change)
        assert change.after == {"id": 1, "day": "1970-01-01"}


def test_a_row_may_have_columns_named_schema_and_payload_and_op() -> None:
    row = {"id": 1, "schema": None, "payload": "x", "op": "c", "source": {"a": 1}}
    assert change_of(row, {"id": 1}).after == row


def test_a_value_that_was_not_sent_is_unavailable() -> None:
    change = change_of({**ROW, "note": MARK}, {"id": 101})
    assert (change.after, change.unavailable) == (ROW, ("note",))


def test_encodings_and_the_initiator_are_those_of_the_rules() -> None:
    tables = {"public.flights": TableRules(columns={"day": "date-days"}, initiator="origin")}
    change = change_of({**ROW, "day": 0}, {"id": 101}, tables=tables)
    assert (change.after, change.initiator) == ({**ROW, "day": "1970-01-01"}, "BER")
    with pytest.raises(SettingsError):
        debezium_flat(StreamRules("s", tables={"t": TableRules(columns={"a": "b"})}))


def test_a_documents_key_needs_to_be_named() -> None:
    key = {"id": '{"$oid":"67ab25755c0d5ac87eb8c632"}'}
    document = {"_id": "67ab25755c0d5ac87eb8c632", "n": 1}
    tables = {"t": TableRules(key=("_id",))}
    row, gone = (change_of(value, key, table="t", tables=tables) for value in (document, None))
    assert row.key == gone.key == '{"_id":"67ab25755c0d5ac87eb8c632"}'
    assert '["_id"]' in reason(document, key)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (b"{", "not JSON"),
        (b"[1]", "no JSON object"),
        (b'{"id":1,"id":1}', "occurs twice"),
        ({**ROW, "__op": "x"}, "no operation"),
        ({**ROW, "__op": ["c"]}, "no operation"),
        ({**ROW, "__deleted": "maybe"}, "`__deleted`"),
        ({**ROW, "__lsn": "x"}, "lsn"),
        ({**ROW, "__source_ts_ms": "x"}, "time"),
        ({**ROW, "__table": 5}, "no text"),
        ({"op": "c", "ts_ms": 1, "before": None, "after": ROW, "source": {}}, "'debezium'"),
    ],
)
def test_bad_input_is_rejected_with_the_reason(value: Any, part: str) -> None:
    assert part in reason(value, {"id": 101})


def test_without_a_table_or_a_key_nothing_is_guessed() -> None:
    assert "`table`" in reason(ROW, {"id": 101}, table="")
    assert "`table`" in reason(None, {"id": 101}, table="")
    assert "`key`" in reason(ROW)
    assert "`key`" in reason(None)
    with pytest.raises(RejectedError, match="torn"):
        debezium_flat(StreamRules("s"))(record(b"{}", headers={"headrace-broken": "torn"}))
