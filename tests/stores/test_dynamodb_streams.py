"""The tap of DynamoDB Streams before moto, whose streams have one shard; what they cannot do is put into its mouth."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from events.changes import Change
from events.clock import system_clock
from events.errors import StoreError
from operators.changes.dynamodb import dynamodb
from operators.changes.rules import StreamRules
from stores.capture.dynamodb import LOOK_MILLIS, DynamoTap
from stores.capture.dynamodb_stream import key_of
from stores.capture_settings import DynamoTapSettings
from tests.servers import aws
from tests.servers.between import Answer, Asking, Between, Refusal, between
from tests.stores.draining import Draining

_numbers = itertools.count()


class Table:
    """A table of the server, of its own for each test."""

    def __init__(self, client: Any, endpoint: str, view: str) -> None:
        self.client = client
        self.endpoint = endpoint
        self.name = f"flights-{next(_numbers)}"
        stream = {"StreamEnabled": True, "StreamViewType": view} if view else {"StreamEnabled": False}
        client.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification=stream,
        )

    def put(self, number: int, **attributes: Any) -> None:
        self.client.put_item(TableName=self.name, Item={"id": {"N": str(number)}, **attributes})

    def delete(self, number: int) -> None:
        self.client.delete_item(TableName=self.name, Key={"id": {"N": str(number)}})

    def settings(self, **more: Any) -> DynamoTapSettings:
        said = {"name": "ops", "table": self.name, "poll_seconds": 0.05, "region": aws.REGION}
        return DynamoTapSettings(**{**said, "endpoint": self.endpoint, **more})


Make = Callable[..., Table]


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    server = aws.running(request.config)
    client = server.client("dynamodb")
    yield lambda view="NEW_AND_OLD_IMAGES": Table(client, server.endpoint, view)
    client.close()


@contextmanager
def drawn_from(settings: DynamoTapSettings, place: Any = None, clock: Any = system_clock) -> Iterator[Draining]:
    tap = DynamoTap(settings, place, clock)
    try:
        yield Draining(tap)
    finally:
        tap.close()


def statuses(draining: Draining) -> list[str]:
    """Return the statuses of the items after their changes."""
    images = [json.loads(value or b"")["dynamodb"]["NewImage"] for value in draining.values]
    return [image["status"]["S"] for image in images]


def test_what_happens_to_items_is_read_by_the_decoder_of_its_format(make: Make) -> None:
    table = make()
    table.put(7, status={"S": "late"}, price={"N": "19.90"}, seal={"B": b"\x00\xff"}, gates={"SS": ["A1"]})
    table.put(7, status={"S": "gone"})
    table.delete(7)
    with drawn_from(table.settings()) as draining:
        draining.until(lambda: len(draining.given) == 3)
    decode = dynamodb(StreamRules(stream="ops", format="dynamodb"))
    changes = [change for record in draining.given for change in decode(record) if isinstance(change, Change)]
    assert [(change.table, change.op) for change in changes] == [
        (table.name, "create"),
        (table.name, "update"),
        (table.name, "delete"),
    ]
    price = Decimal("19.90")
    late = {"id": 7, "status": "late", "price": price, "seal": "AP8=", "gates": ["A1"]}
    assert [(change.before, change.after) for change in changes] == [
        (None, late),
        (late, {"id": 7, "status": "gone"}),
        ({"id": 7, "status": "gone"}, None),
    ]
    assert changes[0].position < changes[1].position < changes[2].position
    assert {record.key for record in draining.given} == {b'{"id":7}'}
    assert all(abs(change.event_time - system_clock()) < 60_000 for change in changes)


def test_it_goes_on_where_it_was(make: Make) -> None:
    table = make()
    for number in range(5):
        table.put(number, status={"S": str(number)})
    with drawn_from(table.settings()) as first:
        first.until(lambda: len(first.given) >= 2, limit=2)
    with drawn_from(table.settings(), first.place) as second:
        table.put(5, status={"S": "5"})
        second.until(lambda: len(first.given) + len(second.given) >= 6 and second.caught_up)
    assert statuses(first) + statuses(second) == ["0", "1", "2", "3", "4", "5"]


def test_newest_leaves_out_what_was_there(make: Make) -> None:
    table = make()
    table.put(1, status={"S": "old"})
    with between(table.endpoint) as proxy:
        # As if the old change had been long ago.
        proxy.later = timedelta(seconds=2)
        with drawn_from(table.settings(start="newest", endpoint=proxy.endpoint)) as draining:
            draining.until(lambda: draining.caught_up)
            assert draining.given == []


def test_the_one_who_changed_an_item_is_told_as_lambda_is_told(make: Make) -> None:
    table = make()
    table.delete(1)
    table.put(1, status={"S": "x"})

    def expire(request: Asking, ask: Callable[[Asking], Answer]) -> Answer:
        answer = ask(request)
        for record in answer["Records"]:
            record["userIdentity"] = {"principalId": "dynamodb.amazonaws.com", "type": "Service"}
            record["userIdentity"] |= {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
        return answer

    with between(table.endpoint) as proxy:
        proxy.instead["GetRecords"] = expire
        with drawn_from(table.settings(endpoint=proxy.endpoint)) as draining:
            draining.until(lambda: bool(draining.given))
    event = json.loads(draining.given[0].value or b"")
    assert event["userIdentity"] == {"principalId": "dynamodb.amazonaws.com", "type": "Service"}


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"id": {"N": "7"}}, b'{"id":7}'),
        ({"b": {"S": 'ü"'}, "a": {"N": "-1.5E+3"}}, '{"a":-1.5E+3,"b":"ü\\""}'.encode()),
        ({"id": {"B": b"\x00\xff"}}, b'{"id":"AP8="}'),
        ({"id": {"N": "NaN"}}, b'{"id":"NaN"}'),
    ],
)
def test_a_key_is_a_json_object(keys: dict[str, dict[str, Any]], key: bytes) -> None:
    assert key_of(keys) == key


def trimmed(make: Make, **more: Any) -> tuple[DynamoTapSettings, Any]:
    """Return the place of one who is away for more than a day, while retention removes what came next."""
    table = make()
    table.put(1, status={"S": "read"})
    with drawn_from(table.settings()) as draining:
        draining.until(lambda: draining.caught_up and bool(draining.given))
    table.put(1, status={"S": "oldest"})
    return table.settings(**more), draining.place


def refuse_sequences(request: Asking, ask: Callable[[Asking], Answer]) -> Answer:
    if request["ShardIteratorType"] == "TRIM_HORIZON":
        return ask(request)
    raise Refusal(400, "TrimmedDataAccessException")


def test_what_a_day_has_removed_is_an_error_or_a_gap_that_is_told(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    settings, place = trimmed(make)
    with between(settings.endpoint) as proxy:
        proxy.later = timedelta(hours=25)
        proxy.instead["GetShardIterator"] = refuse_sequences
        at_proxy = settings.model_copy(update={"endpoint": proxy.endpoint})
        with (
            drawn_from(at_proxy, place) as late,
            pytest.raises(StoreError, match="retention has removed records of shardId"),
        ):
            late.until(lambda: False)
        with drawn_from(at_proxy.model_copy(update={"on_expired": "oldest"}), place) as late:
            late.until(lambda: len(late.given) == 2)
            assert statuses(late) == ["read", "oldest"]
    assert "retention has removed records" in caplog.text


class Switched:
    """A table whose stream was switched off, and on again: the old one is closed, the new one has its changes."""

    def __init__(self, proxy: Between, table: Table) -> None:
        described = table.client.describe_table(TableName=table.name)["Table"]
        self.old: str = described["LatestStreamArn"]
        self.new = self.old[:-1] + ("2" if self.old[-1] == "1" else "1")
        self.on = False
        proxy.instead |= {
            "DescribeTable": self._table,
            "DescribeStream": self._stream,
            "GetShardIterator": self._iterator,
            "GetRecords": self._records,
        }

    def _table(self, request: Asking, ask: Callable[[Asking], Answer]) -> Answer:
        answer = ask(request)
        if self.on:
            answer["Table"]["LatestStreamArn"] = self.new
        return answer

    def _stream(self, request: Asking, ask: Callable[[Asking], Answer]) -> Answer:
        answer = ask({**request, "StreamArn": self.old})
        if self.on and request["StreamArn"] == self.old:
            answer["StreamDescription"]["Shards"][0]["SequenceNumberRange"]["EndingSequenceNumber"] = "9" * 22
        return answer

    def _iterator(self, request: Asking, ask: Callable[[Asking], Answer]) -> Answer:
        iterator = ask({**request, "StreamArn": self.old})["ShardIterator"]
        return {"ShardIterator": ("old " if request["StreamArn"] == self.old else "new ") + iterator}

    def _records(self, request: Asking, ask: Callable[[Asking], Answer]) -> Answer:
        of, _, iterator = request["ShardIterator"].partition(" ")
        ended = self.on and of == "old"  # before the records are read: none comes after the end
        answer = ask({**request, "ShardIterator": iterator})
        if ended:
            return {"Records": answer["Records"]}
        return {**answer, "NextShardIterator": f"{of} {answer['NextShardIterator']}"}


def test_a_stream_that_was_switched_off_is_read_to_its_end_before_that_is_an_error(make: Make) -> None:
    table = make()
    table.put(1, status={"S": "1"})
    with between(table.endpoint) as proxy:
        switched = Switched(proxy, table)
        clock = itertools.count(0, LOOK_MILLIS // 2)
        with drawn_from(table.settings(endpoint=proxy.endpoint), clock=lambda: next(clock)) as draining:
            draining.until(lambda: bool(draining.given))
            table.put(1, status={"S": "2"})
            switched.on = True
            with pytest.raises(StoreError, match="has been off for some time") as error:
                draining.until(lambda: False)
        assert statuses(draining) == ["1", "2"]
        assert "generation" in error.value.hint


def test_if_so_set_the_stream_that_came_after_it_is_gone_on_with(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    table = make()
    table.put(1, status={"S": "1"})
    with between(table.endpoint) as proxy:
        switched = Switched(proxy, table)
        switched.on = True
        clock = itertools.count(0, LOOK_MILLIS // 2)
        settings = table.settings(endpoint=proxy.endpoint, on_expired="oldest")
        place: dict[str, Any] = {"stream": switched.old, "shards": {}, "seen": None}
        with drawn_from(settings, place, clock=lambda: next(clock)) as draining:
            draining.until(lambda: len(draining.given) == 2)
            assert draining.place["stream"] == switched.new
    assert "has been off for some time" in caplog.text


@pytest.mark.parametrize(
    ("view", "said"),
    [("", "has no stream that is on"), ("KEYS_ONLY", "holds KEYS_ONLY, not the items after their changes")],
)
def test_a_stream_without_items_says_how_to_switch_it_on(make: Make, view: str, said: str) -> None:
    table = make(view)
    with pytest.raises(StoreError, match=said) as error:
        DynamoTap(table.settings(), None, system_clock)
    assert "StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES" in error.value.hint


def test_a_table_that_is_not_there_is_one_line(make: Make) -> None:
    with pytest.raises(StoreError, match="the DynamoDB table 'flihgts' does not exist"):
        DynamoTap(make().settings(table="flihgts"), None, system_clock)


def test_the_place_of_another_table_is_an_error(make: Make) -> None:
    settings, place = trimmed(make)
    with pytest.raises(StoreError, match="has been the stream of another table"):
        DynamoTap(settings.model_copy(update={"table": "prices"}), place, system_clock)


def test_denied_access_names_the_action_to_allow(make: Make) -> None:
    table = make()
    with between(table.endpoint) as proxy:
        proxy.refuse("DescribeStream", 1, 400, "AccessDeniedException")
        with pytest.raises(StoreError, match="access is denied") as error:
            DynamoTap(table.settings(endpoint=proxy.endpoint), None, system_clock)
    assert "dynamodb:DescribeStream" in error.value.hint


def test_without_keys_the_error_names_what_to_set(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    table = make()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreError, match="there are no keys of AWS") as error:
        DynamoTap(table.settings(), None, system_clock)
    assert "AWS_ACCESS_KEY_ID" in error.value.hint


def test_without_a_region_the_error_names_the_setting(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    table = make()
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(StoreError, match="no region is known") as error:
        DynamoTap(table.settings(region=""), None, system_clock)
    assert "`region`" in error.value.hint
