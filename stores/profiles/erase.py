"""How an erased person leaves the profile store: rows, activities and all that was made of them go without a trace."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from events.erasure import Erasure
from stores.profiles.base import ProfileWriter
from stores.profiles.persons import Persons
from stores.profiles.record_keys import RecordKeys
from stores.profiles.table import Moved, ProfileTable, batches
from stores.rows.base import RowId

ERASED = "erased"
"""Kind of facts that hold, by id of an erasure, what it has removed."""


class Removed(msgspec.Struct, frozen=True):
    """How much an erasure has removed, over all times that it was told.

    :arg rows: Rows of records and activities, also deleted ones that were still remembered.
    :arg entries: What lay beside them: members, places, summaries, profiles, former ids and shared identifiers.
    """

    rows: int = 0
    entries: int = 0


def erase(
    writer: ProfileWriter, persons: Persons, keys: RecordKeys, tables: Mapping[str, ProfileTable], erasure: Erasure
) -> None:
    """Remove what an erasure names, within the caller's transaction. Whoever had a part in it is touched."""
    records = set(erasure.records)
    members = writer.members(sorted(records))
    rows = sum(_drop(writer, persons, tables[name], ids, records) for name, ids in _rows(writer, keys, tables, records))
    # Records that are of the person by now but were not when the erasure was asked for stay, and so does the person.
    others = [
        member
        for found in writer.members_of([erasure.person]).values()
        for member in found
        if member.record not in records
    ]
    named = [] if others else [erasure.person]
    entries = writer.forget_persons(sorted(records), named, erasure.identifiers)
    for person in {erasure.person, *(member.person for member in members.values())}:
        persons.touch(person)
    noted = writer.facts(ERASED).get(erasure.id)
    before = Removed() if noted is None else msgspec.json.decode(noted, type=Removed)
    removed = Removed(before.rows + rows, before.entries + entries)
    writer.note(ERASED, {erasure.id: msgspec.json.encode(removed)})


def _rows(
    writer: ProfileWriter, keys: RecordKeys, tables: Mapping[str, ProfileTable], records: set[str]
) -> list[tuple[str, list[RowId]]]:
    """Return the rows of records by table, and the activities that belong to them: some may have come since."""
    ids: dict[str, dict[RowId, None]] = {}
    for record in sorted(records):
        found = keys.find(record)
        if found is not None:
            ids.setdefault(found[0].name, {})[found[1]] = None
        for name, table in tables.items():
            if table.is_activity:
                ids.setdefault(name, {}).update(dict.fromkeys(writer.activities(name, record)))
    return [(name, list(found)) for name, found in ids.items()]


def _drop(writer: ProfileWriter, persons: Persons, table: ProfileTable, ids: list[RowId], records: set[str]) -> int:
    count = 0
    for some in batches(ids):
        if table.is_activity:
            rows = writer.fetch(table.name, some)
            # Those of the erased records need not be counted out one by one: all of it goes.
            moved = [Moved(id_, row) for id_, row in rows.items() if persons.owner(table, row) not in records]
            persons.move(table, moved)
        count += writer.drop_rows(table.name, some)
    return count
