"""Where partitions end, by librdkafka, without waiting for those whose leader is away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import wait
from typing import Any

from stores.log.kafka.confluent_options import library

_UNANSWERED = frozenset({"_TIMED_OUT", "_TRANSPORT"})

Place = tuple[str, int]


def ends_now(admin: Any, partitions: Sequence[Place], seconds: float) -> dict[Place, int | None]:
    """Return the ends that are told in time, None where none is; partitions that do not exist are absent."""
    found, doubtful = _ask(admin, partitions, seconds)
    gone: set[Place] = set()
    if doubtful:
        # What the library knows of leaders is old then, and this alone renews it; and before it knows of a topic, it
        # says of one without a leader the same as if there were none.
        try:
            there = admin.list_topics(timeout=seconds).topics
        except library().KafkaException:
            return {name: found.get(name) for name in partitions}
        leaders = {name: _leader(there, name) for name in doubtful}
        gone = {name for name, leader in leaders.items() if leader is None}
        led = [name for name, leader in leaders.items() if leader is not None and leader >= 0]
        found |= _ask(admin, led, seconds)[0]
    return {name: found.get(name) for name in partitions if name not in gone}


def _ask(admin: Any, partitions: Iterable[Place], seconds: float) -> tuple[dict[Place, int], list[Place]]:
    """Ask once; return the ends, and the partitions of which there may be one elsewhere, or which may not exist."""
    kafka = library()
    asked = {kafka.TopicPartition(*name): kafka.admin.OffsetSpec.latest() for name in partitions}
    if not asked:
        return {}, []
    futures = admin.list_offsets(asked, isolation_level=kafka.IsolationLevel.READ_COMMITTED, request_timeout=seconds)
    wait(futures.values())
    found, doubtful = {}, []
    for place, future in futures.items():
        error = future.exception()
        if error is None:
            # Of a broker that is away the library tells an offset that is none, and no error.
            if future.result().offset >= 0:
                found[place.topic, place.partition] = int(future.result().offset)
        elif not isinstance(error, kafka.KafkaException):
            raise error
        elif error.args[0].name() not in _UNANSWERED:
            doubtful.append((place.topic, place.partition))
    return found, doubtful


def _leader(topics: Any, name: Place) -> int | None:
    """Return the number of a partition's leader, negative if it has none; None if there is no such partition."""
    topic = topics.get(name[0])
    partition = None if topic is None else topic.partitions.get(name[1])
    return None if partition is None else int(partition.leader)
