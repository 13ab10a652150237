"""DynamoDB Streams, directly and through Kinesis: records written after the API reference, and what must not pass."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from events.changes import Change
from events.errors import RejectedError
from events.log import LogRecord
from operators.changes.dynamodb import dynamodb
from operators.changes.rules import StreamRules, TableRules

ARN = "arn:aws:dynamodb:eu-central-1:123456789012:table/Fares/stream/2026-01-01T00:00:00.000"
RULES = StreamRules("fares")
KEYS = {"id": {"N": "7"}}


def event(name: str, **more: Any) -> dict[str, Any]:
    outer: dict[str, Any] = {
        key: more.pop(key) for key in ("eventSourceARN", "tableName", "userIdentity") if key in more
    }
    stream = {
        "ApproximateCreationDateTime": 1_767_225_600,
        "Keys": KEYS,
        "SequenceNumber": "1405400000000002063282832",
        "SizeBytes": 54,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    return {
        "eventID": "f07f8ca4b0b26cb9c4e5e77e69f274ee",
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "eventSourceARN": ARN,
        "dynamodb": {name: value for name, value in {**stream, **more}.items() if value is not None},
        **outer,
    }


def decoded(value: Any, rules: StreamRules = RULES) -> list[Change]:
    raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return [one for one in dynamodb(rules)(LogRecord("fares", 1, 2, 3, None, raw)) if isinstance(one, Change)]


def value_of(attribute: Any) -> Any:
    (change,) = decoded(event("INSERT", NewImage={**KEYS, "a": attribute}))
    assert change.after is not None
    return change.after["a"]


def test_an_insert_is_a_create_at_its_sequence_number() -> None:
    assert decoded(event("INSERT", NewImage={**KEYS, "to": {"S": "Oslo"}})) == [
        Change(
            source="fares",
            table="Fares",
            key='{"id":7}',
            op="create",
            before=None,
            after={"id": 7, "to": "Oslo"},
            event_time=1_767_225_600_000,
            position=(0, 1405400000000002063282832),
            stream="fares",
            partition=1,
            offset=2,
        )
    ]


def test_a_modification_has_both_images_and_a_removal_the_old_one() -> None:
    (update,) = decoded(event("MODIFY", NewImage={**KEYS, "n": {"N": "2"}}, OldImage={**KEYS, "n": {"N": "1"}}))
    (delete,) = decoded(event("REMOVE", OldImage={**KEYS, "n": {"N": "2"}}))
    (keys_only,) = decoded(event("REMOVE", StreamViewType="KEYS_ONLY"))
    assert (update.op, update.before, update.after) == ("update", {"id": 7, "n": 1}, {"id": 7, "n": 2})
    assert (delete.op, delete.before, delete.after) == ("delete", {"id": 7, "n": 2}, None)
    assert (keys_only.key, keys_only.before) == ('{"id":7}', {"id": 7})


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ({"S": "Grüße"}, "Grüße"),
        ({"N": "123"}, 123),
        ({"N": "-5"}, -5),
        ({"N": "99999999999999999999999999999999999999"}, 99999999999999999999999999999999999999),
        ({"N": "3.14159265358979323846264338327950288"}, Decimal("3.14159265358979323846264338327950288")),
        ({"N": "1E+5"}, Decimal("1E+5")),
        ({"N": 12345}, 12345),
        ({"N": 0.34}, Decimal("0.34")),
        ({"B": "AAEqQQ=="}, "AAEqQQ=="),
        ({"BOOL": False}, False),
        ({"NULL": True}, None),
        ({"S": None}, None),
        ({"SS": ["Zebra", "Giraffe"]}, ["Giraffe", "Zebra"]),
        ({"NS": ["1234", "567.8", "-3"]}, [-3, Decimal("567.8"), 1234]),
        ({"BS": ["QSoBAA==", "AAEqQQ=="]}, ["AAEqQQ==", "QSoBAA=="]),
        ({"L": [{"S": "Cookies"}, {"N": "3.5"}, {"L": []}]}, ["Cookies", Decimal("3.5"), []]),
        ({"M": {"Name": {"S": "Joe"}, "Age": {"N": "35"}, "None": {"M": {}}}}, {"Name": "Joe", "Age": 35, "None": {}}),
    ],
    ids=str,
)
def test_typed_values_become_plain_ones(attribute: Any, value: Any) -> None:
    got = value_of(attribute)
    assert got == value
    assert type(got) is type(value)


def test_numbers_are_whole_exactly_if_they_are_written_so() -> None:
    assert [type(value_of({"N": text})) for text in ("1", "1.0", "1e2")] == [int, Decimal, Decimal]


@pytest.mark.parametrize(
    ("time", "precision", "micros"),
    [
        (1_767_225_600_123_456, "MICROSECOND", 1_767_225_600_123_456),
        (1_767_225_600_123_456, None, 1_767_225_600_123_456),
        (1_767_225_600_123, "MILLISECOND", 1_767_225_600_123_000),
        (1_767_225_600_123, None, 1_767_225_600_123_000),
    ],
)
def test_through_kinesis_the_time_is_the_order(time: int, precision: str | None, micros: int) -> None:
    value = event(
        "INSERT",
        ApproximateCreationDateTime=time,
        ApproximateCreationDateTimePrecision=precision,
        SequenceNumber=None,
        StreamViewType=None,
        NewImage=KEYS,
        tableName="fares",
        eventSourceARN=None,
    )
    (change,) = decoded(value, msgspec.structs.replace(RULES, generation=2))
    assert (change.table, change.position, change.event_time) == ("fares", (2, micros), micros // 1000)


def test_seconds_alone_are_no_order() -> None:
    (change,) = decoded(event("INSERT", SequenceNumber=None, NewImage=KEYS))
    assert change.position == ()


def test_without_a_time_the_logs_time_stands_in() -> None:
    (change,) = decoded(event("INSERT", ApproximateCreationDateTime=None, NewImage=KEYS))
    assert change.event_time == 3


def test_the_table_comes_from_the_event_and_else_from_the_rules() -> None:
    named = msgspec.structs.replace(RULES, table="backup")
    nameless = event("INSERT", NewImage=KEYS, eventSourceARN="stream-ARN")
    (first,) = decoded(event("INSERT", NewImage=KEYS), named)
    (second,) = decoded(nameless, named)
    assert (first.table, second.table) == ("Fares", "backup")
    with pytest.raises(RejectedError, match="neither in tableName nor in eventSourceARN"):
        decoded(nameless)


def test_expired_items_name_the_service_that_deleted_them() -> None:
    identity = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    (expired,) = decoded(event("REMOVE", userIdentity=identity))
    (removed,) = decoded(event("REMOVE", userIdentity=None))
    assert (expired.initiator, removed.initiator) == ("dynamodb.amazonaws.com", "")


def test_the_column_of_the_rules_names_the_initiator_before_the_event_does() -> None:
    rules = StreamRules("fares", tables={"Fares": TableRules(initiator="by")})
    identity = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    image = {**KEYS, "by": {"S": "ann"}}
    (change,) = decoded(event("INSERT", NewImage=image, userIdentity=identity), rules)
    assert change.initiator == "ann"


def test_encodings_apply_to_items_and_to_their_keys() -> None:
    rules = StreamRules("fares", tables={"Fares": TableRules(columns={"day": "date-days"})})
    keys = {"day": {"N": "20454"}}
    (change,) = decoded(event("INSERT", Keys=keys, NewImage=keys), rules)
    assert (change.key, change.after) == ('{"day":"2026-01-01"}', {"day": "2026-01-01"})


def test_a_rule_for_one_column_leaves_the_types_of_the_others_alone() -> None:
    rules = StreamRules("fares", tables={"Fares": TableRules(columns={"price": "decimal"})})
    image = {**KEYS, "price": {"N": "1.50"}, "load": {"N": "0.75"}}
    (change,) = decoded(event("INSERT", NewImage=image), rules)
    assert change.after == {"id": 7, "price": Decimal("1.50"), "load": Decimal("0.75")}
    assert {type(value) for value in change.after.values()} == {int, Decimal}


def test_the_keys_of_the_rules_must_be_there() -> None:
    rules = StreamRules("fares", tables={"Fares": TableRules(key=("code",))})
    (change,) = decoded(event("INSERT", NewImage={**KEYS, "code": {"S": "A"}}), rules)
    assert change.key == '{"code":"A"}'
    with pytest.raises(RejectedError, match="key column 'code' is not in the event"):
        decoded(event("INSERT", NewImage=KEYS), rules)


def kinesis(data: bytes) -> dict[str, Any]:
    return {
        "kinesis": {"partitionKey": "s1", "sequenceNumber": "4956", "data": base64.b64encode(data).decode()},
        "eventSource": "aws:kinesis",
        "eventName": "aws:kinesis:record",
        "eventSourceARN": "arn:aws:kinesis:us-east-1:123456789012:stream/simple-stream",
    }


def test_batches_of_either_kind_give_a_change_for_each_record() -> None:
    one, two = event("INSERT", NewImage=KEYS), event("REMOVE", SequenceNumber="1405400000000002063282833")
    direct = decoded({"Records": [one, two]})
    wrapped = decoded({"Records": [kinesis(msgspec.json.encode(item)) for item in (one, two)]})
    single = decoded(kinesis(msgspec.json.encode(two)))
    assert [change.op for change in direct] == ["create", "delete"]
    assert wrapped == direct
    assert single == direct[1:]
    assert decoded({"Records": []}) == []


def test_a_record_without_a_value_says_nothing_unless_the_rules_say_so() -> None:
    record = LogRecord("fares", 0, 9, 5, b'{"id":7}', None)
    deleting = msgspec.structs.replace(RULES, tombstones="delete", table="Fares")
    assert list(dynamodb(RULES)(record)) == []
    (change,) = dynamodb(deleting)(record)
    assert isinstance(change, Change)
    assert (change.op, change.record) == ("delete", 'fares/Fares/{"id":7}')


def bad(attribute: Any) -> dict[str, Any]:
    return event("INSERT", NewImage={**KEYS, "a": attribute})


REJECTED: list[tuple[Any, str]] = [
    (event("INSERT", StreamViewType="KEYS_ONLY"), "does not have the item .*NEW_AND_OLD_IMAGES"),
    (event("MODIFY", StreamViewType="OLD_IMAGE", OldImage=KEYS), "does not have the item .*NEW_AND_OLD_IMAGES"),
    (event("UPSERT", NewImage=KEYS), "'UPSERT' is not INSERT, MODIFY or REMOVE"),
    (event("INSERT", NewImage=KEYS, Keys=None), "missing required field `Keys`"),
    (event("INSERT", NewImage=KEYS, Keys={}), "does not say which columns are the primary key"),
    (event("INSERT", NewImage=KEYS, SequenceNumber="12a"), "SequenceNumber '12a' is not a whole number"),
    (event("INSERT", NewImage=KEYS, SequenceNumber="9" * 78), "is not a whole number"),
    (event("INSERT", NewImage=KEYS, ApproximateCreationDateTime=-1), "ApproximateCreationDateTime -1 is no time"),
    (event("INSERT", NewImage=KEYS, ApproximateCreationDateTime=1e300), "is no time"),
    (bad("text"), "'a' is not one value with its type"),
    (bad({"S": "a", "N": "1"}), "'a' is not one value with its type"),
    (bad({"X": "a"}), "'a' has the type 'X'"),
    (bad({"S": 1}), "'a' is not of its type S"),
    (bad({"N": "one"}), "'a' is not of its type N"),
    (bad({"N": "NaN"}), "'a' is not of its type N"),
    (bad({"N": "1E+999999999"}), "'a' is not of its type N"),
    (bad({"N": "\uff11"}), "'a' is not of its type N"),
    (bad({"N": True}), "'a' is not of its type N"),
    (bad({"B": "%"}), "'a' is not of its type B"),
    (bad({"BOOL": "true"}), "'a' is not of its type BOOL"),
    (bad({"NULL": False}), "'a' is not of its type NULL"),
    (bad({"SS": "a"}), "'a' is not of its type SS"),
    (bad({"NS": [None]}), "'a' is not of its type N"),
    (bad({"L": {}}), "'a' is not of its type L"),
    (bad({"M": []}), "'a' is not of its type M"),
    ({"Records": {}}, "`Records` is not a list"),
    ({"Records": [{"eventSource": "aws:s3", "s3": {}}]}, "not an event of DynamoDB Streams"),
    (kinesis(b"Hello world"), "data of a record of Kinesis is no event of DynamoDB: not JSON"),
    (kinesis(b'{"message": "test"}'), "not an event of DynamoDB Streams"),
    (kinesis(b"\x1f\x8b\x08\x00"), "data of a record of Kinesis is no event of DynamoDB"),
    ({"kinesis": {"data": "%"}}, "not base64"),
    ({"kinesis": {}}, "a record of Kinesis without data"),
    ([1], "not an event of DynamoDB Streams"),
    (b'{"eventName":"INSERT","eventName":"REMOVE","dynamodb":{"Keys":{}}}', "'eventName' occurs twice"),
]


@pytest.mark.parametrize(("value", "reason"), REJECTED, ids=[str(number) for number in range(len(REJECTED))])
def test_what_cannot_be_an_event_is_rejected_with_the_reason_and_a_remedy(value: Any, reason: str) -> None:
    with pytest.raises(RejectedError, match=reason) as caught:
        decoded(value)
    assert caught.value.hint
    assert "\n" not in str(caught.value)
