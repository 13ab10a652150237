from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.changes import Change, Truncation
from events.errors import RejectedError, SettingsError
from events.log import LogRecord
from operators.changes.debezium import debezium
from operators.changes.rules import StreamRules, TableRules
from operators.changes.unavailable import MARK

POSTGRES = {
    "version": "3.0.0.Final",
    "connector": "postgresql",
    "name": "travel",
    "ts_ms": 1723115239782,
    "snapshot": "false",
    "db": "travel",
    "sequence": '["26997744","26997904"]',
    "schema": "public",
    "table": "flights",
    "txId": 756,
    "lsn": 26997904,
    "xmin": None,
}
MYSQL = {
    "connector": "mysql",
    "name": "shop",
    "ts_ms": 1700000000000,
    "db": "inventory",
    "table": "flights",
    "gtid": None,
    "file": "mysql-bin.000003",
    "pos": 154,
    "row": 0,
}
MONGO = {
    "connector": "mongodb",
    "name": "docs",
    "ts_ms": 1700000000000,
    "db": "app",
    "collection": "users",
    "ord": 3,
}
ROW = {"id": 101, "origin": "BER", "price": 12.5, "gate": None}


def event(op: str, source: dict[str, Any] = POSTGRES, **members: Any) -> dict[str, Any]:
    return {"before": None, "after": None, "source": source, "op": op, "ts_ms": 1723115240065, **members}


def record(value: Any, key: Any = None, **fields: Any) -> LogRecord:
    raw = value if value is None or isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    raw_key = key if key is None or isinstance(key, bytes) else json.dumps(key, separators=(",", ":")).encode()
    return LogRecord("s", 2, 7, 5, raw_key, raw, **fields)


def changes(value: Any, key: Any = None, **rules: Any) -> list[Change]:
    made = debezium(StreamRules("s", **rules))(record(value, key))
    assert all(type(change) is Change for change in made)
    return list(made)  # type: ignore[arg-type]  # asserted above


def reason(value: Any, key: Any = None, **rules: Any) -> str:
    with pytest.raises(RejectedError) as caught:
        debezium(StreamRules("s", **rules))(record(value, key))
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_insert_is_a_create_with_all_that_its_event_says() -> None:
    transaction = {"id": "756:26997904", "total_order": 3, "data_collection_order": 1}
    assert changes(event("c", after=ROW, transaction=transaction), {"id": 101}) == [
        Change(
            source="travel",
            table="public.flights",
            key='{"id":101}',
            op="create",
            before=None,
            after=ROW,
            event_time=1723115239782,
            position=(0, 26997904, 3),
            transaction="756",
            stream="s",
            partition=2,
            offset=7,
        )
    ]


@pytest.mark.parametrize("op", ["c", "u", "r"])
def test_every_wrapping_of_an_event_says_the_same(op: str) -> None:
    bare = event(op, after=ROW)
    expected = changes(bare, {"id": 101})
    for wrapped in ({"schema": None, "payload": bare}, {"payload": bare, "schema": {}}, {"payload": bare}):
        assert changes(wrapped, {"schema": None, "payload": {"id": 101}}) == expected
    assert changes(json.dumps(bare, indent=2).encode(), b' { "id" : 101 }'.strip()) == expected
    assert expected[0].op == {"c": "create", "u": "update", "r": "read"}[op]


def test_events_of_one_transaction_share_its_id_though_each_has_its_own_lsn() -> None:
    ids = {
        changes(event("c", after=ROW, transaction={"id": f"756:{lsn}", "total_order": 1}), {"id": 101})[0].transaction
        for lsn in (1, 2, 3)
    }
    assert ids == {changes(event("c", after=ROW), {"id": 101})[0].transaction} == {"756"}


def test_the_transaction_of_mysql_is_its_gtid() -> None:
    source = {**MYSQL, "gtid": "0e4d5dcd:10"}
    assert changes(event("c", source, after=ROW), {"id": 101})[0].transaction == "0e4d5dcd:10"
    transaction = {"id": "0e4d5dcd:11", "total_order": 1}
    assert changes(event("c", source, after=ROW, transaction=transaction), {"id": 101})[0].transaction == "0e4d5dcd:11"


def test_a_delete_in_postgres_keeps_of_the_row_before_only_its_key() -> None:
    invented = {"id": 101, "origin": "", "price": 0, "gate": None}
    (change,) = changes(event("d", before=invented), {"id": 101}, tables={"flights": TableRules(initiator="origin")})
    assert (change.op, change.before, change.after, change.initiator) == ("delete", {"id": 101}, None, "")


def test_a_delete_in_mysql_keeps_the_whole_row_before() -> None:
    (change,) = changes(
        event("d", MYSQL, before=ROW), {"id": 101}, tables={"inventory.flights": TableRules(initiator="origin")}
    )
    assert (change.op, change.before, change.after, change.initiator) == ("delete", ROW, None, "BER")
    assert change.position == (0, 3, 154, 0)
    assert change.table == "inventory.flights"


def test_an_update_in_postgres_takes_nothing_made_up_from_before() -> None:
    (change,) = changes(event("u", before={"id": 0, "origin": ""}, after=ROW), {"id": 101})
    assert (change.op, change.key, change.before, change.after) == ("update", '{"id":101}', {"id": 0}, ROW)


@pytest.mark.parametrize("key", [{"id": 100}, {"id": 101}, None])
def test_an_update_of_the_primary_key_is_a_delete_and_a_create(key: Any) -> None:
    old = {**ROW, "id": 100}
    gone, made = changes(
        event("u", MYSQL, before=old, after=ROW),
        key,
        tables={"flights": TableRules(key=("id",) if key is None else ())},
    )
    assert (gone.op, gone.key, gone.before, gone.after) == ("delete", '{"id":100}', old, None)
    assert (made.op, made.key, made.before, made.after) == ("create", '{"id":101}', None, ROW)
    assert gone.position == made.position


def test_an_update_whose_record_key_is_of_a_third_row_is_rejected() -> None:
    assert "neither the row before" in reason(event("u", MYSQL, before={**ROW, "id": 100}, after=ROW), {"id": 5})


@pytest.mark.parametrize(
    "mark",
    [
        MARK,
        "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==",
        "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565",
        [MARK],
        [ord(letter) for letter in MARK],
        ["b68a35a7-17ad-35b3-af2a-ae46edb4545a"],
        {MARK: MARK},
        json.dumps({MARK: MARK}, separators=(",", ":")),
        {"wkb": "AQEAACDmEAAAAAAA/IPXl8EAAAD8g9eXwQ==", "srid": 4326},
    ],
)
def test_a_value_that_was_not_sent_is_unavailable_and_not_in_the_row(mark: Any) -> None:
    rules = {"flights": TableRules(columns={"note": "date-days"})}
    (change,) = changes(event("u", after={**ROW, "note": mark}), {"id": 101}, tables=rules)
    assert change.after == ROW
    assert change.unavailable == ("note",)


@pytest.mark.parametrize("value", [f"{MARK}!", [MARK, MARK], [1], {"a": MARK}, "", {"wkb": 5}])
def test_what_is_not_the_mark_alone_is_a_value(value: Any) -> None:
    (change,) = changes(event("u", after={**ROW, "note": value}), {"id": 101})
    assert (change.after, change.unavailable) == ({**ROW, "note": value}, ())


def test_a_truncation_concerns_one_table() -> None:
    (made,) = debezium(StreamRules("s", generation=4))(record(event("t")))
    assert made == Truncation(
        "travel", "public.flights", 1723115239782, (4, 26997904), "756", "", stream="s", partition=2, offset=7
    )


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"schema": None, "payload": None},
        event("m", message={"prefix": "foo", "content": "Ymfy"}),
        {"ts_ms": 1723115240065},
        {"status": "BEGIN", "id": "571:53195829", "event_count": None, "data_collections": None, "ts_ms": 1},
        {"status": "END", "id": "571:53195832", "event_count": 2, "data_collections": []},
        {"source": MYSQL, "databaseName": "inventory", "ddl": "ALTER TABLE x", "tableChanges": []},
    ],
)
def test_what_says_nothing_of_rows_is_nothing(value: Any) -> None:
    assert debezium(StreamRules("s"))(record(value, {"id": 101})) == ()


def test_a_tombstone_is_a_delete_where_the_user_says_so() -> None:
    rules = {"tombstones": "delete", "table": "public.flights", "source": "travel"}
    (change,) = changes(None, {"id": 101}, **rules)
    assert (change.source, change.table, change.key, change.op) == ("travel", "public.flights", '{"id":101}', "delete")
    assert (change.event_time, change.position) == (5, ())
    assert "neither its table nor its source" in reason(None, {"id": 101}, tombstones="delete")


def test_source_table_and_generation_can_be_set() -> None:
    (change,) = changes(event("c", after=ROW), {"id": 101}, source="fleet", generation=2, table="other")
    assert (change.source, change.table, change.position) == ("fleet", "public.flights", (2, 26997904))
    (change,) = changes(event("c", {}, after=ROW), {"id": 101}, table="other")
    assert (change.source, change.table, change.position, change.event_time) == ("s", "other", (), 1723115240065)
    (change,) = changes({"op": "c", "after": ROW}, {"id": 101}, table="other")
    assert change.event_time == 5


@pytest.mark.parametrize(("ts_ms", "expected"), [(0, 1723115240065), (None, 1723115240065), (17, 17)])
def test_the_time_is_that_of_the_commit_if_known(ts_ms: Any, expected: int) -> None:
    assert changes(event("c", {**POSTGRES, "ts_ms": ts_ms}, after=ROW), {"id": 101})[0].event_time == expected


def test_the_initiator_is_a_column_or_what_the_source_says() -> None:
    oracle = {"connector": "oracle", "name": "o", "schema": "HR", "table": "T", "scn": "5", "user_name": "SCOTT"}
    assert changes(event("c", oracle, after=ROW), {"id": 101})[0].initiator == "SCOTT"
    tables = {"HR.T": TableRules(initiator="origin")}
    assert changes(event("c", oracle, after=ROW), {"id": 101}, tables=tables)[0].initiator == "BER"
    tables = {"HR.T": TableRules(initiator="price")}
    assert changes(event("c", oracle, after=ROW), {"id": 101}, tables=tables)[0].initiator == "12.5"


def test_the_key_is_the_records_or_what_the_rules_name() -> None:
    by_rules = {"public.flights": TableRules(key=("origin", "id"))}
    assert changes(event("c", after=ROW), None, tables=by_rules)[0].key == '{"id":101,"origin":"BER"}'
    assert changes(event("c", after=ROW), {"id": 101}, tables=by_rules)[0].key == '{"id":101,"origin":"BER"}'
    assert changes(event("c", after=ROW), b"101", tables=by_rules)[0].key == '{"id":101,"origin":"BER"}'
    # Of a deleted row in PostgreSQL nothing but the record's key is known.
    assert "does not say the key column 'origin'" in reason(
        event("d", before={"id": 101, "origin": ""}), {"id": 101}, tables=by_rules
    )
    assert changes(event("d", before=ROW), None, tables=by_rules)[0].key == '{"id":101,"origin":"BER"}'
    assert "`key` in [[tables.live]]" in reason(event("c", after=ROW))
    assert "`key` in [[tables.live]]" in reason(event("c", after=ROW), b"101")
    assert "'id' has no value" in reason(event("c", after={**ROW, "id": None}), {"id": None})


def test_a_documents_key_and_images_are_extended_json() -> None:
    before = '{"_id":{"$oid":"67ab25755c0d5ac87eb8c632"},"n":{"$numberLong":"1"}}'
    after = '{"_id":{"$oid":"67ab25755c0d5ac87eb8c632"},"n":{"$numberLong":"2"}}'
    key = {"id": '{"$oid":"67ab25755c0d5ac87eb8c632"}'}
    for named in (key, None):
        (change,) = changes(event("u", MONGO, before=before, after=after), named)
        assert change.key == '{"_id":"67ab25755c0d5ac87eb8c632"}'
        assert change.before == {"_id": "67ab25755c0d5ac87eb8c632", "n": 1}
        assert change.after == {"_id": "67ab25755c0d5ac87eb8c632", "n": 2}
        assert (change.table, change.position) == ("app.users", (0, 1700000000, 3))
    (change,) = changes(event("d", MONGO), key)
    assert (change.op, change.key, change.before) == ("delete", '{"_id":"67ab25755c0d5ac87eb8c632"}', None)
    assert "`key`" in reason(event("d", MONGO))


def test_an_update_without_the_document_is_rejected_with_the_setting_that_brings_it() -> None:
    described = event("u", MONGO, updateDescription={"updatedFields": '{"n":1}'})
    assert "change_streams_update_full" in reason(described, {"id": "1"})


def test_encodings_apply_to_rows_and_keys_alike() -> None:
    tables = {"flights": TableRules(columns={"id": "date-days", "price": "decimal", "stamp": "timestamp-micros"})}
    (change,) = changes(event("u", MYSQL, before=ROW, after={**ROW, "stamp": 1}), {"id": 101}, tables=tables)
    assert change.key == '{"id":"1970-04-12"}'
    assert change.after == {**ROW, "id": "1970-04-12", "price": Decimal("12.5"), "stamp": "1970-01-01T00:00:00.000001"}
    assert change.before == {**ROW, "id": "1970-04-12", "price": Decimal("12.5")}
    assert "'price'" in reason(event("c", after={**ROW, "price": "much"}), {"id": 101}, tables=tables)
    with pytest.raises(SettingsError, match="is no encoding"):
        debezium(StreamRules("s", tables={"flights": TableRules(columns={"id": "days"})}))


def test_a_decimal_that_is_a_json_number_keeps_every_digit() -> None:
    raw = json.dumps(event("c", after={"id": 1, "n": 0, "m": 0.1}), separators=(",", ":")).encode()
    raw = raw.replace(b'"n":0', b'"n":123456789876543212345678987654321.110')
    for value in (raw, b'{"schema":null,"payload":' + raw + b"}"):
        (change,) = changes(value, {"id": 1}, tables={"flights": TableRules(columns={"n": "decimal"})})
        assert change.after == {"id": 1, "n": Decimal("123456789876543212345678987654321.110"), "m": 0.1}
        assert type(change.after["m"]) is float


def _schema(*fields: dict[str, Any]) -> dict[str, Any]:
    row = {"type": "struct", "fields": list(fields), "optional": True, "name": "s.Value"}
    return {"type": "struct", "fields": [{**row, "field": "before"}, {**row, "field": "after"}], "name": "s.Envelope"}


def test_a_schema_says_how_values_are_read_and_the_rules_go_before_it() -> None:
    schema = _schema(
        {"type": "int32", "field": "id"},
        {"type": "int32", "name": "io.debezium.time.Date", "field": "day"},
        {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}, "field": "n"},
        {"type": "int64", "name": "io.debezium.time.Timestamp", "field": "at"},
    )
    value = {
        "schema": schema,
        "payload": event("u", MYSQL, before={"id": 1, "day": 0}, after={"id": 1, "day": 1, "n": "MDk=", "at": 0}),
    }
    key = {"schema": {"type": "struct", "fields": [{"type": "int32", "field": "id"}]}, "payload": {"id": 1}}
    tables = {"flights": TableRules(columns={"at": "instant-millis"})}
    decode = debezium(StreamRules("s", tables=tables))
    for _ in range(3):
        (change,) = decode(record(value, key))
        assert isinstance(change, Change)
        assert change.before == {"id": 1, "day": "1970-01-01"}
        assert change.after == {"id": 1, "day": "1970-01-02", "n": Decimal("123.45"), "at": "1970-01-01T00:00:00Z"}
        assert change.key == '{"id":1}'


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (b'{"op":"c"', "not JSON"),
        (b'{"op":"\xff"}', "not UTF-8"),
        (b"[]", "no JSON object"),
        (b'"c"', "no JSON object"),
        (b"{}", "no `op`"),
        (b'{"op":"c","after":' + b"[" * 5000, "deep"),
        (event("x"), "no operation"),
        ({**event("c"), "op": None}, "no operation"),
        ({**event("c"), "op": ["c"]}, "no operation"),
        ({"id": 1, "name": "row"}, "`format`"),
        (event("c"), "without the row after"),
        (event("c", after=[1]), "`after` is no object"),
        (event("c", after="x"), "`after` is no object"),
        (event("u", MYSQL, before=5, after=ROW), "`before` is no object"),
        (event("d", after=ROW), "with a row after"),
        (
            event("c", after={"id": 1, "d": json.loads("[" * 150 + "]" * 150)}),
            "deep",
        ),
        ({**event("c", after=ROW), "source": "travel"}, "source is no object"),
        (event("c", {**POSTGRES, "lsn": "x"}, after=ROW), "lsn"),
        (event("c", {**POSTGRES, "ts_ms": "today"}, after=ROW), "time"),
        (event("c", {**POSTGRES, "ts_ms": 10**17}, after=ROW), "time"),
        (event("c", {**POSTGRES, "ts_ms": -1}, after=ROW), "time"),
        (event("c", {**POSTGRES, "table": ["t"]}, after=ROW), "no texts"),
        (event("c", {**POSTGRES, "table": 5}, after=ROW), "no text"),
        (event("c", {**POSTGRES, "name": 5}, after=ROW), "no text"),
        (event("c", {**POSTGRES, "connector": {}}, after=ROW), "no texts"),
        (event("c", {**POSTGRES, "table": ""}, after=ROW), "names no table"),
        (event("c", after=ROW, transaction="756"), "transaction"),
        (event("c", after=ROW, transaction={"id": 5}), "transaction"),
        (event("c", MONGO, after=ROW), "no text"),
        (event("c", MONGO, after="{"), "not JSON"),
        (b'{"schema":5,"payload":{"op":"c"}}', "schema"),
        (b'{"op":"c","after":{"id":1,"id":2}}', "occurs twice"),
        (b'{"op":"c","after":{"id":1,"n":"\\ud800"}}', "not JSON"),
    ],
)
def test_bad_input_is_rejected_with_the_reason(value: Any, part: str) -> None:
    assert part in reason(value, {"id": 101})


def test_a_key_that_cannot_be_read_is_rejected() -> None:
    assert "not JSON" in reason(event("c", after=ROW), b'{"id":')
    assert "occurs twice" in reason(event("c", after=ROW), b'{"id":1,"id":1}')
    assert "dict" in reason(event("c", after=ROW), {"id": {"a": 1}})


def test_what_the_log_marked_as_broken_or_is_too_long_is_rejected() -> None:
    decode = debezium(StreamRules("s", max_bytes=100))
    with pytest.raises(RejectedError, match="torn line"):
        decode(record(b"{}", headers={"headrace-broken": "torn line"}))
    with pytest.raises(RejectedError, match="over the limit of 100"):
        decode(record(event("c", after=ROW), {"id": 101}))


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.floats(allow_nan=False)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["before", "after", "source", "op", "ts_ms", "schema", "payload", "id", "transaction", "lsn"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=10,
)


@given(
    st.one_of(
        st.binary(max_size=40),
        _JSON,
        st.fixed_dictionaries(
            {"op": st.sampled_from([*"curdtmx", ""])},
            optional={
                "before": _JSON,
                "after": _JSON,
                "transaction": _JSON,
                "ts_ms": _JSON,
                "source": st.one_of(
                    _JSON,
                    st.fixed_dictionaries(
                        {"connector": st.sampled_from(["postgresql", "mysql", "mongodb", "sqlserver", "oracle"])},
                        optional={
                            name: _JSON for name in ("table", "schema", "db", "lsn", "file", "pos", "ts_ms", "scn")
                        },
                    ),
                ),
            },
        ),
    ),
    st.one_of(st.none(), st.binary(max_size=10), _JSON),
)
def test_no_event_whatever_does_anything_but_decode_or_be_rejected(value: Any, key: Any) -> None:
    decode = debezium(StreamRules("s", table="t", tables={"t": TableRules(columns={"id": "date-days"})}))
    made: Any = ()
    with contextlib.suppress(RejectedError):
        made = decode(record(value, key))
    assert all(isinstance(change, Change | Truncation) for change in made)
