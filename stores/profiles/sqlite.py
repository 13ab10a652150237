"""The write side of profiles in SQLite: live tables' rows, and beside them in one file whose they are.

What a transaction wrote is there whole or not at all, also when the process is killed in the middle. Another process
may rewrite the whole file by VACUUM between two transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

import msgspec
from typing_extensions import override

from events.persons import Member, Shared, person_id
from events.profiles import Profile
from stores.profiles import sqlite_schema as schema
from stores.profiles.base import Place, ProfileWriter
from stores.profiles.image import profile_text
from stores.profiles.keys import by_person, numbers_of, own_id
from stores.rows.base import LIVE, RowId, StoredRow
from stores.rows.sqlite import SqliteRows
from stores.rows.sqlite_file import explained
from stores.rows.sqlite_row import stored_row
from stores.rows.sqlite_schema import Layout, row_table

_texts = msgspec.json.Decoder(tuple[str, ...]).decode


class SqliteProfiles(SqliteRows, ProfileWriter):
    """The writer. Arguments as those of `SqliteRows`."""

    layout: ClassVar[Layout] = schema.PROFILES

    @override
    def ids(self, table: str, source: str) -> Iterator[RowId]:
        if table not in self._tables:
            return iter(())
        query = f"SELECT key FROM {row_table(table)} WHERE source = ? AND state = {LIVE}"  # noqa: S608  # a name that is quoted
        with explained(self._path):
            # All keys at once: a statement under way would see what is changed meanwhile.
            keys = [key for (key,) in self._db.execute(query, (source,))]
        return ((source, key) for key in keys)

    @override
    def live_rows(self, table: str, after: RowId, limit: int) -> list[StoredRow]:
        if table not in self._tables:
            return []
        with explained(self._path):
            return [stored_row(row) for row in self._db.execute(schema.live_rows(table), (*after, limit))]

    @override
    def person_ids(self, after: str, limit: int) -> list[str]:
        with explained(self._path):
            return [person for (person,) in self._db.execute(schema.PERSON_IDS, (after, limit))]

    @override
    def members(self, records: Sequence[str]) -> dict[str, Member]:
        with explained(self._path):
            return {row[0]: member_of(row) for row in among(self._db, schema.MEMBERS, records)}

    @override
    def members_of(self, persons: Sequence[str]) -> dict[str, list[Member]]:
        with explained(self._path):
            return by_person(map(member_of, among(self._db, schema.MEMBERS_OF, persons)))

    @override
    def put_members(self, members: Sequence[Member]) -> None:
        if not members:
            return
        with self._commit():
            known = self.members([member.record for member in members])
            there = [member for member in members if member.person]
            gone = [(member.record,) for member in members if not member.person]
            before = {(number, old.record) for old in known.values() for number in numbers_of(old)}
            after = {(number, member.record) for member in there for number in numbers_of(member)}
            # In the order of their tree, so that neighbours are written while their page is at hand.
            self._changed("DELETE FROM headrace_identifiers WHERE number = ? AND record = ?", sorted(before - after))
            self._changed("INSERT OR IGNORE INTO headrace_identifiers VALUES (?, ?)", sorted(after - before))
            self._changed("DELETE FROM headrace_members WHERE record = ?", gone)
            self._changed(schema.PUT_MEMBER, map(_member_values, there))
            realms = {(member.realm,) for member in there}
            self._changed("INSERT OR IGNORE INTO headrace_realms VALUES (?)", sorted(realms))

    @override
    def put_former(self, former: Mapping[str, str]) -> None:
        with self._commit():
            self._changed("INSERT OR REPLACE INTO headrace_former VALUES (?, ?)", former.items())

    @override
    def put_shared(self, shared: Sequence[Shared]) -> None:
        newest = {(one.identifier, one.realm): one for one in shared}
        under = [id_ for id_, one in newest.items() if one.records <= one.limit]
        over = [(*id_, one.records, one.limit) for id_, one in newest.items() if one.records > one.limit]
        with self._commit():
            self._changed("DELETE FROM headrace_shared WHERE identifier = ? AND realm = ?", under)
            self._changed("INSERT OR REPLACE INTO headrace_shared VALUES (?, ?, ?, ?)", over)

    @override
    def place(self, gone: Sequence[Place], there: Sequence[Place]) -> None:
        where = "owner = ? AND activity = ? AND at = ? AND source = ? AND key = ?"
        with self._commit():
            self._changed(f"DELETE FROM headrace_places WHERE {where}", map(_place_values, gone))  # noqa: S608  # as above
            self._changed("INSERT OR IGNORE INTO headrace_places VALUES (?, ?, ?, ?, ?)", map(_place_values, there))

    @override
    def clear_activities(self, table: str) -> int:
        with self._commit():
            return sum(self._changed(statement, [(table,)]) for statement in schema.CLEAR_ACTIVITIES)

    @override
    def activities(self, table: str, owner: str) -> list[RowId]:
        query = "SELECT source, key FROM headrace_places WHERE owner = ? AND activity = ? ORDER BY at DESC, source, key"
        with explained(self._path):
            return self._db.execute(query, (owner, table)).fetchall()

    @override
    def summaries(self, owners: Sequence[str]) -> dict[tuple[str, str], bytes]:
        with explained(self._path):
            found = among(self._db, schema.SUMMARIES, owners)
            return {(activity, owner): summary for activity, owner, summary in found}

    @override
    def put_summaries(self, summaries: Mapping[tuple[str, str], bytes | None]) -> None:
        gone = [id_ for id_, summary in summaries.items() if summary is None]
        there = [(*id_, summary) for id_, summary in summaries.items() if summary is not None]
        with self._commit():
            self._changed("DELETE FROM headrace_summaries WHERE activity = ? AND owner = ?", gone)
            self._changed(schema.PUT_SUMMARY, there)

    @override
    def put_profiles(self, profiles: Mapping[str, Profile | None]) -> None:
        gone = [(person,) for person, profile in profiles.items() if profile is None]
        there = ((person, profile_text(profile)) for person, profile in profiles.items() if profile is not None)
        with self._commit():
            self._changed("DELETE FROM headrace_persons WHERE person = ?", gone)
            self._changed(schema.PUT_PROFILE, there)

    @override
    def forget_persons(self, records: Sequence[str], persons: Sequence[str], identifiers: Sequence[str]) -> int:
        with self._commit():
            named = chain(self.members(records).values(), *self.members_of(persons).values())
            numbers = {(number, member.record) for member in named for number in numbers_of(member)}
            self._changed("DELETE FROM headrace_identifiers WHERE number = ? AND record = ?", sorted(numbers))
            realms = [realm for (realm,) in self._db.execute("SELECT name FROM headrace_realms")]
            # A record's own id names it as well.
            own = {person_id(realm, record) for realm in realms for record in records}
            given = {"record": records, "person": persons, "identifier": identifiers}
            count = sum(
                self._changed(statement, [(name,) for name in given[kind]])
                for kind, statements in schema.FORGET.items()
                for statement in statements
            )
            return count + self._changed(schema.FORGET_FORMER, [(id_,) for id_ in sorted(own)])

    def _changed(self, statement: str, values: Iterable[Sequence[Any]]) -> int:
        """Do to each of `values` what the statement says; return how many rows it has changed."""
        return max(self._db.executemany(statement, values).rowcount, 0)


def among(db: sqlite3.Connection, query: str, keys: Iterable[str]) -> Iterator[tuple[Any, ...]]:
    """Return what a query finds for keys."""
    plain: list[str] = []
    for key in dict.fromkeys(keys):
        if "\0" in key:  # SQLite's own JSON ends a text there
            yield from db.execute(query.format(keys="?"), (key,))
        else:
            plain.append(key)
    if plain:
        wanted = msgspec.json.encode(plain).decode()
        yield from db.execute(query.format(keys="SELECT value FROM json_each(?)"), (wanted,))


def member_of(row: tuple[Any, ...]) -> Member:
    """Read a row of what is read of members."""
    record, realm, person, since, held, identifiers = row
    return Member(record, realm, person, _texts(identifiers), since, () if held is None else _texts(held))


def _member_values(member: Member) -> tuple[Any, ...]:
    return (
        member.record,
        member.realm,
        member.person,
        own_id(member),
        member.since,
        _text(member.held) if member.held else None,
        _text(member.identifiers),
    )


def _place_values(place: Place) -> tuple[Any, ...]:
    return place.owner, place.table, place.at, *place.id


def _text(texts: tuple[str, ...]) -> str:
    return msgspec.json.encode(texts).decode()
