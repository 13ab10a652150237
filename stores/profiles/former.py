"""Former ids of persons: what a person was called before it lost its earliest record still leads to it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from events.erasure import Erasure
from events.persons import Member, PersonEvent, person_id
from stores.profiles.base import ProfileWriter
from stores.profiles.table import batches


class Former:
    """Finds, for ids that no record bears any more, a record of the person that they lead to now.

    Events and members that belong together may come into the store by several batches in any order, but within one
    epoch. What is remembered of an epoch is what has happened to persons in it, and who went.
    """

    def __init__(self, writer: ProfileWriter) -> None:
        self._writer = writer
        # Where the records of a person went, by its id; the ids that records bore which have gone; what is to be found.
        self._leads: dict[str, tuple[str, ...]] = {}
        self._gone: set[str] = set()
        self._lost: dict[str, None] = {}

    @property
    def is_settled(self) -> bool:
        """Whether closing the epoch has nothing to write."""
        return not self._lost

    def take(self, members: Iterable[Member], events: Iterable[PersonEvent]) -> None:
        """Take in what has happened to persons, after the store has their members."""
        gone = {person_id(member.realm, member.record): None for member in members if not member.person}
        self._gone.update(gone)
        lost = {id_: None for id_ in gone if id_ in self._leads}
        for event in events:
            ids = event.others if event.kind == "merged" else (event.person,)
            self._leads.update(dict.fromkeys(ids, (event.person,) if event.kind == "merged" else event.others))
            # The id that a person had is that of a record, and leads to it wherever it is, unless that has gone.
            lost.update((id_, None) for id_ in ids if event.kind == "renamed" or id_ in self._gone)
        self._lost.update(lost)
        self._find(lost)

    def drop(self, erasure: Erasure) -> None:
        """Forget what an erasure names."""
        for id_ in (erasure.person, *(person_id(erasure.realm, record) for record in erasure.records)):
            self._leads.pop(id_, None)
            self._gone.discard(id_)
            self._lost.pop(id_, None)

    def close_epoch(self) -> None:
        """Find all once more, as everything of the epoch is in the store by now, and begin another one."""
        self._find(self._lost)
        self._leads.clear()
        self._gone.clear()
        self._lost.clear()

    def _find(self, ids: Iterable[str]) -> None:
        for some in batches(ids):
            self._writer.put_former(_ends(some, self._leads, self._writer))


def _ends(ids: Sequence[str], leads: Mapping[str, tuple[str, ...]], writer: ProfileWriter) -> dict[str, str]:
    """Return, for ids of former persons, the earliest record of the first persons that are there on their way."""
    found: dict[str, str] = {}
    ways: dict[str, Collection[str]] = {id_: leads.get(id_, ()) for id_ in ids}
    seen = {id_: {id_} for id_ in ids}
    while ways:
        members = writer.members_of(list(dict.fromkeys(step for way in ways.values() for step in way)))
        further: dict[str, Collection[str]] = {}
        for id_, way in ways.items():
            there = [members[step][0] for step in way if step in members]
            if there:
                found[id_] = min(there, key=lambda member: (member.since, member.record)).record
                continue
            seen[id_].update(way)
            following = dict.fromkeys(after for step in way for after in leads.get(step, ()) if after not in seen[id_])
            if following:
                further[id_] = following
        ways = further
    return found
