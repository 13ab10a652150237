"""Which client speaks to Kafka: the one that the settings name."""

from __future__ import annotations

from stores.log.kafka.client import Client
from stores.log_settings import KafkaSettings


def choose_client(settings: KafkaSettings) -> Client:
    """Return the client of `settings`, not connected yet.

    :raises MissingExtraError: When its package is not installed.
    """
    if settings.client == "confluent":
        from stores.log.kafka.confluent import ConfluentClient

        return ConfluentClient(settings)
    from stores.log.kafka.ng import NgClient

    return NgClient(settings)
