"""What librdkafka is told, and what it has to tell: the options of its handles, their complaints, their chatter.

Every handle gets the same connection. What goes wrong reaches the user by the errors of verbs, never by a line that
a library's thread prints.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from events.errors import MissingExtraError, StoreError
from stores.log.kafka import explain
from stores.log.kafka.unreachable import why_unreachable
from stores.log_settings import KafkaSettings

_logger = logging.getLogger(__name__)

LONGEST_MESSAGE = 1_000_000_000
"""Most bytes that the library takes for a message."""

_ENVELOPE_BYTES = 65_536
"""Room for what a message has beside its key, value and headers."""

TRANSIENT = frozenset(
    {
        "_TRANSPORT", "_TIMED_OUT", "_TIMED_OUT_QUEUE", "_RESOLVE", "_ALL_BROKERS_DOWN", "_WAIT_COORD", "_RETRY",
        "_UNKNOWN_BROKER", "_IN_PROGRESS", "_WAIT_CACHE", "LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION",
        "REQUEST_TIMED_OUT", "BROKER_NOT_AVAILABLE", "REPLICA_NOT_AVAILABLE", "NETWORK_EXCEPTION",
        "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "NOT_CONTROLLER",
        "KAFKA_STORAGE_ERROR", "FENCED_LEADER_EPOCH", "UNKNOWN_LEADER_EPOCH", "OFFSET_NOT_AVAILABLE",
        "REBALANCE_IN_PROGRESS", "UNSTABLE_OFFSET_COMMIT", "THROTTLING_QUOTA_EXCEEDED",
    }
)  # fmt: skip
"""Errors that pass by themselves: a broker starts, a leader is chosen, a name is found."""

_REFUSED = frozenset({"_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "_SSL", "UNSUPPORTED_SASL_MECHANISM"})
_PROTOCOL = {"_UNKNOWN_TOPIC": 3, "_UNKNOWN_PARTITION": 3, "_BAD_MSG": 2}
"""What the library finds out by itself, in the broker's codes."""


def library() -> Any:
    """Return the module `confluent_kafka`, its admin part loaded.

    :raises MissingExtraError: When it is not installed.
    """
    try:
        import confluent_kafka.admin
    except ImportError:
        package, extra = "confluent_kafka", "confluent"
        raise MissingExtraError(package, extra) from None
    return confluent_kafka


class Complaints:
    """What the connections of one handle complain of; the library calls it when the handle is polled.

    :ivar since: Monotonic time since which no broker has been reached, None if one has.
    :ivar refusal: What a broker has refused, None if none has: that does not pass by itself.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        self.refusal: Any = None

    def __call__(self, error: Any) -> None:
        """Take in an error of the library."""
        name = error.name()
        if name in _REFUSED:
            self.refusal = error
        elif name == "_ALL_BROKERS_DOWN" and self.since is None:
            self.since = time.monotonic()

    def explained(self, settings: KafkaSettings) -> StoreError:
        """Return what to say when no broker has answered for too long, or has refused."""
        if self.refusal is not None:
            reason = _plain(self.refusal.str())
            return explain.insecure(reason) if self.refusal.name() == "_SSL" else explain.denied(settings.user, reason)
        return why_unreachable(settings)

    def forget(self) -> None:
        """Take note that a broker has answered."""
        self.since, self.refusal = None, None


def explained(doing: str, error: Any, settings: KafkaSettings, complaints: Complaints) -> StoreError:
    """Return what to say of an error that the library has raised or handed over.

    :arg doing: What was wanted: the beginning of the sentence.
    """
    if complaints.refusal is not None or (error.code() < 0 and error.name() in TRANSIENT | {"_MSG_TIMED_OUT"}):
        return complaints.explained(settings)
    code = _PROTOCOL.get(error.name(), error.code())
    return explain.refused(doing, code, error.str())


def _plain(text: str) -> str:
    """Take the library's notes on its own state out of what it says."""
    _, _, told = text.rpartition("/bootstrap: ")
    told, _, _ = told.partition(" (after ")
    return told.strip().replace("\n", " ")


class _Chatter(logging.LoggerAdapter):  # type: ignore[type-arg]  # generic from Python 3.11 on
    """Takes what librdkafka logs, as details: what matters is raised by a verb as well."""

    def log(self, level: int, msg: object, *args: object, **_: object) -> None:
        """Log it for those who look for it."""
        self.logger.log(min(level, logging.DEBUG), msg, *args)


def connection(settings: KafkaSettings, complaints: Complaints) -> dict[str, Any]:
    """Return the options of any handle."""
    millis = round(settings.timeout_seconds * 1000)
    options: dict[str, Any] = {
        "bootstrap.servers": ",".join(settings.servers),
        "client.id": "headrace",
        "error_cb": complaints,
        "logger": _Chatter(_logger, {}),
        "statistics.interval.ms": 0,
        "socket.keepalive.enable": True,
        "socket.timeout.ms": max(1000, min(60_000, millis)),
        # Brokers are back within seconds mostly: who waits longer reads late.
        "reconnect.backoff.max.ms": 1000,
        "security.protocol": settings.security.upper(),
    }
    if settings.security.startswith("sasl"):
        options["sasl.mechanism"] = settings.mechanism
        options["sasl.username"] = settings.user
        options["sasl.password"] = settings.password.get_secret_value() if settings.password else ""
    if settings.security.endswith("ssl"):
        files = {
            "ssl.ca.location": settings.ca,
            "ssl.certificate.location": settings.certificate,
            "ssl.key.location": settings.key,
        }
        options |= {name: str(path) for name, path in files.items() if path is not None}
    return options


def producing(settings: KafkaSettings, complaints: Complaints) -> dict[str, Any]:
    """Return the options of a producer: idempotent, in order, confirmed by all replicas in sync."""
    millis = max(1000, round(settings.timeout_seconds * 1000))
    return {
        **connection(settings, complaints),
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": settings.compression,
        "message.timeout.ms": millis,
        "request.timeout.ms": min(30_000, millis),
        # A topic's limit is that of a whole batch: none may be larger than one message may.
        "batch.size": settings.max_message_bytes,
        "message.max.bytes": min(LONGEST_MESSAGE, settings.max_message_bytes + _ENVELOPE_BYTES),
        # The log counts what it has handed over: successes need no word.
        "delivery.report.only.error": True,
    }


def consuming(settings: KafkaSettings, complaints: Complaints, read_ahead_bytes: int) -> dict[str, Any]:
    """Return the options of a consumer that is told what to read: no group is joined, nothing committed by itself."""
    return {
        **connection(settings, complaints),
        # The library wants a name, and asks for its coordinator; users grant what begins like their group.
        "group.id": f"{settings.group or 'headrace'}.reads",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        # Tells the place behind what is not delivered: control records, aborted ones, compacted ones.
        "enable.partition.eof": True,
        "check.crcs": True,
        "queued.max.messages.kbytes": max(1, read_ahead_bytes // 1024),
        "fetch.message.max.bytes": max(2 * settings.max_message_bytes, 1_048_576),
        "fetch.max.bytes": max(2 * settings.max_message_bytes, read_ahead_bytes),
        "fetch.queue.backoff.ms": 10,
        "fetch.error.backoff.ms": 100,
        "allow.auto.create.topics": False,
    }
