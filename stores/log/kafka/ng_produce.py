"""Sending records by kafka-python-ng's connections: one batch of a partition after the other, each until all have it.

The next batch of a partition leaves only when the one before has been confirmed, so that no retry changes the order.
The client has no idempotence: where an answer was lost, records may be there twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from stores.log.kafka import explain
from stores.log.kafka.batch_writing import encode
from stores.log.kafka.client import Outgoing
from stores.log.kafka.ng_wire import Deadline, Wire
from stores.log.kafka.unreachable import why_unreachable
from stores.log_settings import KafkaSettings

BATCH_BYTES = 512 * 2**10
"""Size at which a batch is full; brokers take 1 MB by default."""

_MESSAGE_OVERHEAD = 64
_RETRIED = frozenset({2, 3, 5, 6, 7, 8, 9, 13, 19, 20, 56, 74})
"""Errors that pass: leaders that move, replicas that catch up, damage on the way."""

_TOO_LARGE = frozenset({10, 18})


class Sending:
    """The messages of one call, on their way.

    :arg wire: Connections of their own: answers may take as long as the slowest replica.
    """

    def __init__(self, wire: Wire, topic: str, messages: Sequence[Outgoing]) -> None:
        self._wire = wire
        self._settings = wire.settings
        self._topic = topic
        self._waiting = _batches(_checked(messages, topic, self._settings), self._settings)
        self._under_way: dict[int, bytes] = {}
        self._code = 0

    def run(self) -> None:
        """Send all; return when all replicas in sync have all of it.

        :raises StoreError: When some could not be delivered within `timeout_seconds` without any progress.
        """
        deadline = self._wire.deadline()
        self._next()
        while self._under_way:
            confirmed = self._round(deadline)
            if confirmed:
                deadline = self._wire.deadline()
                for partition in confirmed:
                    del self._under_way[partition]
                self._next()
            elif not deadline.left():
                if self._code:
                    doing = f"appending to topic {self._topic!r}"
                    raise explain.refused(doing, self._code)
                raise why_unreachable(self._settings)
            else:
                self._wire.look(deadline)

    def _next(self) -> None:
        """Take up the next batch of each partition of which none is under way."""
        for partition, batches in list(self._waiting.items()):
            if partition not in self._under_way:
                if not batches:
                    del self._waiting[partition]
                    continue
                self._under_way[partition] = encode(batches.popleft(), self._settings.compression)

    def _round(self, deadline: Deadline) -> list[int]:
        """Send to each leader what is under way; return the partitions that have been confirmed."""
        led = self._wire.leaders([(self._topic, partition) for partition in self._under_way], deadline)
        if sum(len(partitions) for partitions in led.values()) < len(self._under_way):
            self._code = 3
        if not led:
            return []
        requests = {node: self._request(names) for node, names in led.items()}
        answers = self._wire.ask_all(requests, deadline)
        confirmed = []
        for answer in answers.values():
            for _, partitions in answer.topics:
                for partition, code, *_ in partitions:
                    if self._settled(partition, code):
                        confirmed.append(partition)
        return confirmed

    def _settled(self, partition: int, code: int) -> bool:
        if code == 0:
            return True
        if code in _TOO_LARGE:
            size = len(self._under_way[partition])
            raise explain.too_large(self._topic, size, min(size, self._settings.max_message_bytes))
        if code not in _RETRIED:
            doing = f"appending to topic {self._topic!r}"
            raise explain.refused(doing, code)
        self._code = code
        return False

    def _request(self, names: Iterable[tuple[str, int]]) -> Any:
        from kafka.protocol.produce import ProduceRequest

        batches = [(partition, self._under_way[partition]) for _, partition in names]
        timeout = round(self._settings.timeout_seconds * 1000)
        return ProduceRequest[7](None, -1, timeout, [(self._topic, batches)])


def _checked(messages: Sequence[Outgoing], topic: str, settings: KafkaSettings) -> Iterator[tuple[int, Outgoing]]:
    limit = settings.max_message_bytes
    for message in messages:
        size = len(message.key or b"") + len(message.value or b"") + _MESSAGE_OVERHEAD
        size += sum(len(name) + len(text) + 8 for name, text in message.headers)
        if size > limit:
            raise explain.too_large(topic, size, limit)
        yield size, message


def _batches(messages: Iterable[tuple[int, Outgoing]], settings: KafkaSettings) -> dict[int, deque[list[Outgoing]]]:
    full = min(BATCH_BYTES, settings.max_message_bytes)
    batches: dict[int, deque[list[Outgoing]]] = {}
    sizes: dict[int, int] = {}
    for size, message in messages:
        partition = message.partition
        waiting = batches.get(partition)
        if waiting is None:
            batches[partition], sizes[partition] = deque([[message]]), size
        elif sizes[partition] + size > full:
            waiting.append([message])
            sizes[partition] = size
        else:
            waiting[-1].append(message)
            sizes[partition] += size
    return batches
