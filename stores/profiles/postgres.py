"""The write side of profiles in PostgreSQL: live tables' rows, and beside them in one schema whose they are.

A transaction is there whole or not at all. Each verb is a few statements, whatever the length of its lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

import msgspec
from psycopg.sql import SQL
from typing_extensions import LiteralString, override

from events.persons import Member, Shared, person_id
from events.profiles import Profile
from stores.profiles import postgres_schema as schema
from stores.profiles.base import Place, ProfileWriter
from stores.profiles.image import profile_text
from stores.profiles.keys import by_person, numbers_of, own_id
from stores.profiles.postgres_schema import composed, mark
from stores.rows.base import LIVE, RowId, StoredRow
from stores.rows.postgres import PostgresRows
from stores.rows.postgres_image import ROW, from_text, key_of, key_text, stored_row, to_text
from stores.rows.postgres_schema import Layout
from stores.rows.postgres_session import told

_texts = msgspec.json.Decoder(tuple[str, ...]).decode


class PostgresProfiles(PostgresRows, ProfileWriter):
    """The writer. Arguments as those of `PostgresRows`."""

    layout: ClassVar[Layout] = schema.PROFILES

    @override
    def ids(self, table: str, source: str) -> Iterator[RowId]:
        if table not in self._shown:
            return iter(())
        query = SQL("SELECT key FROM {} WHERE source = %s AND state = %s").format(self._table(table))
        with told(self._db):
            keys = self._db.execute(query, (to_text(source), LIVE)).fetchall()
        return ((source, key_of(key)) for (key,) in keys)

    @override
    def live_rows(self, table: str, after: RowId, limit: int) -> list[StoredRow]:
        if table not in self._shown:
            return []
        query = SQL(
            "SELECT {} FROM {} WHERE (source, key) > (%s, %s) AND state = %s ORDER BY source, key LIMIT %s"
        ).format(SQL(ROW), self._table(table))
        source, key = after
        with told(self._db):
            return list(map(stored_row, self._db.execute(query, (to_text(source), key_text(key), LIVE, limit))))

    @override
    def person_ids(self, after: str, limit: int) -> list[str]:
        return [from_text(person) for (person,) in self._found(schema.PERSON_IDS, to_text(after), limit)]

    @override
    def members(self, records: Sequence[str]) -> dict[str, Member]:
        found = map(member_of, self._found(schema.MEMBERS, _distinct(records)))
        return {member.record: member for member in found}

    @override
    def members_of(self, persons: Sequence[str]) -> dict[str, list[Member]]:
        return by_person(map(member_of, self._found(schema.MEMBERS_OF, _distinct(persons))))

    @override
    def put_members(self, members: Sequence[Member]) -> None:
        if not members:
            return
        with self._commit():
            known = self.members([member.record for member in members])
            there = [member for member in members if member.person]
            before = {(number, to_text(old.record)) for old in known.values() for number in numbers_of(old)}
            after = {(number, to_text(member.record)) for member in there for number in numbers_of(member)}
            self._change(schema.DROP_IDENTIFIERS, before - after)
            self._change(schema.PUT_IDENTIFIERS, after - before)
            self._change(schema.DROP_MEMBERS, [(to_text(member.record),) for member in members if not member.person])
            self._change(schema.PUT_MEMBERS, map(_member_values, there))
            self._change(schema.PUT_REALMS, {(to_text(member.realm),) for member in there})

    @override
    def put_former(self, former: Mapping[str, str]) -> None:
        with self._commit():
            self._change(schema.PUT_FORMER, ((to_text(person), to_text(record)) for person, record in former.items()))

    @override
    def put_shared(self, shared: Sequence[Shared]) -> None:
        newest = {mark(one.realm, one.identifier): one for one in shared}
        under = ((mark_,) for mark_, one in newest.items() if one.records <= one.limit)
        over = ((mark_, *_shared_values(one)) for mark_, one in newest.items() if one.records > one.limit)
        with self._commit():
            self._change(schema.DROP_SHARED, under)
            self._change(schema.PUT_SHARED, over)

    @override
    def place(self, gone: Sequence[Place], there: Sequence[Place]) -> None:
        with self._commit():
            self._change(schema.DROP_PLACES, (_place_values(place)[:4] for place in gone))
            self._change(schema.PUT_PLACES, map(_place_values, there))

    @override
    def clear_activities(self, table: str) -> int:
        with self._commit():
            return sum(self._change(statement, [(table,)]) for statement in schema.CLEAR_ACTIVITIES)

    @override
    def activities(self, table: str, owner: str) -> list[RowId]:
        return [(from_text(source), key_of(key)) for source, key in self._found(schema.ACTIVITIES, mark(owner), table)]

    @override
    def summaries(self, owners: Sequence[str]) -> dict[tuple[str, str], bytes]:
        marks = {mark(owner): owner for owner in owners}
        found = self._found(schema.SUMMARIES, list(marks))
        return {(activity, marks[owner]): summary for activity, owner, summary in found}

    @override
    def put_summaries(self, summaries: Mapping[tuple[str, str], bytes | None]) -> None:
        values = [(mark(owner), activity, summary) for (activity, owner), summary in summaries.items()]
        with self._commit():
            self._change(schema.DROP_SUMMARIES, (value[:2] for value in values if value[2] is None))
            self._change(schema.PUT_SUMMARIES, (value for value in values if value[2] is not None))

    @override
    def put_profiles(self, profiles: Mapping[str, Profile | None]) -> None:
        gone = ((to_text(person),) for person, profile in profiles.items() if profile is None)
        there = (
            (to_text(person), profile_text(profile)) for person, profile in profiles.items() if profile is not None
        )
        with self._commit():
            self._change(schema.DROP_PROFILES, gone)
            self._change(schema.PUT_PROFILES, there)

    @override
    def forget_persons(self, records: Sequence[str], persons: Sequence[str], identifiers: Sequence[str]) -> int:
        with self._commit():
            named = chain(self.members(records).values(), *self.members_of(persons).values())
            numbers = {(number, to_text(member.record)) for member in named for number in numbers_of(member)}
            self._change(schema.DROP_IDENTIFIERS, numbers)
            realms = [from_text(realm) for (realm,) in self._found("SELECT name FROM {realms}")]
            # A record's own id names it as well.
            own = {person_id(realm, record) for realm in realms for record in records}
            given: dict[str, list[str] | list[bytes]] = {
                "record": list(map(to_text, records)),
                "owner": list(map(mark, records)),
                "person": list(map(to_text, persons)),
                "former": list(map(to_text, {*persons, *own})),
                "identifier": list(map(to_text, identifiers)),
            }
            return sum(
                self._change(statement, [(name,) for name in given[kind]])
                for kind, statements in schema.FORGET.items()
                for statement in statements
            )

    def _found(self, query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        with told(self._db):
            return self._db.execute(composed(self._schema, query), values).fetchall()

    def _change(self, statement: LiteralString, rows: Iterable[tuple[Any, ...]]) -> int:
        """Run a statement for rows, given as one list a column; return how many rows it has changed."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        if not columns:
            return 0
        with told(self._db):
            return self._db.execute(composed(self._schema, statement), columns).rowcount


def member_of(row: tuple[Any, ...]) -> Member:
    """Read a row of what is read of members."""
    record, realm, person, since, held, identifiers = row
    return Member(
        from_text(record),
        from_text(realm),
        from_text(person),
        _texts(identifiers),
        since,
        () if held is None else _texts(held),
    )


def _member_values(member: Member) -> tuple[Any, ...]:
    return (
        to_text(member.record),
        to_text(member.realm),
        to_text(member.person),
        own_id(member),
        member.since,
        _text(member.held) if member.held else None,
        _text(member.identifiers),
    )


def _place_values(place: Place) -> tuple[Any, ...]:
    source, key = place.id
    return mark(place.owner), place.table, place.at, mark(source, key), to_text(source), key_text(key)


def _shared_values(one: Shared) -> tuple[Any, ...]:
    return to_text(one.identifier), to_text(one.realm), one.records, one.limit


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(to_text, texts)))


def _text(texts: tuple[str, ...]) -> str:
    return msgspec.json.encode(texts).decode()
