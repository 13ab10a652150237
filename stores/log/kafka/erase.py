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
from stores.log.kafka.client import Client, Fetcher, Outgoing
from stores.log.kafka.explain import unreachable
from stores.log_settings import KafkaSettings

_LIMIT = 1000
_WAIT_SECONDS = 0.2


def tombstones(
    client: Client, name: tuple[str, int], span: tuple[int, int], judge: Judge, settings: KafkaSettings
) -> tuple[int, list[Outgoing]]:
    """Read one partition; return how many of its records are not to stay as they are, and what to append to it.

    What comes while it is read is not counted, but judged: a tombstone would take it as well. Only a record that is
    appended in the moment between the last look and the tombstone goes unseen.

    :arg span: Oldest offset, and the one up to which is counted.
    :raises StoreError: When nothing comes for `timeout_seconds`.
    """
    gone: dict[bytes, int] = {}
    fetcher = client.fetcher()
    try:
        held = _judged(fetcher, name, span, judge, gone, settings)
        if gone:
            since = (span[1], client.ends([name]).get(name, 0))
            _judged(fetcher, name, since, judge, gone, settings)
    finally:
        fetcher.close()
    header = ((ERASED, b""),)
    return held, [Outgoing(name[1], key, None, max(0, at), header) for key, at in gone.items()]


def _judged(  # noqa: PLR0917 - a part of the one above, by its names
    fetcher: Fetcher,
    name: tuple[str, int],
    span: tuple[int, int],
    judge: Judge,
    gone: dict[bytes, int],
    settings: KafkaSettings,
) -> int:
    """Read a span; return how many of its records are not to stay, and note in `gone` the keys that are to go."""
    held = 0
    offset, end = span
    heard = time.monotonic()
    while offset < end:
        fetched = fetcher.fetch(*name, offset, _LIMIT, _WAIT_SECONDS)
        if fetched.next > offset:
            heard = time.monotonic()
        elif time.monotonic() - heard > settings.timeout_seconds:
            raise unreachable(settings.servers, settings.timeout_seconds)
        offset = fetched.next
        held += _judge(fetched.records, end, judge, gone)
    return held


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
