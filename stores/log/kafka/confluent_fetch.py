"""Reading by librdkafka: one queue for all partitions, taken apart by partition, and never more of it than fits.

What `fetch` returns of a partition has no gap and nothing twice: a partition that is sought, or given up for the room
that it takes, is assigned anew at the very offset, and what was drawn of it before is dropped.
"""

from __future__ import annotations

import time
from itertools import repeat
from typing import Any

from events.log import LogRecord
from stores.log.kafka import explain
from stores.log.kafka.client import ExpiredError, Fetched, Fetcher
from stores.log.kafka.confluent_options import TRANSIENT, Complaints, consuming, explained, library
from stores.log.kafka.records import stream_of, to_record
from stores.log_settings import KafkaSettings

READ_AHEAD_BYTES = 16 * 2**20
"""What the library holds of all partitions together, about."""

HELD, HELD_BYTES = 20_000, 64 * 2**20
"""Records drawn of other partitions than the one asked for, and bytes in them, above which nothing more is drawn."""

_DRAW = 1000
_PROBE_SECONDS = 1.0
_SHORTEST_SECONDS = 0.001
"""Waits are whole milliseconds to the library: less is none."""

_ABSENT = frozenset({"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_ID"})
_OF_GROUPS = frozenset({"GROUP_AUTHORIZATION_FAILED", "INVALID_GROUP_ID", "_MAX_POLL_EXCEEDED"})


class _Place:
    """One partition: what was drawn of it, and where that ends."""

    __slots__ = ("asked", "at_end", "bytes", "expired", "next", "partition", "reached", "records", "stream", "topic")

    def __init__(self, prefix: str, topic: str, partition: int, offset: int) -> None:
        self.stream = stream_of(prefix, topic) or topic
        self.topic = topic
        self.partition = partition
        self.next = offset  # what the caller goes on from
        self.reached = offset  # behind all that was drawn
        self.records: list[LogRecord] = []
        self.bytes = 0  # of what is in them, about
        self.at_end = False  # the broker had nothing more
        self.expired = False
        self.asked = 0

    def take(self, limit: int) -> Fetched:
        """Hand out up to `limit` records."""
        if len(self.records) > limit:
            self.bytes -= self.bytes * limit // len(self.records)
            taken, self.records = self.records[:limit], self.records[limit:]
            self.next = taken[-1].offset + 1
        else:
            taken, self.records, self.bytes = self.records, [], 0
            self.next = self.reached
        return Fetched(taken, self.next)


class ConfluentFetcher(Fetcher):
    """One consumer of librdkafka, told what to read."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._library = library()
        self._complaints = Complaints()
        self._consumer = self._library.Consumer(consuming(settings, self._complaints, READ_AHEAD_BYTES))
        self._places: dict[tuple[str, int], _Place] = {}
        self._fetches = 0

    def fetch(self, topic: str, partition: int, offset: int, limit: int, wait_seconds: float) -> Fetched:
        """Hand out what was drawn of the partition, and draw if that is nothing."""
        place = self._places.get((topic, partition))
        if place is None or place.next != offset:
            place = self._seek(topic, partition, offset)
        self._fetches += 1
        place.asked = self._fetches
        if not place.records and limit > 0:
            # At the end there is nothing to wait for: what comes is fetched beside this.
            self._draw(place, limit, 0.0 if place.at_end else wait_seconds)
        fetched = place.take(limit)
        if not fetched.records and place.expired:
            self._give_up(place)
            raise ExpiredError
        return fetched

    def close(self) -> None:
        """End the consumer, and wait until its threads have gone."""
        self._places.clear()
        self._consumer.close()

    def _seek(self, topic: str, partition: int, offset: int) -> _Place:
        before = self._places.get((topic, partition))
        if before is not None:
            self._give_up(before)
        place = self._places[topic, partition] = _Place(self._settings.prefix, topic, partition, offset)
        self._consumer.incremental_assign([self._library.TopicPartition(topic, partition, offset)])
        return place

    def _give_up(self, place: _Place) -> None:
        del self._places[place.topic, place.partition]
        self._consumer.incremental_unassign([self._library.TopicPartition(place.topic, place.partition)])

    def _draw(self, place: _Place, limit: int, wait_seconds: float) -> None:
        """Take from the queue until there are records of `place`, the queue is empty and the wait over."""
        if self._is_full() and not self._make_room():
            return
        deadline = time.monotonic() + wait_seconds if wait_seconds > 0 else 0.0
        while True:
            messages = self._consumer.consume(max(limit, _DRAW), 0)
            if messages:
                self._sort(messages)
                if place.records or place.expired or place.at_end or self._is_full():
                    return
            elif not deadline:
                break
            left = deadline - time.monotonic()
            if left < _SHORTEST_SECONDS:
                break
            first = self._consumer.poll(left)
            if first is not None:
                self._sort([first])
                limit = max(limit - 1, 1)
        self._judge()

    def _is_full(self) -> bool:
        places = self._places.values()
        return sum(len(place.records) for place in places) >= HELD or sum(place.bytes for place in places) >= HELD_BYTES

    def _make_room(self) -> bool:
        """Give up the partitions that nobody has asked for while all others were; False if there are none."""
        idle = [
            place
            for place in self._places.values()
            if place.records and self._fetches - place.asked > 4 * len(self._places)
        ]
        for place in idle:
            self._give_up(place)
        return not self._is_full()

    def _sort(self, messages: list[Any]) -> None:
        """Put each message to its partition, in the order in which they came."""
        if self._complaints.since is not None or self._complaints.refusal is not None:
            self._complaints.forget()
        kind = self._library.Message
        names = list(zip(map(kind.topic, messages), map(kind.partition, messages), strict=True))
        errors = list(map(kind.error, messages))
        begin = 0
        while begin < len(messages):
            # Mostly all that is drawn at once is of one partition, and no error.
            end = _run(names, errors, begin)
            place = self._places.get(names[begin])
            if errors[begin] is not None:
                self._note(place, messages[begin])
            elif place is not None:
                self._keep(place, messages[begin:end])
            begin = end

    def _keep(self, place: _Place, messages: list[Any]) -> None:
        """Add messages of one partition to what is held of it, as records."""
        kind = self._library.Message
        offsets = list(map(kind.offset, messages))
        if offsets[0] < place.reached:  # drawn before the partition was sought
            later = [message for message in messages if message.offset() >= place.reached]
            if later:
                self._keep(place, later)
            return
        times = [time for _, time in map(kind.timestamp, messages)]
        headers = list(map(kind.headers, messages))
        about = (repeat(place.stream), repeat(place.partition), offsets, times)
        told = (map(kind.key, messages), map(kind.value, messages))
        if min(times) >= 0 and not any(headers):
            place.records += map(LogRecord, *about, *told)
        else:
            place.records += map(to_record, *about, *told, (some or () for some in headers))
        place.reached = offsets[-1] + 1
        place.at_end = False
        place.bytes += sum(map(len, messages))

    def _note(self, place: _Place | None, message: Any) -> None:
        """Take in what is no record: the end of a partition, or an error.

        :raises StoreError: When a broker has refused, or a batch is damaged.
        """
        error = message.error()
        name = error.name()
        if name == "_PARTITION_EOF":
            if place is not None:
                place.reached = max(place.reached, message.offset())
                place.at_end = True
        elif name in {"_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE"}:
            if place is not None:
                place.expired = True
        elif name == "_BAD_MSG" and place is not None:
            raise explain.damaged(place.topic, place.partition, message.offset(), error.str())
        elif name not in _ABSENT | _OF_GROUPS | TRANSIENT:
            doing = f"reading topic {message.topic()!r}" if message.topic() else "reading"
            raise explained(doing, error, self._settings, self._complaints)

    def _judge(self) -> None:
        """Look whether brokers can still be reached, if there is reason to doubt it.

        :raises StoreError: When none has answered for `timeout_seconds`, or one does not let us in.
        """
        complaints = self._complaints
        if complaints.refusal is not None:
            raise complaints.explained(self._settings)
        if complaints.since is None or time.monotonic() - complaints.since < self._settings.timeout_seconds:
            return
        try:
            # An idle partition says nothing when its broker is back.
            self._consumer.list_topics(next(iter(self._places))[0], timeout=_PROBE_SECONDS)
        except self._library.KafkaException:
            raise complaints.explained(self._settings) from None
        complaints.forget()


def _run(names: list[tuple[str, int]], errors: list[Any], begin: int) -> int:
    """Return where the messages of one partition end that begin there; an error stands alone."""
    if errors[begin] is not None:
        return begin + 1
    name, count = names[begin], len(names)
    # An error of the library must not be compared with anything but another one.
    if begin == 0 and names.count(name) == count and not any(errors):
        return count
    end = begin + 1
    while end < count and errors[end] is None and names[end] == name:
        end += 1
    return end
