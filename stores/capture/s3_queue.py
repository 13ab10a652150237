"""The SQS queue of notifications: a message is taken from it once what it said is safe, and comes again until then."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from events.errors import StoreError
from stores.aws import explain, passes
from stores.capture.s3_objects import PassingError

VISIBILITY_SECONDS = 30
"""How long a message is kept from coming again after it was received: by then it has mostly been answered.

One that comes again too soon is known, and of a process that was killed all come after this time."""

MOST = 10
"""Messages that SQS gives and takes at once."""

_logger = logging.getLogger(__name__)


DEFAULT_RETENTION_SECONDS = 4 * 86_400
"""How long SQS keeps a message, if it is not told otherwise."""


class Message(NamedTuple):
    """A message as it was received."""

    id: str
    body: str


class Queue:
    """The queue.

    :arg client: A client of boto3 for SQS.
    :arg address: Of the queue.
    """

    def __init__(self, client: Any, address: str, endpoint: str) -> None:
        self._client = client
        self._address = address
        self._endpoint = endpoint
        self._receipts: dict[str, str] = {}
        self._retention: int | None = None

    def retention(self) -> int:
        """Return how long the queue keeps a message (ms); SQS's default if it may not be asked.

        :raises PassingError: When it cannot be asked for now.
        """
        if self._retention is None:
            seconds = DEFAULT_RETENTION_SECONDS
            try:
                answer = self._ask("get_queue_attributes", AttributeNames=["MessageRetentionPeriod"])
                seconds = int(answer.get("Attributes", {}).get("MessageRetentionPeriod", seconds))
            except StoreError as error:
                _logger.info("%s: taken to keep messages for four days: %s", self._address, error.detail)
            self._retention = seconds * 1000
        return self._retention

    def receive(self, seconds: int) -> list[Message]:
        """Return messages that are not held already; waits so long for the first one.

        :raises PassingError: When there may be some soon.
        :raises StoreError: When the queue cannot be read.
        """
        answer = self._ask(
            "receive_message",
            MaxNumberOfMessages=MOST,
            WaitTimeSeconds=seconds,
            VisibilityTimeout=VISIBILITY_SECONDS,
        )
        fresh = []
        for found in answer.get("Messages", ()):
            name = str(found["MessageId"])
            if name not in self._receipts:
                fresh.append(Message(name, str(found["Body"])))
            # Only the newest receipt is sure to let the message be removed.
            self._receipts[name] = found["ReceiptHandle"]
        return fresh

    def remove(self, names: Sequence[str]) -> None:
        """Remove messages. One that cannot be removed comes again.

        :raises PassingError: When it may work soon.
        :raises StoreError: When the queue refuses.
        """
        held = [name for name in names if name in self._receipts]
        for begin in range(0, len(held), MOST):
            some = held[begin : begin + MOST]
            entries = [{"Id": str(at), "ReceiptHandle": self._receipts[name]} for at, name in enumerate(some)]
            self._ask("delete_message_batch", Entries=entries)
            for name in some:
                del self._receipts[name]

    def hand_back(self) -> None:
        """Let all messages that are held come again at once.

        :raises PassingError: When it may work soon.
        :raises StoreError: When the queue refuses.
        """
        held = list(self._receipts.values())
        for begin in range(0, len(held), MOST):
            some = held[begin : begin + MOST]
            entries = [{"Id": str(at), "ReceiptHandle": one, "VisibilityTimeout": 0} for at, one in enumerate(some)]
            self._ask("change_message_visibility_batch", Entries=entries)
        self._receipts.clear()

    def _ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self._client, verb)(QueueUrl=self._address, **arguments)
        except (BotoCoreError, ClientError) as error:
            told: StoreError = explain(error, "sqs", f"the queue {self._address!r}", self._endpoint)
            if passes(error):
                raise PassingError(told) from error
            raise told from error
        return answer
