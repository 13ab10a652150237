"""What a journal is, in its simplest form: a copy of everything at the end of each sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Entries = dict[str, bytes]


@dataclass(frozen=True)
class Past:
    """The end of one sequence.

    :arg sequence: Its number, as the journal under test gave it.
    :arg offset: Up to where the one source was applied by then.
    :arg writes: How many writes there had been.
    """

    sequence: int
    offset: int
    entries: Entries
    writes: int


@dataclass
class JournalModel:
    """Remembers all that ever was.

    :arg writes: The names in each `put`, and those of them of which there was anything to write or to remove.
    :arg untold: Names that roll-backs have returned, with the number of the sequence at whose end others knew of them.
    :arg telling: Whether others are told of them with the sequence under way.
    """

    past: list[Past]
    entries: Entries = field(default_factory=dict)
    writes: list[tuple[set[str], set[str]]] = field(default_factory=list)
    untold: dict[str, int | None] = field(default_factory=dict)
    telling: bool = False

    def put(self, entries: Mapping[str, bytes | None]) -> None:
        """Write entries."""
        real = {name for name, value in entries.items() if value is not None or name in self.entries}
        self.writes.append((set(entries), real))
        for name, value in entries.items():
            if value is None:
                self.entries.pop(name, None)
            else:
                self.entries[name] = value

    def close_epoch(self, sequence: int, offset: int) -> None:
        """End a sequence that the journal gave this number; one that it has given before is still the same one."""
        if self.past[-1].sequence == sequence:
            assert self.past[-1].entries == self.entries
            assert not (self.telling and None in self.untold.values())
            self.past.pop()
        if self.telling:
            self.untold = {name: until or sequence for name, until in self.untold.items()}
            self.telling = False
        self.past.append(Past(sequence, offset, dict(self.entries), len(self.writes)))

    def roll_back(self, number: int) -> tuple[set[str], set[str]]:
        """Go back to one of the ends; return what may be named, and what of that has to be."""
        del self.past[number + 1 :]
        there = self.past[number]
        since = self.writes[there.writes :]
        del self.writes[there.writes :]
        self.entries = dict(there.entries)
        untold = {name for name, until in self.untold.items() if until is None or until > there.sequence}
        return untold.union(*(put for put, _ in since)), untold.union(*(real for _, real in since))

    def stay(self) -> tuple[set[str], set[str]]:
        """Go nowhere; return what beside all entries may be named, and what of that has to be."""
        return (
            {*self.untold}.union(*(put for put, _ in self.writes)),
            {*self.untold}.union(*(real for _, real in self.writes)) - {*self.entries},
        )

    def started(self, named: set[str]) -> None:
        """Take note of what the journal has named."""
        self.untold.update(dict.fromkeys(named))
        self.telling = False

    def forget(self, names: Sequence[str]) -> tuple[int, int]:
        """Remove entries from present and past; return how many there are now, and how many there ever were."""
        ever = set(names) & set[str]().union(*(real for _, real in self.writes))
        now = set(names) & set(self.entries)
        for entries in (self.entries, *(past.entries for past in self.past)):
            for name in names:
                entries.pop(name, None)
        for name in names:
            self.untold.pop(name, None)
        for put, real in self.writes:
            put.difference_update(names)
            real.difference_update(names)
        return len(now), len(ever)
