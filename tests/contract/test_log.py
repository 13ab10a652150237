"""What every log must do, whatever it is kept in. An adapter joins by a factory in `ADAPTERS`.

A log behind a network may know a moment later what another handle has done, and find removed what it is to read only
when the broker has said so: then it is asked again until a deadline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from events.errors import StoreError
from events.log import LogRecord
from stores.log.base import Log
from stores.log.files import FileLog
from stores.log.kafka.log import KafkaLog
from stores.log_settings import KafkaSettings
from tests.servers import broker

DEADLINE_SECONDS = 20.0
DEFAULT_PARTITIONS = 3

# A factory gets a place of its own and returns what opens one more handle of the log kept there at each call. Streams
# are made with DEFAULT_PARTITIONS, and after some hundred records of 100 bytes retention has something to remove.
Factory = Callable[[pytest.Config, Path], Callable[[], Log]]


class _KeepingLog(KafkaLog):
    """Keeps old records, as the tests' are: brokers remove by time what is not to be kept for ever."""

    def create(
        self,
        stream: str,
        partitions: int,
        configuration: Mapping[str, str] | None = None,
        replication: int | None = None,
    ) -> None:
        super().create(stream, partitions, {"retention.ms": "-1", **(configuration or {})}, replication)


def _files(config: pytest.Config, place: Path) -> Callable[[], Log]:
    return lambda: FileLog(place / "log", partitions=DEFAULT_PARTITIONS, segment_bytes=2_000)


def _kafka(client: str, config: pytest.Config, place: Path) -> Callable[[], Log]:
    if client == "confluent":
        pytest.importorskip("confluent_kafka", reason="no confluent-kafka here: pip install confluent-kafka")
    server = broker.running(config)
    settings = KafkaSettings.model_validate(
        {"servers": [server.address], "client": client, "prefix": server.prefix(), "timeout_seconds": 20}
    )
    return lambda: _KeepingLog(settings, partitions=DEFAULT_PARTITIONS)


ADAPTERS: dict[str, Factory] = {
    "files": _files,
    "kafka-python-ng": partial(_kafka, "kafka-python-ng"),
    "confluent": partial(_kafka, "confluent"),
}


@pytest.fixture(params=ADAPTERS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Log]]:
    open_one = ADAPTERS[request.param](request.config, tmp_path)
    handles: list[Log] = []

    def one_more() -> Log:
        handles.append(open_one())
        return handles[-1]

    yield one_more
    for handle in handles:
        handle.close()


@pytest.fixture
def log(opened: Callable[[], Log]) -> Log:
    return opened()


def record(key: bytes | None, value: bytes | None, event_time: int = 1_700_000_000_000, **headers: str) -> LogRecord:
    return LogRecord("ignored", 77, 99, event_time, key, value, headers)


def read_from(log: Log, stream: str, partition: int, offset: int, limit: int = 10) -> list[LogRecord]:
    """Read until the end is reached; an adapter over a network may need several reads to find it."""
    records: list[LogRecord] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while offset < log.bounds(stream, partition)[1]:
        some, offset = log.read(stream, partition, offset, limit)
        assert len(some) <= limit
        records += some
        assert time.monotonic() < deadline, "the end was not reached in time"
    return records


def await_that(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"


def read_until_refused(log: Log, stream: str, partition: int, offset: int) -> None:
    """Read at an offset that may not be there: nothing must come of it before it is refused."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        assert log.read(stream, partition, offset, 10) == ([], offset)


def read_all(log: Log, stream: str, limit: int = 10) -> dict[int, list[LogRecord]]:
    return {
        partition: read_from(log, stream, partition, log.bounds(stream, partition)[0], limit)
        for partition in log.partitions(stream)
    }


def test_what_is_appended_comes_back_byte_for_byte(log: Log) -> None:
    log.create("orders", 1)
    given = [
        record(b"k1", b'{"a": 1, "b" : [1.50, 1e400]}', 1, trace="x", **{"content-type": "text"}),
        record(b"", b""),
        record(None, b"\x00\xff\n\r\n"),
        record(b"\xff\xfe", b' {"padded": true} '),
        record("Ünïcode \u2028".encode(), '{"ü":"\u2028"}'.encode()),
        record(b"gone", None),
        record(b"the word", b"null"),
        record(b"torn", b'{"a":'),
        record(b"at the epoch", b"0", 0),
        record(b"before the epoch", b"0", -5),
    ]
    log.append("orders", given)

    found = read_all(log, "orders")[0]

    plain = [(r.key, r.value, r.event_time, r.headers) for r in found]
    assert plain == [(r.key, r.value, r.event_time, r.headers) for r in given]
    assert {(r.stream, r.partition) for r in found} == {("orders", 0)}


def test_records_of_one_key_stay_in_one_partition_and_in_order(log: Log) -> None:
    log.create("orders", 4)
    for batch in range(10):
        log.append("orders", [record(b"k%d" % (n % 7), b"%d" % (batch * 20 + n)) for n in range(20)])

    found = read_all(log, "orders")

    for key in (b"k%d" % n for n in range(7)):
        homes = [partition for partition, records in found.items() if any(r.key == key for r in records)]
        assert len(homes) == 1
        values = [int(r.value or b"") for r in found[homes[0]] if r.key == key]
        assert values == sorted(values)
    assert sorted(int(r.value or b"") for records in found.values() for r in records) == list(range(200))


def test_a_key_has_the_same_partition_in_every_process(log: Log, opened: Callable[[], Log]) -> None:
    log.create("orders", 4)
    log.append("orders", [record(b"k%d" % n, b"1") for n in range(20)])
    opened().append("orders", [record(b"k%d" % n, b"2") for n in reversed(range(20))])

    homes: dict[bytes, set[int]] = {}
    for partition, records in read_all(log, "orders").items():
        for found in records:
            homes.setdefault(found.key or b"", set()).add(partition)

    assert len(homes) == 20
    assert {len(partitions) for partitions in homes.values()} == {1}


def test_records_without_a_key_go_round(log: Log) -> None:
    log.create("orders", 3)
    for n in range(9):
        log.append("orders", [record(None, b"%d" % n)])
    assert [len(records) for records in read_all(log, "orders").values()] == [3, 3, 3]


def test_a_stream_that_does_not_exist_is_made_by_an_append(log: Log) -> None:
    assert log.partitions("orders") == []
    log.append("orders", [record(b"k", b"1")])
    assert log.partitions("orders") == list(range(DEFAULT_PARTITIONS))


def test_appending_nothing_changes_nothing(log: Log) -> None:
    log.append("orders", [])
    log.create("orders", 1)
    log.append("orders", [])
    assert log.bounds("orders", 0)[0] == log.bounds("orders", 0)[1]


def test_creating_again_adds_partitions_and_never_removes_any(log: Log) -> None:
    log.create("orders", 2)
    log.append("orders", [record(b"k%d" % n, b"1") for n in range(10)])
    before = read_all(log, "orders")

    log.create("orders", 1)
    assert log.partitions("orders") == [0, 1]
    log.create("orders", 4)
    assert log.partitions("orders") == [0, 1, 2, 3]

    after = read_all(log, "orders")
    assert {partition: after[partition] for partition in before} == before
    assert after[2] == after[3] == []


def test_partitions_that_come_later_are_seen_and_written_by_handles_opened_before(
    log: Log, opened: Callable[[], Log]
) -> None:
    log.create("orders", 1)
    log.append("orders", [record(None, b"0")])
    assert log.partitions("orders") == [0]

    opened().create("orders", 3)
    await_that(lambda: log.partitions("orders") == [0, 1, 2], "the partitions that came later")
    log.append("orders", [record(None, b"%d" % n) for n in range(30)])

    assert [len(records) > 0 for records in read_all(log, "orders").values()] == [True, True, True]


def test_offsets_grow_and_reading_can_begin_at_each_of_them(log: Log) -> None:
    log.create("orders", 1)
    log.append("orders", [record(b"k", b"%d" % n) for n in range(25)])
    records = read_all(log, "orders")[0]
    offsets = [r.offset for r in records]

    assert offsets == sorted(set(offsets))
    assert offsets[0] == log.bounds("orders", 0)[0]
    for n in (24, 0, 7, 13, 12):
        assert read_from(log, "orders", 0, offsets[n]) == records[n:]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_the_limit_changes_nothing_about_what_is_read(log: Log, limit: int) -> None:
    log.create("orders", 1)
    log.append("orders", [record(b"k", b"%d" % n) for n in range(100)])
    assert [r.value for r in read_all(log, "orders", limit)[0]] == [b"%d" % n for n in range(100)]


def test_a_limit_of_none_reads_none(log: Log) -> None:
    log.append("orders", [record(b"k", b"1")])
    assert log.read("orders", 0, 0, 0) == ([], 0)


def test_at_the_end_nothing_is_read_and_the_offset_stays(log: Log) -> None:
    log.create("orders", 1)
    assert log.read("orders", 0, 0, 10) == ([], 0)
    log.append("orders", [record(b"k", b"1")])
    end = log.bounds("orders", 0)[1]
    assert log.read("orders", 0, end, 10) == ([], end)


def test_what_does_not_exist_is_empty(log: Log) -> None:
    assert log.partitions("absent") == []
    assert log.bounds("absent", 0) == (0, 0)
    assert log.read("absent", 0, 0, 10) == ([], 0)
    assert log.retain("absent", 2_000_000_000_000) == 0
    log.create("orders", 1)
    assert log.bounds("orders", 1) == (0, 0)
    assert log.read("orders", 1, 0, 10) == ([], 0)


def test_a_reader_at_the_end_sees_what_another_handle_appends(log: Log, opened: Callable[[], Log]) -> None:
    log.create("orders", 1)
    writer = opened()
    offset = 0
    seen: list[bytes | None] = []
    for n in range(60):
        writer.append("orders", [record(b"k", b"%d" % n)])
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(seen) <= n and time.monotonic() < deadline:
            records, offset = log.read("orders", 0, offset, 10)
            seen += [r.value for r in records]
    assert seen == [b"%d" % n for n in range(60)]


def test_streams_are_listed_by_name(log: Log) -> None:
    assert log.streams() == []
    log.append("b", [LogRecord("b", 0, 0, 1, b"k", b"1")])
    log.create("a", 1)
    assert log.streams() == ["a", "b"]


def test_streams_do_not_touch_each_other(log: Log) -> None:
    log.append("orders", [record(b"k", b"1")])
    log.append("orders.eu", [record(b"k", b"2")])
    assert [r.value for records in read_all(log, "orders").values() for r in records] == [b"1"]
    assert [r.value for records in read_all(log, "orders.eu").values() for r in records] == [b"2"]


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "/etc/x", ".hidden", "Ä", "A", "a" * 201, "a\n", "a\x00"])
def test_a_stream_of_an_impossible_name_is_refused(log: Log, name: str) -> None:
    with pytest.raises(StoreError, match="name"):
        log.create(name, 1)
    with pytest.raises(StoreError, match="name"):
        log.append(name, [record(b"k", b"1")])
    with pytest.raises(StoreError, match="name"):
        log.read(name, 0, 0, 1)
    with pytest.raises(StoreError, match="name"):
        log.partitions(name)
    with pytest.raises(StoreError, match="name"):
        log.bounds(name, 0)
    with pytest.raises(StoreError, match="name"):
        log.retain(name, 0)


def test_retention_removes_what_is_wholly_older_and_moves_no_offset(log: Log, opened: Callable[[], Log]) -> None:
    log.create("orders", 1)
    for n in range(300):
        log.append("orders", [record(b"k", b'{"n":%d,"fill":"%s"}' % (n, b"." * 60), 1000 + n)])
    before = read_all(log, "orders")[0]

    freed = log.retain("orders", 1000 + 150)

    after = read_all(log, "orders")[0]
    oldest, end = log.bounds("orders", 0)
    assert freed > 0
    assert 0 < len(before) - len(after) <= 150
    assert after == before[len(before) - len(after) :]
    assert oldest == after[0].offset
    assert log.read("orders", 0, end, 10) == ([], end)
    assert log.retain("orders", 1000 + 150) == 0
    for handle in (log, opened()):
        with pytest.raises(StoreError, match=str(oldest)):
            read_until_refused(handle, "orders", 0, 0)
        with pytest.raises(StoreError, match=str(oldest)):
            read_until_refused(handle, "orders", 0, before[len(before) - len(after) - 1].offset)


def test_retention_leaves_the_newest_and_appending_goes_on_at_the_same_offset(log: Log) -> None:
    log.create("orders", 2)
    log.append("orders", [record(b"k%d" % n, b'{"fill":"%s"}' % (b"." * 80), 1000) for n in range(200)])
    ends = [log.bounds("orders", partition)[1] for partition in (0, 1)]

    log.retain("orders", 2_000_000_000_000)
    assert [log.bounds("orders", partition)[1] for partition in (0, 1)] == ends
    log.append("orders", [record(b"k%d" % n, b"new", 2000) for n in range(20)])

    for partition in (0, 1):
        found = read_from(log, "orders", partition, ends[partition])
        assert found
        assert {r.value for r in found} == {b"new"}


def test_the_end_that_is_told_is_never_claimed_to_be_known_later_than_it_is(
    log: Log, opened: Callable[[], Log]
) -> None:
    log.create("orders", 1)
    writer = opened()
    for n in range(3):
        log.end("orders", 0)
        writer.append("orders", [record(b"k", b"%d" % n)])
        appended = time.monotonic()
        there = log.bounds("orders", 0)[1]
        deadline = appended + DEADLINE_SECONDS
        told = -1
        while told != there:
            now = time.monotonic()
            assert now < deadline, "the end was not told in time"
            told, age = log.end("orders", 0)
            assert told >= there or now - age / 1000 < appended


def test_a_stream_is_the_one_that_was_read_as_long_as_it_has_its_partitions(log: Log) -> None:
    log.check("orders", [])
    log.create("orders", 2)
    log.check("orders", [])
    log.check("orders", [0, 1])


def test_a_closed_log_can_be_used_again(log: Log) -> None:
    log.append("orders", [record(b"k", b"1")])
    log.mirror("flow", {("orders", 0): 1})
    log.close()
    log.append("orders", [record(b"k", b"2")])
    assert [r.value for records in read_all(log, "orders").values() for r in records] == [b"1", b"2"]
