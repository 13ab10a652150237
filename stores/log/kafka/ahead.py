"""What has been fetched of a partition and not been taken yet: bytes, decoded a batch at a time as they are taken."""

from __future__ import annotations

from collections import deque

from events.errors import HeadraceError
from events.log import LogRecord
from stores.log.kafka.batches import Reader


class Ahead:
    """What is held of one partition, and where it goes on."""

    __slots__ = (
        "after",
        "end",
        "error",
        "failed",
        "fetch_at",
        "held",
        "next",
        "readers",
        "records",
        "stream",
        "taken",
        "topic",
    )

    def __init__(self, topic: str, stream: str, offset: int) -> None:
        self.topic = topic
        self.stream = stream
        self.seek(offset)

    def seek(self, offset: int) -> None:
        """Forget what is held, and go on from `offset`."""
        self.next = offset  # what the caller goes on from
        self.fetch_at = offset  # what is to be asked for next
        self.end: int | None = None  # of the partition, as the broker said last
        self.readers: deque[Reader] = deque()
        self.records: list[LogRecord] = []  # of the batch that is being taken
        self.taken = 0
        self.after = offset  # where that batch ends
        self.held = 0  # bytes that are not decoded
        self.error: Exception | None = None  # what the broker has said
        self.failed: HeadraceError | None = None  # why the next batch cannot be decoded

    def at_end(self) -> bool:
        """Whether there was nothing more to fetch when the broker was asked last."""
        return self.end is not None and self.fetch_at >= self.end

    def take(self, limit: int) -> list[LogRecord]:
        """Take up to `limit` records, decoding as many batches as that needs."""
        if self.failed is not None:
            raise self.failed
        found: list[LogRecord] = []
        while len(found) < limit:
            if self.records:
                some = self.records[self.taken : self.taken + limit - len(found)] if self.taken else self.records
                if len(some) > limit - len(found):
                    some = some[: limit - len(found)]
                found = found + some if found else some
                self.taken += len(some)
                if self.taken < len(self.records):
                    self.next = self.records[self.taken - 1].offset + 1
                    break
                self.records, self.taken = [], 0
                self.next = self.after
            else:
                try:
                    if not self._decode():
                        break
                except HeadraceError as error:
                    if not found:
                        raise
                    # What is whole goes first.
                    self.failed = error
                    break
        return found

    def _decode(self) -> bool:
        while self.readers:
            reader = self.readers[0]
            before = reader.rest()
            batch = reader.next()
            if batch is None:
                self.held -= before
                self.readers.popleft()
                continue
            self.held -= before - reader.rest()
            self.records, self.after = batch
            self.taken = 0
            if not self.records:  # markers of transactions, or emptied by compaction
                self.next = max(self.next, self.after)
            return True
        return False
