"""The port of Kafka's clients: what the log needs of one, in bytes, without a word of any library.

Errors of all verbs are `StoreError`s whose hint says what to do: `explain.py` has the words, so that both clients say
the same. Streams are not known here, only topics. A client may be used by several threads; a fetcher by one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from events.log import LogRecord


class Outgoing(NamedTuple):
    """A message to be produced.

    :arg timestamp: In milliseconds since epoch, not negative.
    """

    partition: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: tuple[tuple[str, bytes], ...]


class Fetched(NamedTuple):
    """Records of one partition.

    :arg records: With stream, partition, offset, time, key, value and headers as `records.py` makes them. Control
        records of transactions are not among them.
    :arg next: Offset to go on from. Behind the last record, or further, where only control records came, or what a
        compaction has removed.
    """

    records: list[LogRecord]
    next: int


class Topic(msgspec.Struct, frozen=True):
    """What a broker says of a topic. `compacted`: whether its clean-up policy has `compact`."""

    name: str
    partitions: int
    replication: int
    compacted: bool = False
    retention_millis: int | None = None


class Fetcher(ABC):
    """Reads partitions from offsets. Fetches ahead by itself, and never waits for more than `wait_seconds`."""

    @abstractmethod
    def fetch(self, topic: str, partition: int, offset: int, limit: int, wait_seconds: float) -> Fetched:
        """Return up to `limit` records from `offset` on; none, and the offset unchanged, if there are none (yet).

        Another offset than the `next` of the call before is sought. Partitions that were fetched once are read ahead
        until the fetcher is closed: memory for that is bounded.

        :raises ExpiredError: When the offset is out of range.
        :raises StoreError: When the topic is transactional and the client cannot read such, or a broker has refused.
            While brokers cannot be reached there are no records, until `timeout_seconds` of the settings have passed
            without an answer.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""


class ExpiredError(Exception):
    """The offset to be fetched is out of range."""


class Client(ABC):
    """Connections to a cluster, made when they are needed."""

    @abstractmethod
    def topics(self) -> dict[str, int]:
        """Return the topics that there are, and how many partitions each has."""

    @abstractmethod
    def describe(self, topics: Sequence[str]) -> list[Topic]:
        """Return what is to be known of topics, of those that exist, by name."""

    @abstractmethod
    def create(self, topic: str, partitions: int, replication: int, configuration: Mapping[str, str]) -> None:
        """Make a topic, and wait until it can be used; nothing if it is there."""

    @abstractmethod
    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic so many partitions in all."""

    @abstractmethod
    def produce(self, topic: str, messages: Sequence[Outgoing]) -> None:
        """Send messages; all replicas in sync have them on return. Those of one partition keep their order.

        :raises StoreError: When one could not be delivered; some of them may have been.
        :raises RejectedError: When one is too large for the topic.
        """

    @abstractmethod
    def ends(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return the offset after the newest record that can be read, for each partition that exists."""

    @abstractmethod
    def ends_now(self, partitions: Sequence[tuple[str, int]], seconds: float) -> dict[tuple[str, int], int | None]:
        """Return the same, None for each partition of which nobody tells in so many seconds, for whatever reason.

        Neither waits until a partition has a leader, nor holds up other questions meanwhile.

        :raises StoreError: When no broker answers at all, or none lets us in.
        """

    @abstractmethod
    def beginnings(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return the oldest offset still there, for each partition that exists."""

    @abstractmethod
    def offset_at(self, topic: str, partition: int, time: int) -> int | None:
        """Return the first offset whose timestamp is `time` (ms since epoch) or later; None if there is none."""

    @abstractmethod
    def delete_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Delete the records before an offset, by partition.

        :raises StoreError: When this client or the broker cannot.
        """

    @abstractmethod
    def commit(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Commit offsets for a group that nobody joins: for tools that show how far it is behind."""

    @abstractmethod
    def committed(self, group: str, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return the offsets that `commit` has left, for each partition that has one."""

    @abstractmethod
    def fetcher(self) -> Fetcher:
        """Return a new fetcher."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections; what was produced has been delivered. Closing twice does nothing."""
