"""Which tap the settings name, opened with what turns its events into records."""

from __future__ import annotations

from typing import Any

from events.clock import system_clock
from stores.capture.base import Tap
from stores.capture_settings import (
    AnyTap,
    DynamoTapSettings,
    KinesisTapSettings,
    MysqlTapSettings,
    PostgresTapSettings,
)
from stores.settings import Settings


def open_tap(tap: AnyTap, settings: Settings, place: Any) -> Tap:
    """Open a tap at the place at which it was left; None: at its beginning.

    :raises StoreError: When it cannot be reached, refuses, or no longer has what comes next.
    :raises MissingExtraError: When a package that it needs is not installed.
    """
    if isinstance(tap, PostgresTapSettings):
        from operators.capture.postgres import PostgresDecoder
        from stores.capture.postgres.tap import PostgresTap

        return PostgresTap(tap, place, system_clock, PostgresDecoder(tap.name, tap.target))
    if isinstance(tap, MysqlTapSettings):
        from operators.capture.mysql import MysqlDecoder
        from stores.capture.mysql.tap import MysqlTap

        return MysqlTap(tap, place, system_clock, MysqlDecoder(tap.name, tap.target))
    if isinstance(tap, KinesisTapSettings):
        from stores.capture.kinesis import KinesisTap

        return KinesisTap(tap, place, system_clock)
    if isinstance(tap, DynamoTapSettings):
        from stores.capture.dynamodb import DynamoTap

        return DynamoTap(tap, place, system_clock)
    from operators.capture.s3_events import is_older, read_notification
    from operators.documents.parse import media_type_of
    from stores.capture.s3 import S3Tap
    from stores.capture.s3_looks import Reading

    reading = Reading(read_notification, is_older, media_type_of)
    return S3Tap(tap, place, system_clock, reading, most_bytes=_most_bytes(settings))


def _most_bytes(settings: Settings) -> int | None:
    """Return how long a record may be for the log; None if it takes all that a tap gives."""
    by_kafka = settings.log.backend == "kafka" and settings.mode == "live"
    return settings.log.kafka.max_message_bytes if by_kafka else None
