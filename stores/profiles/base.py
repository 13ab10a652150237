"""The port of the profile store: a row store that also knows whose its rows are.

Rows lie under the names that their tables have in the settings, as live tables do. Beside them it keeps members (which
record is of which person, and what it carries), activities by the record that they belong to, what those come to, and
the profiles. The writer's verbs are plain storage; what follows from what is decided in `stores/profiles/intake.py`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from events.persons import Member, Shared
from events.profiles import Profile
from stores.rows.base import RowId, RowReader, RowWriter, StoredRow


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where an activity belongs.

    :arg table: The activity's table.
    :arg owner: Key of the record that it belongs to.
    :arg at: When it happened (ms since epoch).
    :arg id: Source and canonical key of the activity's row.
    """

    table: str
    owner: str
    at: int
    id: RowId


class ProfileWriter(RowWriter):
    """The write side: exactly one per store, over all processes. Everything may be part of a `transaction`."""

    @abstractmethod
    def ids(self, table: str, source: str) -> Iterator[RowId]:
        """Return the ids of all rows of `source` in `table` that are LIVE, as they are at the call."""

    @abstractmethod
    def live_rows(self, table: str, after: RowId, limit: int) -> list[StoredRow]:
        """Return up to `limit` rows of `table` that are LIVE, in the order of their ids, from behind `after` on.

        All ids are behind a pair of empty texts; an absent table has no rows.
        """

    @abstractmethod
    def person_ids(self, after: str, limit: int) -> list[str]:
        """Return up to `limit` ids of persons that have members, in their order, from behind the id `after` on."""

    @abstractmethod
    def members(self, records: Sequence[str]) -> dict[str, Member]:
        """Return the members among `records`, by record key."""

    @abstractmethod
    def members_of(self, persons: Sequence[str]) -> dict[str, list[Member]]:
        """Return all members of each person, earliest first, ties by record key; persons without any are left out."""

    @abstractmethod
    def put_members(self, members: Sequence[Member]) -> None:
        """Write members over what was there; one without a person is removed. Records are distinct within one call.

        They are found by record, by person, by each of their identifiers, and by the id that a person would bear if
        the record were its earliest (`person_id`).
        """

    @abstractmethod
    def put_former(self, former: Mapping[str, str]) -> None:
        """Note, for ids of persons whose earliest record is gone, a record of the person that they lead to now."""

    @abstractmethod
    def put_shared(self, shared: Sequence[Shared]) -> None:
        """Note identifiers that more records carry than their limit; those that no longer do are removed."""

    @abstractmethod
    def place(self, gone: Sequence[Place], there: Sequence[Place]) -> None:
        """Remove and add places of activities. Removing an absent one and adding one twice do nothing."""

    @abstractmethod
    def clear_activities(self, table: str) -> int:
        """Remove all places and summaries of a table, but not its rows; return how many there were."""

    @abstractmethod
    def activities(self, table: str, owner: str) -> list[RowId]:
        """Return the activities of one record in a table, newest first, ties by id."""

    @abstractmethod
    def summaries(self, owners: Sequence[str]) -> dict[tuple[str, str], bytes]:
        """Return, by activity table and owner, what the activities of these records come to."""

    @abstractmethod
    def put_summaries(self, summaries: Mapping[tuple[str, str], bytes | None]) -> None:
        """Write summaries over what was there; None removes one."""

    @abstractmethod
    def put_profiles(self, profiles: Mapping[str, Profile | None]) -> None:
        """Write profiles by person over what was there; None removes one."""

    @abstractmethod
    def forget_persons(self, records: Sequence[str], persons: Sequence[str], identifiers: Sequence[str]) -> int:
        """Remove what names these: members, places, summaries, profiles, former ids and shared identifiers.

        :returns: How many entries there were.
        """


class HeldPerson(msgspec.Struct, frozen=True):
    """A person whose records do not all link, as it would be larger than the limit.

    :arg records: How many it has.
    :arg held: Types of identifiers that do not link them.
    """

    person: str
    realm: str
    records: int
    held: tuple[str, ...]


class ProfileReader(RowReader):
    """The read side. Every call sees the newest commit of whichever process, and one commit only."""

    @abstractmethod
    def profile(self, person: str) -> Profile | None:
        """Return the profile of a person, None if there is none under this very id."""

    @abstractmethod
    def person_of(self, id_: str) -> str | None:
        """Return the id of the person to which an id leads: its own, that of one of its records, or a former one."""

    @abstractmethod
    def member(self, record: str) -> Member | None:
        """Return whose a record is."""

    @abstractmethod
    def members_of(self, person: str) -> list[Member]:
        """Return the members of a person, earliest first, ties by record key."""

    @abstractmethod
    def holders(self, realm: str, identifier: str, limit: int) -> list[Member]:
        """Return up to `limit` members that carry an identifier, by record key."""

    @abstractmethod
    def shared(self) -> list[Shared]:
        """Return all identifiers that more records carry than their limit, most records first."""

    @abstractmethod
    def held(self, limit: int) -> list[HeldPerson]:
        """Return up to `limit` persons whose records do not all link, most records first."""

    @abstractmethod
    def row(self, table: str, source: str, key: str) -> StoredRow | None:
        """Return a row in any state, None if it is not there."""

    @abstractmethod
    def owned(self, owner: str, limit: int) -> list[tuple[str, RowId]]:
        """Return up to `limit` activities of a record over all tables: table and row id."""

    @abstractmethod
    def persons(self, after: str, limit: int) -> list[Profile]:
        """Return up to `limit` profiles in the order of their ids, from behind the id `after` on."""

    @abstractmethod
    def totals(self) -> tuple[int, int]:
        """Return the number of members and the number of profiles."""

    @abstractmethod
    def realms(self) -> list[str]:
        """Return the realms that have ever had a member, in any order."""
