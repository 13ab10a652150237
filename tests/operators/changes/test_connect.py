from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from events.errors import RejectedError
from operators.changes import connect
from operators.changes.connect import NO_SHAPE, Opener, Shape, is_bare_row, reader, row_shape


def _opener() -> Opener[Shape]:
    return Opener(row_shape, NO_SHAPE, is_bare_row)


def _struct(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "struct", "fields": list(fields), "optional": False, "name": "s.t.Value"}


_ID = {"type": "int32", "optional": False, "field": "id"}
_DAY = {"type": "int32", "optional": True, "name": "io.debezium.time.Date", "version": 1, "field": "day"}


def _wrapped(schema: Any, payload: Any) -> bytes:
    return json.dumps({"schema": schema, "payload": payload}, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "bytes"}, "eWVz", "eWVz"),
        ({"type": "bytes", "name": "io.debezium.data.Bits", "parameters": {"length": "64"}}, "xwc=", "xwc="),
        (
            {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}},
            "MDk=",
            Decimal("123.45"),
        ),
        (
            {"type": "struct", "name": "io.debezium.data.VariableScaleDecimal", "fields": []},
            {"scale": 2, "value": "MDk="},
            Decimal("123.45"),
        ),
        ({"type": "int32", "name": "org.apache.kafka.connect.data.Date"}, 1, "1970-01-02"),
        ({"type": "int32", "name": "org.apache.kafka.connect.data.Time"}, 1500, "00:00:01.500"),
        ({"type": "int64", "name": "org.apache.kafka.connect.data.Timestamp"}, 1500, "1970-01-01T00:00:01.500"),
        ({"type": "int32", "name": "io.debezium.time.Time"}, 1000, "00:00:01"),
        ({"type": "int64", "name": "io.debezium.time.MicroTime"}, 1, "00:00:00.000001"),
        ({"type": "int64", "name": "io.debezium.time.NanoTime"}, 1, "00:00:00.000000001"),
        ({"type": "int64", "name": "io.debezium.time.Timestamp"}, 0, "1970-01-01T00:00:00"),
        ({"type": "int64", "name": "io.debezium.time.MicroTimestamp"}, 1, "1970-01-01T00:00:00.000001"),
        ({"type": "int64", "name": "io.debezium.time.NanoTimestamp"}, 1, "1970-01-01T00:00:00.000000001"),
        (
            {"type": "string", "name": "io.debezium.time.ZonedTimestamp"},
            "2024-01-01T01:00:00+01:00",
            "2024-01-01T00:00:00Z",
        ),
        ({"type": "string", "name": "io.debezium.time.ZonedTime"}, "01:00:00+01:00", "00:00:00Z"),
        ({"type": "string", "name": "io.debezium.time.IsoDate"}, "2024-01-01Z", "2024-01-01"),
        ({"type": "string", "name": "io.debezium.time.IsoTime"}, "01:00:00Z", "01:00:00"),
        ({"type": "string", "name": "io.debezium.time.IsoTimestamp"}, "2024-01-01T01:00:00Z", "2024-01-01T01:00:00"),
        ({"type": "int64", "name": "io.debezium.time.MicroDuration"}, 1_000_000, "PT1S"),
        ({"type": "int64", "name": "io.debezium.time.NanoDuration"}, 1_000_000, "PT0.001S"),
        ({"type": "string", "name": "io.debezium.data.Json"}, '{"a":1}', {"a": 1}),
        (
            {"type": "string", "name": "io.debezium.data.Uuid"},
            "60F14FE2-F857-404A-B586-3B5375B3259F",
            "60f14fe2-f857-404a-b586-3b5375b3259f",
        ),
        (
            {"type": "array", "items": {"type": "int32", "name": "io.debezium.time.Date"}},
            [0, None],
            ["1970-01-01", None],
        ),
        (
            {"type": "map", "keys": {"type": "string"}, "values": {"type": "int32", "name": "io.debezium.time.Date"}},
            {"a": 0},
            {"a": "1970-01-01"},
        ),
        (
            {"type": "map", "keys": {"type": "int32", "name": "io.debezium.time.Date"}, "values": {"type": "int32"}},
            [[0, 5]],
            [["1970-01-01", 5]],
        ),
        (_struct(_ID, _DAY), {"id": 1, "day": 0}, {"id": 1, "day": "1970-01-01"}),
    ],
)
def test_a_schema_says_how_its_values_are_read(schema: dict[str, Any], value: Any, expected: Any) -> None:
    read = reader(schema)
    assert read is not None
    assert read(value) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "int64"},
        {"type": "double"},
        {"type": "string"},
        {"type": "boolean"},
        {"type": "string", "name": "io.debezium.data.Xml"},
        {"type": "string", "name": "io.debezium.data.Enum", "parameters": {"allowed": "a,b"}},
        {"type": "string", "name": "io.debezium.data.EnumSet", "parameters": {"allowed": "a,b"}},
        {"type": "string", "name": "io.debezium.data.Ltree"},
        {"type": "string", "name": "io.debezium.data.TsVector"},
        {"type": "string", "name": "io.debezium.time.Interval"},
        {"type": "int32", "name": "io.debezium.time.Year"},
        {"type": "array", "name": "io.debezium.data.FloatVector", "items": {"type": "float"}},
        {"type": "map", "keys": {"type": "string"}, "values": {"type": "string"}},
    ],
)
def test_types_that_json_has_are_left_as_they_are(schema: dict[str, Any]) -> None:
    assert reader(schema) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": 5},
        {"type": "struct", "fields": {}},
        {"type": "struct", "fields": [5]},
        {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal"},
        {"type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "two"}},
    ],
)
def test_what_is_no_schema_is_rejected(schema: dict[str, Any]) -> None:
    with pytest.raises(RejectedError, match="schema"):
        reader(schema)


def test_a_schema_is_compiled_once_and_known_by_its_bytes() -> None:
    compiled: list[Any] = []
    opener = Opener(lambda schema: compiled.append(schema) or row_shape(schema), NO_SHAPE, is_bare_row)  # type: ignore[func-returns-value]  # append() is None, so that `or` goes on
    other = _struct(_DAY)
    for number in range(4):
        payload, shape = opener.open(_wrapped(_struct(_ID, _DAY), {"id": number, "day": 0}))
        assert payload == {"id": number, "day": 0}
        assert list(shape.reads) == ["day"]
        assert opener.open(_wrapped(other, {"day": number}))[0] == {"day": number}
    assert len(compiled) == 2


def test_only_a_bounded_number_of_schemas_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "MAX_SCHEMAS", 3)
    opener = _opener()
    for number in range(10):
        schema = _struct(_ID, {**_DAY, "field": f"day{number}"})
        payload, shape = opener.open(_wrapped(schema, {"id": 1, f"day{number}": 0}))
        assert payload == {"id": 1, f"day{number}": 0}
        assert list(shape.reads) == [f"day{number}"]


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:-1],
        lambda raw: raw[:-2] + b"}",
        lambda raw: raw[:-1] + b',"x":1',
        lambda raw: raw[:-1] + b',"payload":{"id":2,"day":0}}',
        lambda raw: raw.replace(b'"id":1,"day":0', b'"id":1,"id":1'),
        lambda raw: raw + b"}",
    ],
)
def test_a_known_beginning_does_not_hide_a_broken_end(change: Any) -> None:
    opener = _opener()
    raw = _wrapped(_struct(_ID, _DAY), {"id": 1, "day": 0})
    opener.open(raw)
    with pytest.raises(RejectedError):
        opener.open(change(raw))


def test_members_beside_schema_and_payload_do_not_change_the_reading() -> None:
    opener = Opener(row_shape, NO_SHAPE, lambda event: "op" in event)
    raw = _wrapped(_struct(_ID, _DAY), {"id": 1, "day": 0})
    for event in (raw, raw[:-1] + b',"x":1}', raw, b" " + raw + b"\n", raw.replace(b'":', b'" : ')):
        payload, shape = opener.open(event)
        assert payload == {"id": 1, "day": 0}
        assert list(shape.reads) == ["day"]


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ({"schema": "public", "payload": "x"}, {"schema": "public", "payload": "x"}),
        ({"schema": {"a": 1}, "payload": "x"}, {"schema": {"a": 1}, "payload": "x"}),
        ({"schema": None, "payload": {"id": 1}}, {"id": 1}),
        ({"schema": None, "payload": None}, None),
        ({"payload": 1, "schema": None, "id": 1}, {"payload": 1, "schema": None, "id": 1}),
        ({"payload": {"id": 1}, "schema": _struct(_ID)}, {"id": 1}),
        ([1], [1]),
    ],
)
def test_a_row_with_columns_of_these_names_is_told_from_a_wrapping(event: Any, payload: Any) -> None:
    opener = _opener()
    for _ in range(2):
        assert opener.open(json.dumps(event, separators=(",", ":")).encode())[0] == payload
