"""The read side of profiles in PostgreSQL: each call is one read-only transaction over one snapshot."""

from __future__ import annotations

from typing import Any

from psycopg.sql import SQL, Identifier
from typing_extensions import LiteralString, override

from events.persons import Member, Shared
from events.profiles import Profile
from stores.profiles import postgres_schema as schema
from stores.profiles.base import HeldPerson, ProfileReader
from stores.profiles.image import profile_of
from stores.profiles.keys import by_person, held_person, lead, number_of
from stores.profiles.postgres import member_of
from stores.profiles.postgres_schema import composed, mark
from stores.rows.base import RowId, StoredRow
from stores.rows.postgres_image import ROW, from_text, key_of, key_text, stored_row, to_text
from stores.rows.postgres_reader import PostgresRowReader
from stores.rows.postgres_schema import row_table
from stores.rows.postgres_session import Session


class PostgresProfileReader(PostgresRowReader, ProfileReader):
    """The reader. Threads may share it. Arguments as those of `PostgresRowReader`."""

    @override
    def profile(self, person: str) -> Profile | None:
        query: LiteralString = "SELECT profile::text FROM {persons} WHERE person = %s"
        found = self._rows(query, to_text(person))
        return profile_of(found[0][0]) if found else None

    @override
    def person_of(self, id_: str) -> str | None:
        def run(db: Session) -> str | None:
            def person_of(one: str) -> str | None:
                found = db.execute(composed(self._schema, schema.PERSON), {"id": to_text(one)}).fetchone()
                return None if found is None else from_text(found[0])

            def former(one: str) -> tuple[str, str | None] | None:
                found = db.execute(composed(self._schema, schema.FORMER), (to_text(one),)).fetchone()
                return found and (from_text(found[0]), None if found[1] is None else from_text(found[1]))

            return lead(id_, person_of, former, lambda: self._realms(db))

        return self._read(run, None)

    @override
    def realms(self) -> list[str]:
        return self._read(self._realms, [])

    def _realms(self, db: Session) -> list[str]:
        return [from_text(realm) for (realm,) in db.execute(composed(self._schema, "SELECT name FROM {realms}"))]

    @override
    def member(self, record: str) -> Member | None:
        found = self._rows(schema.MEMBERS, [to_text(record)])
        return member_of(found[0]) if found else None

    @override
    def members_of(self, person: str) -> list[Member]:
        return [member_of(row) for row in self._rows(schema.MEMBERS_OF, [to_text(person)])]

    @override
    def holders(self, realm: str, identifier: str, limit: int) -> list[Member]:
        number = number_of(realm, identifier)

        def run(db: Session) -> list[Member]:
            found: list[Member] = []
            last = ""
            while (wanted := limit - len(found)) > 0:
                part = db.execute(composed(self._schema, schema.HOLDERS), (number, last, wanted)).fetchall()
                members = map(member_of, part)
                found += [member for member in members if member.realm == realm and identifier in member.identifiers]
                if len(part) < wanted:
                    break
                last = part[-1][0]
            return found

        return self._read(run, [])

    @override
    def shared(self) -> list[Shared]:
        query: LiteralString = """SELECT identifier, realm, records, most FROM {shared}
            ORDER BY records DESC, realm, identifier"""
        return [
            Shared(from_text(identifier), from_text(realm), records, most)
            for identifier, realm, records, most in self._rows(query)
        ]

    @override
    def held(self, limit: int) -> list[HeldPerson]:
        def run(db: Session) -> list[HeldPerson]:
            persons = [person for (person,) in db.execute(composed(self._schema, schema.HELD), (max(limit, 0),))]
            members = by_person(map(member_of, db.execute(composed(self._schema, schema.MEMBERS_OF), (persons,))))
            return [held_person(members[from_text(person)]) for person in persons]

        return self._read(run, [])

    @override
    def row(self, table: str, source: str, key: str) -> StoredRow | None:
        query = SQL("SELECT {} FROM {} WHERE source = %s AND key = %s").format(
            SQL(ROW), Identifier(self._schema, row_table(table))
        )
        found = self._read(lambda db: db.execute(query, (to_text(source), key_text(key))).fetchone(), None)
        return None if found is None else stored_row(found)

    @override
    def owned(self, owner: str, limit: int) -> list[tuple[str, RowId]]:
        query: LiteralString = """SELECT activity, source, key FROM {places} WHERE owner = %s
            ORDER BY activity, at DESC, source, key LIMIT %s"""
        found = self._rows(query, mark(owner), max(limit, 0))
        return [(activity, (from_text(source), key_of(key))) for activity, source, key in found]

    @override
    def persons(self, after: str, limit: int) -> list[Profile]:
        query: LiteralString = "SELECT profile::text FROM {persons} WHERE person > %s ORDER BY person LIMIT %s"
        return [profile_of(text) for (text,) in self._rows(query, to_text(after), max(limit, 0))]

    @override
    def totals(self) -> tuple[int, int]:
        found = self._rows("SELECT (SELECT count(*) FROM {members}), (SELECT count(*) FROM {persons})")
        return (found[0][0], found[0][1]) if found else (0, 0)

    def _rows(self, query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        """Return what a query finds; nothing where there is no store (yet)."""

        def run(db: Session) -> list[tuple[Any, ...]]:
            return db.execute(composed(self._schema, query), values).fetchall()

        return self._read(run, [])
