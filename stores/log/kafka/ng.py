"""The client on kafka-python-ng: what the library lacks or does slowly is done here, over its connections.

It knows no transactions: topics that have them are refused, as it cannot tell which records were aborted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from events.errors import StoreError
from stores.log.kafka import explain
from stores.log.kafka.client import Client, Fetcher, Outgoing, Topic
from stores.log.kafka.ng_fetch import NgFetcher
from stores.log.kafka.ng_produce import Sending
from stores.log.kafka.ng_wire import Deadline, Node, Wire
from stores.log.kafka.unreachable import why_unreachable
from stores.log_settings import KafkaSettings

_NEWEST, _OLDEST = -1, -2
_UNKNOWN_TOPIC, _TOPIC_EXISTS, _NO_SUCH_COUNT, _UNSUPPORTED, _AGAINST_POLICY = 3, 36, 37, 35, 44
_MOVED = frozenset({3, 5, 6, 8, 9, 13, 56, 74, 75})
_OTHER_COORDINATOR = frozenset({14, 15, 16})
_NOT_CONTROLLER = 41
_TOPIC_RESOURCE = 2

Places = dict[tuple[str, int], int]


class NgClient(Client):
    """Connections by kafka-python-ng.

    :arg settings: Where the cluster is and how to speak to it.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._asking = Wire(settings)
        # Apart, as brokers answer the requests of a connection one after the other, and an append may take long.
        self._sending = Wire(settings)
        # Apart, as nobody is to wait for a group's coordinator that is away.
        self._grouping = Wire(settings)
        # Apart, as nobody is to wait for a partition's leader that is away.
        self._looking = Wire(settings)
        self._one_append = threading.Lock()

    def close(self) -> None:
        """Let go of connections."""
        for wire in (self._asking, self._sending, self._grouping, self._looking):
            wire.close()

    def fetcher(self) -> Fetcher:
        """Return a new fetcher with connections of its own."""
        return NgFetcher(self._settings)

    def topics(self) -> dict[str, int]:
        """Ask a broker."""
        return {name: len(partitions) for name, partitions in self._described().items()}

    def describe(self, topics: Sequence[str]) -> list[Topic]:
        """Ask for partitions, then for settings."""
        from kafka.protocol.admin import DescribeConfigsRequest

        there = self._described()
        wanted = sorted({topic for topic in topics if topic in there})
        if not wanted:
            return []
        keys = ["cleanup.policy", "retention.ms"]
        request = DescribeConfigsRequest[1]([(_TOPIC_RESOURCE, topic, keys) for topic in wanted], False)
        answer = self._asking.ask(self._asking.any_node, request, self._asking.deadline())
        settings: dict[str, dict[str, str]] = {}
        for code, said, _, topic, entries in answer.resources:
            if code not in {0, _UNKNOWN_TOPIC}:
                doing = f"asking for the settings of topic {topic!r}"
                raise explain.refused(doing, code, said or "")
            settings[topic] = {entry[0]: entry[1] for entry in entries}
        return [_topic(name, there[name], settings.get(name, {})) for name in wanted]

    def create(self, topic: str, partitions: int, replication: int, configuration: Mapping[str, str]) -> None:
        """Ask the controller, then wait until each partition has a leader."""
        from kafka.protocol.admin import CreateTopicsRequest

        deadline = self._asking.deadline()
        settings = list(configuration.items())
        request = CreateTopicsRequest[2]([(topic, partitions, replication, [], settings)], self._timeout(), False)
        code, said = self._controlled(request, deadline, lambda answer: answer.topic_errors)
        if code not in {0, _TOPIC_EXISTS}:
            doing = f"making topic {topic!r}"
            raise explain.refused(doing, code, said)
        self._await(topic, partitions if code == 0 else 1, deadline)

    def grow(self, topic: str, partitions: int) -> None:
        """Ask the controller, then wait until each partition has a leader."""
        from kafka.protocol.admin import CreatePartitionsRequest

        deadline = self._asking.deadline()
        request = CreatePartitionsRequest[0]([(topic, (partitions, None))], self._timeout(), False)
        code, said = self._controlled(request, deadline, lambda answer: answer.topic_errors)
        if code == _NO_SUCH_COUNT and self.topics().get(topic, 0) >= partitions:
            return  # somebody else has made them
        if code:
            doing = f"giving topic {topic!r} {partitions} partitions"
            raise explain.refused(doing, code, said)
        self._await(topic, partitions, deadline)

    def produce(self, topic: str, messages: Sequence[Outgoing]) -> None:
        """Send them, one caller at a time, so that the order of appends is the order of the log."""
        if messages:
            with self._one_append:
                Sending(self._sending, topic, messages).run()

    def ends(self, partitions: Sequence[tuple[str, int]]) -> Places:
        """Ask each leader, once for all of its partitions."""
        return self._offsets(partitions, _NEWEST)

    def ends_now(self, partitions: Sequence[tuple[str, int]], seconds: float) -> dict[tuple[str, int], int | None]:
        """Ask the leaders that are known, and once more those that have moved."""
        wire, deadline = self._looking, Deadline(seconds)
        found: Places = {}
        wanted, silent = set(partitions), set[tuple[str, int]]()
        for last in (False, True):
            led, leaderless, unknown = wire.known_leaders(wanted)
            answers = wire.ask_all({node: _offset_request(names, _NEWEST) for node, names in led.items()}, deadline)
            for answer in answers.values():
                for topic, parts in answer.topics:
                    found |= {(topic, partition): offset for partition, code, _, offset in parts if code == 0}
            silent = leaderless | {name for names in led.values() for name in names if name not in found}
            wanted = silent | unknown
            if last or not wanted:
                break
            try:
                wire.look(deadline)
            except StoreError:
                if not found:
                    raise
                silent = wanted
                break
        return {**dict.fromkeys(silent), **found}

    def beginnings(self, partitions: Sequence[tuple[str, int]]) -> Places:
        """Ask each leader, once for all of its partitions."""
        return self._offsets(partitions, _OLDEST)

    def offset_at(self, topic: str, partition: int, time: int) -> int | None:
        """Ask the leader."""
        found = self._offsets([(topic, partition)], max(time, 0)).get((topic, partition), -1)
        return None if found < 0 else found

    def delete_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Ask each leader; a partition that is gone needs nothing."""
        from stores.log.kafka.ng_delete import delete_request

        def request(led: Sequence[tuple[str, int]]) -> Any:
            return delete_request(topic, {partition: offsets[partition] for _, partition in led}, self._timeout())

        for _, partitions in self._led([(topic, partition) for partition in offsets], request):
            for partition, _, code in partitions:
                if code == _UNSUPPORTED:
                    raise explain.cannot_delete(topic)
                if code == _AGAINST_POLICY:
                    raise explain.compacted(topic)
                if code:
                    doing = f"deleting from topic {topic!r}, partition {partition},"
                    raise explain.refused(doing, code)

    def commit(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Ask the group's coordinator; as nobody has joined, no generation is named."""
        from kafka.protocol.commit import OffsetCommitRequest

        topics: dict[str, list[tuple[int, int, str]]] = {}
        for (topic, partition), offset in sorted(offsets.items()):
            topics.setdefault(topic, []).append((partition, offset, ""))
        request = OffsetCommitRequest[2](group, -1, "", -1, list(topics.items()))
        for _, topic, partition, code in self._coordinated(group, request):
            if code:
                doing = f"noting the offset of {topic!r}, partition {partition}, for {group!r}"
                raise explain.refused(doing, code)

    def committed(self, group: str, partitions: Sequence[tuple[str, int]]) -> Places:
        """Ask the group's coordinator."""
        from kafka.protocol.commit import OffsetFetchRequest

        topics: dict[str, list[int]] = {}
        for topic, partition in partitions:
            topics.setdefault(topic, []).append(partition)
        found: Places = {}
        request = OffsetFetchRequest[1](group, list(topics.items()))
        for (offset,), topic, partition, code in self._coordinated(group, request):
            if code not in {0, _UNKNOWN_TOPIC}:
                doing = f"asking for the offset of {topic!r}, partition {partition}, of {group!r}"
                raise explain.refused(doing, code)
            if offset >= 0:
                found[topic, partition] = offset
        return found

    def _described(self) -> dict[str, dict[int, int]]:
        """Return for each topic of others than the broker itself how many replicas each partition has."""
        from kafka.protocol.metadata import MetadataRequest

        answer = self._asking.ask(self._asking.any_node, MetadataRequest[1](None), self._asking.deadline())
        return {
            topic: {partition: len(replicas) for _, partition, _, replicas, _ in partitions}
            for code, topic, internal, partitions in answer.topics
            if not internal and code != _UNKNOWN_TOPIC and partitions
        }

    def _await(self, topic: str, partitions: int, deadline: Deadline) -> None:
        wanted = [(topic, partition) for partition in range(partitions)]
        while sum(len(led) for led in self._asking.leaders(wanted, deadline).values()) < len(wanted):
            if not deadline.left():
                doing = f"waiting for topic {topic!r}"
                raise explain.refused(doing, 5)
            self._asking.look(deadline)

    def _controlled(self, request: Any, deadline: Deadline, errors: Any) -> tuple[int, str]:
        """Return what the controller says about the one topic of a request: the error's code, and its words."""
        while True:
            answer = self._asking.ask(self._controller, request, deadline)
            [(_, code, said)] = errors(answer)
            if code != _NOT_CONTROLLER or not deadline.left():
                return code, said or ""
            self._asking.look(deadline)

    def _controller(self) -> Node | None:
        cluster = self._asking.client().cluster
        if cluster.controller is None:
            cluster.request_update()
            return None
        return cluster.controller.nodeId

    def _offsets(self, partitions: Iterable[tuple[str, int]], time: int) -> Places:
        found: Places = {}
        for topic, answers in self._led(partitions, partial(_offset_request, time=time)):
            for partition, code, _, offset in answers:
                if code:
                    doing = f"asking for the offsets of topic {topic!r}, partition {partition},"
                    raise explain.refused(doing, code)
                found[topic, partition] = offset
        return found

    def _led(self, partitions: Iterable[tuple[str, int]], request: Any) -> list[tuple[str, list[Any]]]:
        """Ask the leaders of partitions, again where one has moved; return answers by topic.

        In each of them the partition comes first. Those of partitions that do not exist are absent.
        """
        deadline = self._asking.deadline()
        wanted = set(partitions)
        found: list[tuple[str, list[Any]]] = []
        while wanted:
            led = self._asking.leaders(wanted, deadline)
            wanted = {name for names in led.values() for name in names}
            answers = self._asking.ask_all({node: request(names) for node, names in led.items()}, deadline)
            for answer in answers.values():
                for topic, parts in answer.topics:
                    settled = [part for part in parts if _code(part) not in _MOVED or not deadline.left()]
                    wanted -= {(topic, part[0]) for part in settled}
                    found.append((topic, settled))
            if wanted:
                if not deadline.left():
                    raise why_unreachable(self._settings)
                self._asking.look(deadline)
        return found

    def _coordinated(self, group: str, request: Any) -> list[tuple[tuple[int, ...], str, int, int]]:
        """Ask a group's coordinator; return for each partition what it says, topic, partition and error code."""
        from kafka.protocol.commit import GroupCoordinatorRequest

        wire, deadline = self._grouping, self._grouping.deadline()
        while True:
            where = wire.ask(wire.any_node, GroupCoordinatorRequest[0](group), deadline)
            code = where.error_code
            if code == 0:
                coordinator = where.coordinator_id
                answer = wire.ask(partial(int, coordinator), request, deadline)
                found = [
                    (tuple(part[1:2]) if len(part) > 2 else (), topic, part[0], part[-1])  # noqa: PLR2004
                    for topic, parts in answer.topics
                    for part in parts
                ]
                code = next((one[3] for one in found if one[3] in _OTHER_COORDINATOR), 0)
                if code == 0:
                    return found
            if code not in _OTHER_COORDINATOR or not deadline.left():
                doing = f"asking for the coordinator of group {group!r}"
                raise explain.refused(doing, code)
            wire.look(deadline)

    def _timeout(self) -> int:
        return round(self._settings.timeout_seconds * 1000)


def _offset_request(led: Sequence[tuple[str, int]], time: int) -> Any:
    from kafka.protocol.offset import OffsetRequest

    topics: dict[str, list[tuple[int, int]]] = {}
    for topic, partition in led:
        topics.setdefault(topic, []).append((partition, time))
    return OffsetRequest[1](-1, list(topics.items()))


def _code(part: Sequence[Any]) -> int:
    """Return the error code of an answer about one partition: of offsets it is the second, of deletions the third."""
    return int(part[1] if len(part) > 3 else part[2])  # noqa: PLR2004


def _topic(name: str, replicas: Mapping[int, int], settings: Mapping[str, str]) -> Topic:
    retention = int(settings.get("retention.ms") or -1)
    compacted = "compact" in (settings.get("cleanup.policy") or "")
    replication = min(replicas.values(), default=0)
    return Topic(name, len(replicas), replication, compacted, None if retention < 0 else retention)
