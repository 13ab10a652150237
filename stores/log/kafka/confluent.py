"""The client on librdkafka: idempotent appends in order, reads of what is committed alone.

What passes by itself (a broker that starts, a leader that moves) is asked again until `timeout_seconds` are over; what
a broker refuses is an error at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from stores.log.kafka import explain
from stores.log.kafka.client import Client, Fetcher, Outgoing, Topic
from stores.log.kafka.confluent_commit import GroupOffsets
from stores.log.kafka.confluent_ends import ends_now
from stores.log.kafka.confluent_fetch import ConfluentFetcher
from stores.log.kafka.confluent_options import TRANSIENT, Complaints, connection, explained, library
from stores.log.kafka.confluent_produce import Delivery
from stores.log_settings import KafkaSettings

T = TypeVar("T")

_SLICE_SECONDS = 2.0
"""How long one question may take before it is asked again."""

_LOOK_SECONDS = 0.05
_ABSENT = frozenset({"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "_NOENT"})


class ConfluentClient(Client):
    """Connections by confluent-kafka; a producer and an admin handle, made when they are needed.

    :arg settings: The brokers, and how to speak to them.
    :raises MissingExtraError: When confluent-kafka is not installed.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._library = library()
        self._complaints = Complaints()
        self._handle: Any = None
        self._producer: Delivery | None = None
        self._groups: dict[str, GroupOffsets] = {}
        self._lock = threading.RLock()

    def topics(self) -> dict[str, int]:
        """Ask for all topics; one that is being deleted is left out."""
        found = self._ask("listing topics", lambda admin, seconds: admin.list_topics(timeout=seconds)).topics
        return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}

    def describe(self, topics: Sequence[str]) -> list[Topic]:
        """Ask for partitions, and for settings as far as the broker tells them."""
        found = self._ask("listing topics", lambda admin, seconds: admin.list_topics(timeout=seconds)).topics
        names = sorted(name for name in set(topics) if name in found and found[name].error is None)
        kind = self._library.admin.ConfigResource
        asked = [kind(kind.Type.TOPIC, name) for name in names]
        told: dict[str, Mapping[str, Any]] = {}
        if asked:
            answers = self._settle(
                "describing topics", lambda admin, s: admin.describe_configs(asked, request_timeout=s)
            )
            told = {resource.name: answer for resource, answer in answers.items() if isinstance(answer, dict)}
        return [_topic(name, found[name].partitions, told.get(name, {})) for name in names]

    def create(self, topic: str, partitions: int, replication: int, configuration: Mapping[str, str]) -> None:
        """Make a topic, and wait until each partition has a leader."""
        doing = f"making topic {topic!r}"
        wanted = [self._library.admin.NewTopic(topic, partitions, replication, config=dict(configuration))]
        answers = self._settle(doing, lambda admin, s: admin.create_topics(wanted, request_timeout=s))
        for error in answers.values():
            if error is not None and error.name() != "TOPIC_ALREADY_EXISTS":
                raise explained(doing, error, self._settings, self._complaints)
        self._await_leaders(doing, topic, 1)

    def grow(self, topic: str, partitions: int) -> None:
        """Add partitions; that there are as many already is fine."""
        doing = f"adding partitions to topic {topic!r}"
        wanted = [self._library.admin.NewPartitions(topic, partitions)]
        answers = self._settle(doing, lambda admin, s: admin.create_partitions(wanted, request_timeout=s))
        for error in answers.values():
            if error is not None and self.topics().get(topic, 0) < partitions:
                raise explained(doing, error, self._settings, self._complaints)
        self._await_leaders(doing, topic, partitions)

    def produce(self, topic: str, messages: Sequence[Outgoing]) -> None:
        """Hand the messages over and wait until each has been confirmed; one call after the other."""
        limit = self._settings.max_message_bytes
        for message in messages:
            size = len(message.key or b"") + len(message.value or b"")
            size += sum(len(name) + len(value) for name, value in message.headers)
            if size > limit:
                raise explain.too_large(topic, size, limit)
        with self._lock:
            if self._producer is None:
                self._producer = Delivery(self._settings)
            try:
                self._producer.deliver(topic, messages)
            except BaseException:
                # What is left of the call must not arrive after the next one.
                self._producer.abandon()
                self._producer = None
                raise

    def ends(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Ask for the offset before which every transaction is over."""
        return self._offsets("looking for the end of topics", partitions, self._library.admin.OffsetSpec.latest())

    def ends_now(self, partitions: Sequence[tuple[str, int]], seconds: float) -> dict[tuple[str, int], int | None]:
        """Ask once."""
        return ends_now(self._admin(), partitions, seconds)

    def beginnings(self, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Ask for the oldest offsets."""
        return self._offsets(
            "looking for the beginning of topics", partitions, self._library.admin.OffsetSpec.earliest()
        )

    def offset_at(self, topic: str, partition: int, time: int) -> int | None:
        """Ask for the first offset of that time or later."""
        moment = self._library.admin.OffsetSpec.for_timestamp(time)
        found = self._offsets(f"seeking a time in topic {topic!r}", [(topic, partition)], moment)
        offset = found.get((topic, partition), -1)
        return offset if offset >= 0 else None

    def delete_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Have the broker delete; it does so at once."""
        doing = f"deleting old records of topic {topic!r}"
        places = [self._library.TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        if not places:
            return
        answers = self._settle(doing, lambda admin, s: admin.delete_records(places, request_timeout=s))
        for error in answers.values():
            if isinstance(error, self._library.KafkaError):
                if error.name() in {"UNSUPPORTED_VERSION", "_UNSUPPORTED_FEATURE"}:
                    raise explain.cannot_delete(topic)
                raise explained(doing, error, self._settings, self._complaints)

    def commit(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Set the offsets of the group, as one who reads in it does: there is nobody in it."""
        if not offsets:
            return
        with self._lock:
            known = self._groups.pop(group, None) or GroupOffsets(self._settings, group)
        try:
            known.commit(offsets)
        except BaseException:
            known.close()
            raise
        with self._lock:
            self._groups[group] = known

    def committed(self, group: str, partitions: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Ask for the offsets of the group."""
        if not partitions:
            return {}
        places = [self._library.TopicPartition(*place) for place in partitions]
        wanted = [self._library.ConsumerGroupTopicPartitions(group, places)]
        found = self._grouped(
            f"reading offsets of group {group!r}", lambda a, s: a.list_consumer_group_offsets(wanted, request_timeout=s)
        )
        return {(place.topic, place.partition): place.offset for place in found if place.offset >= 0}

    def fetcher(self) -> Fetcher:
        """Return a consumer of its own."""
        return ConfluentFetcher(self._settings)

    def close(self) -> None:
        """Let go of the handles; the client can be used again."""
        with self._lock:
            if self._producer is not None:
                self._producer.close()
            self._producer = None
            self._handle = None
            groups, self._groups = self._groups, {}
        for group in groups.values():
            group.close()

    def _offsets(self, doing: str, partitions: Sequence[tuple[str, int]], spec: Any) -> dict[tuple[str, int], int]:
        if not partitions:
            return {}
        asked = {self._library.TopicPartition(*place): spec for place in partitions}
        committed = self._library.IsolationLevel.READ_COMMITTED

        asked_before = False

        def ask(admin: Any, seconds: float) -> dict[Any, Any]:
            nonlocal asked_before
            if asked_before:
                # Of a leader that has moved the library knows nothing until it is made to look.
                admin.list_topics(timeout=seconds)
            asked_before = True
            answers = self._answers(admin.list_offsets(asked, isolation_level=committed, request_timeout=seconds))
            # The library remembers how many partitions there were, and without a leader for any of those asked for it
            # says the same as if there were no such topic.
            missing = [place for place, answer in answers.items() if _name(answer) in {"_NOENT", "_UNKNOWN_PARTITION"}]
            if missing:
                there = admin.list_topics(timeout=seconds).topics
                if any(place.topic in there and place.partition in there[place.topic].partitions for place in missing):
                    raise self._no_leader()
            # Of a broker that is away it tells an offset that is none, and no error.
            if any(getattr(answer, "offset", 0) == self._library.OFFSET_INVALID for answer in answers.values()):
                raise self._no_leader()
            return answers

        found = {}
        for place, answer in self._ask(doing, ask).items():
            if not isinstance(answer, self._library.KafkaError):
                found[place.topic, place.partition] = int(answer.offset)
            elif answer.name() not in _ABSENT:
                raise explained(doing, answer, self._settings, self._complaints)
        return found

    def _grouped(self, doing: str, call: Callable[[Any, float], Any]) -> list[Any]:
        """Ask about one group; return its partitions."""
        (answer,) = self._settle(doing, call).values()
        if isinstance(answer, self._library.KafkaError):
            raise explained(doing, answer, self._settings, self._complaints)
        places = list(answer.topic_partitions)
        for place in places:
            if place.error is not None and place.error.name() not in _ABSENT:
                raise explained(doing, place.error, self._settings, self._complaints)
        return places

    def _await_leaders(self, doing: str, topic: str, partitions: int) -> None:
        def look(admin: Any, seconds: float) -> None:
            found = admin.list_topics(timeout=seconds).topics.get(topic)
            leaders = [part.leader >= 0 for part in found.partitions.values()] if found is not None else []
            if len(leaders) < partitions or not all(leaders):
                raise self._no_leader()

        self._ask(doing, look)

    def _no_leader(self) -> Exception:
        error = self._library.KafkaError
        raised: Exception = self._library.KafkaException(error(error.LEADER_NOT_AVAILABLE))
        return raised

    def _settle(self, doing: str, call: Callable[[Any, float], dict[Any, Future[Any]]]) -> dict[Any, Any]:
        """Ask a question with several answers; return each of them, or its `KafkaError`."""
        return self._ask(doing, lambda admin, seconds: self._answers(call(admin, seconds)))

    def _answers(self, futures: dict[Any, Future[Any]]) -> dict[Any, Any]:
        wait(futures.values())
        answers = {}
        for about, future in futures.items():
            error = future.exception()
            if error is None:
                answers[about] = future.result()
            elif isinstance(error, self._library.KafkaException) and error.args[0].name() not in TRANSIENT:
                answers[about] = error.args[0]
            else:
                raise error
        return answers

    def _ask(self, doing: str, call: Callable[[Any, float], T]) -> T:
        """Ask until there is an answer that does not pass by itself.

        :raises StoreError: When there is none in time, or a broker has refused.
        """
        admin = self._admin()
        deadline = time.monotonic() + self._settings.timeout_seconds
        while True:
            left = deadline - time.monotonic()
            try:
                answer = call(admin, max(_LOOK_SECONDS, min(left, _SLICE_SECONDS)))
            except self._library.KafkaException as error:
                admin.poll(_LOOK_SECONDS)
                failed = error.args[0]
            else:
                self._complaints.forget()
                return answer
            late = time.monotonic() >= deadline
            if late or self._complaints.refusal is not None or failed.name() not in TRANSIENT:
                told = explained(doing, failed, self._settings, self._complaints)
                self._complaints.forget()
                raise told

    def _admin(self) -> Any:
        with self._lock:
            if self._handle is None:
                options = connection(self._settings, self._complaints)
                self._handle = self._library.admin.AdminClient(options)
            return self._handle


def _name(answer: Any) -> str:
    """Return the name of an error; of what is none, nothing."""
    return answer.name() if hasattr(answer, "name") else ""


def _topic(name: str, partitions: Mapping[int, Any], told: Mapping[str, Any]) -> Topic:
    """Return what is known of a topic, by its partitions and its settings."""
    replication = max((len(partition.replicas) for partition in partitions.values()), default=0)
    policy = told["cleanup.policy"].value if "cleanup.policy" in told else ""
    retention = told["retention.ms"].value if "retention.ms" in told else None
    compacted = "compact" in (policy or "").split(",")
    return Topic(name, len(partitions), replication, compacted, int(retention) if retention else None)
