"""How rows and members enter the profile store: every batch one commit, after which the profiles are what follows.

Rows are joined with what the store holds, members are the last word on their record, and a profile is merged again
whenever a record of its person, or an activity of one, has changed: so it does not matter which of them comes first,
how often, or in which batch. What `applied` claims is written when its epoch closes, never before the data.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
from typing_extensions import override

from events.changes import Change, Truncation
from events.clock import Clock
from events.erasure import Erasure
from events.log import Mark
from events.persons import Member, PersonEvent, Shared
from stores.profile_settings import ProfilesSettings
from stores.profiles.base import ProfileWriter
from stores.profiles.erase import erase
from stores.profiles.former import Former
from stores.profiles.logic import ProfileLogic
from stores.profiles.persons import Persons
from stores.profiles.record_keys import RecordKeys
from stores.profiles.remake import follow
from stores.profiles.table import ProfileTable
from stores.rows.base import APPLIED
from stores.rows.change_intake import ChangeIntake

logger = logging.getLogger(__name__)

Item: TypeAlias = "Change | Truncation | Member | Shared | PersonEvent | Erasure"


class _Batch(msgspec.Struct):
    """Items by kind; rows by the name of their table."""

    rows: dict[str, list[Change | Truncation]] = {}
    members: list[Member] = []
    shared: dict[tuple[str, str], Shared] = {}
    events: list[PersonEvent] = []
    erasures: list[Erasure] = []


class ProfileIntake(ChangeIntake[Item]):
    """Drives a profile store from a dataflow.

    :arg writer: The store.
    :arg settings: The tables, and how long deletes are remembered.
    :arg clock: Tells `applied_at`.
    :arg logic: What rows come to.
    :arg report: Told of every person event before it is committed: after a crash in between it is told again.
    :arg is_erased: Tells whether a record, or the one that it belongs to, has been erased. It knows of all erasures of
        earlier runs, and of one of this run soon after that has come in.
    :raises StoreError: When the store cannot be used.
    """

    def __init__(  # noqa: PLR0917  # each of its own type, and none to leave out
        self,
        writer: ProfileWriter,
        settings: ProfilesSettings,
        clock: Clock,
        logic: ProfileLogic,
        report: Callable[[PersonEvent], object],
        is_erased: Callable[[str, str | None], bool],
    ) -> None:
        self._writer = writer
        self._settings = settings
        self._logic = logic
        self._report = report
        self._is_known_erased = is_erased
        self._erased: set[str] = set()
        self._keys = RecordKeys(settings.tables)
        self._persons = Persons(writer, logic, self._keys)
        self._former = Former(writer)
        self._tables: dict[str, ProfileTable] = {}
        self._passed_over: set[tuple[str, str]] = set()
        super().__init__(writer, {stream.name for stream in settings.streams}, clock)

    @override
    def write(self, items: Sequence[Item]) -> None:
        self._mend()
        batch = self._sorted(items)
        with self._commit():
            for name, changes in batch.rows.items():
                table = self._tables[name]
                for moved in table.take(changes):
                    self._persons.move(table, moved)
            self._persons.assign(batch.members)
            self._writer.put_shared(list(batch.shared.values()))
            self._former.take(batch.members, batch.events)
            for erasure in batch.erasures:
                erase(self._writer, self._persons, self._keys, self._tables, erasure)
                self._former.drop(erasure)
            self._persons.merge()
            for event in batch.events:
                self._report(event)

    @override
    def close_epoch(self, marks: Sequence[Mark]) -> None:
        self._mend()
        applied, noted = self._reached(marks)
        forgettable = self._forgettable(self._behind(applied))
        if not (noted or forgettable) and self._former.is_settled:
            self._former.close_epoch()
            return
        with self._commit():
            self._former.close_epoch()
            for table, before in forgettable:
                table.forget(before)
            self._writer.note(APPLIED, noted)
        self._applied = applied

    @override
    def _load(self) -> None:
        self._tables = {
            table.name: ProfileTable(self._writer, table, self._clock, self._is_erased, self._owner(table.name))
            for table in self._settings.tables
        }
        self._persons.forget()
        follow(self._writer, self._settings, self._tables, self._persons, is_read=bool(self._applied))

    def _sorted(self, items: Sequence[Item]) -> _Batch:
        batch = _Batch()
        # At once, and also for what has come before it in the batch.
        self._erased.update(record for item in items if isinstance(item, Erasure) for record in item.records)
        for item in items:
            if isinstance(item, Change | Truncation):
                name = self._table_of(item)
                if name is not None:
                    batch.rows.setdefault(name, []).append(item)
            elif isinstance(item, Shared):
                batch.shared[item.realm, item.identifier] = item
            elif isinstance(item, Erasure):
                batch.erasures.append(item)
            elif isinstance(item, Member):
                if not self._is_erased(item.record, None):
                    batch.members.append(item)
            elif not self._is_erased(item.cause.record, None):
                batch.events.append(item)
        return batch

    def _is_erased(self, record: str, owner: str | None) -> bool:
        return record in self._erased or owner in self._erased or self._is_known_erased(record, owner)

    def _owner(self, name: str) -> Callable[[str, dict[str, object]], str | None]:
        return lambda source, row: self._logic.owner(name, source, row)

    def _forgettable(self, behind: int | None) -> list[tuple[ProfileTable, int]]:
        days = self._settings.tombstone_days
        found = ((table, table.forgettable(behind, days)) for table in self._tables.values())
        return [(table, before) for table, before in found if before is not None]

    def _table_of(self, item: Change | Truncation) -> str | None:
        table = self._keys.table(item.source, item.table)
        if table is not None:
            return table.name
        place = item.source, item.table
        if place not in self._passed_over:
            self._passed_over.add(place)
            # What is not named is turned away before it comes here: this is a flow that was wired another way.
            logger.warning("events of %s of %s are ignored: [profiles] names no such table", item.table, item.source)
        return None
