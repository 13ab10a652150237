"""A cluster of brokers that obey: librdkafka's own, driven for tests. It errs, falls silent and moves as it is told.

It is in this process and listens on the loopback only; other clients, and other processes, find it by its address. It
keeps 5 MiB a partition in memory, and knows neither the making of topics nor their settings. librdkafka calls its
functions experimental.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PRODUCE, FETCH, LIST_OFFSETS, METADATA = 0, 1, 2, 3
"""Requests, by their numbers in Kafka's protocol."""

LEADER_NOT_AVAILABLE, NOT_LEADER, REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS = 5, 6, 7, 19
"""Errors, likewise."""

_PRODUCER = 0
_TEXT = 512


class MockCluster:
    """A running cluster; its brokers are numbered from 1.

    :arg brokers: How many.
    """

    def __init__(self, brokers: int = 1) -> None:
        self.brokers = range(1, brokers + 1)
        self._library = _library()
        text = ctypes.create_string_buffer(_TEXT)
        # The handle that the cluster lives in; it connects to nobody, and is not to complain of that.
        options = self._library.rd_kafka_conf_new()
        self._library.rd_kafka_conf_set(options, b"log_level", b"0", text, _TEXT)
        self._handle = self._library.rd_kafka_new(_PRODUCER, options, text, _TEXT)
        assert self._handle, text.value.decode()
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, brokers)
        assert self._cluster, "the mock cluster did not start"

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return where the brokers listen."""
        listed: bytes = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster)
        return tuple(listed.decode().split(","))

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic, each partition on every broker."""
        made = self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, len(self.brokers))
        assert made == 0, f"error {made}"

    def err(self, request: int, *errors: int) -> None:
        """Answer the next requests of a kind with these errors, one each."""
        numbers = (ctypes.c_int * len(errors))(*errors)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, request, len(errors), numbers)

    def forgive(self, *requests: int) -> None:
        """Take back the errors that are left."""
        for request in requests:
            self._library.rd_kafka_mock_clear_request_errors(self._cluster, request)

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Make a broker the leader of a partition."""
        done = self._library.rd_kafka_mock_partition_set_leader(self._cluster, topic.encode(), partition, broker)
        assert done == 0, f"error {done}"

    def stop(self, broker: int = 1) -> None:
        """Close a broker's connections, and take no others."""
        assert self._library.rd_kafka_mock_broker_set_down(self._cluster, broker) == 0

    def start(self, broker: int = 1) -> None:
        """Let a broker listen again; it has what it had."""
        assert self._library.rd_kafka_mock_broker_set_up(self._cluster, broker) == 0

    def slow(self, millis: int, broker: int = 1) -> None:
        """Let each answer of a broker take so long."""
        assert self._library.rd_kafka_mock_broker_set_rtt(self._cluster, broker, millis) == 0

    def close(self) -> None:
        """End the cluster with all that it holds."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._handle)


@contextmanager
def mock_cluster(brokers: int = 1) -> Iterator[MockCluster]:
    """Run a cluster for the block; skip the test where its library is not to be had."""
    cluster = MockCluster(brokers)
    try:
        yield cluster
    finally:
        cluster.close()


def _library() -> Any:
    """Return librdkafka as confluent-kafka carries it, with the types of the functions used here."""
    package = importlib.util.find_spec("confluent_kafka")
    folders = list(package.submodule_search_locations or ()) if package else []
    found = [path for folder in folders for path in Path(folder).parent.glob("confluent_kafka.libs/librdkafka-*.so*")]
    if not found:
        pytest.skip("no librdkafka to run a mock cluster with: pip install confluent-kafka on Linux")
    library = ctypes.CDLL(str(found[0]))
    handle, text, number, count = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t
    types: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "rd_kafka_conf_new": (handle, ()),
        "rd_kafka_conf_set": (number, (handle, text, text, text, count)),
        "rd_kafka_new": (handle, (number, handle, text, count)),
        "rd_kafka_destroy": (None, (handle,)),
        "rd_kafka_mock_cluster_new": (handle, (handle, number)),
        "rd_kafka_mock_cluster_destroy": (None, (handle,)),
        "rd_kafka_mock_cluster_bootstraps": (text, (handle,)),
        "rd_kafka_mock_topic_create": (number, (handle, text, number, number)),
        "rd_kafka_mock_push_request_errors_array": (
            None,
            (handle, ctypes.c_int16, count, ctypes.POINTER(number)),
        ),
        "rd_kafka_mock_clear_request_errors": (None, (handle, ctypes.c_int16)),
        "rd_kafka_mock_partition_set_leader": (number, (handle, text, ctypes.c_int32, ctypes.c_int32)),
        "rd_kafka_mock_broker_set_down": (number, (handle, ctypes.c_int32)),
        "rd_kafka_mock_broker_set_up": (number, (handle, ctypes.c_int32)),
        "rd_kafka_mock_broker_set_rtt": (number, (handle, ctypes.c_int32, number)),
    }
    for name, (returned, taken) in types.items():
        function = getattr(library, name)
        function.restype, function.argtypes = returned, taken
    return library
