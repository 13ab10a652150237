"""How changes enter the row store: every batch one commit, after which each row is what its events make of it.

Rows are joined with what the store holds (`stores/rows/join.py`), so that a batch may come twice, late or in any order.
What `applied` claims is written when its epoch closes, never before the data.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import msgspec
from typing_extensions import override

from events.changes import Change, Decision, Sighting, Truncation
from events.clock import Clock
from events.erasure import Erasure
from events.log import Mark
from stores.rows.base import APPLIED, RowId, RowWriter
from stores.rows.change_intake import ChangeIntake
from stores.rows.holds import Hold
from stores.rows.table import Counts, TableIntake
from stores.settings import TablesSettings

logger = logging.getLogger(__name__)

MADE = "made"
"""Kind of facts that hold, by live table, the source and the table that it is made of."""

ERASED = "erased"
"""Kind of facts that hold, by id of an erasure, how many rows it has removed."""

Item: TypeAlias = "Change | Truncation | Sighting | Decision | Erasure"


class _Removed(msgspec.Struct):
    entries: int


class RowIntake(ChangeIntake[Item]):
    """Drives a row store from a dataflow.

    :arg writer: The store.
    :arg tables: The live tables, and how deletes are guarded and remembered.
    :arg clock: Tells `applied_at`.
    :arg alert: Called when deletes become held, once for each table and slice, before that is committed: after a crash
        in between it is called again.
    :arg observe: Told after each commit what became of its changes, and the marks that it noted.
    :arg barred: Tells which changes are of erased persons: what was under way then is not let in.
    :arg former: The live tables of which it is kept what rows were before; None: all of them.
    :raises StoreError: When the store cannot be used.
    """

    def __init__(
        self,
        writer: RowWriter,
        tables: TablesSettings,
        clock: Clock,
        alert: Callable[[Hold], object],
        *,
        observe: Callable[[Counts, Sequence[Mark]], object] = lambda counts, marks: None,
        barred: Callable[[Change], bool] = lambda change: False,
        former: Collection[str] | None = None,
    ) -> None:
        self._writer = writer
        self._settings = tables
        self._alert = alert
        self._observe = observe
        self._barred = barred
        self._former = former
        self._names: dict[tuple[str, str], str | None] = {}
        self._tables: dict[str, TableIntake] = {}
        super().__init__(writer, {stream.name for stream in tables.streams}, clock)

    @override
    def write(self, items: Sequence[Item]) -> None:
        self._mend()
        groups: dict[str, list[Change | Truncation | Decision]] = {}
        seen: dict[str, TableIntake] = {}
        counts = Counts()
        with self._commit():
            for item in items:
                if isinstance(item, Erasure):
                    # What came before it is to be there, so that it can go.
                    self._take(groups, counts)
                    self._erase(item)
                    continue
                if isinstance(item, Change) and self._barred(item):
                    continue
                name = self._table_of(item)
                if name is None:
                    continue
                if isinstance(item, Sighting):
                    seen[name] = self._tables[name]
                    seen[name].see(item)
                else:
                    groups.setdefault(name, []).append(item)
            self._take(groups, counts)
            for table in seen.values():
                table.expose()
        self._observe(counts, ())

    @override
    def close_epoch(self, marks: Sequence[Mark]) -> None:
        self._mend()
        applied, noted = self._reached(marks)
        forgettable = self._forgettable(self._behind(applied))
        former = self._former_forgettable(self._behind(applied))
        unnoted = [table for table in self._tables.values() if table.unnoted]
        if not (noted or forgettable or former or unnoted):
            return
        with self._commit():
            for table in unnoted:
                table.note_seen()
            for table, before in forgettable:
                table.forget(before)
            for table, since in former:
                table.forget_former(since)
            self._writer.note(APPLIED, noted)
        self._applied = applied
        self._observe(Counts(), marks)

    def _take(self, groups: dict[str, list[Change | Truncation | Decision]], counts: Counts) -> None:
        for name, group in groups.items():
            self._tables[name].take(group, counts)
        groups.clear()

    def _erase(self, erasure: Erasure) -> None:
        """Remove the rows that an erasure names; the guard, which counts deletes, is not to notice."""
        ids: dict[str, list[RowId]] = {}
        for record in erasure.records:
            source, table, key = record.split("/", 2)
            live = self._settings.live_of(source, table)
            if live is not None:
                ids.setdefault(live.name, []).append((source, key))
        gone = sum(self._writer.drop_rows(name, rows) for name, rows in ids.items())
        noted = self._writer.facts(ERASED).get(erasure.id)
        count = gone + (0 if noted is None else msgspec.json.decode(noted, type=_Removed).entries)
        self._writer.note(ERASED, {erasure.id: msgspec.json.encode(_Removed(count))})
        # What is remembered of those rows, and their number, is not so any more.
        self._torn = True

    @override
    def _load(self) -> None:
        with self._writer.transaction():
            self._tables = {
                live.name: TableIntake(
                    self._writer,
                    live,
                    self._settings.guard,
                    self._clock,
                    self._alert,
                    former_hours=self._settings.former_hours if self._tells_former(live.name) else 0.0,
                )
                for live in self._settings.live
            }
            for table in self._tables.values():
                table.expose()
            self._note_made()

    def _note_made(self) -> None:
        """Note of what each live table is made, and tell of those that have missed what was read before."""
        known = self._writer.facts(MADE)
        made = {live.name: msgspec.json.encode((live.source, live.table)) for live in self._settings.live}
        for name, source in made.items():
            if self._applied and known.get(name) != source:
                said = "is made of another table than before" if name in known else "has been added"
                logger.warning(
                    "the live table %r %s: events that were read before are not in it; to read them again, stop the "
                    "flow and remove the store and the recovery folder",
                    name,
                    said,
                )
        self._writer.note(MADE, {name: source for name, source in made.items() if known.get(name) != source})

    def _forgettable(self, behind: int | None) -> list[tuple[TableIntake, tuple[int, int]]]:
        days = self._settings.tombstone_days
        found = ((table, table.forgettable(behind, days)) for table in self._tables.values())
        return [(table, before) for table, before in found if before is not None]

    def _tells_former(self, name: str) -> bool:
        return self._former is None or name in self._former

    def _former_forgettable(self, behind: int | None) -> list[tuple[TableIntake, int]]:
        found = ((table, table.former_forgettable(behind)) for table in self._tables.values())
        return [(table, before) for table, before in found if before is not None]

    def _table_of(self, item: Change | Truncation | Sighting | Decision) -> str | None:
        if isinstance(item, Decision):
            if item.table not in self._tables:
                logger.warning("a decision on %r is ignored: there is no such live table", item.table)
                return None
            return item.table
        place = item.source, item.table
        if place not in self._names:
            live = self._settings.live_of(*place)
            self._names[place] = None if live is None else live.name
            if live is None:
                # What is not live is turned away before it comes here: this is a flow that was wired another way.
                logger.warning("events of %s of %s are ignored: no live table is made of it", item.table, item.source)
        return self._names[place]
