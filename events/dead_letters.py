"""An event that could not be processed, kept with the reason, and replayable."""

from __future__ import annotations

import hashlib

import msgspec

from events.log import LogRecord


class DeadLetter(msgspec.Struct, frozen=True):
    """One event that a flow could not process.

    :arg flow: The flow that gave it up.
    :arg step: The step in which it failed.
    :arg reason: One line: what is wrong with it, and what to do.
    :arg record: The event as it arrived, so that it can be replayed. A document of a folder has the
        folder's name as `stream`, its path as `key`, and no value: a replay reads the file again.
    """

    flow: str
    step: str
    reason: str
    record: LogRecord

    @property
    def id(self) -> str:
        """The same event at the same step has the same id, however often it fails."""
        record = self.record
        parts = (self.flow, self.step, record.stream, str(record.partition), str(record.offset))
        digest = hashlib.blake2b("\x00".join(parts).encode(), digest_size=8)
        digest.update(record.key or b"")
        return digest.hexdigest()
