"""The read side of profiles in SQLite: each call is one transaction, over the newest commit of whichever process."""

from __future__ import annotations

import sqlite3
from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from events.persons import Member, Shared
from events.profiles import Profile
from stores.profiles import sqlite_schema as schema
from stores.profiles.base import HeldPerson, ProfileReader
from stores.profiles.image import profile_of
from stores.profiles.keys import by_person, held_person, lead, number_of
from stores.profiles.sqlite import among, member_of
from stores.rows.base import RowId, StoredRow
from stores.rows.sqlite_reader import SqliteRowReader
from stores.rows.sqlite_row import stored_row
from stores.rows.sqlite_schema import COLUMNS, Layout, find


class SqliteProfileReader(SqliteRowReader, ProfileReader):
    """The reader. Threads may share it, and do not wait for each other.

    :arg path: The database; an absent one is empty.
    """

    layout: ClassVar[Layout] = schema.PROFILES

    @override
    def profile(self, person: str) -> Profile | None:
        query = "SELECT profile FROM headrace_persons WHERE person = ?"
        text = self._read(lambda db: _first(db, query, person), None)
        return None if text is None else profile_of(text[0])

    @override
    def person_of(self, id_: str) -> str | None:
        def run(db: sqlite3.Connection) -> str | None:
            def person_of(one: str) -> str | None:
                found = _first(db, schema.PERSON, one)
                return None if found is None else str(found[0])

            return lead(id_, person_of, lambda one: _first(db, schema.FORMER, one), lambda: _realms(db))

        return self._read(run, None)

    @override
    def realms(self) -> list[str]:
        return self._read(_realms, [])

    @override
    def member(self, record: str) -> Member | None:
        def run(db: sqlite3.Connection) -> Member | None:
            return next(map(member_of, among(db, schema.MEMBERS, [record])), None)

        return self._read(run, None)

    @override
    def members_of(self, person: str) -> list[Member]:
        def run(db: sqlite3.Connection) -> list[Member]:
            return list(map(member_of, among(db, schema.MEMBERS_OF, [person])))

        return self._read(run, [])

    @override
    def holders(self, realm: str, identifier: str, limit: int) -> list[Member]:
        def run(db: sqlite3.Connection) -> list[Member]:
            found: list[Member] = []
            for row in db.execute(schema.HOLDERS, (number_of(realm, identifier),)):
                if len(found) >= limit:
                    break
                member = member_of(row)
                if member.realm == realm and identifier in member.identifiers:
                    found.append(member)
            return found

        return self._read(run, [])

    @override
    def shared(self) -> list[Shared]:
        query = """SELECT identifier, realm, records, most FROM headrace_shared
            ORDER BY records DESC, realm, identifier"""
        return self._read(lambda db: [Shared(*row) for row in db.execute(query)], [])

    @override
    def held(self, limit: int) -> list[HeldPerson]:
        def run(db: sqlite3.Connection) -> list[HeldPerson]:
            persons = [person for (person,) in db.execute(schema.HELD, (max(limit, 0),))]
            members = by_person(map(member_of, among(db, schema.MEMBERS_OF, persons)))
            return [held_person(members[person]) for person in persons]

        return self._read(run, [])

    @override
    def row(self, table: str, source: str, key: str) -> StoredRow | None:
        wanted = msgspec.json.encode([key]).decode()

        def run(db: sqlite3.Connection) -> tuple[Any, ...] | None:
            if _first(db, "SELECT 1 FROM headrace_tables WHERE name = ?", table) is None:
                return None
            return _first(db, find(table, COLUMNS), source, wanted)

        found = self._read(run, None)
        return None if found is None else stored_row(found)

    @override
    def owned(self, owner: str, limit: int) -> list[tuple[str, RowId]]:
        query = """SELECT activity, source, key FROM headrace_places WHERE owner = ?
            ORDER BY activity, at DESC, source, key LIMIT ?"""

        def run(db: sqlite3.Connection) -> list[tuple[str, RowId]]:
            return [(activity, (source, key)) for activity, source, key in db.execute(query, (owner, max(limit, 0)))]

        return self._read(run, [])

    @override
    def persons(self, after: str, limit: int) -> list[Profile]:
        query = "SELECT profile FROM headrace_persons WHERE person > ? ORDER BY person LIMIT ?"

        def run(db: sqlite3.Connection) -> list[str]:
            return [str(text) for (text,) in db.execute(query, (after, max(limit, 0)))]

        texts: list[str] = self._read(run, [])
        return [profile_of(text) for text in texts]

    @override
    def totals(self) -> tuple[int, int]:
        query = "SELECT (SELECT count(*) FROM headrace_members), (SELECT count(*) FROM headrace_persons)"
        members, profiles = self._read(lambda db: _first(db, query), None) or (0, 0)
        return members, profiles


def _first(db: sqlite3.Connection, query: str, *values: object) -> tuple[Any, ...] | None:
    """Return the first row that a query finds, None if it finds none."""
    cursor = db.execute(query, values)
    row: tuple[Any, ...] | None = cursor.fetchone()
    cursor.close()
    return row


def _realms(db: sqlite3.Connection) -> list[str]:
    return [str(realm) for (realm,) in db.execute("SELECT name FROM headrace_realms")]
