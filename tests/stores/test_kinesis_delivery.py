"""Delivery to Kinesis, before a server that refuses some records of a request and takes the others."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from events.clock import system_clock
from events.errors import StoreError
from events.log import LogRecord
from stores.delivery.kinesis import KinesisDeliverer
from stores.delivery_settings import KinesisDeliverySettings
from tests.servers import aws
from tests.servers.between import Answer, Asking, Between, between

MIB = 2**20
_numbers = itertools.count()


class Target:
    """A stream of the server, and a deliverer to it."""

    def __init__(self, client: Any, proxy: Between) -> None:
        self.client = client
        self.proxy = proxy
        self.name = f"delivered-{next(_numbers)}"
        self.pauses: list[float] = []
        self.millis = 0
        client.create_stream(StreamName=self.name, ShardCount=2)
        self.deliverer = KinesisDeliverer(self.settings(), lambda: self.millis, pause=self._pause)

    def settings(self, **more: Any) -> KinesisDeliverySettings:
        said = {"name": "out", "streams": ("alerts",), "kinesis_stream": self.name, "region": aws.REGION}
        return KinesisDeliverySettings(**{**said, "endpoint": self.proxy.endpoint, **more})

    def delivered(self) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        for shard in self.client.list_shards(StreamName=self.name)["Shards"]:
            iterator = self.client.get_shard_iterator(
                StreamName=self.name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            records = self.client.get_records(ShardIterator=iterator)["Records"]
            found += [(record["PartitionKey"], record["Data"]) for record in records]
        return found

    def by_key(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for key, data in self.delivered():
            found[key].append(int(data))
        return found

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.millis += round(seconds * 1000)


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    server = aws.running(request.config)
    client = server.client("kinesis")
    with between(server.endpoint) as proxy:
        target = Target(client, proxy)
        yield target
        target.deliverer.close()
    client.close()


def record(offset: int, value: bytes | None, key: bytes | None = b"k") -> LogRecord:
    return LogRecord("alerts", 0, offset, 0, key, value)


def refuse_some(code: str, when: Callable[[int, int], bool]) -> Callable[[Asking, Callable[[Asking], Answer]], Answer]:
    """Let a server refuse the records of which `when(request, index)` is true, and take the others."""
    requests = itertools.count()

    def instead(request: Asking, ask: Callable[[Asking], Answer]) -> Answer:
        number = next(requests)
        wanted = request["Records"]
        refused = {index for index in range(len(wanted)) if when(number, index)}
        taken = [one for index, one in enumerate(wanted) if index not in refused]
        results = iter(ask({**request, "Records": taken})["Records"] if taken else [])
        answers = [
            {"ErrorCode": code, "ErrorMessage": "refused"} if index in refused else next(results)
            for index in range(len(wanted))
        ]
        return {"FailedRecordCount": len(refused), "Records": answers}

    return instead


def test_records_arrive_under_their_keys(target: Target) -> None:
    refused = target.deliverer.deliver(
        [record(0, b"1", b"a"), record(1, b"2", "ü".encode()), record(2, None, b"a"), record(3, b"4", None)]
    )
    assert list(refused) == []
    assert sorted(target.delivered()) == [("a", b""), ("a", b"1"), ("alerts/0/3", b"4"), ("ü", b"2")]


def test_a_key_that_kinesis_cannot_have_is_replaced_by_one_of_its_own(target: Target) -> None:
    keys = [b"\xff\xfe", b"x" * 257, b"x" * 258, b"\xff\xfe"]
    target.deliverer.deliver([record(offset, b"%d" % offset, key) for offset, key in enumerate(keys)])
    assert sorted(target.by_key().values()) == [[0, 3], [1], [2]]


def test_refused_records_are_sent_again_before_later_ones_of_their_key(target: Target) -> None:
    target.proxy.instead["PutRecords"] = refuse_some(
        "ProvisionedThroughputExceededException", lambda request, index: (request + index) % 3 == 0
    )
    records = [record(number, b"%d" % number, b"key-%d" % (number % 7)) for number in range(60)]
    target.deliverer.deliver(records)
    assert target.by_key() == {f"key-{key}": list(range(key, 60, 7)) for key in range(7)}
    assert target.pauses


def test_a_request_that_fails_whole_is_sent_again(target: Target) -> None:
    target.proxy.refuse("PutRecords", 2, 500, "InternalFailure")
    target.proxy.refuse("PutRecords", 1, 400, "LimitExceededException")
    target.deliverer.deliver([record(0, b"0"), record(1, b"1")])
    assert target.by_key() == {"k": [0, 1]}
    assert target.pauses == sorted(target.pauses)
    assert len(target.pauses) == 3


def test_a_request_keeps_within_the_bounds_of_kinesis(target: Target) -> None:
    target.deliverer.deliver([record(number, b"%d" % number, b"key-%d" % number) for number in range(501)])
    target.deliverer.deliver([record(number, b"x" * (MIB - 10), b"key-%d" % number) for number in range(6)])
    sizes = [len(asked["Records"]) for operation, asked in target.proxy.asked if operation == "PutRecords"]
    assert sizes == [500, 1, 5, 1]


def test_a_record_that_is_too_large_is_refused_and_the_others_are_delivered(target: Target) -> None:
    large = record(1, b"x" * MIB)
    (refused,) = target.deliverer.deliver([record(0, b"0"), large, record(2, b"2")])
    assert refused.record == large
    assert "1048577 bytes" in refused.error.detail
    assert "MaxRecordSizeInKiB" in refused.error.hint
    assert target.by_key() == {"k": [0, 2]}


def test_a_stream_that_takes_nothing_for_a_minute_is_an_error(target: Target) -> None:
    target.proxy.instead["PutRecords"] = refuse_some("ProvisionedThroughputExceededException", lambda *_: True)
    with pytest.raises(
        StoreError, match=r"has taken nothing for 6\d s: ProvisionedThroughputExceededException"
    ) as error:
        target.deliverer.deliver([record(0, b"0")])
    assert "shards" in error.value.hint


def test_denied_access_is_not_tried_again(target: Target) -> None:
    target.proxy.refuse("PutRecords", 1, 400, "AccessDeniedException")
    with pytest.raises(StoreError, match="access is denied") as error:
        target.deliverer.deliver([record(0, b"0")])
    assert "kinesis:PutRecords" in error.value.hint
    assert target.pauses == []


def test_a_stream_that_is_not_there_is_one_line(target: Target) -> None:
    with pytest.raises(StoreError, match="the Kinesis stream 'alrets' does not exist"):
        KinesisDeliverer(target.settings(kinesis_stream="alrets"), system_clock)
