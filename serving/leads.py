"""Where a look-up leads: to a record, an identifier, a person, and to whom these belong.

Nothing is guessed: what may mean several things leads to all of them, and what leads to nobody says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from events.errors import RejectedError
from events.persons import Member, Shared, person_id
from operators.identity.configure import identity_rules, profile_rules, record_rules
from operators.identity.extract import Extractor
from operators.profiles.logic import Profiler
from serving.lookups import Lookup, RecordName, ShortName, keys_of, record_name, whole_key
from serving.person_graph import Node, identifier, record
from stores.profile_settings import ProfileTableSettings
from stores.profiles.base import ProfileReader
from stores.profiles.record_keys import RecordKeys
from stores.rows.base import GONE, RowQuery, StoredRow
from stores.settings import Settings


class Lead(msgspec.Struct, frozen=True):
    """One thing that a look-up leads to.

    :arg node: The record or the identifier.
    :arg persons: Ids of the persons that it is of; several for an identifier that does not link its records.
    :arg shared: Says so where the identifier is over its limit: then it is of nobody.
    :arg deleted_at: When the record was deleted; None unless it is.
    :arg activity: The activity that was named, where the record is the one that it belongs to; the same as the record
        where the activity was deleted itself, or does not say to whom it belongs.
    """

    realm: str
    node: Node
    persons: tuple[str, ...] = ()
    shared: Shared | None = None
    deleted_at: int | None = None
    activity: str = ""


class Leads:
    """Follows look-ups into the profile store.

    :arg remedy: Says what may be the matter where nothing has come in yet.
    """

    def __init__(self, settings: Settings, reader: ProfileReader, remedy: Callable[[], str]) -> None:
        self._profiles = settings.profiles
        self._reader = reader
        self._remedy = remedy
        self._keys = RecordKeys(settings.profiles.tables)
        self.extractor = Extractor(identity_rules(settings.profiles), record_rules(settings.profiles))
        self._profiler = Profiler(profile_rules(settings.profiles))

    def of(self, lookup: Lookup) -> list[Lead]:
        """Return everything that a look-up leads to; nothing if all of it is unknown.

        :raises RejectedError: When what was typed is no identifier or no record of these settings, with the reason.
        """
        if lookup.kind == "person":
            found = self._of_person(lookup.text)
        elif lookup.kind == "record":
            found = self._of_record(lookup.text)
        else:
            found = self._of_identifier(lookup)
        return [lead for lead in found if lookup.realm in {"", lead.realm}]

    def identifiers(self, lookup: Lookup) -> list[tuple[str, str]]:
        """Return, as realm and identifier, what a look-up by identifier can mean.

        :raises RejectedError: When it means nothing, because its value is refused.
        """
        found: dict[tuple[str, str], None] = {}
        refused: RejectedError | None = None
        for realm in [lookup.realm] if lookup.realm else self._profiles.realms:
            for type_ in lookup.types:
                for region in self._regions(realm):
                    try:
                        name = self.extractor.identifier(type_, lookup.text, region)
                    except RejectedError as error:
                        refused = refused or error
                    else:
                        found[realm, name] = None
        if not found and refused is not None:
            raise refused
        return list(found)

    def name(self, record: str) -> RecordName | None:
        """Return the parts of a record key, None if it is of no table of the settings."""
        found = self._keys.find(record)
        return None if found is None else RecordName(found[0], *found[1])

    def row(self, name: RecordName) -> StoredRow | None:
        """Return the newest row of a record, in any state; None if the store has none."""
        return self._reader.row(name.table.name, name.source, name.key)

    def _regions(self, realm: str) -> list[str]:
        regions = [self._profiles.region]
        regions += [table.region for table in self._profiles.tables if table.realm == realm and table.region]
        return list(dict.fromkeys(regions))

    def _of_identifier(self, lookup: Lookup) -> list[Lead]:
        limits = {one.type: one.limit for one in self._profiles.identifiers}
        found = []
        for realm, name in self.identifiers(lookup):
            limit = limits[name.partition(":")[0]]
            holders = self._reader.holders(realm, name, limit + 1)
            if len(holders) > limit:
                found.append(Lead(realm, identifier(name, realm), (), self._shared(realm, name, limit)))
            elif holders:
                persons = dict.fromkeys(member.person for member in holders)
                found.append(Lead(realm, identifier(name, realm), tuple(persons)))
        return found

    def _shared(self, realm: str, name: str, limit: int) -> Shared:
        for shared in self._reader.shared():
            if (shared.realm, shared.identifier) == (realm, name):
                return shared
        return Shared(name, realm, limit + 1, limit)

    def _of_person(self, id_: str) -> list[Lead]:
        person = self._reader.person_of(id_)
        members = [] if person is None else self._reader.members_of(person)
        # The id of one of its records leads to that record; that of a former one to the person as a whole.
        named = [member for member in members if person_id(member.realm, member.record) == id_]
        return [_of_member(member) for member in (named or members)[:1]]

    def _of_record(self, text: str) -> list[Lead]:
        exact = self._reader.member(text)
        if exact is not None:
            return [_of_member(exact)]
        name = record_name(text, self._keys, self._profiles.tables)
        names = [name] if isinstance(name, RecordName) else self._whole(name)
        return [lead for one in names for lead in self._of_name(one)]

    def _of_name(self, name: RecordName) -> list[Lead]:
        if name.table.references:
            return self._of_activity(name)
        member = self._reader.member(name.record)
        if member is not None:
            return [_of_member(member)]
        row = self.row(name)
        return [] if row is None else [Lead(name.table.realm, record(name.record), deleted_at=_deleted_at(row))]

    def _of_activity(self, name: RecordName) -> list[Lead]:
        table, row = name.table, self.row(name)
        if row is None:
            return []
        if row.state == GONE or row.image is None:
            return [Lead(table.realm, record(name.record), deleted_at=row.as_of, activity=name.record)]
        owner = self._profiler.owner(table.name, name.source, row.image)
        if owner is None:
            return [Lead(table.realm, record(name.record), activity=name.record)]
        member = self._reader.member(owner)
        if member is not None:
            return [Lead(table.realm, record(owner), (member.person,), activity=name.record)]
        named = self.name(owner)
        deleted_at = _deleted_at(None if named is None else self.row(named))
        return [Lead(table.realm, record(owner), deleted_at=deleted_at, activity=name.record)]

    def _whole(self, short: ShortName) -> list[RecordName]:
        """Return the records of a short name that the store knows."""
        table = short.table
        whole = whole_key(short.value)
        keys = [whole] if whole else keys_of(self._key_column(table, short.value), short.value)
        names = [RecordName(table, source, key) for source in self._sources(short) for key in keys]
        return [name for name in names if self.row(name) is not None]

    def _key_column(self, table: ProfileTableSettings, value: str) -> str:
        columns = list(table.key)
        if not columns:
            for row in self._reader.select(RowQuery(table=table.name, limit=1)):
                columns = list(msgspec.json.decode(row.key))
        if not columns:
            detail = f"the table {table.name!r} has no rows, so its key is not known"
            raise RejectedError(detail, self._remedy())
        if len(columns) > 1:
            detail = f"the key of the table {table.name!r} has {len(columns)} columns: {', '.join(columns)}"
            example = ",".join(f'"{column}":…' for column in columns)
            raise RejectedError(detail, f"write {table.name}/{{{example}}}")
        return columns[0]

    def _sources(self, short: ShortName) -> list[str]:
        if short.source:
            return [short.source]
        sources = {source for mark in self._reader.applied() for source in mark.positions}
        sources |= {stream.source or stream.name for stream in self._profiles.streams}
        sources |= {row.source for row in self._reader.select(RowQuery(table=short.table.name, limit=1))}
        return sorted(sources)


def over_limit(shared: Shared) -> str:
    """Say of an identifier that it is over its limit."""
    return f"{shared.identifier} is carried by {shared.records:,} records, more than its limit of {shared.limit:,}"


def ways_to(persons: Sequence[str], leads: Sequence[Lead]) -> list[str]:
    """Return the persons' ids, each with what led there where that is not one identifier for all."""
    if len({lead.node.name for lead in leads}) == 1:
        return list(persons)
    ways = {person: [lead.node.name for lead in leads if person in lead.persons] for person in persons}
    return [f"{person} ({', '.join(names)})" for person, names in ways.items()]


def _deleted_at(row: StoredRow | None) -> int | None:
    return row.as_of if row is not None and row.state == GONE else None


def _of_member(member: Member) -> Lead:
    return Lead(member.realm, record(member.record), (member.person,))
