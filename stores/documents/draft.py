"""A batch while it is being put together: bounded, upserts before deletes, positions given at the end."""

from __future__ import annotations

import msgspec

from events.dead_letters import DeadLetter
from events.documents import DocumentChange

DOCUMENTS = 64
BYTES = 512 * 1024
_RENAME = 2


class Draft:
    """What one turn hands on: at most `DOCUMENTS` things, and `BYTES` unless one document alone is larger."""

    def __init__(self) -> None:
        self.upserts: list[DocumentChange] = []
        self.deletes: list[DocumentChange] = []
        self.dead: list[DeadLetter] = []
        self.bytes_read = 0

    def __bool__(self) -> bool:
        return bool(self.upserts or self.deletes or self.dead)

    @property
    def room(self) -> int:
        """How many more changes or dead letters it takes."""
        return DOCUMENTS - len(self.upserts) - len(self.deletes) - len(self.dead)

    @property
    def full(self) -> bool:
        """Whether the next document may not fit, be it renamed."""
        return self.room < _RENAME

    def is_crowded(self, size: int) -> bool:
        """Return whether a document of `size` bytes should wait for the next batch."""
        return self.bytes_read > 0 and self.bytes_read + size > BYTES

    def changes(self, position: int) -> list[DocumentChange]:
        """Return the changes in order, their positions counted from `position`."""
        return [
            msgspec.structs.replace(change, position=position + index)
            for index, change in enumerate(self.upserts + self.deletes)
        ]
