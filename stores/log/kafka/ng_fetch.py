"""Reading ahead by kafka-python-ng's connections: while records are decoded, the next ones are on their way.

One request a broker is under way at a time, for all partitions of which little is left. Brokers answer requests of a
connection in their order, so that one that waits for news holds up the others: it waits long only where nothing else is
to be fetched. A partition from which nothing is taken is not fetched further, so that memory is bounded.
"""

from __future__ import annotations

import time
from typing import Any

from events.errors import HeadraceError
from events.log import LogRecord
from stores.log.kafka import explain
from stores.log.kafka.ahead import Ahead
from stores.log.kafka.batches import Reader, whole_until
from stores.log.kafka.client import ExpiredError, Fetched, Fetcher
from stores.log.kafka.ng_wire import Node, Wire
from stores.log.kafka.records import stream_of
from stores.log.kafka.unreachable import why_unreachable
from stores.log_settings import KafkaSettings

PARTITION_BYTES = 2**20
"""Most that is fetched of one partition at once, save one larger batch; twice as much may be held of each."""

REQUEST_BYTES = 16 * 2**20
HELD_BYTES = 64 * 2**20
"""How much is held of all partitions before only those are fetched of which nothing is left and somebody asks."""

_LITTLE_BYTES = PARTITION_BYTES // 2
_NEWS_MILLIS, _GLANCE_MILLIS = 100, 10
"""How long a broker may wait for news: when nothing else is to be fetched, and when something may be."""

_LOOK_SECONDS = 0.2
_MOMENT_SECONDS = 0.002
_AWAY_SECONDS = 1.0
_OUT_OF_RANGE = 1
_MOVED = frozenset({3, 5, 6, 8, 9, 56, 74, 75, 100})
"""Errors after which another broker has the partition, or none for the moment."""


class NgFetcher(Fetcher):
    """Fetches by connections of its own."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._wire = Wire(settings)
        self._ahead: dict[tuple[str, int], Ahead] = {}
        self._asked: dict[Node, Any] = {}
        self._looked = 0.0
        self._called = 0.0
        self._polled = 0.0
        self._silent_since: float | None = None

    def close(self) -> None:
        """Let go of connections."""
        self._wire.close()
        self._ahead.clear()
        self._asked.clear()

    def fetch(self, topic: str, partition: int, offset: int, limit: int, wait_seconds: float) -> Fetched:
        """Do what the port says; at the known end of a partition it does not wait."""
        ahead = self._standing_at(topic, partition, offset)
        records = self._take(ahead, partition, limit)
        if records or ahead.next != offset:
            self._turn(0.0, ahead)  # the next ones set out
        elif limit and not self._is_fresh(ahead):
            records = self._await(ahead, partition, limit, wait_seconds)
            if not records and ahead.next == offset:
                self._raise(ahead)
        return Fetched(records, ahead.next)

    def _standing_at(self, topic: str, partition: int, offset: int) -> Ahead:
        ahead = self._ahead.get((topic, partition))
        if ahead is None:
            stream = stream_of(self._settings.prefix, topic) or topic
            ahead = self._ahead[topic, partition] = Ahead(topic, stream, offset)
        elif ahead.next != offset:
            ahead.seek(offset)
        now = time.monotonic()
        if now - self._called > _AWAY_SECONDS:
            self._silent_since = None  # nobody has listened meanwhile
        self._called = now
        return ahead

    def _is_fresh(self, ahead: Ahead) -> bool:
        """Whether this very moment, for another partition, nothing has come for this one either."""
        return ahead.at_end() and ahead.error is None and self._called - self._polled < _MOMENT_SECONDS

    def _await(self, ahead: Ahead, partition: int, limit: int, seconds: float) -> list[LogRecord]:
        until, offset = self._called + seconds, ahead.next
        self._turn(0.0, ahead)
        while True:
            records = self._take(ahead, partition, limit)
            left = until - time.monotonic()
            if records or ahead.next != offset or ahead.error is not None or ahead.at_end() or left <= 0:
                return records
            self._turn(left, ahead)

    def _take(self, ahead: Ahead, partition: int, limit: int) -> list[LogRecord]:
        try:
            return ahead.take(limit)
        except HeadraceError:
            # Not to be decoded from the middle: the next call begins with a new look at the broker.
            self._ahead.pop((ahead.topic, partition), None)
            raise

    def _raise(self, ahead: Ahead) -> None:
        error, ahead.error = ahead.error, None
        if error is not None:
            raise error
        if self._silent_since is not None and time.monotonic() - self._silent_since > self._settings.timeout_seconds:
            self._silent_since = None
            raise why_unreachable(self._settings)

    def _turn(self, seconds: float, needed: Ahead) -> None:
        """Send what is to be asked, and receive what has come, waiting at most so long for it."""
        self._send(needed)
        if self._asked or seconds or self._silent_since is not None:
            self._wire.poll(seconds)
            self._polled = time.monotonic()
            self._send(needed)

    def _send(self, needed: Ahead) -> None:
        """Ask each broker that is not being asked for the partitions of which little is left."""
        by_node: dict[Node, list[tuple[tuple[str, int], Ahead]]] = {}
        unknown = False
        client = self._wire.client()
        partitions = client.cluster._partitions
        for name, ahead in self._ahead.items():
            known = partitions.get(name[0], {}).get(name[1])
            if known is None or known.leader == -1:
                unknown = True
            elif known.leader not in self._asked:
                by_node.setdefault(known.leader, []).append((name, ahead))
        if unknown:
            self._look()
        much = sum(ahead.held for ahead in self._ahead.values()) > HELD_BYTES
        for node, led in by_node.items():
            wanted = [one for one in led if one[1].held < _LITTLE_BYTES and one[1].error is None]
            if much:
                wanted = [one for one in wanted if one[1] is needed and not needed.held]
            if not wanted:
                continue
            if not self._wire.ready(node):
                self._silent_since = self._silent_since or time.monotonic()
                continue
            # Little first: a large answer has no room for those that are asked for last.
            wanted.sort(key=lambda one: one[1].held)
            news = len(wanted) == len(led) and all(ahead.at_end() for _, ahead in wanted)
            self._ask(node, wanted, _NEWS_MILLIS if news else _GLANCE_MILLIS)

    def _ask(self, node: Node, wanted: list[tuple[tuple[str, int], Ahead]], wait_millis: int) -> None:
        from kafka.protocol.fetch import FetchRequest

        topics: dict[str, list[tuple[int, int, int, int, int]]] = {}
        places: dict[tuple[str, int], tuple[Ahead, int]] = {}
        for (topic, partition), ahead in wanted:
            topics.setdefault(topic, []).append((partition, -1, ahead.fetch_at, -1, PARTITION_BYTES))
            places[topic, partition] = (ahead, ahead.fetch_at)
        # Neither a follower nor in a session; all that is there, as this client cannot tell aborted records.
        request = FetchRequest[10](-1, wait_millis, 1, REQUEST_BYTES, 0, 0, -1, list(topics.items()), [])
        future = self._wire.client().send(node, request, wakeup=False)
        self._asked[node] = future
        self._silent_since = self._silent_since or time.monotonic()
        future.add_callback(self._answered, node, places)
        future.add_errback(self._unanswered, node)

    def _unanswered(self, node: Node, error: Exception) -> None:
        del error
        self._asked.pop(node, None)
        self._wire.client().cluster.request_update()

    def _answered(self, node: Node, places: dict[tuple[str, int], tuple[Ahead, int]], answer: Any) -> None:
        self._asked.pop(node, None)
        self._silent_since = None
        for topic, partitions in answer.topics:
            for partition, code, end, _, _, _, data in partitions:
                ahead, asked_for = places[topic, partition]
                if ahead.fetch_at != asked_for or self._ahead.get((topic, partition)) is not ahead:
                    continue  # sought elsewhere meanwhile
                self._keep(ahead, partition, code, end, data)

    def _keep(self, ahead: Ahead, partition: int, code: int, end: int, data: bytes | None) -> None:
        if code == 0:
            ahead.end = end
            after = whole_until(data) if data else None
            if data and after is not None:
                ahead.readers.append(Reader(data, ahead.topic, ahead.stream, partition, ahead.fetch_at))
                ahead.held += len(data)
                ahead.fetch_at = after
        elif code == _OUT_OF_RANGE:
            ahead.error = ExpiredError(ahead.topic, partition, ahead.fetch_at)
        elif code in _MOVED:
            self._look()
        else:
            ahead.error = explain.refused(f"reading topic {ahead.topic!r}, partition {partition},", code)

    def _look(self) -> None:
        """Ask for a new picture of the cluster, now and then."""
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if now - self._looked > _LOOK_SECONDS:
            self._looked = now
            self._wire.client().cluster.request_update().add_callback(self._heard)

    def _heard(self, cluster: object) -> None:
        del cluster
        self._silent_since = None
