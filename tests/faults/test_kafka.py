"""Kafka's brokers err, fall silent, move and crawl: what an append has confirmed is read, once and in order."""

from __future__ import annotations

import ctypes
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from events.clock import system_clock
from events.errors import StoreError
from events.log import LogRecord
from stores.log.kafka.client import Outgoing
from stores.log.kafka.log import KafkaLog
from stores.settings import Settings
from tests.servers import mock_cluster as mock
from tests.servers.mock_cluster import MockCluster

CLIENTS = ("kafka-python-ng", "confluent")
PARTITIONS = 4
KEYS = 7
BATCH = 50
SECONDS = 40.0
PATIENCE = 20.0
"""How long a client waits for a broker that is to come back; much longer than it is away."""


@pytest.fixture(scope="module")
def running() -> Iterator[MockCluster]:
    with mock.mock_cluster(2) as cluster:
        yield cluster


@pytest.fixture
def stream(request: pytest.FixtureRequest) -> str:
    """Return a name that no other test has."""
    return f"orders-{zlib.crc32(request.node.name.encode())}"


@pytest.fixture
def cluster(running: MockCluster, stream: str) -> Iterator[MockCluster]:
    """Return two brokers that do as they should, each leading half of the stream's partitions."""
    running.create(stream, PARTITIONS)
    for partition in range(PARTITIONS):
        running.lead(stream, partition, 1 + partition % 2)
    yield running
    running.forgive(mock.PRODUCE, mock.FETCH, mock.LIST_OFFSETS)
    for broker in running.brokers:
        running.slow(0, broker)
        running.start(broker)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip("confluent_kafka" if name == "confluent" else "kafka")
    return name


@pytest.fixture
def opened(cluster: MockCluster, client: str) -> Iterator[Callable[..., KafkaLog]]:
    """Open handles of the log; they are closed in the end."""
    logs = []

    def open_one(patience: float = PATIENCE) -> KafkaLog:
        kafka = {"servers": cluster.addresses, "client": client, "timeout_seconds": patience, "group": ""}
        settings = Settings.model_validate({"log": {"backend": "kafka", "kafka": kafka}})
        log = KafkaLog(settings.log.kafka, partitions=PARTITIONS, clock=system_clock)
        logs.append(log)
        return log

    yield open_one
    for log in logs:
        log.close()


def stop(cluster: MockCluster) -> None:
    for broker in cluster.brokers:
        cluster.stop(broker)


def start(cluster: MockCluster) -> None:
    for broker in cluster.brokers:
        cluster.start(broker)


def batch(number: int) -> list[LogRecord]:
    """Return records whose values count on for each key."""
    first = number * BATCH
    return [LogRecord("", 0, 0, system_clock(), b"k%d" % (n % KEYS), b"%d" % n) for n in range(first, first + BATCH)]


class Reader:
    """Reads a log from its beginning as a flow does: in turn, from the offset that the read before has told."""

    def __init__(self, log: KafkaLog, stream: str) -> None:
        self._log = log
        self._stream = stream
        self._offsets: dict[int, int] = {}
        self.records: list[LogRecord] = []

    def turn(self) -> int:
        """Read each partition once; return how many records there were."""
        before = len(self.records)
        for partition in range(PARTITIONS):
            offset = self._offsets.get(partition, 0)
            records, self._offsets[partition] = self._log.read(self._stream, partition, offset, 100)
            self.records += records
        return len(self.records) - before

    def until(self, count: int) -> list[int]:
        """Read until there are so many records, repeated ones not counted; return the numbers of all."""
        deadline = time.monotonic() + SECONDS
        numbers: list[int] = []
        distinct: set[int] = set()
        while True:
            some = [int(record.value or b"") for record in self.records[len(numbers) :]]
            numbers += some
            distinct.update(some)
            if len(distinct) >= count:
                return numbers
            self.turn()
            assert time.monotonic() < deadline, f"read {len(distinct)} of {count} records"

    def is_gapless(self) -> bool:
        """Whether each offset came once, and after the one before it."""
        by_partition: dict[int, list[int]] = {}
        for record in self.records:
            by_partition.setdefault(record.partition, []).append(record.offset)
        return all(offsets == list(range(len(offsets))) for offsets in by_partition.values())

    def is_ordered(self) -> bool:
        """Whether the first copies of the records of each key came in the order of their appends."""
        by_key: dict[bytes | None, dict[int, None]] = {}
        for record in self.records:
            by_key.setdefault(record.key, {}).setdefault(int(record.value or b""))
        return all(list(numbers) == sorted(numbers) for numbers in by_key.values())


class Writer(threading.Thread):
    """Appends batches one after the other until it is told to end; keeps what went wrong."""

    def __init__(self, log: KafkaLog, stream: str) -> None:
        super().__init__()
        self._log = log
        self._stream = stream
        self._over = threading.Event()
        self._moved = threading.Condition()
        self.begun = 0
        self.done = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._over.is_set():
                self._note(begun=self.begun + 1)
                self._log.append(self._stream, batch(self.begun - 1))
                self._note(done=self.begun)
        except BaseException as error:  # told to whoever waits
            self.error = error
            self._note()

    def _note(self, **values: Any) -> None:
        with self._moved:
            for name, value in values.items():
                setattr(self, name, value)
            self._moved.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._moved:
            assert self._moved.wait_for(lambda: self.error is not None or condition(), SECONDS), (
                "the writer stands still"
            )
        assert self.error is None, self.error

    def more(self, batches: int = 3) -> None:
        """Wait until some more batches are confirmed."""
        goal = self.done + batches
        self.wait_for(lambda: self.done >= goal)

    def end(self) -> int:
        """End it; return how many records are confirmed."""
        self._over.set()
        self.join(SECONDS)
        assert not self.is_alive()
        assert self.error is None, self.error
        return self.done * BATCH


def exactly(client: str, numbers: list[int], count: int) -> None:
    """Check that all of what was confirmed is there; the client without idempotence may have sent some of it again."""
    found = numbers if client == "confluent" else list(dict.fromkeys(numbers))
    assert sorted(found) == list(range(count))


@pytest.mark.parametrize(
    "errors",
    [
        [mock.NOT_LEADER, mock.NOT_LEADER, mock.REQUEST_TIMED_OUT],
        [mock.NOT_ENOUGH_REPLICAS, mock.LEADER_NOT_AVAILABLE, mock.NOT_ENOUGH_REPLICAS],
    ],
)
def test_an_append_goes_on_after_errors_that_pass(
    cluster: MockCluster, stream: str, opened: Callable[..., KafkaLog], errors: list[int]
) -> None:
    log = opened()
    log.append(stream, batch(0))
    cluster.err(mock.PRODUCE, *errors)
    log.append(stream, batch(1))
    log.append(stream, batch(2))

    reader = Reader(opened(), stream)
    assert sorted(reader.until(3 * BATCH)) == list(range(3 * BATCH))
    assert reader.is_gapless()
    assert reader.is_ordered()


def test_a_read_goes_on_after_errors_that_pass(
    cluster: MockCluster, stream: str, opened: Callable[..., KafkaLog]
) -> None:
    log = opened()
    log.append(stream, batch(0))
    reader = Reader(opened(), stream)
    reader.until(BATCH)
    cluster.err(mock.FETCH, mock.NOT_LEADER, mock.LEADER_NOT_AVAILABLE, mock.NOT_LEADER)
    cluster.err(mock.LIST_OFFSETS, mock.NOT_LEADER, mock.LEADER_NOT_AVAILABLE)
    log.append(stream, batch(1))

    assert sorted(reader.until(2 * BATCH)) == list(range(2 * BATCH))
    assert sum(log.bounds(stream, partition)[1] for partition in range(PARTITIONS)) == 2 * BATCH
    assert reader.is_gapless()


def test_a_broker_away_for_a_while_costs_nothing_that_was_confirmed(
    cluster: MockCluster, stream: str, client: str, opened: Callable[..., KafkaLog]
) -> None:
    writer, reader = Writer(opened(), stream), Reader(opened(), stream)
    writer.start()
    writer.more()
    reader.until(BATCH)

    stop(cluster)
    stuck = writer.begun
    quiet = 0
    while quiet < 40 or writer.begun < stuck:
        quiet = 0 if reader.turn() else quiet + 1
    assert writer.error is None
    start(cluster)
    writer.more()

    count = writer.end()
    exactly(client, reader.until(count), count)
    assert reader.is_gapless()
    assert reader.is_ordered()


def test_partitions_whose_leader_moves_are_read_and_written_on(
    cluster: MockCluster, stream: str, client: str, opened: Callable[..., KafkaLog]
) -> None:
    writer, reader = Writer(opened(), stream), Reader(opened(), stream)
    writer.start()
    writer.more()
    for leader in (2, 1, 2):
        for partition in range(PARTITIONS):
            cluster.lead(stream, partition, leader)
        reader.until(len(reader.records) + BATCH // 2)
        writer.more()

    count = writer.end()
    exactly(client, reader.until(count), count)
    assert reader.is_gapless()
    assert reader.is_ordered()


def test_a_slow_broker_is_waited_for(
    cluster: MockCluster, stream: str, client: str, opened: Callable[..., KafkaLog]
) -> None:
    cluster.slow(80, 1)
    cluster.slow(80, 2)
    log = opened()
    log.append(stream, batch(0))
    log.append(stream, batch(1))

    reader = Reader(opened(), stream)
    exactly(client, reader.until(2 * BATCH), 2 * BATCH)
    assert reader.is_gapless()


def test_an_append_without_brokers_is_an_error_and_the_next_one_finds_them_again(
    cluster: MockCluster, stream: str, client: str, opened: Callable[..., KafkaLog]
) -> None:
    log = opened(patience=3.0)
    log.append(stream, batch(0))
    stop(cluster)
    with pytest.raises(StoreError, match=cluster.addresses[0]) as failed:
        log.append(stream, batch(1))
    assert failed.value.hint
    start(cluster)
    log.append(stream, batch(2))

    reader = Reader(opened(), stream)
    numbers = reader.until(2 * BATCH)
    assert set(numbers) >= {*range(BATCH), *range(2 * BATCH, 3 * BATCH)}
    assert reader.is_gapless()
    assert reader.is_ordered()


def test_a_read_without_brokers_is_an_error_in_the_end_and_goes_on_when_they_are_back(
    cluster: MockCluster, stream: str, opened: Callable[..., KafkaLog]
) -> None:
    log = opened()
    log.append(stream, batch(0))
    reader = Reader(opened(patience=1.5), stream)
    reader.until(BATCH)
    stop(cluster)
    with pytest.raises(StoreError, match="no broker of"):
        reader.until(BATCH + 1)
    start(cluster)
    log.append(stream, batch(1))

    numbers = reader.until(2 * BATCH)
    assert sorted(numbers) == list(range(2 * BATCH))
    assert reader.is_gapless()


def test_an_append_that_too_few_replicas_take_is_an_error_that_says_so(
    cluster: MockCluster, stream: str, opened: Callable[..., KafkaLog]
) -> None:
    log = opened(patience=3.0)
    log.append(stream, batch(0))
    cluster.err(mock.PRODUCE, *[mock.NOT_ENOUGH_REPLICAS] * 500)
    with pytest.raises(StoreError, match=r"replicas|answered") as failed:
        log.append(stream, batch(1))
    assert failed.value.hint


def test_offsets_are_told_to_a_group_as_soon_as_a_broker_is_back(
    cluster: MockCluster, stream: str, opened: Callable[..., KafkaLog]
) -> None:
    # librdkafka ends the process when an administrator's request to a group is given up while no broker is there.
    committer = opened().client()
    place = (stream, 0)
    committer.commit(f"{stream}-readers", {place: 1})
    stop(cluster)
    returning = threading.Timer(3.0, start, (cluster,))
    returning.start()
    committer.commit(f"{stream}-readers", {place: 2})
    returning.join()
    assert committer.committed(f"{stream}-readers", [place]) == {place: 2}


def test_a_coordinator_that_is_away_holds_up_nothing_but_the_group(
    cluster: MockCluster, stream: str, opened: Callable[..., KafkaLog]
) -> None:
    group, place = f"{stream}-readers", (stream, 0)
    coordinate = cluster._library.rd_kafka_mock_coordinator_set
    coordinate.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int32)
    assert coordinate(cluster._cluster, b"group", group.encode(), 2) == 0
    client = opened().client()
    client.commit(group, {place: 1})
    cluster.stop(2)
    committing = threading.Thread(target=client.commit, args=(group, {place: 2}))
    committing.start()
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        began = time.monotonic()
        assert client.topics()[stream] == PARTITIONS
        assert time.monotonic() - began < 2.0
    assert committing.is_alive()
    cluster.start(2)
    committing.join(SECONDS)
    assert client.committed(group, [place]) == {place: 2}


@pytest.mark.parametrize("how", ["away", "none"])
def test_the_ends_of_partitions_are_told_while_another_one_has_no_leader(
    cluster: MockCluster, stream: str, opened: Callable[..., KafkaLog], how: str
) -> None:
    log = opened()
    client = log.client()

    def told(partition: int, end: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while log.end(stream, partition)[0] != end:
            assert time.monotonic() < deadline, f"the end of partition {partition} was not told in time"

    for partition in range(PARTITIONS):
        told(partition, 0, SECONDS)
    if how == "away":
        cluster.stop(2)
    else:
        cluster.lead(stream, 1, -1)
    for count in range(1, 4):
        log.end(stream, 1)
        client.produce(stream, [Outgoing(0, b"k", b"v", system_clock(), ())])
        told(0, count, 5.0)
    assert log.end(stream, 0)[1] < 5000
    cluster.start(2)
    cluster.lead(stream, 1, 2)
    client.produce(stream, [Outgoing(1, b"k", b"v", system_clock(), ())])
    told(1, 1, SECONDS)


def test_an_end_that_nobody_tells_is_an_error_and_not_a_number(
    cluster: MockCluster, stream: str, opened: Callable[..., KafkaLog]
) -> None:
    client = opened(patience=1.5).client()
    both = [(stream, 0), (stream, 1)]
    assert client.ends(both) == dict.fromkeys(both, 0)
    cluster.stop(2)
    with pytest.raises(StoreError) as failed:
        client.ends(both)
    assert failed.value.hint
    assert client.ends_now([*both, ("absent", 0)], 1.5) == {(stream, 0): 0, (stream, 1): None}
    cluster.lead(stream, 1, 1)
    assert client.ends(both) == dict.fromkeys(both, 0)
