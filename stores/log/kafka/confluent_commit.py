"""Committing the offsets of a group that nobody is in, by a consumer that reads nothing.

Not by an admin handle, which is meant for it: librdkafka 2.16 fails an assertion, and ends the whole process, when an
administrator's request to a group's coordinator is given up while the broker is away.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from stores.log.kafka.confluent_options import TRANSIENT, Complaints, connection, explained, library
from stores.log_settings import KafkaSettings

_LOOK_SECONDS = 0.05


class GroupOffsets:
    """The offsets of one group; for one thread at a time, and after an error for none any more.

    :arg settings: The brokers, and how to speak to them.
    :arg group: The group's name.
    """

    def __init__(self, settings: KafkaSettings, group: str) -> None:
        self._settings = settings
        self._library = library()
        self._complaints = Complaints()
        self._doing = f"committing offsets of group {group!r}"
        self._answers: list[Any] = []
        self._consumer = self._library.Consumer(
            {
                **connection(settings, self._complaints),
                "group.id": group,
                "enable.auto.commit": False,
                "on_commit": self._answered,
            }
        )

    def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Set offsets, and wait until the broker has them.

        :raises StoreError: When it does not in time, or refuses.
        """
        places = [self._library.TopicPartition(*place, offset) for place, offset in offsets.items()]
        deadline = time.monotonic() + self._settings.timeout_seconds
        while True:
            failed = self._ask(places, deadline)
            if failed is None:
                self._complaints.forget()
                return
            late = time.monotonic() >= deadline
            if late or self._complaints.refusal is not None or failed.name() not in TRANSIENT:
                raise explained(self._doing, failed, self._settings, self._complaints)
            self._consumer.poll(_LOOK_SECONDS)

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()

    def _ask(self, places: Sequence[Any], deadline: float) -> Any:
        """Ask once; return what went wrong, None if nothing has."""
        self._answers.clear()
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except self._library.KafkaException as error:
            return error.args[0]
        while not self._answers:
            if time.monotonic() >= deadline or self._complaints.refusal is not None:
                return self._library.KafkaError(self._library.KafkaError._TIMED_OUT)
            self._consumer.poll(_LOOK_SECONDS)
        return self._answers[0]

    def _answered(self, error: Any, places: Sequence[Any]) -> None:
        failed = [error, *(place.error for place in places)]
        self._answers.append(next((one for one in failed if one is not None), None))
