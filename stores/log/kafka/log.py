"""The log on Kafka: a stream is a topic, offsets are Kafka's own, and an append returns when all replicas have it.

Nothing is kept here that could not be asked again: what topics there are is known for a fifth of a second, where they
end is asked beside the reading, and how far readers are is for others to see only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from events.clock import Clock
from events.erasure import ERASED
from events.log import LogRecord
from stores.log.base import Judge, Log, Redaction
from stores.log.kafka import explain
from stores.log.kafka.choose import choose_client
from stores.log.kafka.client import Client, ExpiredError, Fetcher, Topic
from stores.log.kafka.ends import Ends
from stores.log.kafka.erase import tombstones
from stores.log.kafka.mirror import Mirror
from stores.log.kafka.placing import partition_of
from stores.log.kafka.records import stream_of, to_message, topic_of
from stores.log_settings import KafkaSettings

KNOWN_MILLIS = 200
"""How long what topics there are is taken to be so. Sources look for new partitions every half second."""

_WAIT_SECONDS = 0.005


def uptime() -> int:
    """Return milliseconds since some moment, by a clock that nobody sets."""
    return time.monotonic_ns() // 1_000_000


class KafkaLog(Log):
    """Streams as topics of a Kafka cluster. Threads may share it.

    Event times are the messages' timestamps: retention of the topic goes by them. A topic that an append makes has
    the broker's retention; one that is to keep old events is made by `headrace topics create --retention forever`.

    :arg settings: The cluster, and how to speak to it.
    :arg partitions: Partitions of a stream that an append makes.
    :arg clock: Measures how old knowledge is, in milliseconds; only differences count.
    :arg new_client: Makes the client; default: the one that the settings name.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        partitions: int = 4,
        clock: Clock = uptime,
        new_client: Callable[[KafkaSettings], Client] | None = None,
    ) -> None:
        self._settings = settings
        self._default_partitions = partitions
        self._clock = clock
        self._new_client = choose_client if new_client is None else new_client
        self._lock = threading.RLock()
        self._fetching = threading.Lock()
        self._made: Client | None = None
        self._fetcher: Fetcher | None = None
        self._ends = Ends(self.client, clock)
        self._mirror = Mirror(self.client)
        self._topics: dict[str, int] = {}
        self._topics_at: int | None = None
        self._turn = -1

    def client(self) -> Client:
        """Return the client by which the cluster is asked."""
        with self._lock:
            if self._made is None:
                self._made = self._new_client(self._settings)
            return self._made

    def close(self) -> None:
        """Let go of connections and threads. The log can be used again."""
        self._ends.close()
        self._mirror.close()
        with self._fetching:
            if self._fetcher is not None:
                self._fetcher.close()
                self._fetcher = None
        with self._lock:
            if self._made is not None:
                self._made.close()
                self._made = None
            self._topics_at = None

    def create(
        self,
        stream: str,
        partitions: int,
        configuration: Mapping[str, str] | None = None,
        replication: int | None = None,
    ) -> None:
        """Make the topic, or give it more partitions.

        More partitions move keys: the order of one key holds from then on, not across the change.

        :arg configuration: Settings of the topic, for one that is made.
        :arg replication: Copies of a topic that is made; default: as the settings say.
        """
        topic = topic_of(self._settings.prefix, stream)
        there = self.client().topics().get(topic, 0)
        if not there:
            copies = self._settings.replication if replication is None else replication
            self.client().create(topic, partitions, copies, configuration or {})
            there = self.client().topics().get(topic, partitions)  # somebody else may have made it
        if there < partitions:
            self.client().grow(topic, partitions)
        self._topics_at = None

    def streams(self) -> list[str]:
        """List the topics that begin with the prefix, without it; those of the broker itself are none."""
        names = (stream_of(self._settings.prefix, topic) for topic in self._known())
        return sorted(name for name in names if name is not None)

    def partitions(self, stream: str) -> list[int]:
        """List the partitions, as they were a fifth of a second ago at most."""
        return list(range(self._known().get(topic_of(self._settings.prefix, stream), 0)))

    def describe(self, streams: Sequence[str]) -> list[Topic]:
        """Return what the broker says of the topics of these streams, of those that exist."""
        return self.client().describe([topic_of(self._settings.prefix, stream) for stream in streams])

    def append(self, stream: str, records: Sequence[LogRecord]) -> None:
        """Append by Kafka's own partitioner, so that other producers place keys in the same way.

        :raises RejectedError: When a record cannot be written, or is too large; then none of them is, save what the
            topic alone refuses.
        :raises StoreError: When not all could be delivered; then some of them may be there.
        """
        topic = topic_of(self._settings.prefix, stream)
        if not records:
            return
        partitions = self._known().get(topic, 0)
        if not partitions:
            self.create(stream, self._default_partitions)
            partitions = self._appeared(topic)
        messages = [to_message(record, self._place(record, partitions)) for record in records]
        try:
            self.client().produce(topic, messages)
        finally:
            self._ends.forget(topic)

    def _appeared(self, topic: str) -> int:
        """Wait until the broker that is asked knows a topic that was made; return how many partitions it has."""
        until = time.monotonic() + self._settings.timeout_seconds
        while True:
            self._topics_at = None
            if partitions := self._known().get(topic, 0):
                return partitions
            if time.monotonic() > until:
                doing = f"waiting for topic {topic!r}"
                raise explain.refused(doing, 5)
            time.sleep(_WAIT_SECONDS)

    def _place(self, record: LogRecord, partitions: int) -> int:
        if record.key is not None:
            return partition_of(record.key, partitions)
        self._turn += 1
        return self._turn % partitions

    def read(self, stream: str, partition: int, offset: int, limit: int) -> tuple[list[LogRecord], int]:
        """Take what has been fetched ahead; wait a few milliseconds only where more is known to be there.

        :raises StoreError: Also when there is no such offset (yet), as the topic has been made anew.
        """
        topic = topic_of(self._settings.prefix, stream)
        if limit <= 0:
            return [], offset
        # Who follows a stream that trickles is mostly at its end, and has others to read.
        wait_seconds = 0.0 if self._ends.reached((topic, partition), offset) else _WAIT_SECONDS
        try:
            with self._fetching:
                if self._fetcher is None:
                    self._fetcher = self.client().fetcher()
                fetched = self._fetcher.fetch(topic, partition, offset, limit, wait_seconds)
        except ExpiredError:
            self._refuse(stream, partition, offset)
            return [], offset
        # Our own tombstones of what was erased: there is nothing in them to read.
        records = [record for record in fetched.records if not record.headers or ERASED not in record.headers]
        return records, fetched.next

    def _refuse(self, stream: str, partition: int, offset: int) -> None:
        oldest, end = self.bounds(stream, partition)
        if offset < oldest:
            raise explain.expired(stream, partition, offset, oldest)
        if offset > end:
            raise explain.beyond(stream, partition, offset, end)

    def bounds(self, stream: str, partition: int) -> tuple[int, int]:
        """Ask the broker."""
        name = (topic_of(self._settings.prefix, stream), partition)
        # The oldest first: between the two questions the end can only grow.
        oldest = self.client().beginnings([name])
        if name not in oldest:
            return 0, 0
        return oldest[name], max(oldest[name], self.client().ends([name]).get(name, 0))

    def end(self, stream: str, partition: int) -> tuple[int, int]:
        """Return what was found out beside the reading, and how old it is.

        Until something is known, the end is one that nobody reaches.
        """
        return self._ends.of((topic_of(self._settings.prefix, stream), partition))

    def check(self, stream: str, known: Sequence[int]) -> None:
        """Compare with what the topic has at present; a topic that does not exist (yet) is waited for."""
        found = len(self.partitions(stream))
        if known and 0 < found <= max(known):
            raise explain.shrunk(stream, found, max(known) + 1)

    def mirror(self, reader: str, places: Mapping[tuple[str, int], int]) -> None:
        """Note it for the consumer group `GROUP.reader`, once a second at most."""
        if not self._settings.group:
            return
        prefix = self._settings.prefix
        named = {(topic_of(prefix, stream), number): offset for (stream, number), offset in places.items()}
        self._mirror.note(f"{self._settings.group}.{reader}", named)

    def retain(self, stream: str, newer_than: int) -> int:
        """Let the broker delete what is before the first record that is young enough, and before the newest one.

        Returns about how many bytes that was: the mean size of the oldest records times their number.

        :raises StoreError: When the broker does not, as the topic is compacted or has another kind of storage.
        """
        topic = topic_of(self._settings.prefix, stream)
        names = [(topic, partition) for partition in self.partitions(stream)]
        oldest, ends = self.client().beginnings(names), self.client().ends(names)
        before: dict[int, int] = {}
        freed = 0
        for name, begin in oldest.items():
            keep = self.client().offset_at(topic, name[1], newer_than)
            newest = max(begin, ends.get(name, 0) - 1)
            until = newest if keep is None else min(keep, newest)
            if until > begin:
                before[name[1]] = until
                freed += self._bytes(stream, name[1], begin, until)
        if before:
            self.client().delete_before(topic, before)
        return freed

    def _bytes(self, stream: str, partition: int, begin: int, end: int) -> int:
        fetcher = self.client().fetcher()
        try:
            topic = topic_of(self._settings.prefix, stream)
            some = fetcher.fetch(topic, partition, begin, 1000, self._settings.timeout_seconds)
        except ExpiredError:
            return 0
        finally:
            fetcher.close()
        sizes = [len(record.key or b"") + len(record.value or b"") for record in some.records if record.offset < end]
        return sum(sizes) * (end - begin) // max(1, min(some.next, end) - begin)

    def redact(self, stream: str, judge: Judge) -> Redaction:
        """Read all there is and append tombstones: records in a broker cannot be changed."""
        topic = topic_of(self._settings.prefix, stream)
        names = [(topic, partition) for partition in self.partitions(stream)]
        ends = self.client().ends(names)
        oldest = self.client().beginnings(names)
        held = 0
        for name in names:
            if name not in oldest:
                continue
            span = (oldest[name], ends.get(name, 0))
            count, found = tombstones(self.client(), name, span, judge, self._settings)
            held += count
            # To the partition in which the records are: that of their keys may be another one since it grew.
            self.client().produce(topic, found)
        return Redaction(held=held)

    def _known(self) -> dict[str, int]:
        with self._lock:
            now = self._clock()
            if self._topics_at is None or not 0 <= now - self._topics_at < KNOWN_MILLIS:
                self._topics = self.client().topics()
                self._topics_at = now
            return self._topics
