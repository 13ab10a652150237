"""A journal in memory: what the port says, briefly: the journal on disk is compared with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from events.errors import StoreError
from events.log import Mark


class MemoryJournal:
    """Keeps all sequences for ever. Pass one on to go on with it: closing does nothing to what is in it."""

    def __init__(self, identity: str = "memory") -> None:
        self._identity = identity
        self._entries: dict[str, bytes] = {}
        # For each sequence what was there, of all that was written in it, before it began.
        self._before: list[dict[str, bytes | None]] = [{}]
        self.marks: list[Mark] = []
        self.commits = 0

    @property
    def identity(self) -> str:
        return self._identity

    def load(self) -> Iterator[tuple[str, bytes]]:
        yield from list(self._entries.items())

    def get(self, name: str) -> bytes | None:
        return self._entries.get(name)

    def put(self, entries: Mapping[str, bytes | None]) -> None:
        self.commits += 1
        for name, value in entries.items():
            self._before[-1].setdefault(name, self._entries.get(name))
            self._set(name, value)

    def close_epoch(self, marks: Sequence[Mark]) -> int:
        self.marks += marks
        self._before.append({})
        return len(self._before) - 1

    def roll_back(self, sequence: int) -> set[str]:
        if not 0 <= sequence < len(self._before):
            message = f"the journal has no sequence {sequence}"
            raise StoreError(message, "remove the recovery folder of the flow")
        names: set[str] = set()
        while len(self._before) > sequence:
            for name, value in self._before.pop().items():
                # What has come and gone in between has left no trace.
                if value is not None or name in self._entries:
                    names.add(name)
                self._set(name, value)
        self._before.append({})
        return names

    def forget(self, names: Sequence[str]) -> int:
        found = {name for name in names if self._entries.pop(name, None) is not None}
        for before in self._before:
            found |= {name for name in names if name in before and before.pop(name) is not None}
        return len(found)

    def close(self) -> None:
        pass

    def text(self) -> str:
        """Return all that it holds, also of what has been, to look for what must not be there."""
        return repr((self._entries, self._before))

    def _set(self, name: str, value: bytes | None) -> None:
        if value is None:
            self._entries.pop(name, None)
        else:
            self._entries[name] = value
