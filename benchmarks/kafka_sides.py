"""What the benchmark of Kafka measures: the log of Headrace, and the bare clients beneath it, at the same work.

The clock of a reading begins with its first messages, that of an append after a first message was confirmed: neither
counts how long it takes to connect. Reading ends with the last message there is, an append with the last confirmation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from events.clock import system_clock
from events.errors import HeadraceError
from events.log import LogRecord
from stores.log.kafka.confluent_fetch import READ_AHEAD_BYTES
from stores.log.kafka.confluent_options import Complaints, consuming
from stores.log.kafka.log import KafkaLog
from stores.log.source import LogBatch, LogSource
from stores.log_settings import KafkaSettings

BATCH = 1_000
PATIENCE_SECONDS = 60.0


class Rate(msgspec.Struct):
    """What one side took for so many messages.

    :arg processor: Processor time of this process, the client's own threads included, in seconds.
    """

    messages: int
    seconds: float
    processor: float


class Stopwatch:
    """Counts messages from the first ones on."""

    def __init__(self, expected: int) -> None:
        self.seen = 0
        self._expected = expected
        self._first = 0
        self._begun: tuple[float, float] | None = None
        self._over = (0.0, 0.0)
        self._deadline = time.monotonic() + PATIENCE_SECONDS

    def count(self, messages: int) -> bool:
        """Add messages; return whether all of them were there.

        :raises HeadraceError: When they do not come.
        """
        if messages:
            now = (time.perf_counter(), time.process_time())
            if self._begun is None:
                self._begun, self._first = now, messages
            self.seen += messages
            self._over = now
        elif time.monotonic() > self._deadline:
            detail = f"{self.seen:,} of {self._expected:,} messages came in {PATIENCE_SECONDS:.0f} s"
            raise HeadraceError(detail, "the broker may hold too much; try fewer messages")
        return self.seen >= self._expected

    def rate(self) -> Rate:
        """Return what came after the first messages.

        :raises HeadraceError: When other than the expected number has come.
        """
        if self._begun is None or self.seen != self._expected:
            detail = f"{self.seen:,} messages were read instead of {self._expected:,}"
            raise HeadraceError(detail, "name brokers that nobody else writes to")
        return Rate(self.seen - self._first, self._over[0] - self._begun[0], self._over[1] - self._begun[1])


class Side(Protocol):
    """The same work by one client."""

    def read(self, stream: str, expected: int) -> Rate:
        """Read a stream from its beginning."""

    def append(self, stream: str, records: Sequence[LogRecord]) -> Rate:
        """Append to a stream that is there."""


class Headrace:
    """The log, and the flows' source in a flow that drops what it reads."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings

    def read(self, stream: str, expected: int) -> Rate:
        import bytewax.operators as op
        from bytewax import testing
        from bytewax.dataflow import Dataflow

        watch = Stopwatch(expected)

        def drop(batches: list[LogBatch]) -> list[None]:
            watch.count(sum(len(batch.records) for batch in batches))
            return []

        log = KafkaLog(self._settings, clock=system_clock)
        try:
            source = LogSource(log, [stream], batch_size=BATCH, tail=False, heartbeat_seconds=5.0, clock=system_clock)
            flow = Dataflow("read")
            op.output("out", op.flat_map_batch("drop", op.input("in", flow, source), drop), testing.TestingSink([]))
            run: Callable[..., None] = testing.run_main
            run(flow)
        finally:
            log.close()
        return watch.rate()

    def append(self, stream: str, records: Sequence[LogRecord]) -> Rate:
        log = KafkaLog(self._settings, clock=system_clock)
        try:
            log.append(stream, records[:1])
            begun = (time.perf_counter(), time.process_time())
            for begin in range(0, len(records), BATCH):
                log.append(stream, records[begin : begin + BATCH])
            return Rate(len(records), time.perf_counter() - begun[0], time.process_time() - begun[1])
        finally:
            log.close()


class BareConfluent:
    """confluent-kafka: for reading with the very options of the log, for appending with what keeps order and safety."""

    def __init__(self, settings: KafkaSettings, partitions: int) -> None:
        self.bytes = 0
        self._prefix = settings.prefix
        self._partitions = partitions
        self._reading = consuming(settings, Complaints(), READ_AHEAD_BYTES)
        self._servers = {"bootstrap.servers": ",".join(settings.servers)}

    def read(self, stream: str, expected: int) -> Rate:
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer(self._reading)
        topic = self._prefix + stream
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(self._partitions)])
        watch = Stopwatch(expected)
        try:
            while True:
                messages, count = consumer.consume(BATCH, 0.01), 0
                for message in messages:
                    if message.error() is None:
                        self.bytes += len(message.value())
                        count += 1
                    elif message.error().name() != "_PARTITION_EOF":
                        raise HeadraceError(message.error().str())
                if watch.count(count):
                    break
        finally:
            consumer.close()
        return watch.rate()

    def append(self, stream: str, records: Sequence[LogRecord]) -> Rate:
        from confluent_kafka import Producer

        producer = Producer({**self._servers, "enable.idempotence": True, "acks": "all"})
        topic = self._prefix + stream
        producer.produce(topic, records[0].value, records[0].key)
        producer.flush()
        begun = (time.perf_counter(), time.process_time())
        for record in records:
            while True:
                try:
                    producer.produce(topic, record.value, record.key, timestamp=record.event_time)
                    break
                except BufferError:
                    producer.poll(0.01)
        producer.flush()
        return Rate(len(records), time.perf_counter() - begun[0], time.process_time() - begun[1])


class BareNg:
    """kafka-python-ng with its own defaults, and larger batches where it appends."""

    def __init__(self, settings: KafkaSettings, partitions: int) -> None:
        self.bytes = 0
        self._prefix = settings.prefix
        self._partitions = partitions
        self._servers = list(settings.servers)

    def read(self, stream: str, expected: int) -> Rate:
        from kafka import KafkaConsumer, TopicPartition

        consumer: Any = KafkaConsumer(bootstrap_servers=self._servers, group_id=None, enable_auto_commit=False)
        places = [TopicPartition(self._prefix + stream, partition) for partition in range(self._partitions)]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        watch = Stopwatch(expected)
        try:
            while True:
                count = 0
                for records in consumer.poll(10, max_records=BATCH).values():
                    for record in records:
                        self.bytes += len(record.value)
                    count += len(records)
                if watch.count(count):
                    break
        finally:
            consumer.close()
        return watch.rate()

    def append(self, stream: str, records: Sequence[LogRecord]) -> Rate:
        from kafka import KafkaProducer

        producer: Any = KafkaProducer(bootstrap_servers=self._servers, acks="all", batch_size=131_072, linger_ms=5)
        topic = self._prefix + stream
        producer.send(topic, records[0].value, records[0].key).get(PATIENCE_SECONDS)
        begun = (time.perf_counter(), time.process_time())
        try:
            for record in records:
                producer.send(topic, record.value, record.key, timestamp_ms=record.event_time)
            producer.flush(PATIENCE_SECONDS)
            return Rate(len(records), time.perf_counter() - begun[0], time.process_time() - begun[1])
        finally:
            producer.close()
