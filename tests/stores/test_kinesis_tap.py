"""The tap of Kinesis before a server whose shards split, merge and close as those of AWS do."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from events.clock import system_clock
from events.errors import StoreError, UnreachableError
from stores.capture.kinesis import KinesisTap
from stores.capture_settings import KinesisTapSettings
from tests.servers import kinesis
from tests.servers.between import between
from tests.stores.aggregation import aggregate
from tests.stores.draining import Draining

MIDDLE = str(2**127)
_numbers = itertools.count()


class Stream:
    """A stream of the server, of its own for each test."""

    def __init__(self, client: Any, endpoint: str, shards: int) -> None:
        self.client = client
        self.endpoint = endpoint
        self.name = f"orders-{next(_numbers)}"
        self.make(shards)

    def make(self, shards: int) -> None:
        self.client.create_stream(StreamName=self.name, ShardCount=shards)
        self.settle()

    def put(self, key: str, *values: bytes, **more: Any) -> None:
        for value in values:
            self.client.put_record(StreamName=self.name, Data=value, PartitionKey=key, **more)

    def settle(self) -> None:
        deadline = time.monotonic() + 20
        while self._summary()["StreamStatus"] != "ACTIVE":
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def open_shards(self) -> list[str]:
        listed = self.client.list_shards(StreamName=self.name)["Shards"]
        return [shard["ShardId"] for shard in listed if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]

    def settings(self, **more: Any) -> KinesisTapSettings:
        said = {"name": "shop", "stream": "orders", "kinesis_stream": self.name, "poll_seconds": 0.2}
        return KinesisTapSettings(**{**said, "endpoint": self.endpoint, "region": kinesis.REGION, **more})

    def _summary(self) -> Any:
        return self.client.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]


Make = Callable[..., Stream]


@pytest.fixture
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    server = kinesis.running(request.config)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    client = server.client()
    yield lambda shards=1: Stream(client, server.endpoint, shards)
    client.close()


@contextmanager
def drawn_from(settings: KinesisTapSettings, place: Any = None) -> Iterator[Draining]:
    tap = KinesisTap(settings, place, system_clock)
    try:
        yield Draining(tap)
    finally:
        tap.close()


def by_key(draining: Draining) -> dict[bytes | None, list[bytes | None]]:
    found: dict[bytes | None, list[bytes | None]] = defaultdict(list)
    for record in draining.given:
        found[record.key].append(record.value)
    return found


def test_a_record_becomes_one_of_the_log(make: Make) -> None:
    stream = make()
    before = system_clock()
    stream.put("flight-1", b'{"late": true}')
    with drawn_from(stream.settings()) as draining:
        draining.until(lambda: draining.caught_up and bool(draining.given))
        (record,) = draining.given
        assert (record.stream, record.key, record.value) == ("orders", b"flight-1", b'{"late": true}')
        assert before - 1000 <= record.event_time <= system_clock() + 1000
        assert record.headers["kinesis-shard"] == "shardId-000000000000"
        assert draining.place["shards"] == {"shardId-000000000000": record.headers["kinesis-sequence"]}


def test_it_goes_on_where_it_was_and_gives_nothing_twice(make: Make) -> None:
    stream = make(2)
    for number in range(10):
        stream.put(f"key-{number % 4}", b"%d" % number)
    with drawn_from(stream.settings()) as first:
        first.until(lambda: len(first.given) >= 3, limit=3)
    with drawn_from(stream.settings(), first.place) as second:
        stream.put("key-0", b"10")
        second.until(lambda: len(first.given) + len(second.given) >= 11)
        second.until(lambda: second.caught_up)
    assert sorted(int(value or b"") for value in first.values + second.values) == list(range(11))


def test_through_splits_and_merges_each_key_keeps_its_order(make: Make) -> None:
    stream = make()
    keys = [f"key-{number}" for number in range(6)]
    numbers = itertools.count()

    def put() -> None:
        for key in keys:
            stream.put(key, b"%d" % next(numbers))

    put()
    with drawn_from(stream.settings()) as first:
        first.until(lambda: len(first.given) == 6)
        stream.client.split_shard(
            StreamName=stream.name, ShardToSplit=stream.open_shards()[0], NewStartingHashKey=MIDDLE
        )
        stream.settle()
        put()
        first.until(lambda: len(first.given) >= 8, limit=2)
    low, high = stream.open_shards()
    stream.client.merge_shards(StreamName=stream.name, ShardToMerge=low, AdjacentShardToMerge=high)
    stream.settle()
    put()
    stream.client.update_shard_count(StreamName=stream.name, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    stream.settle()
    put()
    with drawn_from(stream.settings(), first.place) as second:
        second.until(lambda: len(first.given) + len(second.given) >= 24 and second.caught_up)
        second.given[:0] = first.given
        assert by_key(second) == {
            key.encode(): [b"%d" % number for number in range(place, 24, 6)] for place, key in enumerate(keys)
        }
        places = second.place["shards"]
        assert {name: place for name, place in places.items() if place != "closed"}.keys() == set(stream.open_shards())


def test_newest_leaves_out_what_was_there(make: Make) -> None:
    stream = make()
    stream.put("a", b"old")
    with between(stream.endpoint) as proxy:
        # The time that services tell has seconds: one second later nothing old is of the same one.
        proxy.later = timedelta(seconds=-5)
        with drawn_from(stream.settings(endpoint=proxy.endpoint)) as draining:
            draining.until(lambda: draining.values == [b"old"])
        since = draining.given[0].event_time
        proxy.later = timedelta()
        deadline = time.monotonic() + 5
        while system_clock() // 1000 == since // 1000:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with drawn_from(stream.settings(start="newest", endpoint=proxy.endpoint)) as draining:
            draining.until(lambda: draining.caught_up)
            assert draining.place["shards"]["shardId-000000000000"].startswith("@")
            place = draining.place
        stream.put("a", b"new")
        with drawn_from(stream.settings(start="newest", endpoint=proxy.endpoint), place) as draining:
            draining.until(lambda: bool(draining.given))
            assert draining.values == [b"new"]


def test_aggregated_records_are_taken_apart_and_gone_on_with_in_their_middle(make: Make) -> None:
    stream = make()
    stream.put("any", aggregate(("a", None, b"1"), ("b", None, b"2"), ("a", None, b"3")), b"4")
    with drawn_from(stream.settings()) as first:
        first.until(lambda: len(first.given) == 2, limit=2)
    assert first.place["shards"]["shardId-000000000000"].endswith(":1")
    with drawn_from(stream.settings(), first.place) as second:
        second.until(lambda: second.caught_up and len(second.given) >= 2)
    given = first.given + second.given
    assert [(record.key, record.value) for record in given] == [
        (b"a", b"1"),
        (b"b", b"2"),
        (b"a", b"3"),
        (b"any", b"4"),
    ]
    assert [record.headers.get("kinesis-subsequence") for record in given] == ["0", "1", "2", None]


def test_aggregated_records_of_another_shard_are_left_out(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    stream = make(2)
    inside, outside = 7, 2**128 - 7
    data = aggregate(("a", inside, b"1"), ("b", outside, b"2"), ("c", inside, b"3"), ("d", outside, b"4"))
    stream.put("any", data, ExplicitHashKey=str(inside))
    stream.put("any", b"5", ExplicitHashKey=str(inside))
    with drawn_from(stream.settings()) as draining:
        draining.until(lambda: draining.caught_up and len(draining.given) >= 3)
        assert draining.values == [b"1", b"3", b"5"]
    assert caplog.text.count("keys belong to other shards") == 1


def test_the_hash_key_of_a_partition_key_is_where_kinesis_puts_it(make: Make) -> None:
    stream = make(2)
    keys = [f"key-{number}" for number in range(8)]
    stream.put("x", aggregate(*((key, None, key.encode()) for key in keys)), ExplicitHashKey="0")
    with drawn_from(stream.settings()) as draining:
        draining.until(lambda: draining.caught_up)
        hashes = {key: int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(), 16) for key in keys}
        assert draining.values == [key.encode() for key in keys if hashes[key] < 2**127]


def test_refusals_for_now_are_waited_out(make: Make) -> None:
    stream = make()
    stream.put("a", b"1")
    with between(stream.endpoint) as proxy:
        proxy.refuse("GetRecords", 1, 400, "ProvisionedThroughputExceededException")
        proxy.refuse("GetRecords", 1, 500, "InternalFailure")
        proxy.refuse("GetShardIterator", 1, 400, "ProvisionedThroughputExceededException")
        with drawn_from(stream.settings(endpoint=proxy.endpoint)) as draining:
            draining.until(lambda: bool(draining.given))
            assert draining.values == [b"1"]
        assert proxy.refused("GetRecords")
        assert proxy.refused("GetShardIterator")


def test_an_iterator_that_lapsed_is_made_again(make: Make) -> None:
    stream = make()
    stream.put("a", b"1", b"2")
    with between(stream.endpoint) as proxy, drawn_from(stream.settings(endpoint=proxy.endpoint)) as draining:
        draining.until(lambda: len(draining.given) == 2)
        proxy.refuse("GetRecords", 1, 400, "ExpiredIteratorException")
        draining.until(lambda: proxy.refused("GetRecords"))
        stream.put("a", b"3")
        draining.until(lambda: len(draining.given) == 3)
        assert draining.values == [b"1", b"2", b"3"]
        kinds = [asked["ShardIteratorType"] for operation, asked in proxy.asked if operation == "GetShardIterator"]
        assert kinds == ["TRIM_HORIZON", "AT_SEQUENCE_NUMBER"]


def test_a_shard_is_not_asked_more_than_five_times_a_second(make: Make) -> None:
    stream = make()
    with between(stream.endpoint) as proxy, drawn_from(stream.settings(endpoint=proxy.endpoint)) as draining:
        begun = time.monotonic()
        draining.until(lambda: proxy.count("GetRecords") == 4)
        assert time.monotonic() - begun >= 0.6


def test_what_retention_has_taken_is_an_error(make: Make) -> None:
    stream = make()
    stream.put("a", b"1")
    with drawn_from(stream.settings()) as draining:
        draining.until(lambda: draining.caught_up and bool(draining.given))
    # A sequence number that the server does not have, as if it had removed that record.
    shard, sequence = next(iter(draining.place["shards"].items()))
    place = {**draining.place, "shards": {shard: str(int(sequence) - 1)}}
    with between(stream.endpoint) as proxy:
        proxy.later = timedelta(hours=25)
        with (
            drawn_from(stream.settings(endpoint=proxy.endpoint), place) as late,
            pytest.raises(StoreError, match="retention has removed records of shardId-000000000000"),
        ):
            late.until(lambda: False)
        with drawn_from(stream.settings(endpoint=proxy.endpoint, on_expired="oldest"), place) as late:
            late.until(lambda: bool(late.given))
            assert late.values == [b"1"]


def test_a_stream_that_was_made_again_is_an_error(make: Make) -> None:
    stream = make()
    stream.put("a", b"1")
    with drawn_from(stream.settings()) as draining:
        draining.until(lambda: bool(draining.given))
    stream.client.delete_stream(StreamName=stream.name)
    deadline = time.monotonic() + 20
    while stream.name in stream.client.list_streams()["StreamNames"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stream.make(1)
    with pytest.raises(StoreError, match="has been deleted and made again"):
        KinesisTap(stream.settings(), draining.place, system_clock)


def test_a_stream_that_is_not_there_is_one_line(make: Make) -> None:
    stream = make()
    with pytest.raises(StoreError, match="the Kinesis stream 'ordres' does not exist") as caught:
        KinesisTap(stream.settings(kinesis_stream="ordres"), None, system_clock)
    assert "region" in caught.value.hint


def test_denied_access_names_the_action_to_allow(make: Make) -> None:
    stream = make()
    with between(stream.endpoint) as proxy:
        proxy.refuse("GetRecords", 1, 400, "AccessDeniedException")
        with (
            drawn_from(stream.settings(endpoint=proxy.endpoint)) as draining,
            pytest.raises(StoreError, match="access is denied") as caught,
        ):
            draining.until(lambda: False)
        assert "kinesis:GetRecords" in caught.value.hint


def test_an_address_at_which_nobody_is_is_one_line(make: Make) -> None:
    with between("http://127.0.0.1:1") as proxy:
        endpoint = proxy.endpoint
    with pytest.raises(UnreachableError, match=f"{endpoint} cannot be reached"):
        KinesisTap(make().settings(endpoint=endpoint), None, system_clock)
