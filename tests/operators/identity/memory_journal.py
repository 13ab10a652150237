"""A journal in memory: what the port says, briefly: the journal on disk is compared with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from events.errors import StoreError
from events.log import Applied, Mark
from stores.rows.change_intake import applied_after


class MemoryJournal:
    """Keeps all sequences for ever. Pass one on to go on with it: closing does nothing to what is in it."""

    def __init__(self, identity: str = "memory") -> None:
        self._identity = identity
        self._entries: dict[str, bytes] = {}
        # For each sequence what was there, of all that was written in it, before it began.
        self._before: list[dict[str, bytes | None]] = [{}]
        # How far it had come at the end of each.
        self._applied: list[dict[tuple[str, str], Applied]] = [{}]
        # What roll-backs have named, with the sequence at whose end that was told.
        self._untold: dict[str, int | None] = {}
        self._telling = False
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
        applied = dict(self._applied[-1])
        for mark in marks:
            key = mark.source, mark.partition
            applied[key] = applied_after(applied.get(key), mark, 0)
        self._applied.append(applied)
        self._before.append({})
        sequence = len(self._before) - 1
        if self._telling:
            self._untold = {name: sequence if until is None else until for name, until in self._untold.items()}
            self._telling = False
        return sequence

    def told(self) -> None:
        self._telling = True

    def applied(self) -> list[Applied]:
        return list(self._applied[-1].values())

    def roll_back(self, sequence: int | None) -> set[str]:
        self._telling = False
        if sequence is None:
            names = {name for before in self._before for name in before if name not in self._entries} | {*self._untold}
        else:
            names = {name for name, until in self._untold.items() if until is None or until > sequence}
            names |= self._go_back(sequence)
        self._untold.update(dict.fromkeys(names))
        return names

    def _go_back(self, sequence: int) -> set[str]:
        if not 0 <= sequence < len(self._before):
            message = f"the journal has no sequence {sequence}"
            raise StoreError(message, "remove the recovery folder of the flow")
        names: set[str] = set()
        while len(self._before) > sequence:
            for name, value in self._before.pop().items():
                names.add(name)
                self._set(name, value)
        self._before.append({})
        del self._applied[sequence + 1 :]
        return names

    def forget(self, names: Sequence[str]) -> int:
        found = {name for name in names if self._entries.pop(name, None) is not None}
        for before in self._before:
            found |= {name for name in names if name in before and before.pop(name) is not None}
        for name in names:
            self._untold.pop(name, None)
        return len(found)

    def close(self) -> None:
        pass

    def text(self) -> str:
        """Return all that it holds, also of what has been, to look for what must not be there."""
        return repr((self._entries, self._before, self._untold))

    def _set(self, name: str, value: bytes | None) -> None:
        if value is None:
            self._entries.pop(name, None)
        else:
            self._entries[name] = value
