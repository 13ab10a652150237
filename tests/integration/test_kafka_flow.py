"""Flows over topics of a broker: resumed, grown, compacted, in transactions, watched, and as good as over files."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pytest
from bytewax import recovery, testing
from bytewax.dataflow import Dataflow

from events.clock import system_clock
from events.errors import StoreError
from events.log import LogRecord
from stores.log.files import FileLog
from stores.log.kafka.log import KafkaLog
from stores.log.source import LogBatch, LogSource
from stores.log_settings import KafkaSettings
from tests.dataflows.tables_content import CONFIG, STREAMS, content, replay
from tests.integration.live import Home, Running, wait_until
from tests.servers import broker
from tests.servers.broker import Broker

CLIENTS = ("kafka-python-ng", "confluent")
STREAM = "orders"
BATCH = 7
SECONDS = 40.0

# These of the engine have no types of their own.
run_main: Callable[..., None] = testing.run_main
run_cluster: Callable[..., None] = testing.cluster_main
make_recovery: Callable[[Path, int], None] = recovery.init_db_dir


@pytest.fixture(scope="module")
def server(pytestconfig: pytest.Config) -> Broker:
    return broker.running(pytestconfig)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    pytest.importorskip("confluent_kafka" if name == "confluent" else "kafka")
    return name


@pytest.fixture
def settings(server: Broker, client: str) -> KafkaSettings:
    given = {"servers": [server.address], "client": client, "prefix": server.prefix(), "timeout_seconds": 20}
    return KafkaSettings.model_validate(given)


@pytest.fixture
def log(settings: KafkaSettings) -> Iterator[KafkaLog]:
    opened = KafkaLog(settings)
    yield opened
    opened.close()


def records(numbers: range) -> list[LogRecord]:
    now = system_clock()
    return [LogRecord("", 0, 0, now + n, b"k%d" % (n % 5), b"%d" % n) for n in numbers]


def source(log: KafkaLog, *, batch_size: int = BATCH, tail: bool = False, reader: str = "") -> LogSource:
    return LogSource(
        log,
        [STREAM],
        batch_size=batch_size,
        tail=tail,
        heartbeat_seconds=5.0,
        clock=system_clock,
        reader=reader,
    )


def run(
    log: KafkaLog, *, workers: int = 1, batch_size: int = BATCH, state: Path | None = None, reader: str = ""
) -> list[LogBatch]:
    """Run a flow to the end of the stream; return the batches that came out of its source."""
    out: list[LogBatch] = []
    flow = Dataflow("test")
    reading = source(log, batch_size=batch_size, reader=reader)
    op.output("out", op.input("in", flow, reading), testing.TestingSink(out))
    config = None
    if state is not None:
        if not state.exists():
            state.mkdir()
            make_recovery(state, 1)
        config = recovery.RecoveryConfig(str(state))
    if workers == 1:
        run_main(flow, recovery_config=config)
    else:
        run_cluster(flow, [], 0, worker_count_per_proc=workers, recovery_config=config)
    return out


def numbers_of(batches: list[LogBatch]) -> list[int]:
    return sorted(int(record.value or b"") for batch in batches for record in batch.records)


def is_ordered(batches: list[LogBatch]) -> bool:
    """Whether the offsets of each partition, and the numbers of each key, came ascending."""
    offsets: dict[int, list[int]] = {}
    values: dict[bytes | None, list[int]] = {}
    for record in itertools.chain.from_iterable(batch.records for batch in batches):
        offsets.setdefault(record.partition, []).append(record.offset)
        values.setdefault(record.key, []).append(int(record.value or b""))
    return all(found == sorted(set(found)) for found in [*offsets.values(), *values.values()])


@pytest.mark.parametrize(("workers", "batch_size"), [(1, 1), (1, 1000), (3, 1), (3, 1000)])
def test_a_flow_reads_all_there_is_whatever_its_size(log: KafkaLog, workers: int, batch_size: int) -> None:
    log.create(STREAM, 3)
    log.append(STREAM, records(range(300)))

    out = run(log, workers=workers, batch_size=batch_size)

    assert numbers_of(out) == list(range(300))
    assert is_ordered(out)
    last = {batch.mark.partition: batch.mark for batch in out}
    assert {int(name): mark.offset for name, mark in last.items()} == {
        partition: log.bounds(STREAM, partition)[1] for partition in range(3)
    }
    assert all(mark.caught_up for mark in last.values())


def test_a_resumed_flow_reads_what_came_since_in_old_and_new_partitions(log: KafkaLog, tmp_path: Path) -> None:
    log.create(STREAM, 2)
    log.append(STREAM, records(range(100)))
    assert numbers_of(run(log, state=tmp_path / "state")) == list(range(100))
    assert numbers_of(run(log, state=tmp_path / "state")) == []

    log.create(STREAM, 5)
    log.append(STREAM, records(range(100, 200)))
    since = run(log, workers=3, state=tmp_path / "state")
    assert numbers_of(since) == list(range(100, 200))
    assert {batch.mark.partition for batch in since if batch.records} > {"0", "1"}
    assert numbers_of(run(log, state=tmp_path / "state")) == []


def test_a_live_flow_gets_records_and_partitions_as_they_come(log: KafkaLog, settings: KafkaSettings) -> None:
    reading = source(log, tail=True)
    slots = [reading.build_part("in", name, None) for name in reading.list_parts()]
    out: list[LogBatch] = []

    def until(numbers: range) -> None:
        deadline = time.monotonic() + SECONDS
        while numbers_of(out) != list(numbers):
            for slot in slots:
                out.extend(slot.next_batch())
            assert time.monotonic() < deadline, f"came: {numbers_of(out)}"

    until(range(0))
    other = KafkaLog(settings)
    other.create(STREAM, 1)
    other.append(STREAM, records(range(20)))
    until(range(20))
    other.create(STREAM, 4)
    other.append(STREAM, records(range(20, 60)))
    until(range(60))
    other.close()
    assert {record.partition for batch in out for record in batch.records} > {0}


def test_offsets_are_mirrored_to_a_group_that_lag_tools_see(log: KafkaLog, tmp_path: Path) -> None:
    log.create(STREAM, 2)
    log.append(STREAM, records(range(50)))
    run(log, state=tmp_path / "state", reader="tables")
    ends = {(log_topic(log), partition): log.bounds(STREAM, partition)[1] for partition in range(2)}

    deadline = time.monotonic() + SECONDS
    while (found := log.client().committed("headrace.tables", list(ends))) != ends:
        assert time.monotonic() < deadline, f"committed: {found}, wanted: {ends}"
    assert log.client().committed("headrace.profiles", list(ends)) == {}


def log_topic(log: KafkaLog) -> str:
    (topic,) = log.describe([STREAM])
    return topic.name


def test_of_a_compacted_topic_the_newest_of_each_key_is_read_and_tombstones_are_none(log: KafkaLog) -> None:
    log.create(STREAM, 1, {"cleanup.policy": "compact", "segment.bytes": "16384", "min.cleanable.dirty.ratio": "0.01"})
    for first in range(0, 1000, 100):
        log.append(STREAM, records(range(first, first + 100)))
    log.append(STREAM, [LogRecord("", 0, 0, system_clock(), b"k3", None)])

    out = [record for batch in run(log) for record in batch.records]

    newest = {record.key: record.value for record in out}
    assert newest == {b"k0": b"995", b"k1": b"996", b"k2": b"997", b"k3": None, b"k4": b"999"}
    offsets = [record.offset for record in out]
    assert offsets == sorted(set(offsets))
    assert offsets[-1] + 1 == log.bounds(STREAM, 0)[1]


def test_what_a_transaction_has_aborted_is_not_read_or_the_topic_is_refused(
    log: KafkaLog, settings: KafkaSettings
) -> None:
    confluent = pytest.importorskip("confluent_kafka")
    log.create(STREAM, 1)
    topic = log_topic(log)
    producer = confluent.Producer({"bootstrap.servers": settings.servers[0], "transactional.id": topic})
    producer.init_transactions(20)
    for number, ends_well in enumerate([True, False, True, False]):
        producer.begin_transaction()
        for n in range(3):
            producer.produce(topic, b"%d" % (number * 3 + n), b"k", 0)
        producer.flush(20)
        if ends_well:
            producer.commit_transaction(20)
        else:
            producer.abort_transaction(20)

    if settings.client == "confluent":
        out = run(log)
        assert numbers_of(out) == [0, 1, 2, 6, 7, 8]
        # The end is behind the last marker, which nobody reads.
        assert out[-1].mark.offset == log.bounds(STREAM, 0)[1]
        assert out[-1].mark.caught_up
    else:
        with pytest.raises(StoreError, match="transactions") as refused:
            read_for_ever(log)
        assert "log.kafka.client to 'confluent'" in refused.value.hint


def read_for_ever(log: KafkaLog) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert log.read(STREAM, 0, 0, 100) == ([], 0)


@pytest.mark.parametrize("client", [CLIENTS[0], pytest.param(CLIENTS[1], marks=pytest.mark.long)], indirect=True)
def test_the_tables_flow_makes_the_same_of_a_topic_as_of_files(
    log: KafkaLog, settings: KafkaSettings, tmp_path: Path
) -> None:
    recorded = FileLog(STREAMS)
    # Fixtures are of another time, and are not to be retained away.
    log.create("operations", 2, {"retention.ms": "-1"})
    for partition in recorded.partitions("operations"):
        offset = 0
        while True:
            some, offset = recorded.read("operations", partition, offset, 500)
            if not some:
                break
            log.append("operations", some)
    (tmp_path / "headrace.toml").write_text(
        CONFIG.read_text()
        + f'[log]\nbackend = "kafka"\n[log.kafka]\nservers = {json.dumps(settings.servers)}\n'
        + f'client = "{settings.client}"\nprefix = "{settings.prefix}"\n'
    )
    expected: dict[str, Any] = replay(STREAMS, tmp_path / "files")["tables"]

    home = Home(tmp_path)
    with Running(home, "tables"):
        data = tmp_path / ".headrace"
        wait_until(lambda: data.exists() and found_in(data, tmp_path) == expected, "the tables of the files")


def found_in(data: Path, home: Path) -> Any:
    try:
        return content(data, home / "headrace.toml")["tables"]
    except StoreError:
        return None
