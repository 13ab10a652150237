"""Delivery to a Kinesis stream: each record under its key, all confirmed before `deliver` returns.

Invariant: records of one key reach the stream in their order. Kinesis may refuse some records of a request and take the
others, so a request holds no two records of one key, and a key's next one goes only after Kinesis has taken the one
before. A request whose answer was lost is sent again: a record may then be there twice.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from typing_extensions import override

from events.clock import Clock
from events.errors import RejectedError, StoreError
from events.log import LogRecord
from stores.aws import explain, open_client, passes
from stores.delivery.base import Deliverer, Refused
from stores.delivery_settings import KinesisDeliverySettings

MAX_RECORDS, MAX_BYTES = 500, 5 * 2**20
"""Bounds of one request, partition keys included."""

PATIENCE_MILLIS = 60_000
"""How long not a single record may be taken before that is an error."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
_KEY_LETTERS = 256
_SERVICE = "kinesis"


class _Entry(NamedTuple):
    """A record on its way. A tombstone has no bytes: Kinesis knows no other absence."""

    key: str
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data) + len(self.key.encode())


class KinesisDeliverer(Deliverer):
    """One Kinesis stream.

    :arg clock: For how long it has been tried.
    :arg pause: Waits for some seconds between two tries.
    :raises MissingExtraError: When boto3 is not installed.
    :raises StoreError: When the stream is not there, or cannot be reached.
    """

    def __init__(
        self, settings: KinesisDeliverySettings, clock: Clock, *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._settings = settings
        self._what = f"the Kinesis stream {settings.kinesis_stream!r}"
        self._clock = clock
        self._pause = pause
        self._client = open_client(_SERVICE, region=settings.region, endpoint=settings.endpoint, connections=1)
        try:
            self._max_record_bytes = self._record_limit()
        except BaseException:
            self._client.close()
            raise

    @override
    def deliver(self, records: Sequence[LogRecord]) -> Sequence[Refused]:
        refused: list[Refused] = []
        waiting: dict[str, deque[_Entry]] = {}
        for record in records:
            entry = _Entry(_partition_key(record), record.value or b"")
            if entry.size > self._max_record_bytes:
                refused.append(Refused(record, self._too_large(entry)))
            else:
                waiting.setdefault(entry.key, deque()).append(entry)
        self._send_all(waiting)
        return refused

    @override
    def close(self) -> None:
        self._client.close()

    def _send_all(self, waiting: dict[str, deque[_Entry]]) -> None:
        tried, taken_at = 0, self._clock()
        while waiting:
            taken, reason = 0, ""
            for entries in _requests(waiting):
                done, refusal = self._send(entries)
                reason = refusal or reason
                for entry in done:
                    waiting[entry.key].popleft()
                    if not waiting[entry.key]:
                        del waiting[entry.key]
                taken += len(done)
                if not done:
                    break  # whatever comes after it would be refused as well
            now = self._clock()
            if taken:
                tried, taken_at = 0, now
            if reason:
                if now - taken_at >= PATIENCE_MILLIS:
                    detail = f"{self._what} has taken nothing for {(now - taken_at) // 1000} s: {reason}"
                    raise StoreError(
                        detail, "give it more shards, or look why it is not to be reached; then start again"
                    )
                self._pause(min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** min(tried, 10)))
                tried += 1

    def _send(self, entries: list[_Entry]) -> tuple[list[_Entry], str]:
        """Send one request; return what Kinesis has taken of it, and why it has not taken the rest."""
        from botocore.exceptions import BotoCoreError, ClientError

        wanted = [{"Data": entry.data, "PartitionKey": entry.key} for entry in entries]
        try:
            answer = self._client.put_records(StreamName=self._settings.kinesis_stream, Records=wanted)
        except (BotoCoreError, ClientError) as error:
            said = explain(error, _SERVICE, self._what, self._settings.endpoint)
            if passes(error):
                return [], said.detail
            raise said from error
        results = answer["Records"]
        done = [entry for entry, result in zip(entries, results, strict=True) if not result.get("ErrorCode")]
        return done, next((str(result["ErrorCode"]) for result in results if result.get("ErrorCode")), "")

    def _record_limit(self) -> int:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.describe_stream_summary(StreamName=self._settings.kinesis_stream)
        except (BotoCoreError, ClientError) as error:
            raise explain(error, _SERVICE, self._what, self._settings.endpoint) from error
        summary: dict[str, Any] = answer["StreamDescriptionSummary"]
        return int(summary.get("MaxRecordSizeInKiB", 1024)) * 1024

    def _too_large(self, entry: _Entry) -> RejectedError:
        detail = f"a record of {entry.size} bytes with its key; {self._what} takes {self._max_record_bytes}"
        return RejectedError(detail, "raise the stream's MaxRecordSizeInKiB, or write smaller records")


def _requests(waiting: dict[str, deque[_Entry]]) -> Iterator[list[_Entry]]:
    """Bring the first record of each key into requests."""
    entries: list[_Entry] = []
    size = 0
    for entry in [entries_of_key[0] for entries_of_key in waiting.values()]:
        if entries and (len(entries) >= MAX_RECORDS or size + entry.size > MAX_BYTES):
            yield entries
            entries, size = [], 0
        entries.append(entry)
        size += entry.size
    if entries:
        yield entries


def _partition_key(record: LogRecord) -> str:
    """Return the partition key of a record: its key where that can be one, else what is the same for the same key."""
    if not record.key:
        return f"{record.stream}/{record.partition}/{record.offset}"[-_KEY_LETTERS:]
    try:
        key = record.key.decode()
    except UnicodeDecodeError:
        key = ""
    return key if 0 < len(key) <= _KEY_LETTERS else hashlib.sha256(record.key).hexdigest()
