"""What follows from rows and members that have changed: places and summaries of activities, and profiles.

Work is proportional to the persons that are touched: of a person's activities only those are read that have changed,
and all of one record's only where its summary no longer tells. Everything happens within the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from events.persons import Member
from events.profiles import Activity, Profile, RecordRow
from stores.profiles.base import Place, ProfileWriter
from stores.profiles.logic import ProfileLogic
from stores.profiles.record_keys import RecordKeys, record_of
from stores.profiles.table import Moved, ProfileTable, batches
from stores.rows.base import LIVE, RowId, StoredRow

_MOST_TOUCHED = 20_000
"""Records and persons that are remembered as touched before their profiles are merged."""
_PERSONS_AT_ONCE = 500


class Persons:
    """Keeps what the store says of persons in step with rows and members.

    :arg keys: Where records lie.
    """

    def __init__(self, writer: ProfileWriter, logic: ProfileLogic, keys: RecordKeys) -> None:
        self._writer = writer
        self._logic = logic
        self._keys = keys
        self._records: set[str] = set()
        self._persons: set[str] = set()
        self._unknown: dict[tuple[str, str], ProfileTable] = {}

    def move(self, table: ProfileTable, moved: Sequence[Moved]) -> None:
        """Take in that rows of a table have changed."""
        if table.is_activity:
            self._records.update(self._place(table, moved))
        else:
            self._records.update(record_of(table.settings, one.id) for one in moved)
        if len(self._records) + len(self._persons) > _MOST_TOUCHED:
            self.merge()

    def place(self, table: ProfileTable, rows: Iterable[StoredRow]) -> None:
        """Place and sum up activities of which nothing is placed; their persons are still to be touched."""
        self._place(table, [Moved(row.id, None, row) for row in rows])

    def assign(self, members: Iterable[Member]) -> None:
        """Take in of which person records are; the last word on a record counts."""
        last = {member.record: member for member in members}
        known = self._writer.members(list(last))
        changed = [member for record, member in last.items() if _differs(member, known.get(record))]
        self._writer.put_members(changed)
        for member in changed:
            self.touch(member.person)
            if member.record in known:
                self.touch(known[member.record].person)

    def touch(self, person: str) -> None:
        """Have a person's profile merged again."""
        if person:
            self._persons.add(person)

    def owner(self, table: ProfileTable, row: StoredRow) -> str | None:
        """Return the key of the record that an activity belongs to, None if it does not say."""
        return None if row.image is None else self._logic.owner(table.name, row.source, row.image)

    def merge(self) -> None:
        """Write the profiles of all persons that have been touched; those without records go."""
        # Not before they are needed: of many activities that go, the next one may go as well.
        for (name, owner), table in self._unknown.items():
            self._writer.put_summaries({(name, owner): self._logic.summed(name, self._activities(table, owner))})
        self._unknown.clear()
        for records in batches(self._records):
            self._persons.update(member.person for member in self._writer.members(records).values())
        self._records.clear()
        # In their order, so that what is written does not depend on how a set happens to lie.
        for persons in batches(sorted(self._persons), _PERSONS_AT_ONCE):
            members = self._writer.members_of(persons)
            profiles = dict[str, Profile | None](self._profiles(members))
            self._writer.put_profiles({person: profiles.get(person) for person in persons})
        self._persons.clear()

    def forget(self) -> None:
        """Forget what has been touched: it has not been written."""
        self._records.clear()
        self._persons.clear()
        self._unknown.clear()

    def _profiles(self, members: dict[str, list[Member]]) -> Iterator[tuple[str, Profile]]:
        records = [member.record for found in members.values() for member in found]
        rows = self._rows(records)
        summaries: dict[str, dict[str, bytes]] = {}
        for (table, owner), summary in self._writer.summaries(records).items():
            summaries.setdefault(owner, {})[table] = summary
        for person, found in members.items():
            theirs: dict[str, list[bytes]] = {}
            for member in found:
                for table, summary in summaries.get(member.record, {}).items():
                    theirs.setdefault(table, []).append(summary)
            known = [rows[member.record] for member in found if member.record in rows]
            yield person, self._logic.profile(found, known, theirs)

    def _rows(self, records: Iterable[str]) -> dict[str, RecordRow]:
        """Return the rows of records that are there."""
        ids: dict[str, dict[RowId, str]] = {}
        for record in records:
            found = self._keys.find(record)
            if found is not None:
                ids.setdefault(found[0].name, {})[found[1]] = record
        return {
            records_of[id_]: _record_row(records_of[id_], name, row)
            for name, records_of in ids.items()
            for id_, row in self._writer.fetch(name, list(records_of)).items()
            if row.state == LIVE
        }

    def _place(self, table: ProfileTable, moved: Sequence[Moved]) -> Iterable[str]:
        """Bring places and summaries to what has changed; return the records whose activities these are."""
        gone: list[Place] = []
        there: list[Place] = []
        steps: dict[str, list[tuple[Activity | None, Activity | None]]] = {}
        for one in moved:
            before, after = self._placed(table, one.before), self._placed(table, one.after)
            if before is not None and (after is None or before[0] != after[0]):
                gone.append(before[0])
            if after is not None and (before is None or before[0] != after[0]):
                there.append(after[0])
            if before is not None:
                steps.setdefault(before[0].owner, []).append((before[1], None))
            if after is not None:
                steps.setdefault(after[0].owner, []).append((None, after[1]))
        self._writer.place(gone, there)
        self._sum_up(table, steps)
        return steps

    def _placed(self, table: ProfileTable, row: StoredRow | None) -> tuple[Place, Activity] | None:
        """Return where an activity belongs and what it says; None if it is not there, or belongs nowhere."""
        if row is None or row.state != LIVE:
            return None
        owner = self.owner(table, row)
        if owner is None:
            return None
        activity = self._activity(table, row)
        return Place(table.name, owner, activity.at, row.id), activity

    def _activity(self, table: ProfileTable, row: StoredRow) -> Activity:
        return self._logic.activity(_record_row(record_of(table.settings, row.id), table.name, row))

    def _sum_up(self, table: ProfileTable, steps: dict[str, list[tuple[Activity | None, Activity | None]]]) -> None:
        name, logic = table.name, self._logic
        owners = [owner for owner in steps if (name, owner) not in self._unknown]
        known = self._writer.summaries(owners)
        summaries: dict[tuple[str, str], bytes | None] = {}
        for owner in owners:
            summary = known.get((name, owner))
            for before, after in steps[owner]:
                if before is not None:
                    left = None if summary is None else logic.removed(name, summary, before)
                    if left is None:
                        self._unknown[name, owner] = table
                        break
                    summary = left or None
                if after is not None:
                    summary = logic.added(name, summary, after)
            else:
                summaries[name, owner] = summary
        self._writer.put_summaries(summaries)

    def _activities(self, table: ProfileTable, owner: str) -> Iterator[Activity]:
        for ids in batches(self._writer.activities(table.name, owner)):
            for row in self._writer.fetch(table.name, ids).values():
                yield self._activity(table, row)


def _record_row(record: str, table: str, row: StoredRow) -> RecordRow:
    return RecordRow(record, table, row.image or {}, row.standing.position, row.as_of, row.applied_at)


def _differs(member: Member, known: Member | None) -> bool:
    return member != known if member.person else known is not None
