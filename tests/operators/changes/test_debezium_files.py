"""Events that Debezium and its users have written: each decodes, or is rejected for the right reason."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from events.changes import Change
from events.errors import RejectedError
from events.log import LogRecord
from operators.changes.debezium import debezium
from operators.changes.debezium_flat import debezium_flat
from operators.changes.rules import Decode, StreamRules, TableRules

_BY_ID = TableRules(key=("id",))
_TABLES = {
    "customers": _BY_ID,
    "products": _BY_ID,
    "product": _BY_ID,
    "outboxevent": _BY_ID,
    "orders": TableRules(key=("o_key",)),
    "test": _BY_ID,
    "all_types_table": TableRules(key=("_id",)),
    **{name: _BY_ID for name in ("paimon_1", "paimon_2", "ignore", "flink")},
}
_RULES = StreamRules("s", tables=_TABLES)


def _outcome(decode: Decode, raw: bytes, key: bytes | None = None) -> str:
    """Sum up what an event becomes in one line."""
    try:
        made = decode(LogRecord("s", 0, 1, 1, key, raw))
    except RejectedError as error:
        return f"rejected: {error.detail}"
    return "; ".join(
        f"{change.op} {change.table} {change.key} {change.position[1:]}"
        if isinstance(change, Change)
        else f"truncate {change.table} {change.position[1:]}"
        for change in made
    )


def _documents(text: str) -> Iterator[bytes]:
    """Yield the JSON documents of a file of events, whatever its licence comment looks like."""
    text = re.sub(r"\A/\*.*?\*/", "", text, flags=re.DOTALL)
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    decoder, at = json.JSONDecoder(), 0
    while (begin := text.find("{", at)) >= 0:
        _, at = decoder.raw_decode(text, begin)
        yield text[begin:at].encode()


def _records(text: str) -> Iterator[tuple[bytes | None, bytes]]:
    """Yield the keys and values of a file in which a key may stand before each value."""
    key = None
    for raw in _documents(text):
        event = json.loads(raw)
        row = event.get("payload", event)
        if "op" in row or len(row) > 1:
            yield key, raw
            key = None
        else:
            key = raw


def _samples(path: Path) -> list[bytes]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.dumps(json.loads(line)["event"]).encode() for line in lines]


_POSTGRES = [
    'create public.customers {"id":1} (24023128,)',
    'update public.customers {"id":1} (24023128,)',
    'delete public.customers {"id":1} (46523128,)',
    "truncate public.customers (46523128,)",
    "",
    "",
    "",
    "rejected: the event names no table",
    'create inventory.outboxevent {"id":"406c07f3-26f0-4eea-a50c-109940064b8f"} (24064704,)',
    'create public.customers {"id":1} (24023128,)',
    'create public.customers {"id":1} (24023128,)',
    'read public.orders {"o_key":0} (26505352,)',
    'read public.orders {"o_key":0} (26519216,)',
    'read public.orders {"o_key":1} (26524528,)',
    'read inventory.customers {"id":1001} (33816576,)',
    'read inventory.customers {"id":1002} (33816576,)',
    'read inventory.customers {"id":1003} (33816576,)',
    'read inventory.customers {"id":1004} (33816576,)',
    'create inventory.customers {"id":1005} (34466480,)',
    'read inventory.products {"id":101} ()',
    'read inventory.products {"id":101} ()',
]


@pytest.mark.realdata("cdc_samples")
def test_samples_of_postgres_become_what_they_say(real_data: Path) -> None:
    samples = _samples(real_data / "debezium_postgres.jsonl")
    assert [_outcome(debezium(_RULES), raw) for raw in samples] == _POSTGRES


@pytest.mark.realdata("cdc_samples")
def test_the_types_of_a_schemaless_sample_are_read_where_the_user_names_them(real_data: Path) -> None:
    tables = {
        "orders": TableRules(
            key=("o_key",),
            columns={
                "o_time_0": "time-micros",
                "o_timestamp_0": "timestamp-millis",
                "o_timestamp_6": "timestamp-micros",
                "o_numeric": "decimal",
                "o_bytea": "bytes-base64",
                "o_json": "json",
                "o_uuid": "uuid",
            },
        )
    }
    decode = debezium(StreamRules("s", tables=tables))
    row: dict[str, Any] = {}
    for raw in _samples(real_data / "debezium_postgres.jsonl")[11:14]:
        (change,) = decode(LogRecord("s", 0, 1, 1, None, raw))
        assert isinstance(change, Change)
        row |= change.after or {}
    assert row["o_time_0"] == "11:11:11"
    assert row["o_timestamp_0"] == "2011-11-11T11:11:11"
    assert row["o_timestamp_6"] == "2011-11-11T11:11:11.123456"
    assert row["o_numeric"] == Decimal("123456.789")
    assert row["o_bytea"] == "ASNFZ4mrze8="
    assert row["o_json"] == {"k1": "v1", "k2": 11}
    assert row["o_uuid"] == "60f14fe2-f857-404a-b586-3b5375b3259f"
    assert row["o_interval"] == "P1Y2M3DT4H5M6.78S"


@pytest.mark.realdata("cdc_samples")
@pytest.mark.parametrize("name", ["debezium_transaction_metadata", "debezium_schema_change"])
def test_samples_that_say_nothing_of_rows_are_nothing(real_data: Path, name: str) -> None:
    samples = _samples(real_data / f"{name}.jsonl")
    assert len(samples) >= 5
    assert {_outcome(debezium(_RULES), raw) for raw in samples} == {""}


@pytest.mark.realdata("cdc_samples")
def test_unwrapped_samples_become_rows_by_the_key_that_the_user_names(real_data: Path) -> None:
    no_key = "rejected: customers: the event does not say the key column 'id'"
    decode = debezium_flat(StreamRules("s", table="customers", tables=_TABLES))
    assert [_outcome(decode, raw) for raw in _samples(real_data / "debezium_unwrapped.jsonl")] == [
        'update customers {"id":1004} ()',
        *[no_key] * 7,
        "rejected: the event is Debezium's envelope, not a row",
        'update customers {"id":1} ()',
    ]
    marked = _samples(real_data / "debezium_unwrapped.jsonl")[3]
    assert _outcome(decode, marked, b'{"id":2}') == 'delete customers {"id":2} ()'


_DOCUMENT = 'bigdata_test.sync_test_table {"_id":"67ab25755c0d5ac87eb8c632"} (1739321992, 28)'
_ROWLESS = "rejected: no event of Debezium: it has no `op`"
_KEYLESS = "rejected: test.product: the event does not say the key column 'id'"
_PRODUCTS = [f'create test.product {{"id":{number}}} ()' for number in (101, 102, 103, 104)]

_PAIMON = {
    "debezium/database/include/topic0/debezium-data-1.txt": [
        'create test.paimon_1 {"id":101} ()',
        'create test.paimon_2 {"id":102} ()',
        'create test.ignore {"id":103} ()',
        'create test.flink {"id":104} ()',
    ],
    "debezium/table/computedcolumn/debezium-data-1.txt": [_KEYLESS],
    "debezium/table/metadatacolumn/debezium-data-1.txt": [_KEYLESS],
    "debezium/table/nestedtype/debezium-data-1.txt": _PRODUCTS[:1],
    "debezium/table/nullvalue/debezium-data-1.txt": ['create test.test {"id":1} ()'],
    "debezium/table/nullvalue/debezium-data-2.txt": ['create test.test {"id":2} ()'],
    "debezium/table/schema/alltype/debezium-data-1.txt": ['read paimon_sync_table.all_types_table {"_id":1} ()'],
    "debezium/table/schema/computedcolumn/debezium-data-1.txt": _PRODUCTS[:1],
    "debezium/table/schema/include/debezium-data-1.txt": ['create inventory.products {"id":101} (3, 154, 0)'],
    "debezium/table/startupmode/debezium-data-1.txt": _PRODUCTS[:2],
    "debezium/table/startupmode/debezium-data-2.txt": _PRODUCTS[2:],
    "debezium/table/watermark/debezium-data-1.txt": _PRODUCTS[:2],
    "debezium-avro/table/schema/alltype/debezium-avro-data-1.txt": [
        'create workdb.all_types_table {"_id":1} (74, 13593, 0)',
        'create workdb.all_types_table {"_id":2} (73, 337176435, 0)',
    ],
    "debezium-bson/table/event/event-bson.txt": [_ROWLESS],
    "debezium-bson/table/event/event-delete.txt": [f"delete {_DOCUMENT}"] * 3,
    "debezium-bson/table/event/event-insert.txt": [f"create {_DOCUMENT}"],
    "debezium-bson/table/event/event-json.txt": [_ROWLESS],
    "debezium-bson/table/event/event-update.txt": [f"update {_DOCUMENT}"] * 2,
}


@pytest.mark.realdata("paimon_cdc_events")
def test_every_file_of_the_collection_becomes_what_it_says(real_data: Path) -> None:
    folder = real_data / "kafka"
    decode = debezium(_RULES)
    assert {
        str(path.relative_to(folder)): [_outcome(decode, value, key) for key, value in _records(path.read_text())]
        for path in folder.glob("debezium*/**/*.txt")
    } == _PAIMON


@pytest.mark.realdata("paimon_cdc_events")
def test_every_type_of_mysql_is_read_as_its_schema_says(real_data: Path) -> None:
    path = real_data / "kafka/debezium/table/schema/alltype/debezium-data-1.txt"
    ((key, value),) = _records(path.read_text())
    (change,) = debezium(_RULES)(LogRecord("s", 0, 1, 1, key, value))
    assert isinstance(change, Change)
    row = change.after or {}
    # The numbers are written with all their digits, as `decimal.format=NUMERIC` has it: a float would lose some.
    assert row["_fixed"] == Decimal("123456789876543212345678987654321.110")
    assert row["_big_decimal"] == Decimal("2222222222222222300000001111.1234567890")
    assert (row["pt"], row["_decimal"], row["_serial"]) == (Decimal("1.1"), Decimal(11111), Decimal(40000000000))
    assert (row["_float"], row["_double"], row["_bit1"], row["_year"]) == (1.5, 1.000011, True, 2023)
    assert (row["_date"], row["_time"], row["_datetime"]) == ("2023-03-23", "10:13:23", "2023-03-23T14:30:05")
    assert (row["_datetime3"], row["_datetime6"]) == ("2023-03-23T14:30:05.123", "2023-03-23T14:30:05.123456")
    assert (row["_timestamp"], row["_timestamp0"]) == ("2023-03-23T22:00:10.123456Z", "2023-03-23T07:10:00Z")
    assert (row["_bin"], row["_bit"], row["_json"]) == ("Ynl0ZXMAAAAAAA==", "xwcAAAAAAAA=", {"a": "b"})
    assert (row["_enum"], row["_set"], row["_char"]) == ("value1", "a,b", "Paimon")
    assert row["_point"] == {"x": 1.0, "y": 1.0, "wkb": "AQEAAAAAAAAAAADwPwAAAAAAAPA/", "srid": None}
    assert len(row) == 78


@pytest.mark.realdata("paimon_cdc_events")
def test_a_document_is_read_from_extended_json(real_data: Path) -> None:
    path = real_data / "kafka/debezium-bson/table/event/event-update.txt"
    *_, (key, value) = _records(path.read_text())
    (change,) = debezium(_RULES)(LogRecord("s", 0, 1, 1, key, value))
    assert isinstance(change, Change)
    assert change.after == {
        "_id": "67ab25755c0d5ac87eb8c632",
        "created_at": 1736207571013,
        "created_by": "peter",
        "tags": ["succeed"],
        "updated_at": "2025-02-13T14:03:17.970Z",
    }
    assert change.before == {**change.after, "tags": ["pending"], "updated_at": "2025-02-13T14:01:37.970Z"}


@pytest.mark.realdata("debezium_inventory")
def test_the_events_of_the_tutorial_become_what_its_pages_say(real_data: Path) -> None:
    twice = "rejected: the key 'name' occurs twice in one JSON object"
    outcomes: dict[str, list[str]] = {}
    for page in sorted((real_data / "tutorial_events").glob("*.adoc")):
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"\[source,json[^\]]*\]\n-{4}\n(.*?)\n-{4}", text, re.DOTALL)
        # The pages leave out schemas: `{...}`.
        outcomes[page.name] = [_outcome(debezium(_RULES), block.replace("{...}", "null").encode()) for block in blocks]
    torn = "rejected: not JSON: JSON is malformed: expected ',' or '}' (byte 100)"
    assert outcomes == {
        "proc-deleting-record-database-viewing-delete-event.adoc": [_ROWLESS, twice, torn, ""],
        "proc-updating-database-viewing-update-event.adoc": [_ROWLESS, twice],
        "proc-viewing-create-event.adoc": [_ROWLESS, 'read inventory.customers {"id":1004} (3, 154, 0)'],
    }
