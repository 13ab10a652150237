"""Events that others have recorded or published: each decodes to what it says, or is rejected for what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from events.changes import Change, Truncation
from events.errors import RejectedError
from events.log import LogRecord
from operators.changes.decode import decoder
from operators.changes.rules import Decode, StreamRules, TableRules

ID = TableRules(key=("id",))
RULES = StreamRules(
    "s",
    tables={
        **dict.fromkeys(("foo", "t1", "t2", "paimon_1", "paimon_2", "ignore", "flink"), ID),
        "test.product": ID,
    },
)
TABLELESS = "the event names its table neither in tableName nor in eventSourceARN"
NO_EVENT = "the data of a record of Kinesis is no event of DynamoDB: not JSON"
DEVICE = "5F9E-Fsadd41C-4C92-A8C1-70BF3FFB9266"


def outcome(decode: Decode, event: Any) -> str:
    """Say in one line what became of an event."""
    try:
        return "; ".join(map(said, decode(record_of(event)))) or "nothing"
    except RejectedError as error:
        return f"rejected: {error.detail}" if error.hint else "rejected without a remedy"


def said(change: Change | Truncation) -> str:
    assert isinstance(change, Change)
    key = ",".join(str(value) for value in json.loads(change.key).values())
    return f"{change.op} {change.table} {key}"


def record_of(event: Any) -> LogRecord:
    return LogRecord("s", 0, 0, 0, b"k", json.dumps(event).encode())


def samples(folder: Path, name: str) -> list[Any]:
    return [json.loads(line)["event"] for line in (folder / name).read_text().splitlines()]


def changes_of(folder: Path, name: str, number: int) -> list[Change]:
    decoded = decoder(RULES)(record_of(samples(folder, name)[number]))
    return [change for change in decoded if isinstance(change, Change)]


def both(table: str, *numbers: int) -> Iterable[str]:
    return (f"create {table} {number}" for number in numbers)


AFFIX = [
    "create paimon_sync_database_affix.paimon_1 101",
    "create paimon_sync_database_affix.paimon_2 102",
    "create paimon_sync_database_affix.ignore 103",
    "create paimon_sync_database_affix.flink 104",
]
OUTCOMES: dict[str, list[str]] = {
    "aws_dms.jsonl": [
        *AFFIX,
        *both("paimon_sync_database.t1", 101, 102, 101, 102),
        *both("paimon_sync_database.t2", 103, 104, 103, 104),
        *both("paimon_sync_database.t1", 103, 104),
        *both("paimon_sync_database.t2", 103, 104),
        "rejected: test.product: the key column 'id' is not in the event",
        *both("test.product", 101, 102, 103, 104, 105),
        "delete test.product 101",
        "update test.product 105",
        *both("test.product", 107, 103, 104, 103),
        "nothing",
        "nothing",
        "read public.foo 42",
        "create public.foo 46",
        "update public.foo 42",
        "delete public.foo 46; create public.foo 45",
        "delete public.foo 45",
        "nothing",
    ],
    "aws_dms_negative.jsonl": [
        "rejected: a control record with the operation 'insert', which is not one of them",
        "rejected: a control record with the operation 'FOOBAR', which is not one of them",
    ],
    "dynamodb_streams.jsonl": [
        f"create foo {DEVICE}",
        f"create table-testdrive-nested {DEVICE}",
        f"update foo {DEVICE}",
        f"update foo {DEVICE}",
        f"delete foo {DEVICE}",
        "create Example-Table binary,data",
        "create Example-Table binary,data",
        *[f"rejected: {TABLELESS}"] * 5,
    ],
    "kinesis_lambda.jsonl": [
        *[f"rejected: {NO_EVENT}"] * 4,
        "rejected: not an event of DynamoDB Streams: Object missing required field `eventName`",
        f"rejected: {NO_EVENT}",
    ],
}


@pytest.mark.realdata("cdc_samples")
@pytest.mark.parametrize("name", OUTCOMES)
def test_published_samples_say_what_they_say_or_are_rejected_with_the_reason(real_data: Path, name: str) -> None:
    decode = decoder(RULES)
    got = [outcome(decode, event) for event in samples(real_data, name)]
    # The parser's own words follow the reason.
    assert [line.split(": JSON is")[0] for line in got] == OUTCOMES[name]


@pytest.mark.realdata("cdc_samples")
@pytest.mark.parametrize(
    ("name", "format_"),
    [("aws_dms.jsonl", "dms"), ("dynamodb_streams.jsonl", "dynamodb"), ("kinesis_lambda.jsonl", "dynamodb")],
)
def test_the_format_need_not_be_told(real_data: Path, name: str, format_: Any) -> None:
    told, auto = decoder(StreamRules("s", format_, tables=RULES.tables)), decoder(RULES)
    for event in samples(real_data, name):
        assert outcome(auto, event) == outcome(told, event)


@pytest.mark.realdata("cdc_samples")
def test_a_captured_change_of_a_key_in_postgresql(real_data: Path) -> None:
    gone, made = changes_of(real_data, "aws_dms.jsonl", 33)
    lsn = (2 << 32) + 0x7C0073F8
    assert (gone.before, gone.after, gone.position, gone.transaction) == ({"id": 46}, None, (0, lsn, 2, lsn), "1141")
    assert made.after == {"age": 31, "attributes": '{"baz": "qux"}', "id": 45, "name": "Jane"}
    # 2024-07-29T00:59:07.678294Z
    assert made.event_time == gone.event_time == 1_722_214_747_678


@pytest.mark.realdata("cdc_samples")
def test_captured_changes_in_postgresql_are_in_order(real_data: Path) -> None:
    positions = [changes_of(real_data, "aws_dms.jsonl", number)[0].position for number in range(31, 35)]
    assert sorted(positions) == positions
    assert len(set(positions)) == len(positions)


@pytest.mark.realdata("cdc_samples")
def test_a_captured_item_with_sets_lists_and_maps(real_data: Path) -> None:
    (change,) = changes_of(real_data, "dynamodb_streams.jsonl", 3)
    assert change.after == {
        "id": DEVICE,
        "device": "foo",
        "tags": ["foo", "bar"],
        "empty_map": {},
        "empty_list": [],
        "timestamp": "2024-07-12T01:17:42",
        "string_set": ["location_1"],
        "number_set": [Decimal("0.34"), 1, 2, 3],
        "binary_set": ["U3Vubnk="],
        "somemap": {"test": 1, "test2": 2},
        "list_of_objects": [{"foo": "bar"}, {"baz": "qux"}],
    }
    assert change.before is not None
    assert change.before["device"] == {"id": "bar", "serial": 12345}
    assert change.position == (0, 1_720_742_302_233_719)


@pytest.mark.realdata("cdc_samples")
def test_an_item_put_by_the_service_names_it(real_data: Path) -> None:
    (change,) = changes_of(real_data, "dynamodb_streams.jsonl", 5)
    assert change.initiator == "dynamodb.amazonaws.com"
    assert change.after is not None
    assert change.after["asdf2"] == ["AAEqQQ==", "QSoBAA=="]


PRODUCT = ["create test.product 101", "create test.product 102"]
NO_ID = "rejected: test.product: the key column 'id' is not in the event"
PAIMON = {
    "database/include/topic0/aws-dms-data-1.txt": AFFIX,
    "table/computedcolumn/aws-dms-data-1.txt": [NO_ID],
    "table/metadatacolumn/aws-dms-data-1.txt": [NO_ID],
    "table/startupmode/aws-dms-data-1.txt": PRODUCT,
    "table/startupmode/aws-dms-data-2.txt": ["create test.product 103", "create test.product 104"],
    "table/watermark/aws-dms-data-1.txt": PRODUCT,
}


@pytest.mark.realdata("paimon_cdc_events")
def test_events_of_another_programs_tests_say_what_they_say(real_data: Path) -> None:
    decode = decoder(RULES)
    folder = real_data / "kafka" / "aws-dms"
    got = {
        path.relative_to(folder).as_posix(): [
            outcome(decode, json.loads(line)) for line in path.read_text().splitlines() if line.startswith("{")
        ]
        for path in sorted(folder.rglob("*.txt"))
    }
    assert got == PAIMON


@pytest.mark.realdata("paimon_cdc_events")
def test_another_key_makes_rows_of_what_had_none(real_data: Path) -> None:
    path = real_data / "kafka" / "aws-dms" / "table" / "computedcolumn" / "aws-dms-data-1.txt"
    (line,) = [line for line in path.read_text().splitlines() if line.startswith("{")]
    rules = StreamRules("s", tables={"product": TableRules(key=("_id",))})
    (change,) = decoder(rules)(record_of(json.loads(line)))
    assert isinstance(change, Change)
    assert (change.key, change.after) == ('{"_id":101}', {"_id": 101, "_date": "2023-03-23"})
