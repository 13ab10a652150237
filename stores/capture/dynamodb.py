"""DynamoDB Streams: what happens to the items of a table goes onto the log, in the order of each item.

Invariant: a stream that has been switched off is given to its end before the one that came after it. What happened to
the table in between is on neither of the two: that is a gap, and treated as one.
"""

from __future__ import annotations

import logging
from typing import Any

from typing_extensions import override

from events.clock import Clock
from events.errors import StoreError
from stores.capture.base import Drawn, Tap
from stores.capture.dynamodb_stream import DynamoStream, DynamoTable
from stores.capture.shard_reader import Manner, ShardReader, open_reader, read_place
from stores.capture.shards import Gone, Later, ShardPlace
from stores.capture_settings import DynamoTapSettings

LOOK_MILLIS = 10_000
"""Time between two looks for new shards, and for a new stream once one is at its end."""

_BUSY_MILLIS = 20
_logger = logging.getLogger(__name__)


class DynamoTap(Tap):
    """The DynamoDB Streams of one table.

    :arg place: As a `ShardPlace` that was written as JSON, of the stream with the ARN that it names; None at the very
        first time.
    :raises MissingExtraError: When boto3 is not installed.
    """

    def __init__(self, settings: DynamoTapSettings, place: Any, clock: Clock) -> None:
        self._manner = Manner(
            what=f"the DynamoDB stream of table {settings.table!r}",
            name=settings.name,
            start=settings.start,
            on_expired=settings.on_expired,
            idle_millis=round(settings.poll_seconds * 1000),
            busy_millis=_BUSY_MILLIS,
            look_millis=LOOK_MILLIS,
        )
        self._settings = settings
        self._clock = clock
        self._table = DynamoTable(settings)
        self._asked_at = clock()
        try:
            self._arn, self._reader = self._open(read_place(place, settings.name))
        except BaseException:
            self._table.close()
            raise

    @override
    def draw(self, limit: int) -> Drawn | None:
        drawn = self._reader.draw(limit)
        now = self._clock()
        if drawn is None and self._reader.finished and not 0 <= now - self._asked_at < LOOK_MILLIS:
            self._asked_at = now
            self._follow()
        return drawn

    @override
    def confirm(self, place: Any) -> None:
        """Nothing: DynamoDB keeps what it has for a day."""

    @override
    def close(self) -> None:
        self._reader.close()
        self._table.close()

    def _open(self, place: ShardPlace | None) -> tuple[str, ShardReader]:
        if place is None:
            arn = self._table.stream()
            return arn, self._read(arn, None)
        if f":table/{self._settings.table.rpartition('/')[2]}/stream/" not in place.stream:
            detail = f"{self._settings.name!r} has been the stream of another table: {place.stream}"
            raise StoreError(
                detail, f"give it another name, or let `headrace capture reset {self._settings.name}` begin anew"
            )
        try:
            return place.stream, self._read(place.stream, place)
        except Gone:
            arn = self._table.stream()
            if arn == place.stream:
                raise
            return arn, self._switch(arn)

    def _read(self, arn: str, place: ShardPlace | None) -> ShardReader:
        stream = DynamoStream(self._settings, arn, self._manner.what, self._clock)
        return open_reader(stream, place, self._manner, self._clock)

    def _follow(self) -> None:
        """Go on with the stream that came after the one that has been given to its end, if there is one."""
        try:
            arn = self._table.stream()
            if arn == self._arn:
                return
            following = self._switch(arn)
        except Later:
            return
        before, self._arn, self._reader = self._reader, arn, following
        before.close()

    def _switch(self, arn: str) -> ShardReader:
        detail = f"{self._manner.what} has been off for some time: what happened to the table then is not captured"
        if self._settings.on_expired == "fail":
            hint = (
                f"`headrace capture reset {self._settings.name}`, or on_expired = 'oldest', goes on with the stream "
                "that is on; then bring in the items themselves, with a higher `generation` in [[tables.streams]]"
            )
            raise StoreError(detail, hint)
        # What came since it was switched on is not to be passed over.
        self._manner = self._manner._replace(start="oldest")
        following = self._read(arn, None)
        _logger.warning("%s; going on with the stream that is on", detail)
        return following
