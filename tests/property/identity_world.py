"""Small dense worlds of identity rows, and the journey of their events to a resolver and on to a store.

Few records share few identifiers under small limits, so that nearly every event makes, breaks or overfills a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import NamedTuple, TypeAlias

import msgspec
from hypothesis import strategies as st

from events.changes import Change, Truncation
from events.log import Mark
from events.persons import Links, Member, PersonEvent, Shared
from operators.identity.resolver import Resolved, Resolver
from operators.identity.rules import IdentityRules, TypeRules
from tests.operators.identity.memory_journal import MemoryJournal
from tests.property.identity_oracle import FOR_EVER

Event: TypeAlias = "Links | Truncation"

REALM = "travel"
HOUR = 3_600_000
DAY = 24 * HOUR
RECORDS = (
    ("crm", "customers", 1),
    ("crm", "customers", 2),
    ("crm", "customers", 3),
    ("crm", "contacts", 1),
    ("shop", "users", 1),
    ("desk", "people", 1),
    ("desk", "people", 2),
)
"""The desk gives no positions: its events come in their order, by one partition."""
TYPES = {
    "customers": ("email", "phone"),
    "contacts": ("code",),
    "users": ("email", "code"),
    "people": ("phone", "code"),
}
"""For each table, the type that each of its rules finds."""
VALUES = ((), ("a",), ("b",), ("c",), ("a", "b"), ("a",), ("b",), ())

Step: TypeAlias = "tuple[str, int, int]"
steps = st.lists(
    st.tuples(
        st.sampled_from(("put", "put", "put", "put", "part", "part", "delete", "truncate")),
        st.integers(0, len(RECORDS) - 1),
        st.integers(0, 2**11 - 1),
    ),
    min_size=1,
    max_size=16,
)
rules = st.builds(
    lambda code, email, phone, person: IdentityRules(
        (
            TypeRules("code", ("code",), code),
            TypeRules("email", ("email",), email),
            TypeRules("phone", ("phone",), phone),
        ),
        person,
    ),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 5),
)


class Source:
    """Makes events of steps, in the order in which they happen.

    :arg pace: Milliseconds between events, several times at most; 0: their times say nothing of their order.
    """

    def __init__(self, pace: int = 0) -> None:
        self._number = 0
        self._pace = pace
        self._now = HOUR

    def event(self, step: Step) -> Event:
        kind, which, content = step
        source, table, number = RECORDS[which]
        self._number += 1
        position = () if source == "desk" else (0, self._number)
        self._now += content % 5 * self._pace
        time = self._now if self._pace else HOUR + content % 7
        if kind == "truncate":
            return Truncation(source, table, time, position, stream=source, offset=self._number)
        found: list[tuple[str, ...] | None] = []
        for type_ in TYPES[table]:
            found.append(tuple(f"{type_}:{value}" for value in VALUES[content % 8]))
            content //= 8
        created = content % 4 if content % 8 < 4 else None
        unavailable: tuple[str, ...] = ()
        if kind == "part":
            left_out = content // 8 % len(found)
            found[left_out], unavailable = None, (f"column {left_out}",)
        gone = kind == "delete"
        change = Change(
            source,
            table,
            f'{{"id":{number}}}',
            "delete" if gone else "update",
            None,
            None if gone else {},
            time,
            position,
            unavailable=() if gone else unavailable,
            stream=source,
            offset=self._number,
        )
        return Links(change, REALM, tuple(() if gone else one for one in found), None if gone else created)


def history(made: Iterable[Step], pace: int = 0) -> list[Event]:
    source = Source(pace)
    return [source.event(step) for step in made]


def arrival(events: Sequence[Event], rng: Random) -> list[Event]:
    """Return events as they may come: some twice, and in any order but those that have no positions."""
    again = [_again(event, rng) for event in events if rng.random() < 0.25]
    coming = [*events, *again]
    rng.shuffle(coming)
    unplaced = sorted((event for event in coming if not _row(event).position), key=lambda event: _row(event).offset)
    in_order = iter(unplaced)
    return [event if _row(event).position else next(in_order) for event in coming]


def read_again(events: Sequence[Event], rng: Random) -> list[Event]:
    """Return events as they come when reading goes on from an earlier place now and then."""
    coming: list[Event] = []
    for number in range(len(events)):
        if rng.random() < 0.1:
            coming += events[rng.randint(0, number) : number]
        coming.append(events[number])
    return coming


def _again(event: Event, rng: Random) -> Event:
    """Return an event as it is delivered once more: where the source orders, also at another place of the log."""
    row = _row(event)
    if not row.position or rng.random() < 0.5:
        return event
    offset = row.offset + 1_000
    if isinstance(event, Truncation):
        return msgspec.structs.replace(event, offset=offset)
    return msgspec.structs.replace(event, change=msgspec.structs.replace(event.change, offset=offset))


def _row(event: Event) -> Change | Truncation:
    return event if isinstance(event, Truncation) else event.change


class Told:
    """What a store knows that believes all that it is told."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.shared: dict[str, int] = {}
        self.events: list[PersonEvent] = []

    def take(self, items: Iterable[Resolved]) -> None:
        for item in items:
            if isinstance(item, Member):
                self.members.pop(item.record, None)
                if item.person:
                    self.members[item.record] = item
            elif isinstance(item, Shared):
                self.shared.pop(item.identifier, None)
                if item.records > item.limit:
                    self.shared[item.identifier] = item.records
            elif isinstance(item, PersonEvent):
                self.events.append(item)

    @property
    def persons(self) -> dict[str, str]:
        return {record: member.person for record, member in self.members.items()}


class _Saved(NamedTuple):
    """What the engine has of an epoch: where the journal stood, and what was still to be read."""

    sequence: int
    left: list[Event]


class Journey:
    """Carries events to a resolver in batches and epochs, with crashes in between.

    :arg horizon: When records that are gone are forgotten. Where they are, events come in their order.
    """

    def __init__(
        self, events: Sequence[Event], possible: Sequence[IdentityRules], rng: Random, horizon: int = FOR_EVER
    ) -> None:
        self.told = Told()
        self.rules = possible[0]
        self._horizon = horizon
        self._possible = possible
        self._rng = rng
        self._events = events
        self._left = self._coming()
        self._journal = MemoryJournal()
        self.resolver = self._opened(None)
        self._saved: list[_Saved] = []
        self._under_way: list[Resolved] = []

    def run(self) -> None:
        crashes = self._rng.choice((0, 0, 1, 2, 3))
        while self._left or crashes:
            # The journal has a batch before anything that follows from it is under way to the store.
            batch = self._next_batch()
            self._under_way += self.resolver.take(batch if self._horizon == FOR_EVER else [*batch, *_marked(batch)])
            fate = self._rng.random()
            if crashes and fate < 0.4:
                crashes -= 1
                self.told.take(self._under_way[: self._rng.randint(0, len(self._under_way))])
                self._under_way.clear()
                self._restart()
            elif fate > 0.7:
                self._close_epoch()
        # A resolver that has been started just now tells what the store may lack with the next mark.
        self._under_way += self.resolver.take([Mark("crm", "0", 1, HOUR, HOUR, caught_up=True)])
        self._close_epoch()

    def _close_epoch(self) -> None:
        sequence = self.resolver.close_epoch()
        self.told.take(self._under_way)
        self._under_way.clear()
        assert self.told.persons == persons_of(self.resolver)
        self._saved.append(_Saved(sequence, list(self._left)))

    def _next_batch(self) -> list[Event]:
        size = self._rng.randint(0, 4)
        batch, self._left = self._left[:size], self._left[size:]
        return batch

    def _restart(self) -> None:
        # It may die once more before anything comes.
        for _ in range(self._rng.choice((1, 1, 2, 3))):
            self._start()
            if self._saved and self._rng.random() < 0.2:
                # Or all ends, and closes an epoch in which the store is told nothing.
                self._saved.append(_Saved(self.resolver.close_epoch(), list(self._left)))

    def _start(self) -> None:
        if self._saved and self._rng.random() < 0.8:
            at = self._rng.randint(max(0, len(self._saved) - 3), len(self._saved) - 1)
            del self._saved[at + 1 :]
            saved = self._saved[at]
            self._left = self._shuffled(saved.left)
            self.resolver = self._opened(saved.sequence)
        else:
            # Without the engine's state all is read again, into the journal as it is.
            self._saved.clear()
            self._left = self._coming()
            self.resolver = self._opened(None)

    def _coming(self) -> list[Event]:
        return (arrival if self._horizon == FOR_EVER else read_again)(self._events, self._rng)

    def _shuffled(self, left: Sequence[Event]) -> list[Event]:
        if self._horizon != FOR_EVER:
            return list(left)
        fresh = list(left)
        self._rng.shuffle(fresh)
        in_order = iter([event for event in left if not _row(event).position])
        return [event if _row(event).position else next(in_order) for event in fresh]

    def _opened(self, sequence: int | None) -> Resolver:
        self.rules = self._rng.choice(self._possible)
        resolver = Resolver(REALM, self.rules, self._journal, extraction={"rows": "rules 1"}, horizon=self._horizon)
        resolver.start(sequence)
        return resolver


def _marked(batch: Sequence[Event]) -> list[Mark]:
    """Return the mark that comes with a batch."""
    times = [_row(event).event_time for event in batch]
    return [Mark("crm", "0", 1, time, time, caught_up=True) for time in times[-1:]]


def persons_of(resolver: Resolver) -> dict[str, str]:
    """Return the person of each record, as the graph has it."""
    return {record: person for person, records in resolver.graph.persons() for record in records}
