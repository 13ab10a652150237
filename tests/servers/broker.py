"""A real broker for tests of Kafka: begun at its first use on a free loopback port, gone with its folder at the end.

It is `noida-db` from PyPI, for small data with recent timestamps. With HEADRACE_TEST_KAFKA=host:port it is that
cluster instead; topics of tests then have a random prefix and are deleted at the end.
"""

from __future__ import annotations

import os
import uuid

import pytest

from fixtures.servers import MissingServerError
from fixtures.servers.broker import KafkaBroker, program

_OUTSIDE = "HEADRACE_TEST_KAFKA"


class Broker:
    """A broker that can be reached at `address` (`host:port`)."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._prefix = f"headrace-test-{uuid.uuid4().hex[:8]}."
        self._number = 0

    def prefix(self) -> str:
        """Return what topics of one test are to begin with, so that tests do not see those of others."""
        self._number += 1
        return f"{self._prefix}{self._number}."

    def stop(self) -> None:
        """Delete the topics that began with one of the prefixes; what else there is, is not ours."""
        from kafka.admin import KafkaAdminClient

        admin = KafkaAdminClient(bootstrap_servers=[self.address])
        try:
            ours = [topic for topic in admin.list_topics() if topic.startswith(self._prefix)]
            if ours:
                admin.delete_topics(ours)
        finally:
            admin.close()


class OwnBroker(Broker):
    """A broker with a process and a folder of its own, which can be killed."""

    def __init__(self) -> None:
        self._broker = KafkaBroker(program())
        super().__init__(self._broker.address)
        self.start = self._broker.start
        self.settle = self._broker.settle
        self.kill = self._broker.kill

    def stop(self) -> None:
        """Stop the process and remove all that it has left."""
        self._broker.stop()


def running(config: pytest.Config) -> Broker:
    """Return the broker of this test session; skip the test where there is none to be had."""
    broker = config.stash.get(_BROKER, None)
    if broker is None:
        outside = os.environ.get(_OUTSIDE, "")
        broker = config.stash[_BROKER] = Broker(outside) if outside else own()
        config.add_cleanup(broker.stop)
    return broker


def own() -> OwnBroker:
    """Return a new broker that may be killed, to be stopped by the caller; skip the test where there is none."""
    try:
        return OwnBroker()
    except MissingServerError as error:
        pytest.skip(f"{error}, or name one in {_OUTSIDE}=host:port")


_BROKER = pytest.StashKey[Broker]()
