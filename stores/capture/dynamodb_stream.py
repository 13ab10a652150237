"""How DynamoDB Streams is spoken to, and what its records become.

Events are as DynamoDB Streams hands them to AWS Lambda, so that what reads those reads them; a record's key is the
item's key as a JSON object.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

import msgspec
from typing_extensions import override

from events.clock import Clock, to_millis
from events.errors import StoreError
from events.log import LogRecord
from stores.aws import answered_at, code_of, explain, open_client, passes
from stores.capture.shard_reader import THREADS
from stores.capture.shards import Found, Gone, Lapsed, Later, Listing, Page, Shard, ShardedStream, Trimmed, sequence_of
from stores.capture_settings import DynamoTapSettings

RETENTION_MILLIS = 24 * 3_600_000
"""How long DynamoDB Streams keeps a record."""

_MAX_RECORDS = 1000
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
_VIEWS = frozenset({"NEW_IMAGE", "NEW_AND_OLD_IMAGES"})


class _Service:
    """One of the two services that DynamoDB has."""

    def __init__(self, service: str, settings: DynamoTapSettings, what: str, connections: int) -> None:
        self._service = service
        self._endpoint = settings.endpoint
        self._what = what
        self._client = open_client(service, region=settings.region, endpoint=settings.endpoint, connections=connections)

    def ask(self, verb: str, **request: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return getattr(self._client, verb)(**request)
        except (BotoCoreError, ClientError) as error:
            self._refuse(verb, error)

    def close(self) -> None:
        self._client.close()

    def _refuse(self, verb: str, error: Exception) -> NoReturn:
        code = code_of(error)
        if code == "ExpiredIteratorException":
            raise Lapsed from error
        if code == "TrimmedDataAccessException":
            raise Trimmed from error
        if verb == "get_shard_iterator" and code in {"ResourceNotFoundException", "ValidationException"}:
            raise Trimmed from error
        said = explain(error, self._service, self._what, self._endpoint)
        if code == "ResourceNotFoundException":
            raise Gone(said.detail, said.hint) from error
        raise Later(said.detail, said.hint) if passes(error) else said from error


class DynamoTable:
    """A table, and the stream that it has."""

    def __init__(self, settings: DynamoTapSettings) -> None:
        self._name = settings.table
        self._what = f"the DynamoDB table {settings.table!r}"
        self._service = _Service("dynamodb", settings, self._what, 1)

    def stream(self) -> str:
        """Return the ARN of the stream that is on.

        :raises StoreError: When none is, or it does not hold the items.
        """
        table = self._service.ask("describe_table", TableName=self._name)["Table"]
        specification = table.get("StreamSpecification") or {}
        arn = table.get("LatestStreamArn")
        if not specification.get("StreamEnabled") or not arn:
            detail = f"{self._what} has no stream that is on"
            raise StoreError(detail, f"switch it on: {self._command()}")
        view = specification.get("StreamViewType")
        if view not in _VIEWS:
            detail = f"the stream of {self._what} holds {view}, not the items after their changes"
            raise StoreError(detail, f"switch it off, and on again with the items: {self._command()}")
        return str(arn)

    def close(self) -> None:
        """Let go of the service."""
        self._service.close()

    def _command(self) -> str:
        return (
            f"aws dynamodb update-table --table-name {self._name} --stream-specification "
            "StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
        )


class DynamoStream(ShardedStream):
    """One stream of a table.

    :arg arn: Which one.
    :arg what: What messages call it.
    """

    def __init__(self, settings: DynamoTapSettings, arn: str, what: str, clock: Clock) -> None:
        self._target = settings.target
        self._clock = clock
        self._arn = arn
        self._service = _Service("dynamodbstreams", settings, what, THREADS + 1)

    @override
    def look(self) -> Listing:
        shards: dict[str, Shard] = {}
        request = {"StreamArn": self._arn}
        while True:
            answer = self._service.ask("describe_stream", **request)
            described = answer["StreamDescription"]
            shards |= {shard["ShardId"]: _shard(shard) for shard in described["Shards"]}
            if not described.get("LastEvaluatedShardId"):
                return Listing(self._arn, shards, answered_at(answer, self._clock), RETENTION_MILLIS)
            request["ExclusiveStartShardId"] = described["LastEvaluatedShardId"]

    @override
    def iterator(self, shard: Shard, place: str) -> str:
        sequence = sequence_of(place)
        request = {"StreamArn": self._arn, "ShardId": shard.id}
        if sequence is None:
            # There is no iterator that begins at a time: what is older is left out by whoever reads.
            request["ShardIteratorType"] = "TRIM_HORIZON"
        else:
            request |= {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": sequence}
        return str(self._service.ask("get_shard_iterator", **request)["ShardIterator"])

    @override
    def read(self, shard: Shard, iterator: str) -> Page:
        answer = self._service.ask("get_records", ShardIterator=iterator, Limit=_MAX_RECORDS)
        found = [self._found(shard, record) for record in answer["Records"]]
        return Page(found, answer.get("NextShardIterator"), answered_at(answer, self._clock), None)

    @override
    def close(self) -> None:
        self._service.close()

    def _found(self, shard: Shard, record: Any) -> Found:
        change = dict(record["dynamodb"])
        millis = to_millis(change["ApproximateCreationDateTime"])
        change["ApproximateCreationDateTime"] = millis // 1000 if millis % 1000 == 0 else millis / 1000
        event = {**record, "dynamodb": change, "eventSourceARN": self._arn}
        if record.get("userIdentity"):
            who = record["userIdentity"]
            event["userIdentity"] = {"principalId": who.get("PrincipalId", ""), "type": who.get("Type", "")}
        sequence = str(change["SequenceNumber"])
        headers = {"dynamodb-shard": shard.id, "dynamodb-sequence": sequence}
        value = msgspec.json.encode(event)
        return Found(sequence, sequence, LogRecord(self._target, 0, 0, millis, key_of(change["Keys"]), value, headers))


def key_of(keys: dict[str, dict[str, Any]]) -> bytes:
    """Return an item's key as a JSON object, the same for the same key: texts, numbers, bytes in base64."""
    return msgspec.json.encode({name: _plain(*next(iter(keys[name].items()))) for name in sorted(keys)})


def _plain(kind: str, value: Any) -> Any:
    if kind == "N" and _NUMBER.fullmatch(value):
        return msgspec.Raw(value.encode())
    return value


def _shard(described: Any) -> Shard:
    parent = described.get("ParentShardId")
    closed = "EndingSequenceNumber" in described.get("SequenceNumberRange", {})
    return Shard(described["ShardId"], (parent,) if parent else (), closed=closed)
