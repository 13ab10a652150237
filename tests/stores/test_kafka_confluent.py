"""The client on librdkafka where it differs from others: what it holds, seeks, grows with and refuses."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from events.clock import system_clock
from events.errors import MissingExtraError, RejectedError, StoreError
from stores.log.kafka import confluent_fetch
from stores.log.kafka.client import Fetcher, Outgoing
from stores.log.kafka.confluent import ConfluentClient
from stores.log.kafka.confluent_produce import Delivery
from stores.log_settings import KafkaSettings
from tests.servers import broker

pytest.importorskip("confluent_kafka", reason="no confluent-kafka here: pip install confluent-kafka")
SECONDS = 20.0


@pytest.fixture
def settings(pytestconfig: pytest.Config) -> KafkaSettings:
    server = broker.running(pytestconfig)
    given = {"servers": [server.address], "client": "confluent", "prefix": server.prefix(), "max_message_bytes": 5000}
    return KafkaSettings.model_validate(given)


@pytest.fixture
def client(settings: KafkaSettings) -> Iterator[ConfluentClient]:
    made = ConfluentClient(settings)
    yield made
    made.close()


@pytest.fixture
def fetcher(client: ConfluentClient) -> Iterator[Fetcher]:
    made = client.fetcher()
    yield made
    made.close()


def numbered(partition: int, numbers: range) -> list[Outgoing]:
    return [Outgoing(partition, b"k", b"%d" % n, system_clock(), ()) for n in numbers]


def read(fetcher: Fetcher, topic: str, partition: int, offset: int, count: int) -> tuple[list[int], int]:
    """Fetch until there are so many records; return their numbers, and the offset to go on from."""
    found: list[int] = []
    deadline = time.monotonic() + SECONDS
    while len(found) < count:
        fetched = fetcher.fetch(topic, partition, offset, count - len(found), 0.05)
        found += [int(record.value or b"") for record in fetched.records]
        offset = fetched.next
        assert time.monotonic() < deadline, f"fetched {len(found)} of {count}"
    return found, offset


@pytest.mark.parametrize("bound", ["HELD", "HELD_BYTES"])
def test_a_partition_that_nobody_asks_for_any_more_is_given_up_and_read_on_later_without_a_gap(
    client: ConfluentClient,
    fetcher: Fetcher,
    settings: KafkaSettings,
    monkeypatch: pytest.MonkeyPatch,
    bound: str,
) -> None:
    monkeypatch.setattr(confluent_fetch, bound, 200)
    topic = f"{settings.prefix}held"
    client.create(topic, 2, 1, {})
    client.produce(topic, numbered(0, range(5000)))
    first, after = read(fetcher, topic, 0, 0, 10)
    # The other partition can only be read on when the first one has made room.
    for n in range(0, 100, 10):
        client.produce(topic, numbered(1, range(n, n + 10)))
        assert read(fetcher, topic, 1, n, 10)[0] == list(range(n, n + 10))
    rest, _ = read(fetcher, topic, 0, after, 4990)
    assert first + rest == list(range(5000))


def test_an_offset_can_be_sought_back_and_forth(
    client: ConfluentClient, fetcher: Fetcher, settings: KafkaSettings
) -> None:
    topic = f"{settings.prefix}sought"
    client.create(topic, 1, 1, {})
    client.produce(topic, numbered(0, range(1000)))
    for offset in (0, 900, 5, 5, 500, 0):
        assert read(fetcher, topic, 0, offset, 50)[0] == list(range(offset, offset + 50))


def test_a_producer_finds_partitions_that_came_since(client: ConfluentClient, settings: KafkaSettings) -> None:
    topic = f"{settings.prefix}grown"
    client.create(topic, 1, 1, {})
    client.produce(topic, numbered(0, range(3)))
    other = ConfluentClient(settings)
    other.grow(topic, 3)
    other.close()
    client.produce(topic, numbered(2, range(4)))
    assert client.ends([(topic, 0), (topic, 2), (topic, 3)]) == {(topic, 0): 3, (topic, 2): 4}


def test_a_partition_that_does_not_show_is_asked_for_at_a_measured_pace(
    settings: KafkaSettings, client: ConfluentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    import confluent_kafka

    topic = f"{settings.prefix}short"
    client.create(topic, 1, 1, {})
    asked = 0

    class Counting:
        def __init__(self, options: dict[str, Any]) -> None:
            self._producer = producer(options)

        def __getattr__(self, name: str) -> Any:
            nonlocal asked
            asked += name == "list_topics"
            return getattr(self._producer, name)

    producer = confluent_kafka.Producer
    monkeypatch.setattr(confluent_kafka, "Producer", Counting)
    delivery = Delivery(settings.model_copy(update={"timeout_seconds": 1.0}))
    with pytest.raises(StoreError):
        delivery.deliver(topic, numbered(1, range(1)))
    delivery.abandon()
    delivery.close()
    assert 2 <= asked <= 11


def test_a_record_over_the_limit_is_refused_before_any_of_the_call_is_sent(
    client: ConfluentClient, settings: KafkaSettings
) -> None:
    topic = f"{settings.prefix}large"
    client.create(topic, 1, 1, {})
    with pytest.raises(RejectedError, match="5000"):
        client.produce(topic, [*numbered(0, range(3)), Outgoing(0, b"k", b"." * 6000, 1, ())])
    assert client.ends([(topic, 0)]) == {(topic, 0): 0}


def test_a_record_that_the_topic_alone_refuses_is_rejected_and_the_next_one_goes_through(
    client: ConfluentClient, settings: KafkaSettings
) -> None:
    topic = f"{settings.prefix}small"
    client.create(topic, 1, 1, {"max.message.bytes": "1000"})
    with pytest.raises(RejectedError, match="larger than the topic takes"):
        client.produce(topic, [Outgoing(0, b"k", b"." * 3000, system_clock(), ())])
    client.produce(topic, numbered(0, range(2)))
    assert client.ends([(topic, 0)]) == {(topic, 0): 2}


def test_what_nobody_has_committed_or_made_is_not_there(client: ConfluentClient, settings: KafkaSettings) -> None:
    topic = f"{settings.prefix}absent"
    assert client.ends([(topic, 0)]) == {}
    assert client.beginnings([(topic, 0)]) == {}
    assert client.offset_at(topic, 0, 1) is None
    assert client.committed(f"{settings.prefix}nobody", [(topic, 0)]) == {}
    assert client.describe([topic]) == []


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    with pytest.raises(MissingExtraError) as missing:
        ConfluentClient(KafkaSettings(servers=("127.0.0.1:1",)))
    assert missing.value.hint == "pip install 'headrace[confluent]'"
