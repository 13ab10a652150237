"""What a resolver keeps in its journal: an entry per record, and a few facts beside them.

An entry is what the store was told of its record, so that a roll-back names whatever the store may know wrongly. To
that end a name outlives what it stood for, with nothing in it, until the epoch has closed in which the store was told
so; and what a roll-back has named is written once more, lest a second one forgets it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from operators.identity.entry import Emptied, Entry
from operators.identity.journal import Journal

# Names of what is not of a record: no source's name has a character that cannot be seen.
_FACT = "\x1f"
_RULES = f"{_FACT}rules"
_EMPTIED = f"{_FACT}emptied/"
_SHARED = f"{_FACT}shared/"
_NOTHING = b""

Table = tuple[str, str]
"""Source and table."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode
_decode_emptied = msgspec.msgpack.Decoder(Emptied).decode


class Kept:
    """The journal with its entries in memory. What changes is written at the end of each batch, in one commit.

    :arg rules: What was noted of the rules by which identifiers were found; None: nothing.
    :arg emptied: The newest truncation of each table.
    :arg shared: Identifiers of which the store was told that they are over their limit.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.rules: str | None = None
        self.emptied: dict[Table, Emptied] = {}
        self.shared: set[str] = set()
        self._records: dict[str, bytes] = {}
        self._blank: set[str] = set()
        self._again: set[str] = set()
        self._due: dict[str, bytes | None] = {}
        self._epoch_closed = False

    def read(self, sequence: int | None) -> tuple[set[str], set[str]]:
        """Read the journal, rolled back to `sequence` if that is given.

        :returns: Records and identifiers of which the store may have been told something else.
        """
        written = None if sequence is None else self.journal.roll_back(sequence)
        for name, value in self.journal.load():
            if not value:
                self._blank.add(name)
            elif not name.startswith(_FACT):
                self._records[name] = value
            elif name.startswith(_SHARED):
                self.shared.add(name.removeprefix(_SHARED))
            elif name.startswith(_EMPTIED):
                source, _, table = name.removeprefix(_EMPTIED).partition("/")
                self.emptied[source, table] = _decode_emptied(value)
            else:
                self.rules = value.decode()
        if written is not None:
            self._again = {name for name in written if name.startswith(_SHARED) or not name.startswith(_FACT)}
        names = {*self._records, *self._blank} if written is None else self._again
        identifiers = {name.removeprefix(_SHARED) for name in names if name.startswith(_SHARED)}
        return {name for name in names if not name.startswith(_FACT)}, identifiers

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def entry(self, record: str) -> Entry | None:
        """Return what is kept of a record."""
        kept = self._records.get(record)
        return None if kept is None else _decode(kept)

    def put(self, record: str, entry: Entry) -> None:
        """Keep an entry."""
        self._records[record] = self._due[record] = _encode(entry)

    def drop(self, record: str) -> None:
        """Keep nothing of a record that the store was told is gone long ago."""
        self._records.pop(record, None)
        self._due[record] = None

    def put_rules(self, rules: str) -> None:
        """Note by which rules identifiers are found."""
        self.rules = rules
        self._due[_RULES] = rules.encode()

    def put_emptied(self, table: Table, emptied: Emptied) -> None:
        """Note the newest truncation of a table."""
        self.emptied[table] = emptied
        self._due[f"{_EMPTIED}{'/'.join(table)}"] = _encode(emptied)

    def put_shared(self, identifier: str, *, over: bool) -> None:
        """Note that the store is told of an identifier whether it is over its limit."""
        self._due[f"{_SHARED}{identifier}"] = b"1" if over else _NOTHING

    def forget(self, records: Iterable[str], identifiers: Iterable[str]) -> None:
        """Let go of all that names these, and of all that they ever were, at once."""
        names = {*records, *(f"{_SHARED}{identifier}" for identifier in identifiers)}
        for name in names:
            self._records.pop(name, None)
            self._due.pop(name, None)
        self._again -= names
        self._blank -= names
        if names:
            self.journal.forget(sorted(names))

    def write(self) -> None:
        """Write what has changed."""
        due, self._due = self._due, {}
        for name in self._again:
            due.setdefault(name, self._records.get(name, _NOTHING))
        for name in list(self._blank):
            if name not in due and self._epoch_closed:
                due[name] = None
            if due.get(name, _NOTHING) != _NOTHING:
                self._blank.discard(name)
        self._blank.update(name for name, value in due.items() if value == _NOTHING)
        self._again, self._epoch_closed = set(), False
        if due:
            self.journal.put(due)

    def epoch_closed(self) -> None:
        """Take note that all that was told has arrived, as soon as the engine has committed the epoch."""
        self._epoch_closed = True
