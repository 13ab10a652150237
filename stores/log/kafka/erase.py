"""Which tombstones take records out of a compacted topic: one for each key whose newest record is to go whole.

What is older than the newest record of its key goes by compaction anyway, and a tombstone for a key whose newest record
stays, or only loses a part, would take away what is to be left.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from events.erasure import ERASED
from events.log import LogRecord
from stores.log.base import Judge
from stores.log.kafka.client import Fetcher, Outgoing
from stores.log.kafka.explain import unreachable
from stores.log_settings import KafkaSettings

_LIMIT = 1000
_WAIT_SECONDS = 0.2


def tombstones(
    fetcher: Fetcher, name: tuple[str, int], span: tuple[int, int], judge: Judge, settings: KafkaSettings
) -> tuple[int, list[Outgoing]]:
    """Read one partition; return how many of its records are not to stay as they are, and what to append to it.

    :arg span: Oldest offset, and the one up to which is read.
    :raises StoreError: When nothing comes for `timeout_seconds`.
    """
    (topic, partition), (begin, end) = name, span
    held = 0
    gone: dict[bytes, int] = {}
    offset, heard = begin, time.monotonic()
    while offset < end:
        fetched = fetcher.fetch(topic, partition, offset, _LIMIT, _WAIT_SECONDS)
        if fetched.next > offset:
            heard = time.monotonic()
        elif time.monotonic() - heard > settings.timeout_seconds:
            raise unreachable(settings.servers, settings.timeout_seconds)
        offset = fetched.next
        held += _judge(fetched.records, end, judge, gone)
    header = ((ERASED, b""),)
    return held, [Outgoing(partition, key, None, max(0, at), header) for key, at in gone.items()]


def _judge(records: Sequence[LogRecord], end: int, judge: Judge, gone: dict[bytes, int]) -> int:
    held = 0
    for record in records:
        if record.offset >= end:
            break
        left = record if ERASED in record.headers else judge(record)
        held += left is not record
        if record.key is None:
            continue
        if left is None and record.value is not None:
            gone[record.key] = record.event_time
        else:
            gone.pop(record.key, None)
    return held
