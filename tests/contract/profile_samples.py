"""Profile stores of each kind for tests, what to put into them, and what they are to answer: plain dicts."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from events.persons import Member, Shared, person_id
from events.profiles import Activity, Collection, Field, Profile, Value
from stores.profiles.base import HeldPerson, Place, ProfileReader, ProfileWriter
from stores.rows.base import RowId
from tests.contract.row_samples import NOW

REALM = "default"


class ProfilePlace(msgspec.Struct, frozen=True):
    """Where one profile store lies, and how it is opened. Arguments as those of `RowPlace`."""

    kind: str
    path: str = ""
    dsn: str = ""
    schema: str = ""

    def writer(self) -> ProfileWriter:
        """Open the writer."""
        if self.kind == "postgres":
            from stores.profiles.postgres import PostgresProfiles

            return PostgresProfiles(self.dsn, self.schema, patience_millis=100)
        from stores.profiles.sqlite import SqliteProfiles

        return SqliteProfiles(Path(self.path), lambda: NOW)

    def reader(self) -> ProfileReader:
        """Return a reader."""
        if self.kind == "postgres":
            from stores.profiles.postgres_reader import PostgresProfileReader

            return PostgresProfileReader(self.dsn, self.schema)
        from stores.profiles.sqlite_reader import SqliteProfileReader

        return SqliteProfileReader(Path(self.path))


def own(record: str, realm: str = REALM) -> str:
    return person_id(realm, record)


def member(record: str, person: str, *identifiers: str, since: int = 0, **more: Any) -> Member:
    return Member(record, more.pop("realm", REALM), person, tuple(sorted(identifiers)), since, **more)


def gone(record: str, realm: str = REALM) -> Member:
    return Member(record, realm, "")


def profile(person: str, value: Any = "Anna") -> Profile:
    """Return a profile in which everything is filled in, `value` in several places."""
    said = Value(value, 'crm/public.customers/{"id":1}', "0.17", 5, NOW)
    activity = Activity('shop/orders/{"id":1}', 5, {"what": value}, "0.18", 5, NOW, open=True, sums={"total": "12.50"})
    return Profile(
        person,
        REALM,
        since=-3,
        aliases=(own("b"), "p-ä\0"),
        records=("a", "b"),
        identifiers={"email": ("a@example.org", "ü@example.org"), "phone": ()},
        fields={"name": Field(value, (said,), (said, said)), "größe": Field([value, None], ())},
        collections={
            "orders": Collection(2, 1, (activity,), (activity,), {"total": "12.50"}, 5, None),
            "none": Collection(),
        },
        held=("device",),
    )


HOSTILE_TEXTS = (
    "", "'", '"', "\\", "\0", "a\0b", "\x01", "\x01\ufdd0", "\ufdd0", "\\u0000", "%s", "{}", "?", "größe", "数", "👩‍✈️",
    "a,b", "{a}", "NULL", "\n", "\u2028", "Infinity", "NaN",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *HOSTILE_TEXTS, None, True, 0, -1, 2**63, 10**40, 0.1, -2.5, 1e300, 5e-324, Decimal("2.50"),
    Decimal("0.1000000000000000000001"), [], {}, [1, ["a"]], {"a": {"b\0": [None]}},
)  # fmt: skip


class Model:
    """What a profile store holds, and what it answers, by looking at everything."""

    def __init__(self) -> None:
        self.by_record: dict[str, Member] = {}
        self.realms: set[str] = set()
        self.former: dict[str, str] = {}
        self.over: dict[tuple[str, str], Shared] = {}
        self.places: set[tuple[str, str, int, RowId]] = set()
        self.sums: dict[tuple[str, str], bytes] = {}
        self.profiles: dict[str, Profile] = {}

    def copy(self) -> Model:
        return copy.deepcopy(self)

    def put_members(self, members: Sequence[Member]) -> None:
        for one in members:
            self.by_record.pop(one.record, None)
            if one.person:
                self.by_record[one.record] = one
                self.realms.add(one.realm)

    def put_former(self, former: Mapping[str, str]) -> None:
        self.former.update(former)

    def put_shared(self, shared: Sequence[Shared]) -> None:
        for one in shared:
            self.over[one.identifier, one.realm] = one
        self.over = {id_: one for id_, one in self.over.items() if one.records > one.limit}

    def place(self, gone: Sequence[Place], there: Sequence[Place]) -> None:
        self.places -= {(one.table, one.owner, one.at, one.id) for one in gone}
        self.places |= {(one.table, one.owner, one.at, one.id) for one in there}

    def put_summaries(self, summaries: Mapping[tuple[str, str], bytes | None]) -> None:
        self.sums = {id_: one for id_, one in {**self.sums, **summaries}.items() if one is not None}

    def clear_activities(self, table: str) -> int:
        before = self._entries()
        self.places = {one for one in self.places if one[0] != table}
        self.sums = {id_: one for id_, one in self.sums.items() if id_[0] != table}
        return before - self._entries()

    def put_profiles(self, profiles: Mapping[str, Profile | None]) -> None:
        self.profiles = {id_: one for id_, one in {**self.profiles, **profiles}.items() if one is not None}

    def forget_persons(self, records: Sequence[str], persons: Sequence[str], identifiers: Sequence[str]) -> int:
        before = self._entries()
        ids = {*persons, *(own(record, realm) for record in records for realm in self.realms)}
        self.by_record = {
            record: one for record, one in self.by_record.items() if record not in records and one.person not in persons
        }
        self.places = {one for one in self.places if one[1] not in records}
        self.sums = {id_: one for id_, one in self.sums.items() if id_[1] not in records}
        self.profiles = {person: one for person, one in self.profiles.items() if person not in persons}
        self.former = {id_: record for id_, record in self.former.items() if id_ not in ids and record not in records}
        self.over = {id_: one for id_, one in self.over.items() if id_[0] not in identifiers}
        return before - self._entries()

    def members_of(self, person: str) -> list[Member]:
        found = [one for one in self.by_record.values() if one.person == person]
        return sorted(found, key=lambda one: (one.since, one.record))

    def person_of(self, id_: str) -> str | None:
        ids = [id_]
        for _ in range(8):
            found = [person for one in ids for person in [self._present(one)] if person is not None]
            if found:
                return found[0]
            records = [self.former[one] for one in ids if one in self.former]
            ids = [own(record, realm) for record in records for realm in sorted(self.realms)]
        return None

    def _present(self, id_: str) -> str | None:
        """Return the person that bears an id, by itself, by one of its records, or by the one noted with the id."""
        if id_ in {one.person for one in self.by_record.values()}:
            return id_
        borne = {own(one.record, one.realm): one.person for one in self.by_record.values()}
        noted = self.by_record.get(self.former.get(id_, ""))
        return borne.get(id_) or (None if noted is None else noted.person)

    def holders(self, realm: str, identifier: str) -> list[Member]:
        found = [one for one in self.by_record.values() if one.realm == realm and identifier in one.identifiers]
        return sorted(found, key=lambda one: one.record)

    def shared(self) -> list[Shared]:
        return sorted(self.over.values(), key=lambda one: (-one.records, one.realm, one.identifier))

    def held(self) -> list[HeldPerson]:
        found: list[HeldPerson] = []
        for person in {one.person for one in self.by_record.values() if one.held}:
            members = self.members_of(person)
            types = dict.fromkeys(type_ for one in members for type_ in one.held)
            found.append(HeldPerson(person, members[0].realm, len(members), tuple(types)))
        return sorted(found, key=lambda one: (-one.records, one.person))

    def owned(self, owner: str) -> list[tuple[str, RowId]]:
        found = sorted((table, -at, id_) for table, of, at, id_ in self.places if of == owner)
        return [(table, id_) for table, _, id_ in found]

    def _entries(self) -> int:
        kept = self.by_record, self.places, self.sums, self.profiles, self.former, self.over
        return sum(map(len, kept))
