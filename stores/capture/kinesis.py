"""Kinesis: what is in a stream of it goes onto the log, record by record, in the order of each partition key.

Invariant: a record of the log is what a producer has put in: records that the Kinesis Producer Library has put together
are taken apart. Those among them that belong to another shard are left out, as Amazon's own client library does: their
producer has put them in again.
"""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from typing_extensions import override

from events.clock import Clock, to_millis
from events.log import LogRecord
from stores.aws import answered_at, code_of, explain, open_client, passes
from stores.capture.aggregated import user_records
from stores.capture.base import Drawn, Tap
from stores.capture.shard_reader import THREADS, Manner, open_reader, read_place
from stores.capture.shards import (
    OLDEST,
    Found,
    Lapsed,
    Later,
    Listing,
    Page,
    Shard,
    ShardedStream,
    Trimmed,
    millis_of,
    sequence_of,
    within,
)
from stores.capture_settings import KinesisTapSettings

READ_MILLIS = 200
"""Shortest time between two reads of one shard: Kinesis allows five a second."""

_LOOK_MILLIS = 30_000
_MAX_RECORDS = 10_000
_HOUR_MILLIS = 3_600_000
_SERVICE = "kinesis"
_logger = logging.getLogger(__name__)


class KinesisTap(Tap):
    """One Kinesis stream.

    :arg place: As a `ShardPlace` that was written as JSON; None at the very first time.
    :raises MissingExtraError: When boto3 is not installed.
    """

    def __init__(self, settings: KinesisTapSettings, place: Any, clock: Clock) -> None:
        manner = Manner(
            what=f"the Kinesis stream {settings.kinesis_stream!r}",
            name=settings.name,
            start=settings.start,
            on_expired=settings.on_expired,
            idle_millis=round(settings.poll_seconds * 1000),
            busy_millis=READ_MILLIS,
            look_millis=_LOOK_MILLIS,
        )
        known = read_place(place, settings.name)
        self._reader = open_reader(_KinesisStream(settings, manner.what, clock), known, manner, clock)

    @override
    def draw(self, limit: int) -> Drawn | None:
        return self._reader.draw(limit)

    @override
    def confirm(self, place: Any) -> None:
        """Nothing: Kinesis keeps what it has until retention takes it."""

    @override
    def close(self) -> None:
        self._reader.close()


class _KinesisStream(ShardedStream):
    def __init__(self, settings: KinesisTapSettings, what: str, clock: Clock) -> None:
        self._settings = settings
        self._what = what
        self._clock = clock
        self._client = open_client(
            _SERVICE, region=settings.region, endpoint=settings.endpoint, connections=THREADS + 1
        )
        self._strays_said = False

    @override
    def look(self) -> Listing:
        answer = self._ask("describe_stream_summary", StreamName=self._settings.kinesis_stream)
        summary = answer["StreamDescriptionSummary"]
        if summary["StreamStatus"] == "CREATING":
            detail, hint = f"{self._what} is being made", "start again when it is active"
            raise Later(detail, hint)
        identity = f"{self._settings.kinesis_stream}@{to_millis(summary['StreamCreationTimestamp'])}"
        retention = int(summary["RetentionPeriodHours"]) * _HOUR_MILLIS
        shards: dict[str, Shard] = {}
        request: dict[str, Any] = {"StreamName": self._settings.kinesis_stream}
        while True:
            listed = self._ask("list_shards", **request)
            shards |= {shard["ShardId"]: _shard(shard) for shard in listed["Shards"]}
            if not listed.get("NextToken"):
                return Listing(identity, shards, answered_at(answer, self._clock), retention)
            request = {"NextToken": listed["NextToken"]}

    @override
    def iterator(self, shard: Shard, place: str) -> str:
        request: dict[str, Any] = {"StreamName": self._settings.kinesis_stream, "ShardId": shard.id}
        moment, sequence = millis_of(place), sequence_of(place)
        if place == OLDEST:
            request["ShardIteratorType"] = "TRIM_HORIZON"
        elif moment is not None:
            request |= {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": moment / 1000}
        else:
            request |= {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": sequence}
        return str(self._ask("get_shard_iterator", **request)["ShardIterator"])

    @override
    def read(self, shard: Shard, iterator: str) -> Page:
        answer = self._ask("get_records", ShardIterator=iterator, Limit=_MAX_RECORDS)
        found = [one for record in answer["Records"] for one in self._found(shard, record)]
        behind = answer.get("MillisBehindLatest")
        return Page(found, answer.get("NextShardIterator"), answered_at(answer, self._clock), behind)

    @override
    def close(self) -> None:
        self._client.close()

    def _found(self, shard: Shard, record: Any) -> list[Found]:
        sequence, data = record["SequenceNumber"], record["Data"]
        at = to_millis(record["ApproximateArrivalTimestamp"])
        headers = {"kinesis-shard": shard.id, "kinesis-sequence": sequence}
        inner = user_records(data)
        if inner is None:
            return [Found(sequence, sequence, self._record(record["PartitionKey"], data, at, headers))]
        found: list[Found] = []
        for index, one in enumerate(inner):
            kept = None
            if shard.hashes is None or shard.hashes[0] <= one.hash_key <= shard.hashes[1]:
                own = {**headers, "kinesis-subsequence": str(index)}
                kept = self._record(one.partition_key, one.data, at, own)
            else:
                self._say_stray(shard)
            found.append(Found(sequence, within(sequence, index), kept))
        last = found[-1].record if found else None
        return [*found[:-1], Found(sequence, sequence, last)]

    def _record(self, key: str, data: bytes, at: int, headers: dict[str, str]) -> LogRecord:
        return LogRecord(self._settings.target, 0, 0, at, key.encode(), data, headers)

    def _say_stray(self, shard: Shard) -> None:
        if not self._strays_said:
            self._strays_said = True
            _logger.warning(
                "%s: aggregated records in %s hold some whose keys belong to other shards; those are left out, as "
                "their producer puts them in again; said once",
                self._what,
                shard.id,
            )

    def _ask(self, verb: str, **request: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, verb)(**request)
        except (BotoCoreError, ClientError) as error:
            self._refuse(verb, error)

    def _refuse(self, verb: str, error: Exception) -> NoReturn:
        code = code_of(error)
        if verb == "get_records" and code in {"ExpiredIteratorException", "InvalidArgumentException"}:
            raise Lapsed from error
        if verb == "get_shard_iterator" and code in {"InvalidArgumentException", "ResourceNotFoundException"}:
            raise Trimmed from error
        said = explain(error, _SERVICE, self._what, self._settings.endpoint)
        raise Later(said.detail, said.hint) if passes(error) else said from error


def _shard(listed: Any) -> Shard:
    parents = (listed.get("ParentShardId"), listed.get("AdjacentParentShardId"))
    hashes = listed["HashKeyRange"]
    return Shard(
        listed["ShardId"],
        tuple(parent for parent in parents if parent),
        closed="EndingSequenceNumber" in listed["SequenceNumberRange"],
        hashes=(int(hashes["StartingHashKey"]), int(hashes["EndingHashKey"])),
    )
