"""The port of the journal: where the identity graph of one realm keeps its records, outside of the engine's snapshots.

A journal goes through *sequences*, one for each epoch of the engine. What is put belongs to the sequence under way, and
is durable before anything that follows from it leaves the operator. So a journal is never behind what others were
told, and rolling it back to a sequence says of which records they were told something that is no longer so; it says so
again at every start, until they have been told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from events.log import Applied, Mark


class Journal(Protocol):
    """Entries by name, each an opaque sequence of bytes, as they are at the sequence under way."""

    @property
    def identity(self) -> str:
        """Id that this journal got when it was made."""
        ...

    def load(self) -> Iterator[tuple[str, bytes]]:
        """Return all entries, in any order."""
        ...

    def get(self, name: str) -> bytes | None:
        """Return one entry, None if it is not there."""
        ...

    def put(self, entries: Mapping[str, bytes | None]) -> None:
        """Write entries over what was there, in one commit; None removes one."""
        ...

    def close_epoch(self, marks: Sequence[Mark]) -> int:
        """Note marks as applied, end the sequence under way in one commit, and return its number.

        What is older than an hour, and needed for no roll-back any more, is removed now and then.
        """
        ...

    def roll_back(self, sequence: int | None) -> set[str]:
        """Go back to the end of `sequence`; return the names of which others may have been told something else.

        These are the names of which entries have been written since, and those of earlier roll-backs unless `told` was
        called in that sequence or before it. They are durable in the commit that goes back.

        :arg sequence: None: nobody knows what others were told. Nothing goes back, and beside all names of entries
            these are it: names of earlier roll-backs and of entries that have been removed, in the last hour at least.
        :raises StoreError: When that is not possible, naming the remedy: more than an hour ago, or not there yet.
        """
        ...

    def told(self) -> None:
        """Take note that with the sequence under way others are told of all names that a roll-back has returned."""
        ...

    def applied(self) -> list[Applied]:
        """Return how far what was applied to the graph had come when an epoch was last closed."""
        ...

    def forget(self, names: Sequence[str]) -> int:
        """Remove entries with all that they ever were, at once, and their names; return how many there were."""
        ...

    def close(self) -> None:
        """Let go of the journal. Closing twice does nothing."""
        ...
