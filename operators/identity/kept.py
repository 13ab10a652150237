"""What a resolver keeps in its journal: an entry per record, and a few facts beside them.

An entry is what the store was told of its record, and so is the fact of an identifier over its limit. Whatever is
written over or removed is named by the journal when it goes back, until the store has been told how it is.
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

Table = tuple[str, str]
"""Source and table."""
Over = tuple[int, int]
"""How many records carry an identifier, and its limit, which is less."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode
_decode_emptied = msgspec.msgpack.Decoder(Emptied).decode
_decode_over = msgspec.msgpack.Decoder(Over).decode


class Kept:
    """The journal with its entries in memory. What changes is written at the end of each batch, in one commit.

    :arg rules: What was noted of the rules by which identifiers were found; None: nothing.
    :arg emptied: The newest truncation of each table.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.rules: str | None = None
        self.emptied: dict[Table, Emptied] = {}
        self._records: dict[str, bytes] = {}
        self._due: dict[str, bytes | None] = {}

    def read(self, sequence: int | None) -> tuple[set[str], set[str], dict[str, Over]]:
        """Read the journal, rolled back to `sequence` if that is given.

        :returns: Records and identifiers of which the store may have been told something else, and those identifiers of
            which it was told that they are over their limit.
        """
        names = self.journal.roll_back(sequence)
        over: dict[str, Over] = {}
        for name, value in self.journal.load():
            if not name.startswith(_FACT):
                self._records[name] = value
            elif name.startswith(_SHARED):
                over[name.removeprefix(_SHARED)] = _decode_over(value)
            elif name.startswith(_EMPTIED):
                source, _, table = name.removeprefix(_EMPTIED).partition("/")
                self.emptied[source, table] = _decode_emptied(value)
            else:
                self.rules = value.decode()
        records = {name for name in names if not name.startswith(_FACT)}
        identifiers = {name.removeprefix(_SHARED) for name in names if name.startswith(_SHARED)}
        if sequence is None:
            records.update(self._records)
            identifiers.update(over)
        return records, identifiers, over

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

    def put_shared(self, identifier: str, over: Over | None) -> None:
        """Note that the store is told how far an identifier is over its limit; None: it is not."""
        self._due[f"{_SHARED}{identifier}"] = None if over is None else _encode(over)

    def forget(self, records: Iterable[str], identifiers: Iterable[str]) -> None:
        """Let go of all that names these, and of all that they ever were, at once."""
        names = {*records, *(f"{_SHARED}{identifier}" for identifier in identifiers)}
        for name in names:
            self._records.pop(name, None)
            self._due.pop(name, None)
        if names:
            self.journal.forget(sorted(names))

    def write(self) -> None:
        """Write what has changed, with a batch that also tells the store all that the roll-back has named."""
        due, self._due = self._due, {}
        if due:
            self.journal.put(due)
        self.journal.told()
