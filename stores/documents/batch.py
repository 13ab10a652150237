"""What a source of documents hands on, and what it must know of the store to hand on only what differs."""

from __future__ import annotations

import msgspec

from events.dead_letters import DeadLetter
from events.documents import DocumentChange
from events.log import Mark


class DocumentBatch(msgspec.Struct, frozen=True):
    """Changes that belong together, and how far the source has come with them.

    :arg changes: Positions grow by one; the upserts come before the deletes.
    :arg dead: What could not be read.
    :arg mark: Everything before its offset is in this batch or an earlier one.
    """

    changes: list[DocumentChange]
    dead: list[DeadLetter]
    mark: Mark


class Known(msgspec.Struct, frozen=True):
    """What the store holds of one document: the last change's fingerprint and position."""

    fingerprint: str
    position: int
