"""Requests to Kafka over the connections of kafka-python-ng: each has its answer, or one error that says what to do.

The library keeps connections, authentication and its picture of the cluster. Which versions of requests are used is
fixed: those that brokers from 2.1 to 4 have in common, so that nothing has to be probed.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from events.errors import StoreError
from stores.log.kafka import explain
from stores.log.kafka.unreachable import tls, why_unreachable
from stores.log_settings import KafkaSettings

VERSION = (2, 1, 0)
"""The oldest Kafka that all requests are for."""

_RETRY_SECONDS = 0.05
_CHUNK_BYTES = 256 * 2**10
_PROTOCOLS = {"plaintext": "PLAINTEXT", "ssl": "SSL", "sasl_plaintext": "SASL_PLAINTEXT", "sasl_ssl": "SASL_SSL"}

Node = Any
"""How the library names a broker: a number, or a text for those to begin with and for coordinators."""


class Deadline:
    """A moment until which something is tried."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left, 0 if there are none."""
        return max(0.0, self._at - time.monotonic())


class Wire:
    """Connections to the brokers of one cluster, made at the first use. Threads take turns.

    :arg settings: Where the cluster is and how to speak to it.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self._lock = threading.RLock()
        self._client: Any = None
        self._closing = False

    def client(self) -> Any:
        """Return the library's client, made if it is not there."""
        if self._client is None:
            self._client = _connections(self.settings)
        return self._client

    def close(self) -> None:
        """Close all connections; they are made again when they are needed."""
        # Whoever waits for an answer in another thread is not waited for.
        self._closing = True
        with self._lock:
            self._closing = False
            if self._client is not None:
                client, self._client = self._client, None
                client.close()

    def deadline(self) -> Deadline:
        """Return the moment until which brokers may take their time with what is asked at present."""
        return Deadline(self.settings.timeout_seconds)

    def poll(self, seconds: float) -> None:
        """Send and receive what there is, waiting at most this long for something to come.

        :raises StoreError: When the broker does not let this user in, or a secure connection fails.
        """
        from kafka.errors import KafkaConnectionError, KafkaError

        try:
            self.client().poll(timeout_ms=seconds * 1000)
        except ssl.SSLError as error:
            raise explain.insecure(str(error.reason or error)) from error
        except KafkaConnectionError:
            return
        except KafkaError as error:
            raise self._denied(error) from error

    def ready(self, node: Node) -> bool:
        """Whether a request can be sent to `node`; begins to connect if not."""
        return bool(self.client().ready(node, metadata_priority=False))

    def ask(self, node: Callable[[], Node | None], request: Any, deadline: Deadline) -> Any:
        """Return the answer to one request.

        :arg node: Returns whom to ask, None if that is not known yet; asked again at each attempt.
        :raises StoreError: When nobody has answered in time.
        """
        if not self._lock.acquire(timeout=max(deadline.left(), _RETRY_SECONDS)):
            raise self._unanswered()
        try:
            while True:
                whom = node()
                if whom is not None and self.ready(whom):
                    answer = self._answer(whom, request, deadline)
                    if answer is not None:
                        return answer
                if not self._time_is_left(deadline):
                    raise self._unanswered()
                self.poll(min(deadline.left(), _RETRY_SECONDS))
        finally:
            self._lock.release()

    def ask_all(self, requests: dict[Node, Any], deadline: Deadline) -> dict[Node, Any]:
        """Return answers to requests that are sent at once; those to which there was none are absent."""
        if not self._lock.acquire(timeout=max(deadline.left(), _RETRY_SECONDS)):
            raise self._unanswered()
        try:
            client, futures = self.client(), {}
            waiting = set(requests)
            while True:
                # One that is slow to connect does not hold up the others.
                for whom in [whom for whom in waiting if self.ready(whom)]:
                    futures[whom] = client.send(whom, requests[whom], wakeup=False)
                    waiting.remove(whom)
                if not waiting and all(future.is_done for future in futures.values()):
                    break
                if not self._time_is_left(deadline):
                    break
                self.poll(min(deadline.left(), _RETRY_SECONDS))
                lost = {whom for whom in waiting if client.is_disconnected(whom)}
                waiting -= lost | {whom for whom in waiting if client.cluster.broker_metadata(whom) is None}
            return {whom: future.value for whom, future in futures.items() if future.succeeded()}
        finally:
            self._lock.release()

    def any_node(self) -> Node | None:
        """Return whichever broker has least to do, None if all were tried a moment ago."""
        return self.client().least_loaded_node()

    def leaders(self, partitions: Iterable[tuple[str, int]], deadline: Deadline) -> dict[Node, list[tuple[str, int]]]:
        """Return partitions by the broker that leads them; those that do not exist are absent."""
        wanted = set(partitions)
        looked = False
        while True:
            found, leaderless, missing = self.known_leaders(wanted)
            if not leaderless and (looked or not missing):
                return found
            if not self._time_is_left(deadline):
                if found or not leaderless:
                    return found
                doing = f"asking for the leader of {sorted(wanted)[0]}"
                raise explain.refused(doing, 5)
            self.look(deadline)
            looked = True
            if leaderless:
                self._pause(deadline)

    def known_leaders(
        self, partitions: Iterable[tuple[str, int]]
    ) -> tuple[dict[Node, list[tuple[str, int]]], set[tuple[str, int]], set[tuple[str, int]]]:
        """Return partitions by their leader, those that have none, and those that are not known, all as of last."""
        from kafka.structs import TopicPartition

        cluster = self.client().cluster
        led: dict[Node, list[tuple[str, int]]] = {}
        leaderless, unknown = set(), set()
        for name in sorted(partitions):
            leader = cluster.leader_for_partition(TopicPartition(*name))
            if leader is None:
                unknown.add(name)
            elif leader == -1 or cluster.broker_metadata(leader) is None:
                leaderless.add(name)
            else:
                led.setdefault(leader, []).append(name)
        return led, leaderless, unknown

    def look(self, deadline: Deadline) -> None:
        """Look anew which brokers, topics and leaders there are.

        :raises StoreError: When no broker answers in time.
        """
        if not self._lock.acquire(timeout=max(deadline.left(), _RETRY_SECONDS)):
            raise self._unanswered()
        try:
            while True:
                future = self.client().cluster.request_update()
                while not future.is_done and self._time_is_left(deadline):
                    self.poll(min(deadline.left(), _RETRY_SECONDS))
                if future.succeeded():
                    return
                if not self._time_is_left(deadline):
                    raise self._unanswered()
        finally:
            self._lock.release()

    def _time_is_left(self, deadline: Deadline) -> bool:
        return bool(deadline.left()) and not self._closing

    def _unanswered(self) -> StoreError:
        if self._closing:
            return explain.unreachable(self.settings.servers, 0, "the log is being closed")
        return why_unreachable(self.settings)

    def _pause(self, deadline: Deadline) -> None:
        with self._lock:
            self.poll(min(deadline.left(), _RETRY_SECONDS))

    def _answer(self, whom: Node, request: Any, deadline: Deadline) -> Any:
        """Return the answer, None if the connection has failed."""
        if not self._connect(whom, deadline):
            return None
        future = self.client().send(whom, request, wakeup=False)
        while not future.is_done and self._time_is_left(deadline):
            self.poll(min(deadline.left(), 1.0))
        return future.value if future.succeeded() else None

    def _connect(self, whom: Node, deadline: Deadline) -> bool:
        """Connect to a broker; False if that has failed."""
        client = self.client()
        while not self.ready(whom):
            if not self._time_is_left(deadline) or client.cluster.broker_metadata(whom) is None:
                return False
            self.poll(min(deadline.left(), _RETRY_SECONDS))
            if client.is_disconnected(whom):
                return False
        return True

    def _denied(self, error: Exception) -> StoreError:
        code = getattr(error, "errno", 0)
        if code == 33:  # noqa: PLR2004 - UNSUPPORTED_SASL_MECHANISM of the protocol
            return explain.refused("logging in", code)
        return explain.denied(self.settings.user)


def _connections(settings: KafkaSettings) -> Any:
    from kafka.client_async import KafkaClient

    # What the library logs of each failed attempt, our errors say once, with what to do about it.
    logger = logging.getLogger("kafka")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
    seconds = settings.timeout_seconds
    options: dict[str, Any] = {
        "bootstrap_servers": list(settings.servers),
        "client_id": "headrace",
        "api_version": VERSION,
        "request_timeout_ms": seconds * 1000,
        "connection_timeout_ms": min(seconds, 10.0) * 1000,
        "metadata_max_age_ms": 60_000,
        "sock_chunk_bytes": _CHUNK_BYTES,
        "sock_chunk_buffer_count": 16,
        "security_protocol": _PROTOCOLS[settings.security],
    }
    if settings.security.endswith("ssl"):
        options["ssl_context"] = tls(settings)
    if settings.security.startswith("sasl"):
        options["sasl_mechanism"] = settings.mechanism
        options["sasl_plain_username"] = settings.user
        options["sasl_plain_password"] = "" if settings.password is None else settings.password.get_secret_value()
    client = KafkaClient(**options)
    client.cluster.need_all_topic_metadata = True
    return client
