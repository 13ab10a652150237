"""The log on a real broker: what the contract of all logs does not say, with kafka-python-ng as the client."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from events.clock import system_clock
from events.erasure import ERASED
from events.errors import RejectedError, StoreError
from events.log import LogRecord
from stores.log.base import Redaction
from stores.log.kafka.ends import UNKNOWN_END, Ends
from stores.log.kafka.log import KafkaLog
from stores.log.kafka.mirror import Mirror
from stores.log.kafka.ng import NgClient
from stores.log.source import LogSource
from stores.log_settings import KafkaSettings
from tests.servers import broker

DEADLINE_SECONDS = 30.0


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> KafkaSettings:
    server = broker.running(request.config)
    prefix = server.prefix()
    return KafkaSettings(servers=(server.address,), prefix=prefix, group=f"{prefix}flows", timeout_seconds=20)


@pytest.fixture
def log(settings: KafkaSettings) -> Iterator[KafkaLog]:
    opened = KafkaLog(settings, partitions=1)
    yield opened
    opened.close()


@pytest.fixture
def client(settings: KafkaSettings) -> Iterator[NgClient]:
    opened = NgClient(settings)
    yield opened
    opened.close()


@pytest.fixture
def own_broker() -> Iterator[broker.OwnBroker]:
    server = broker.own()
    yield server
    server.stop()


def record(key: bytes | None, value: bytes | None, **headers: str) -> LogRecord:
    return LogRecord("ignored", 0, 0, system_clock(), key, value, headers)


def await_that(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.005)


def read_on(log: KafkaLog, stream: str, offset: int, until: int) -> list[LogRecord]:
    found: list[LogRecord] = []

    def read() -> bool:
        nonlocal offset
        records, offset = log.read(stream, 0, offset, 100)
        found.extend(records)
        return offset >= until

    await_that(read, f"offset {until}")
    return found


def test_a_killed_broker_that_comes_back_costs_nothing_and_repeats_nothing(own_broker: broker.OwnBroker) -> None:
    log = KafkaLog(KafkaSettings(servers=(own_broker.address,), timeout_seconds=20), partitions=1)
    log.append("orders", [record(b"k", b"%d" % n) for n in range(10)])
    found = read_on(log, "orders", 0, 10)
    own_broker.settle()

    own_broker.kill()
    assert log.read("orders", 0, 10, 100) == ([], 10)
    appending = threading.Thread(target=log.append, args=("orders", [record(b"k", b"%d" % n) for n in range(10, 20)]))
    appending.start()
    for _ in range(50):
        began = time.monotonic()
        assert log.read("orders", 0, 10, 100) == ([], 10)
        assert time.monotonic() - began < 1
    assert appending.is_alive()
    own_broker.start()
    found += read_on(log, "orders", 10, 20)
    appending.join(DEADLINE_SECONDS)
    log.append("orders", [record(b"k", b"20")])
    found += read_on(log, "orders", 20, 21)

    assert [r.value for r in found] == [b"%d" % n for n in range(21)]
    log.close()


def test_a_broker_that_stays_away_is_an_error_that_says_so(own_broker: broker.OwnBroker) -> None:
    log = KafkaLog(KafkaSettings(servers=(own_broker.address,), timeout_seconds=0.5), partitions=1)
    log.append("orders", [record(b"k", b"1")])
    assert read_on(log, "orders", 0, 1)
    own_broker.kill()

    for attempt in (
        lambda: log.append("orders", [record(b"k", b"2")]),
        lambda: read_on(log, "orders", 1, 2),
        lambda: log.bounds("orders", 0),
    ):
        with pytest.raises(StoreError, match=rf"no broker of {own_broker.address} has answered for 0.5 s.*refused"):
            attempt()
    began = time.monotonic()
    log.close()
    assert time.monotonic() - began < 5


LOGIN = {"security": "sasl_plaintext", "user": "ada", "password": "none"}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"security": "ssl"}, "no secure connection to the broker"),
        ({**LOGIN}, "the user 'ada' or the password may be wrong"),
        ({**LOGIN, "mechanism": "SCRAM-SHA-256"}, "does not know this SASL mech"),
    ],
    ids=["tls", "password", "mechanism"],
)
def test_a_wrong_setting_is_an_error_in_one_line(
    own_broker: broker.OwnBroker, changes: dict[str, Any], line: str
) -> None:
    log = KafkaLog(KafkaSettings.model_validate({"servers": (own_broker.address,), "timeout_seconds": 0.3, **changes}))
    with pytest.raises(StoreError, match=line) as refused:
        log.partitions("orders")
    assert refused.value.hint.count("log.kafka") >= 1
    log.close()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"security": "sasl_plaintext", "user": "ada"}, "set HEADRACE_LOG__KAFKA__PASSWORD"),
        ({"security": "sasl_ssl"}, "set log.kafka.user"),
        ({"security": "ssl", "ca": "absent.pem"}, "there is no file 'absent.pem'"),
    ],
)
def test_what_no_broker_could_take_is_refused_by_the_settings(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ValidationError, match=line):
        KafkaSettings.model_validate({"servers": ("127.0.0.1:1",), **changes})


def test_a_topic_with_transactions_is_refused_with_the_remedy(log: KafkaLog, settings: KafkaSettings) -> None:
    confluent_kafka = pytest.importorskip("confluent_kafka", reason="no confluent-kafka here, which has transactions")
    log.append("orders", [record(b"a", b"before")])
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": settings.servers[0], "transactional.id": f"{settings.prefix}1"}
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(f"{settings.prefix}orders", b"aborted", b"b")
    producer.flush(20)
    producer.abort_transaction(20)

    assert [r.value for r in read_on(log, "orders", 0, 1)] == [b"before"]
    for _ in range(2):
        with pytest.raises(StoreError, match=r"in transactions.*log\.kafka\.client to 'confluent'"):
            read_on(log, "orders", 1, 3)
    # Markers alone are passed over: what they end has been read, or removed.
    assert read_on(log, "orders", 2, 3) == []


def test_topics_of_others_and_of_the_broker_are_no_streams(
    log: KafkaLog, client: NgClient, settings: KafkaSettings
) -> None:
    client.create(f"{settings.prefix}Not-A-Name", 1, 1, {})
    client.create(f"other-{settings.prefix}orders", 1, 1, {})
    try:
        log.create("orders", 1)
        client.commit(f"{settings.prefix}g", {(f"{settings.prefix}orders", 0): 0})  # brokers keep these in a topic
        assert log.streams() == ["orders"]
        everything = KafkaLog(settings.model_copy(update={"prefix": ""}))
        assert {f"other-{settings.prefix}orders", f"{settings.prefix}orders"} <= set(everything.streams())
        assert not [name for name in everything.streams() if name.startswith("_")]
        everything.close()
    finally:
        from kafka.admin import KafkaAdminClient

        admin = KafkaAdminClient(bootstrap_servers=list(settings.servers))
        admin.delete_topics([f"other-{settings.prefix}orders"])
        admin.close()


def test_headers_of_other_producers_are_read_as_text(log: KafkaLog, settings: KafkaSettings) -> None:
    from kafka import KafkaProducer

    log.create("orders", 1)
    producer = KafkaProducer(bootstrap_servers=list(settings.servers))
    headers = [("a", b"1"), ("a", b"\xff"), ("b", "ü".encode())]
    producer.send(f"{settings.prefix}orders", b"v", headers=headers)
    producer.flush()
    producer.close()

    [found] = read_on(log, "orders", 0, 1)

    assert found.headers == {"a": "\\xff", "b": "ü"}


def test_the_place_of_a_reader_is_shown_by_its_consumer_group(
    log: KafkaLog, client: NgClient, settings: KafkaSettings
) -> None:
    log.create("orders", 2)
    names = [(f"{settings.prefix}orders", partition) for partition in (0, 1)]
    for offset in (3, 5):
        log.mirror("profiles", {("orders", 0): offset, ("orders", 1): 1})
    expected = {names[0]: 5, names[1]: 1}
    await_that(lambda: client.committed(f"{settings.group}.profiles", names) == expected, "the places")

    log.mirror("profiles", {("orders", 0): 8})
    log.close()

    assert client.committed(f"{settings.group}.profiles", names) == {names[0]: 8, names[1]: 1}
    assert client.committed(f"{settings.group}.others", names) == {}


def test_a_topic_made_anew_with_fewer_partitions_is_refused(log: KafkaLog, settings: KafkaSettings) -> None:
    log.create("orders", 1)
    log.check("orders", [0])
    log.check("absent", [0, 1])
    with pytest.raises(StoreError, match=r"has 1 partitions, but at least 3 .*anew.*create orders --partitions 3"):
        log.check("orders", [0, 2])


def test_an_offset_behind_the_end_is_refused(log: KafkaLog) -> None:
    log.append("orders", [record(b"k", b"1")])
    with pytest.raises(StoreError, match="ends at offset 1: there is no offset 7"):
        read_on(log, "orders", 7, 8)
    assert len(read_on(log, "orders", 0, 1)) == 1


def test_old_records_of_a_compacted_topic_stay_and_it_says_why(log: KafkaLog) -> None:
    log.create("orders", 1, {"cleanup.policy": "compact"})
    log.append("orders", [record(b"k", b"1"), record(b"k", b"2")])
    with pytest.raises(StoreError, match="is compacted"):
        log.retain("orders", system_clock() + 1000)
    assert log.bounds("orders", 0) == (0, 2)


def test_what_is_erased_gets_a_tombstone_where_nothing_newer_of_its_key_stays(log: KafkaLog) -> None:
    log.create("orders", 1, {"cleanup.policy": "compact"})
    log.append(
        "orders",
        [
            record(b"mine", b"secret 1"),
            record(b"was mine", b"secret 2"),
            record(b"was mine", b"other"),
            record(b"mine", b"secret 4"),
            record(b"gone", b"secret 5"),
            record(b"gone", None),
            record(b"partly", b"a secret and more"),
        ],
    )

    def judge(found: LogRecord) -> LogRecord | None:
        if found.value is None or b"secret" not in found.value:
            return found
        return record(b"partly", b"more") if found.key == b"partly" else None

    assert log.redact("orders", judge) == Redaction(held=5)
    assert log.bounds("orders", 0) == (0, 8)
    assert log.redact("orders", judge) == Redaction(held=5)
    assert log.bounds("orders", 0) == (0, 8)

    fetcher = log.client().fetcher()
    topic = log.describe(["orders"])[0].name
    tombstone = fetcher.fetch(topic, 0, 7, 10, 20).records[0]
    fetcher.close()
    assert (tombstone.key, tombstone.value, ERASED in tombstone.headers) == (b"mine", None, True)
    assert [r.offset for r in read_on(log, "orders", 0, 8)] == list(range(7))
    assert log.redact("absent", judge) == Redaction()


def test_what_is_appended_while_records_are_erased_is_not_taken_with_them(log: KafkaLog) -> None:
    log.create("orders", 1, {"cleanup.policy": "compact"})
    log.append("orders", [record(b"anna", b"secret 1"), record(b"ben", b"secret 2"), record(b"cleo", b"secret 3")])
    later = [record(b"anna", b"allowed"), record(b"ben", b"secret 4"), record(b"dora", b"allowed")]

    def judge(found: LogRecord) -> LogRecord | None:
        if later:
            log.append("orders", [later.pop(0) for _ in range(3)])
        return None if found.value is not None and b"secret" in found.value else found

    assert log.redact("orders", judge) == Redaction(held=3)

    fetcher = log.client().fetcher()
    topic = log.describe(["orders"])[0].name
    found: list[LogRecord] = []
    while len(found) < 8:
        fetched = fetcher.fetch(topic, 0, len(found), 10, DEADLINE_SECONDS)
        assert fetched.records, "the end was not reached in time"
        found += fetched.records
    fetcher.close()
    assert [r.key for r in found if r.value is None] == [b"ben", b"cleo"]
    assert log.bounds("orders", 0) == (0, 8)


def test_a_record_that_is_too_large_is_refused_before_anything_is_sent(log: KafkaLog) -> None:
    log.create("orders", 1)
    with pytest.raises(RejectedError, match="over the 1000000"):
        log.append("orders", [record(b"k", b"1"), record(b"k", b"x" * 1_000_001)])
    assert log.bounds("orders", 0) == (0, 0)


@pytest.mark.parametrize("compression", ["gzip", "lz4", "zstd"])
def test_compressed_batches_are_written_and_read(settings: KafkaSettings, compression: str) -> None:
    changed = settings.model_copy(update={"compression": compression})
    log = KafkaLog(changed, partitions=1)
    given = [record(b"k%d" % n, b"value " * 100) for n in range(500)]
    log.append("orders", given)
    assert [(r.key, r.value) for r in read_on(log, "orders", 0, 500)] == [(r.key, r.value) for r in given]
    log.close()


def test_large_appends_keep_the_order_of_each_partition(log: KafkaLog) -> None:
    log.create("orders", 3)
    values = {n: (b"%d " % n).ljust(9000, b".") for n in range(600)}
    log.append("orders", [record(b"k%d" % (n % 11), value) for n, value in values.items()])

    found: dict[int, list[int]] = {}
    for partition in range(3):
        offset, end = log.bounds("orders", partition)
        numbers = found.setdefault(partition, [])
        deadline = time.monotonic() + DEADLINE_SECONDS
        while offset < end and time.monotonic() < deadline:
            records, offset = log.read("orders", partition, offset, 50)
            numbers += [int((r.value or b"").split()[0]) for r in records]

    assert all(numbers == sorted(numbers) for numbers in found.values())
    assert sorted(n for numbers in found.values() for n in numbers) == list(values)


def test_the_end_is_beyond_reach_until_it_is_known(own_broker: broker.OwnBroker) -> None:
    log = KafkaLog(KafkaSettings(servers=(own_broker.address,), timeout_seconds=5))
    own_broker.kill()
    assert log.end("orders", 0) == (UNKNOWN_END, 0)
    own_broker.start()
    await_that(lambda: log.end("orders", 0)[0] == 0, "the end of a partition that does not exist")
    log.close()


@pytest.mark.parametrize("batch_size", [7, 1000])
def test_a_source_reads_all_partitions_to_their_ends_and_stops(log: KafkaLog, batch_size: int) -> None:
    log.create("orders", 5)
    given = [record(b"k%d" % n, b"%d" % n) for n in range(300)]
    log.append("orders", given)
    source = LogSource(log, ["orders"], batch_size=batch_size, tail=False, heartbeat_seconds=1, clock=system_clock)

    values: list[bytes | None] = []
    for name in source.list_parts():
        part = source.build_part("step", name, None)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            try:
                values += [r.value for batch in part.next_batch() for r in batch.records]
            except StopIteration:
                break

    assert sorted(values, key=lambda value: int(value or b"")) == [r.value for r in given]


def test_ends_are_looked_for_again_after_an_error_that_nobody_foresaw(
    client: NgClient, settings: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    topic = f"{settings.prefix}odd"
    client.create(topic, 1, 1, {})
    asked = 0

    def ask() -> NgClient:
        nonlocal asked
        asked += 1
        if asked < 4:
            odd = "the library is at odds with itself"
            raise RuntimeError(odd)
        return client

    ends = Ends(ask, system_clock)
    try:
        assert ends.of((topic, 0)) == (UNKNOWN_END, 0)
        await_that(lambda: ends.of((topic, 0))[0] == 0, "the end of the topic")
    finally:
        ends.close()
    assert [record.getMessage() for record in caplog.records if "at odds" in record.getMessage()] == [
        "cannot look where topics end, and tries again: RuntimeError('the library is at odds with itself')"
    ]


def test_places_are_shown_again_after_an_error_that_nobody_foresaw(
    client: NgClient, settings: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    place = (f"{settings.prefix}odd", 0)
    client.create(place[0], 1, 1, {})
    asked = 0

    def ask() -> NgClient:
        nonlocal asked
        asked += 1
        if asked == 1:
            odd = "the library is at odds with itself"
            raise RuntimeError(odd)
        return client

    group = f"{settings.group}.odd"
    mirror = Mirror(ask)
    try:
        mirror.note(group, {place: 3})
        await_that(lambda: client.committed(group, [place]) == {place: 3}, "the place")
    finally:
        mirror.close()
    assert [record.getMessage() for record in caplog.records if "at odds" in record.getMessage()] == [
        f"offsets are not shown by consumer group {group}: RuntimeError('the library is at odds with itself')"
    ]
