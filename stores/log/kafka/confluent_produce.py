"""Appending by librdkafka: a call returns when all of its messages are confirmed, or none is under way any more.

Idempotence keeps the order of a partition and lets no message in twice, whatever is sent again beneath.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from events.errors import RejectedError
from stores.log.kafka.client import Outgoing
from stores.log.kafka.confluent_options import Complaints, explained, library, producing
from stores.log_settings import KafkaSettings

_LOOK_SECONDS = 0.2
_AGAIN_SECONDS = 0.1
"""Pause between two looks for a partition that the brokers do not tell of yet."""

_LATER_SECONDS = 5.0
"""How much later than its own deadline the library says that a message is undelivered, at most."""

_MOST_TOLD = 1000
"""Errors that are kept of one call; they are alike."""


class Delivery:
    """A producer; for one thread at a time, and after an error for none any more.

    :arg settings: The brokers, and how to speak to them.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._library = library()
        self._complaints = Complaints()
        self._errors: list[Any] = []
        self._partitions: dict[str, int] = {}
        self._producer = self._library.Producer(
            {**producing(settings, self._complaints), "on_delivery": self._undelivered}
        )

    def deliver(self, topic: str, messages: Sequence[Outgoing]) -> None:
        """Send messages and wait until all replicas in sync have them.

        :raises StoreError: When one could not be delivered.
        :raises RejectedError: When one is larger than the topic takes.
        """
        doing = f"appending to topic {topic!r}"
        try:
            self._learn(topic, max((message.partition for message in messages), default=-1))
            for message in messages:
                self._enqueue(topic, message)
            self._settle()
        except self._library.KafkaException as error:
            self._errors.append(error.args[0])
        if self._errors:
            first = self._errors[0]
            told = explained(doing, first, self._settings, self._complaints)
            if first.code() == self._library.KafkaError.MSG_SIZE_TOO_LARGE:
                raise RejectedError(told.detail, told.hint)
            raise told
        self._complaints.forget()

    def abandon(self) -> None:
        """Take back what is not delivered."""
        self._producer.purge()
        self._producer.flush(_LOOK_SECONDS)

    def close(self) -> None:
        """Let go of the connections; between two calls nothing is under way."""
        self._producer.flush(_LOOK_SECONDS)

    def _learn(self, topic: str, partition: int) -> None:
        """Have the library look again for a partition that came later: it takes those that it knows for all."""
        deadline = time.monotonic() + self._settings.timeout_seconds
        while self._partitions.get(topic, 0) <= partition:
            try:
                found = self._producer.list_topics(topic, timeout=_LOOK_SECONDS).topics[topic]
            except self._library.KafkaException:
                # Not to be reached for the moment: the messages wait for that as well.
                return
            self._partitions[topic] = len(found.partitions)
            if len(found.partitions) <= partition:
                if time.monotonic() >= deadline:
                    return
                time.sleep(_AGAIN_SECONDS)

    def _enqueue(self, topic: str, message: Outgoing) -> None:
        partition, key, value, timestamp, headers = message
        while True:
            try:
                self._producer.produce(
                    topic, value, key, partition, timestamp=timestamp, headers=list(headers) if headers else None
                )
                return
            except BufferError:  # as much is under way as the library holds
                self._producer.poll(_LOOK_SECONDS)

    def _settle(self) -> None:
        """Wait until each message is delivered or given up."""
        deadline = time.monotonic() + self._settings.timeout_seconds + _LATER_SECONDS
        while self._producer.flush(_LOOK_SECONDS):
            if self._complaints.refusal is not None or time.monotonic() > deadline:
                raise self._complaints.explained(self._settings)

    def _undelivered(self, error: Any, message: Any) -> None:
        """Note an error; the library calls it for these alone."""
        del message
        if error is not None and len(self._errors) < _MOST_TOLD:
            self._errors.append(error)
