"""Who is who in one realm, event by event: what the graph says, what the store has to be told of it, what is kept.

An entry of a record in the journal is what the store was told of it. Each batch is written to the journal before
anything that follows from it is returned, so that rolling the journal back names all that the store may know wrongly;
the first batch tells it, and until that has arrived every start names it again.
Persons are not read back but found again from what records carry: whatever the journal went through, they are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from events.changes import Change, Truncation, supersedes
from events.erasure import Erasure
from events.errors import StoreError
from events.log import Mark, furthest
from events.persons import Cause, Links, Member, PersonEvent, Shared
from operators.identity.entry import Entry, emptied_by, ended_by, joined, truncated
from operators.identity.graph import IdentityGraph
from operators.identity.journal import Journal
from operators.identity.kept import Kept, Over
from operators.identity.moves import Move, Moves, combined, person_events
from operators.identity.rules import IdentityRules
from operators.identity.tombstones import Tombstones


class _Rules(msgspec.Struct):
    """By which rules a journal was made."""

    tables: dict[str, str]
    limits: list[tuple[str, int]]
    person_limit: int


Resolved: TypeAlias = Change | Truncation | Member | PersonEvent | Shared


def _nothing_erased(links: Links) -> bool:
    del links
    return False


class Resolver:
    """Resolves the records of one realm. To be started before it takes anything.

    :arg rules: Decide which records are of one person; they may change from one start to the next.
    :arg extraction: For each table of the realm, a text that names all that decides which identifiers its rows carry: a
        journal that was made by another one is refused. A new table is none.
    :arg horizon: Milliseconds of event time after which deleted records are forgotten.
    :arg is_erased: Tells whether an event is of an erased person: it is dropped.
    """

    def __init__(
        self,
        realm: str,
        rules: IdentityRules,
        journal: Journal,
        *,
        extraction: Mapping[str, str],
        horizon: int,
        is_erased: Callable[[Links], bool] = _nothing_erased,
    ) -> None:
        self.realm = realm
        self.graph = IdentityGraph(realm, rules)
        self._kept = Kept(journal)
        self._rules = _Rules(dict(extraction), [(type_.type, type_.limit) for type_ in rules.types], rules.person_limit)
        self._is_erased = is_erased
        self._horizon = horizon
        self._tombstones = Tombstones(horizon)
        self._marks: dict[tuple[str, str], Mark] = {}
        # The batch under way: entries before and after it, records whose person may have changed, and how many records
        # carried an identifier before it.
        self._old: dict[str, Entry | None] = {}
        self._new: dict[str, Entry] = {}
        self._moved: dict[str, None] = {}
        self._carried: dict[str, int] = {}
        # Erased in this run: what tells of erased persons may learn of an erasure later than the flow brings it.
        self._erased: set[str] = set()
        # What is told with the first batch, as other limits have brought it about.
        self._events: list[PersonEvent] = []
        # What the store is to be told whether it has changed or not.
        self._untold: dict[str, None] = {}
        self._untold_shared: dict[str, None] = {}

    @property
    def identity(self) -> str:
        """Id of the journal."""
        return self._kept.journal.identity

    def start(self, sequence: int | None) -> None:
        """Read the journal; the first batch then tells the store what it may not know.

        :arg sequence: Where an earlier run had come to: the journal is rolled back to it. None: nobody knows, and
            something has to be taken before an epoch is closed.
        :raises StoreError: When the journal cannot go back there, or was made by other rules.
        """
        records, identifiers, told_over = self._kept.read(sequence)
        other_limits = self._check_rules()
        self._tombstones.expect(self._kept.journal.applied())
        told: dict[str, tuple[str, tuple[str, ...]]] = {}
        newest = 0
        for record in self._kept:
            entry = self._kept.entry(record)
            if entry is not None and not entry.gone:
                self.graph.add(record, entry.identifiers, entry.since)
                told[record] = entry.person, entry.held
                newest = max(newest, entry.event_time)
            elif entry is not None:
                self._tombstones.add(record, entry.event_time)
        self.graph.settle()
        # Limits may have changed, and an erasure outlives the roll-back of what followed from it.
        self._moved = {record: None for record, place in told.items() if self.graph.place(record) != place}
        if other_limits:
            # An erasure is told of by nothing: it would name whom it is to forget.
            moved = [Move(record, told[record][0], self.graph.place(record)[0]) for record in self._moved]
            before = frozenset(person for person, _ in told.values())
            after = frozenset(self.graph.place(record)[0] for record in told)
            cause = Cause("", "limits", "", 0, 0, newest)
            self._events = person_events(self.realm, Moves(moved, before, after), cause)
        over = {name: (self.graph.carried(name), self.graph.limit(name)) for name in self.graph.shared()}
        identifiers.update(name for name in over.keys() | told_over.keys() if over.get(name) != told_over.get(name))
        self._untold = dict.fromkeys(sorted(records))
        self._untold_shared = dict.fromkeys(sorted(identifiers))

    def take(self, items: Iterable[Links | Truncation | Mark | Erasure]) -> list[Resolved]:
        """Take a batch in, in its order; return what follows from it, once the journal has it."""
        passed: list[Change | Truncation] = []
        events, self._events = self._events, []
        erased: list[str] = []
        for item in items:
            if isinstance(item, Links):
                if item.change.record not in self._erased and not self._is_erased(item):
                    passed.append(item.change)
                    events += self._link(item)
            elif isinstance(item, Mark):
                self._mark(item)
            elif isinstance(item, Truncation):
                passed.append(item)
                events += self._truncate(item)
            else:
                erased += self._erase(item)
        if erased:
            # What came shortly before the erasure goes no further either.
            passed = [row for row in passed if isinstance(row, Truncation) or row.record not in self._erased]
        self._forget_old()
        members, shared = self._write()
        told = {member.record: member for member in (*(Member(record, self.realm, "") for record in erased), *members)}
        return [*passed, *events, *told.values(), *shared]

    def close_epoch(self) -> int:
        """Note what the marks say as applied, and return the number of the journal's sequence that ends."""
        marks = list(self._marks.values())
        self._marks.clear()
        return self._kept.journal.close_epoch(marks)

    def close(self) -> None:
        """Let go of the journal. Closing twice does nothing."""
        self._kept.journal.close()

    def _check_rules(self) -> bool:
        """Note the rules; return whether the limits are others than before.

        :raises StoreError: When identifiers were found by others.
        """
        noted = None if self._kept.rules is None else msgspec.json.decode(self._kept.rules, type=_Rules)
        if noted is not None:
            now = self._rules.tables
            other = ", ".join(repr(name) for name, rules in noted.tables.items() if now.get(name) != rules)
            if other:
                detail = f"the identity rules of {other} have changed since the journal of {self.realm!r} was made"
                hint = (
                    "put them back; or stop the flow and remove the folder identity/, the profile store and the "
                    "recovery folder of the flow: everything is read again from the log"
                )
                raise StoreError(detail, hint)
        if noted != self._rules:
            self._kept.put_rules(msgspec.json.encode(self._rules).decode())
        return noted is not None and (noted.limits, noted.person_limit) != (
            self._rules.limits,
            self._rules.person_limit,
        )

    def _entry(self, record: str) -> Entry | None:
        """Return a record's entry as the batch has made it so far."""
        entry = self._new.get(record)
        return self._before(record) if entry is None else entry

    def _before(self, record: str) -> Entry | None:
        """Return a record's entry as it was before the batch."""
        if record in self._old:
            return self._old[record]
        entry = self._old[record] = self._kept.entry(record)
        return entry

    def _link(self, links: Links) -> Sequence[PersonEvent]:
        change = links.change
        record = change.record
        self._tombstones.see(change.event_time)
        old = self._entry(record)
        new = joined(old, links, self._horizon, self._kept.emptied.get((change.source, change.table)))
        moves = None if new is None else self._follow(record, old, new)
        if new is None or moves is None or not moves.moved:
            return ()
        had, has = _carried(old), _carried(new)
        gained = tuple(identifier for identifier in has if identifier not in had)
        lost = tuple(identifier for identifier in had if identifier not in has)
        return person_events(self.realm, moves, _cause(change, record, change.op, gained, lost))

    def _truncate(self, truncation: Truncation) -> Sequence[PersonEvent]:
        self._tombstones.see(truncation.event_time)
        table = truncation.source, truncation.table
        known = self._kept.emptied.get(table)
        emptied = emptied_by(truncation)
        newest = known is None or supersedes(emptied.standing, known.standing)
        if newest:
            self._kept.put_emptied(table, emptied)
        begin = f"{truncation.source}/{truncation.table}/"
        steps: list[Moves] = []
        # All names are looked at: truncations are too rare for an index that every record would have to pay for.
        for record in [name for name in dict.fromkeys((*self._kept, *self._new)) if name.startswith(begin)]:
            old = self._entry(record)
            if old is None:
                continue
            horizon = self._horizon
            new = truncated(old, emptied, horizon) if newest else ended_by(old, emptied.event_time, horizon)
            moves = None if new is None else self._follow(record, old, new)
            if moves is not None:
                steps.append(moves)
        # No row says it: the table does.
        return person_events(self.realm, combined(steps), _cause(truncation, begin, "truncate"))

    def _follow(self, record: str, old: Entry | None, new: Entry) -> Moves | None:
        """Keep a record's new entry, and bring the graph to what it says; None if that has nothing to learn."""
        self._new[record] = new
        if new.gone:
            self._tombstones.add(record, new.event_time)
            if record not in self.graph:
                return None
            moves = self.graph.change(record, None)
        elif old is None or old.gone or old.since != new.since or old.said != new.said:
            moves = self.graph.change(record, new.identifiers, new.since)
        else:
            return None
        self._note(moves)
        return moves

    def _note(self, moves: Moves) -> None:
        for move in moves.moved:
            self._moved[move.record] = None
        for identifier, (before, _) in moves.shared.items():
            self._carried.setdefault(identifier, before)

    def _mark(self, mark: Mark) -> None:
        self._tombstones.mark(mark)
        key = mark.source, mark.partition
        self._marks[key] = furthest(mark, self._marks.get(key))

    def _erase(self, erasure: Erasure) -> tuple[str, ...]:
        """Let go of all that the erasure names; return its records.

        No event tells of it: it would name whom it is to forget.
        """
        if erasure.realm != self.realm:
            return ()
        self._erased.update(erasure.records)
        for record in erasure.records:
            self._note(self.graph.change(record, None))
            for names in (self._old, self._new, self._untold):
                names.pop(record, None)
        for identifier in erasure.identifiers:
            if not self.graph.carried(identifier):
                # The store lets go of it by the erasure; written down once more it would outlive that.
                self._carried.pop(identifier, None)
                self._untold_shared.pop(identifier, None)
        self._tombstones.drop(frozenset(erasure.records))
        self._kept.forget(erasure.records, erasure.identifiers)
        return erasure.records

    def _forget_old(self) -> None:
        for event_time, record in list(self._tombstones.due()):
            if record in self._new:
                # It went in this very batch: that is to be told first.
                self._tombstones.add(record, event_time)
                continue
            entry = self._entry(record)
            if entry is not None and entry.gone and entry.event_time == event_time:
                self._old[record] = None
                self._new.pop(record, None)
                self._kept.drop(record)

    def _write(self) -> tuple[list[Member], list[Shared]]:
        """Write all that the batch has made, and return what the store has to be told of it."""
        members: list[Member] = []
        for record in dict.fromkeys((*self._new, *self._moved, *self._untold)):
            old = self._before(record)
            new = self._new.get(record, old)
            gone = Member(record, self.realm, "")
            before = gone if old is None else old.member(record, self.realm)
            after = gone
            if new is not None:
                person, held = self.graph.place(record)
                if new.person != person or new.held != held:
                    new = msgspec.structs.replace(new, person=person, held=held)
                if new is not old:
                    self._kept.put(record, new)
                after = new.member(record, self.realm)
            # Of a record that goes in the batch in which it comes, the store may know from before the journal was made.
            if after != before or record in self._untold or (old is None and record in self._new and after == gone):
                members.append(after)
        shared = self._count_shared()
        self._kept.write()
        self._old, self._new, self._moved, self._untold = {}, {}, {}, {}
        return members, shared

    def _count_shared(self) -> list[Shared]:
        """Return what is to be told of identifiers over their limit, or no longer over it."""
        told: list[Shared] = []
        for identifier in dict.fromkeys((*self._carried, *self._untold_shared)):
            records = self.graph.carried(identifier)
            if records != self._carried.get(identifier) or identifier in self._untold_shared:
                limit = self.graph.limit(identifier)
                told.append(Shared(identifier, self.realm, records, limit))
                over: Over | None = (records, limit) if records > limit else None
                self._kept.put_shared(identifier, over)
        self._carried, self._untold_shared = {}, {}
        return told


def _carried(entry: Entry | None) -> tuple[str, ...]:
    return () if entry is None else entry.identifiers


def _cause(
    event: Change | Truncation, record: str, op: str, gained: tuple[str, ...] = (), lost: tuple[str, ...] = ()
) -> Cause:
    place = event.stream, event.partition, event.offset
    return Cause(record, op, *place, event_time=event.event_time, gained=gained, lost=lost)
