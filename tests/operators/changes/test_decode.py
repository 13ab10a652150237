"""The dispatcher: which format an event has, and what is wrong with an event in every format."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, get_args

import msgspec
import pytest

from events.changes import Change
from events.errors import RejectedError, SettingsError
from events.log import LogRecord
from operators.changes.decode import decoder, format_of
from operators.changes.rules import FORMATS, Format, StreamRules, TableRules

RULES = StreamRules("mixed", tables={"flights": TableRules(key=("id",))})
ENVELOPE = {"before": None, "after": {"id": 7}, "source": {"table": "flights"}, "op": "c", "ts_ms": 1}
METADATA = {"operation": "insert", "record-type": "data", "table-name": "flights"}
MAXWELL = {"database": "d", "table": "flights", "type": "insert", "ts": 1, "data": {"id": 7}}
STREAM = {"eventName": "INSERT", "dynamodb": {"Keys": {"id": {"N": "7"}}}}

TOLD: list[tuple[Any, Format]] = [
    (ENVELOPE, "debezium"),
    ({"schema": {"type": "struct"}, "payload": ENVELOPE}, "debezium"),
    ({"schema": None, "payload": ENVELOPE}, "debezium"),
    ({"payload": ENVELOPE}, "debezium"),
    ({"source": {"db": "d"}, "databaseName": "d", "ddl": "create table", "tableChanges": []}, "debezium"),
    ({"status": "BEGIN", "id": "571:53195829", "event_count": None, "data_collections": None, "ts_ms": 1}, "debezium"),
    ({"ts_ms": 1}, "debezium"),
    ({"schema": {}, "payload": {"ts_ms": 1, "ts_us": 1000, "ts_ns": 1_000_000}}, "debezium"),
    ({"id": 7, "__deleted": "false"}, "debezium-flat"),
    ({"id": 7, "op": "x", "source": {"a": 1}, "metadata": 1, "data": 2, "__op": "c"}, "debezium-flat"),
    ({"schema": {}, "payload": {"id": 7, "__deleted": "true"}}, "debezium-flat"),
    ({"data": {"id": 7}, "metadata": METADATA}, "dms"),
    ({"control": {}, "metadata": METADATA}, "dms"),
    (STREAM, "dynamodb"),
    ({"Records": []}, "dynamodb"),
    ({"kinesis": {"data": ""}}, "dynamodb"),
    (MAXWELL, "maxwell"),
    ({"type": "table-create", "database": "d", "table": "t", "def": {}, "ts": 1}, "maxwell"),
    ({"table": "flights", "key": {"id": 7}, "after": {}}, "headrace"),
    ({"table": "flights", "op": "truncate", "source": "main", "position": 1}, "headrace"),
]


@pytest.mark.parametrize(("event", "name"), TOLD, ids=[f"{number}-{name}" for number, (_, name) in enumerate(TOLD)])
def test_the_format_of_an_event_is_told_by_its_envelope(event: Any, name: Format) -> None:
    assert format_of(msgspec.json.encode(event)) == name


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"id": 7},
        {"payload": {}},
        {"schema": {}, "payload": {"id": 7}},
        {"source": "x", "ddl": "y"},
        {"eventName": "INSERT"},
        {"metadata": {}},
        {"table": "flights", "after": {}, "more": 1},
        {"data": {"metadata": METADATA, "data": {}}},
    ],
    ids=str,
)
def test_what_fits_no_format_is_rejected_with_the_names_of_them_all(event: Any) -> None:
    with pytest.raises(RejectedError, match="unknown format") as caught:
        format_of(msgspec.json.encode(event))
    for name in get_args(Format):
        assert name in caught.value.hint or name == "auto"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not JSON"),
        (b'{"op":"c"', "not JSON"),
        (b'{"op":"c"} {}', "not JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'"\xff"', "not UTF-8"),
        (b'{"a":"\\ud800"}', "not JSON"),
        (b'{"schema":{},"payload":null}', "not a JSON object"),
        (b'{"table":"t","op":"delete","op":"delete","key":{"id":1}}', "'op' occurs twice"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b'{"after":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
    ids=range(11),
)
def test_what_is_no_json_object_is_rejected_with_the_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(RejectedError, match=reason) as caught:
        decoder(RULES)(LogRecord("mixed", 0, 0, 0, b"k", raw))
    assert caught.value.hint


def test_auto_decodes_a_stream_of_all_formats() -> None:
    events = [
        {**ENVELOPE, "source": {"connector": "mysql", "name": "x", "db": "d", "table": "flights"}},
        {"id": 7, "__deleted": "false", "__op": "c", "__table": "flights"},
        {"data": {"id": 7}, "metadata": METADATA},
        {"eventName": "INSERT", "tableName": "flights", "dynamodb": {"Keys": {"id": {"N": "7"}}, "NewImage": {}}},
        MAXWELL,
        {"table": "flights", "key": {"id": 7}, "after": {}},
    ]
    decode = decoder(msgspec.structs.replace(RULES, source="main"))
    changes = [one for event in events for one in decode(LogRecord("mixed", 0, 0, 5, b"k", msgspec.json.encode(event)))]
    assert {change.key for change in changes if isinstance(change, Change)} == {'{"id":7}'}
    assert [change.table.rpartition(".")[2] for change in changes] == ["flights"] * len(events)
    assert [change.source for change in changes] == ["main"] * len(events)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (LogRecord("s", 0, 0, 0, b"k", b"{}", {"headrace-broken": "line 3 is no JSON"}), "line 3 is no JSON"),
        (LogRecord("s", 0, 0, 0, b"k" * 60, b"v" * 60), "120 bytes, over the limit of 100 .*max_event_bytes"),
        (LogRecord("s", 0, 0, 0, b"k" * 101, None), "101 bytes, over the limit of 100"),
        (LogRecord("s", 0, 0, 0, b"k", b'{"a'), "not JSON|JSON"),
        (LogRecord("s", 0, 0, 0, b"k", b'{"a":"\xff"}'), "UTF-8"),
        (LogRecord("s", 0, 0, 0, b"k", b"7"), "."),
        (LogRecord("s", 0, 0, 0, b"k", b"{}"), "."),
    ],
    ids=["broken", "long", "long key", "cut", "bytes", "number", "empty"],
)
def test_what_is_wrong_in_every_format_is_rejected_in_each(name: Format, record: LogRecord, reason: str) -> None:
    with pytest.raises(RejectedError, match=reason) as caught:
        decoder(StreamRules("s", name, max_bytes=100))(record)
    assert caught.value.hint


@pytest.mark.parametrize("name", FORMATS)
def test_no_depth_crashes_a_decoder(name: Format) -> None:
    nested = b'{"L":[' * 300 + b'{"NULL":true}' + b"]}" * 300
    raws = [
        b'{"eventName":"INSERT","tableName":"t","dynamodb":{"Keys":{"id":{"N":"1"}},"NewImage":{"a":' + nested + b"}}}",
        b'{"table":"t","key":{"id":1},"after":{"a":' + b"[" * 900 + b"1.5" + b"]" * 900 + b"}}",
    ]
    rules = StreamRules("s", name, tables={"t": TableRules(columns={"price": "decimal"})})
    for raw in raws:
        with suppress(RejectedError):
            assert decoder(rules)(LogRecord("s", 0, 0, 0, b"k", raw))


@pytest.mark.parametrize("name", ["dms", "dynamodb", "maxwell", "headrace"])
def test_what_no_store_could_write_again_for_its_depth_is_rejected(name: Format) -> None:
    raw = b'{"table":"t","key":{"id":1},"after":{"a":' + b"[" * 150 + b"]" * 150 + b"}}"
    with pytest.raises(RejectedError, match="nested too deeply"):
        decoder(StreamRules("s", name))(LogRecord("s", 0, 0, 0, b"k", raw))


def test_a_record_without_a_value_means_a_delete_only_where_its_format_does() -> None:
    record = LogRecord("s", 0, 0, 5, b'{"id":7}', None)

    def changes(name: Format) -> list[Any]:
        return list(decoder(StreamRules("s", name, table="flights"))(record))

    assert {name: [change.op for change in changes(name)] for name in FORMATS} == {
        "auto": [],
        "debezium": [],
        "debezium-flat": ["delete"],
        "dms": [],
        "dynamodb": [],
        "maxwell": [],
        "headrace": ["delete"],
    }


@pytest.mark.parametrize("name", FORMATS)
def test_tombstones_can_be_told_to_be_deletes_or_nothing(name: Format) -> None:
    record = LogRecord("s", 0, 0, 5, b'{"id":7}', None)
    deleting = decoder(StreamRules("s", name, source="s", table="flights", tombstones="delete"))
    ignoring = decoder(StreamRules("s", name, table="flights", tombstones="ignore"))
    (change,) = deleting(record)
    assert isinstance(change, Change)
    assert (change.op, change.record) == ("delete", 's/flights/{"id":7}')
    assert list(ignoring(record)) == []


def test_an_unknown_format_stops_the_start() -> None:
    rules = msgspec.convert({"stream": "s"}, StreamRules)
    wrong = msgspec.structs.replace(rules, format="canal")
    with pytest.raises(SettingsError, match="unknown format 'canal'"):
        decoder(wrong)
