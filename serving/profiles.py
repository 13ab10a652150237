"""Questions about persons: whom an address, a number or a record leads to, and why.

Nothing is guessed: where several persons or none could be meant, the answer is an error that names them or says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from events.clock import Clock, system_clock, to_iso
from events.errors import HeadraceError
from events.log import Applied
from events.persons import Member, Shared, type_of
from events.profiles import Profile
from serving.captured import Captured
from serving.freshness import Demand, Partitions, StaleError, age, await_fresh, only_source
from serving.leads import Lead, Leads, over_limit, ways_to
from serving.lookups import Lookup, as_typed, listed, other_names, short_key, short_record
from serving.render import span
from serving.ties import Held, Tie, held_of, ties_of
from stores.log.base import Log
from stores.log.choose import open_log
from stores.profiles.base import ProfileReader
from stores.profiles.choose import open_profile_reader
from stores.settings import Settings

if TYPE_CHECKING:
    from serving.explain import Explanation

_LATE = 60_000
_TRIES = 3


class NobodyError(HeadraceError):
    """A look-up leads to nobody."""


class SeveralError(HeadraceError):
    """A look-up leads to several persons.

    :arg persons: Their ids.
    """

    def __init__(self, detail: str, hint: str, persons: Sequence[str]) -> None:
        super().__init__(detail, hint)
        self.persons = tuple(persons)


class Found(msgspec.Struct, frozen=True):
    """The person that a look-up leads to.

    :arg leads: What led there.
    :arg age: How old (ms) what the store holds is at most; None if it cannot be told.
    :arg at: When it was asked (ms since epoch): ages count from there.
    :arg ties: What would join the person with others, but is held back.
    """

    profile: Profile
    leads: tuple[Lead, ...]
    age: int | None
    at: int
    ties: tuple[Tie, ...] = ()


class Suspects(msgspec.Struct, frozen=True):
    """What may be wrong with identifiers.

    :arg shared: Identifiers that more records carry than their limit, most records first.
    :arg shared_count: How many of them there are.
    :arg held: Persons whose records do not all link, as they would be larger than the limit.
    :arg person_limit: That limit.
    """

    shared: tuple[Shared, ...]
    shared_count: int
    held: tuple[Held, ...]
    person_limit: int


class Profiles:
    """Reads the profile store.

    :arg settings: Which tables and identifiers there are, and of which streams.
    :arg reader: The profile store.
    :arg log: The log that its flow reads: tells which partitions there are.
    """

    def __init__(self, settings: Settings, reader: ProfileReader, log: Log, clock: Clock) -> None:
        self.settings = settings
        self.reader = reader
        self.clock = clock
        self._captured = Captured(settings)
        self.leads = Leads(settings, reader, self.remedy)
        self._log = log

    @classmethod
    def of(cls, settings: Settings, clock: Clock = system_clock) -> Profiles:
        """Open the profiles that `settings` name.

        :raises HeadraceError: When the settings name no tables of persons.
        """
        if not settings.profiles.tables:
            detail = "no tables of persons are configured"
            raise HeadraceError(detail, "add [[profiles.tables]] to headrace.toml")
        return cls(settings, open_profile_reader(settings), open_log(settings), clock)

    def find(self, lookup: Lookup, demand: Demand | None = None) -> Found:
        """Return the person that a look-up leads to.

        :arg demand: How fresh the store must be; waits for it.
        :raises NobodyError: When it leads to nobody, saying why.
        :raises SeveralError: When it leads to several persons, naming them.
        :raises RejectedError: When what was typed can lead to nobody.
        :raises StaleError: When the store does not become as fresh as demanded.
        """
        if demand is not None:
            self.await_fresh(demand)
        for _ in range(_TRIES):
            leads = self.look_up(lookup)
            profile = self.reader.profile(self._only_person(lookup, leads))
            if profile is not None:
                ties = self._ties(self.members(profile.person)) if profile.held else ()
                return Found(profile, tuple(leads), self.age(), self.clock(), ties)
            # Between the two reads the person has come to be called otherwise.
        detail = f"{as_typed(lookup)} is of a person that is being changed"
        raise NobodyError(detail, "ask again")

    def look_up(self, lookup: Lookup) -> list[Lead]:
        """Return everything that a look-up leads to; nothing if all of it is unknown.

        :raises HeadraceError: When its realm is not in the settings, or what was typed can lead to nothing.
        """
        realms = self.settings.profiles.realms
        if lookup.realm and lookup.realm not in realms:
            detail = f"there is no realm {lookup.realm!r}"
            raise HeadraceError(detail, f"there are: {', '.join(realms)}")
        return self.leads.of(lookup)

    def members(self, person: str) -> list[Member]:
        """Return the records of a person with what they carry, earliest first."""
        return self.reader.members_of(person)

    def shared(self) -> dict[tuple[str, str], Shared]:
        """Return, by realm and identifier, the identifiers that are over their limit."""
        return {(shared.realm, shared.identifier): shared for shared in self.reader.shared()}

    def explain(self, a: Lookup, b: Lookup, demand: Demand | None = None) -> Explanation:
        """Tell why two things are of one person, or what keeps them apart; see `serving.explain.explain`."""
        from serving.explain import explain

        return explain(self, a, b, demand)

    def suspects(self, limit: int) -> Suspects:
        """Return what may be wrong with identifiers, at most `limit` of each kind."""
        shared = self.reader.shared()
        held = []
        for one in self.reader.held(limit):
            members = self.members(one.person)
            held.append(Held(one.person, one.realm, one.records, held_of(members), self._ties(members)))
        return Suspects(tuple(shared[:limit]), len(shared), tuple(held), self.settings.profiles.person_limit)

    def name_of(self, record: str) -> tuple[str, str, str]:
        """Return of a record key the table's name in the settings, the key's values in short, and the source."""
        name = self.leads.name(record)
        return (record, "", "") if name is None else (name.table.name, short_key(name.key), name.source)

    def age(self) -> int | None:
        """Return how old (ms) what the store holds is at most; None if it cannot be told."""
        return age(self._applied(), self._partitions(), self.clock())

    def await_fresh(self, demand: Demand) -> int | None:
        """Wait until the profiles are as fresh as demanded; return their age (ms).

        :raises HeadraceError: When it is not clear which source a position is of.
        :raises StaleError: When they do not become so in time.
        """
        if demand.position and not demand.source:
            demand = demand._replace(source=only_source(self.reader.applied, demand.seconds, self.clock))
        try:
            return await_fresh(demand, self._applied, self._partitions, self.clock)
        except StaleError as error:
            if error.age is not None or not self._absent():
                raise
            raise StaleError(error.detail, self.remedy(), None) from None

    def unknown(self, lookup: Lookup) -> NobodyError:
        """Return the error for what the store does not know."""
        old = self.age()
        hints = []
        if old is None:
            hints.append(self.remedy() if self._absent() else f"not all streams have been read: {self.remedy()}")
        elif old > _LATE:
            hints.append(f"the profiles are {span(old)} behind; see `headrace status`")
        if lookup.bare:
            types = dict.fromkeys(type_of(name) for _, name in self.leads.identifiers(lookup))
            hints.append(f"looked for as {', '.join(types)}; else write {other_names(self.settings.profiles)}")
        where = f" in the realm {lookup.realm!r}" if lookup.realm else ""
        return NobodyError(f"{as_typed(lookup)} is not known{where}", "; ".join(hints))

    def remedy(self) -> str:
        """Say what may be the matter where something has not come in: streams that are not there, or the flow."""
        absent = self._absent()
        if not absent:
            return "is the flow running? see `headrace status`"
        return f"not on the log yet: {'the stream' if len(absent) == 1 else 'the streams'} {listed(absent)}"

    def short(self, record: str) -> str:
        """Write a record for people."""
        return short_record(record, self.name_of(record))

    def deletion(self, lead: Lead) -> str:
        """Say of a lead to what was deleted what that was, and when."""
        at = to_iso(lead.deleted_at or 0)
        if lead.activity and lead.activity != lead.node.name:
            return f"{lead.activity} belongs to {self.short(lead.node.name)}, which was deleted {at}"
        return f"{lead.node.name} was deleted {at}"

    def _absent(self) -> list[str]:
        return [stream for stream, partitions in self._partitions().items() if not partitions]

    def _ties(self, members: Sequence[Member]) -> tuple[Tie, ...]:
        limits = {one.type: one.limit for one in self.settings.profiles.identifiers}
        return ties_of(self.reader, members, self.shared(), limits)

    def _only_person(self, lookup: Lookup, leads: Sequence[Lead]) -> str:
        persons = list(dict.fromkeys(person for lead in leads for person in lead.persons))
        over = [lead.shared for lead in leads if lead.shared is not None]
        if over:
            detail = "; ".join(over_limit(shared) for shared in over)
            others = [lead.node.name for lead in leads if lead.persons]
            meant = f"if it is not meant, write {' or '.join(others)}" if others else ""
            raise NobodyError(detail, meant or "it leads to nobody; `headrace suspects` lists all such")
        if len(persons) > 1:
            realms = sorted({lead.realm for lead in leads if lead.persons})
            hint = f"give --realm, one of: {', '.join(realms)}" if len(realms) > 1 else "name one of them"
            detail = f"{as_typed(lookup)} leads to {len(persons)} persons: {listed(ways_to(persons, leads))}"
            raise SeveralError(detail, hint, persons)
        if persons:
            return persons[0]
        for lead in leads:
            if lead.deleted_at is not None:
                raise NobodyError(self.deletion(lead), "deleted records are of nobody")
            if lead.activity == lead.node.name:
                detail = f"{lead.activity} does not say to whom it belongs"
                raise NobodyError(detail, "see the columns that `by` names for its table in [[profiles.tables]]")
            if lead.activity:
                detail = f"{lead.activity} belongs to {self.short(lead.node.name)}, which is not known"
                raise NobodyError(detail, "is that table's stream behind? see `headrace status`")
            detail = f"{lead.node.name} is there, but of nobody yet"
            raise NobodyError(detail, self.remedy())
        raise self.unknown(lookup)

    def _applied(self) -> list[Applied]:
        applied = self.reader.applied()
        return [*applied, *self._captured.marks(applied)]

    def _partitions(self) -> Partitions:
        streams = {stream.name: self._log.partitions(stream.name) for stream in self.settings.profiles.streams}
        return streams | self._captured.partitions(streams)
