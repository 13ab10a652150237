"""How the rows of one table enter the profile store: joined in their order, and told as what they were and are.

After any events the rows are a function of the set of these events, as `stores/rows/join.py` says. A deleted row loses
its image at once; that it was deleted is remembered until nothing older can come any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, TypeVar

import msgspec

from events.changes import Change, Row, Truncation, merged_position, supersedes
from events.clock import Clock
from stores.profile_settings import ProfileTableSettings
from stores.profiles.base import ProfileWriter
from stores.profiles.record_keys import record_of
from stores.rows.base import GONE, LIVE, Known, RowId, StoredRow
from stores.rows.join import Emptied, emptied_gaps, join, needs_image, standing_of
from stores.rows.table import EMPTIED, NEWEST

AT_ONCE = 1000
"""Rows that are read at once where many are concerned."""

_DAY = 86_400_000
_FORGET_EVERY = 3_600_000
"""Looking for what to forget has its price: once an hour of event time is enough."""

X = TypeVar("X")


class Moved(NamedTuple):
    """A row that has changed; of an activity also what it was and what it is, None where it was or is not there."""

    id: RowId
    before: StoredRow | None = None
    after: StoredRow | None = None


class ProfileTable:
    """One table on its way into the store. Everything happens within the caller's transaction.

    :arg is_erased: Tells whether a record, or the owner that is given with it, has been erased.
    :arg owner: Tells, of an activity's source and row, to which record it belongs.
    """

    def __init__(
        self,
        writer: ProfileWriter,
        settings: ProfileTableSettings,
        clock: Clock,
        is_erased: Callable[[str, str | None], bool],
        owner: Callable[[str, Row], str | None],
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self._writer = writer
        self._clock = clock
        self._is_erased = is_erased
        self._owner = owner
        newest = writer.facts(NEWEST).get(self.name)
        self._newest: int | None = None if newest is None else msgspec.json.decode(newest, type=int)
        self._newest_noted = self._newest
        self._emptied = {
            source: msgspec.json.decode(value, type=Emptied)
            for fact, value in writer.facts(EMPTIED).items()
            for name, _, source in [fact.partition("/")]
            if name == self.name
        }
        self._forgotten: int | None = None

    @property
    def is_activity(self) -> bool:
        """Whether its rows refer to records of another table."""
        return bool(self.settings.references)

    def take(self, items: Iterable[Change | Truncation]) -> Iterator[list[Moved]]:
        """Take items in, in their order; return rows that have changed, part by part, each after it was written."""
        run: list[Change] = []
        for item in items:
            if isinstance(item, Change):
                run.append(item)
                continue
            yield self._change(run)
            run = []
            yield from self._truncate(item)
        yield self._change(run)
        if self._newest is not None and self._newest != self._newest_noted:
            self._writer.note(NEWEST, {self.name: msgspec.json.encode(self._newest)})
            self._newest_noted = self._newest

    def turn_away(self, rows: Sequence[StoredRow]) -> list[StoredRow]:
        """Let go of stored activities of erased records; return the others.

        They may refer to one only since the settings read them another way.
        """
        gone = [row for row in rows if self._is_of_erased(record_of(self.settings, row.id), row)]
        self._writer.put(self.name, [_without_image(row) for row in gone])
        ids = {row.id for row in gone}
        return [row for row in rows if row.id not in ids]

    def forgettable(self, behind: int | None, tombstone_days: float) -> int | None:
        """Return before which event time deleted rows can be forgotten; None if they have been already.

        :arg behind: Event time of the slowest partition that is still catching up; None: there is none.
        """
        if self._newest is None:
            return None
        safe = self._newest if behind is None else min(self._newest, behind)
        before = (safe - round(tombstone_days * _DAY)) // _FORGET_EVERY * _FORGET_EVERY
        return None if self._forgotten is not None and before <= self._forgotten else before

    def forget(self, before: int) -> None:
        """Forget what `forgettable` has named."""
        self._writer.forget(self.name, before, before)
        self._forgotten = before

    def _change(self, run: Sequence[Change]) -> list[Moved]:
        run = [change for change in run if not self._is_erased(change.record, None)]
        if not run:
            return []
        stored = self._known(run)
        rows: dict[RowId, StoredRow | Known] = {**stored}
        changed: dict[RowId, StoredRow] = {}
        now = self._clock()
        for change in run:
            id_ = change.source, change.key
            new = join(rows.get(id_), change, now, self._emptied.get(change.source))
            if new is None:
                continue
            self._advance(min(change.event_time, now + _DAY))
            if new.state != LIVE or self._is_of_erased(change.record, new):
                # Of an activity it stays that there was one, so that it does not come back to its last owner.
                new = _without_image(new)
            rows[id_] = changed[id_] = new
        return self._put(changed, stored)

    def _is_of_erased(self, record: str, row: StoredRow) -> bool:
        owner = self._owner(row.source, row.image) if self.is_activity and row.image is not None else None
        return owner is not None and self._is_erased(record, owner)

    def _known(self, run: Sequence[Change]) -> dict[RowId, StoredRow | Known]:
        ids = list({(change.source, change.key): None for change in run})
        if self.is_activity:
            return {**self._writer.fetch(self.name, ids)}
        # Reading images costs the most, and who is who does not depend on what a row was.
        known = self._writer.standings(self.name, ids)
        whole = {
            id_: None
            for change in run
            for id_ in [(change.source, change.key)]
            if id_ in known and needs_image(change, known[id_])
        }
        return {**known, **self._writer.fetch(self.name, list(whole))} if whole else {**known}

    def _put(self, changed: dict[RowId, StoredRow], before: dict[RowId, StoredRow | Known]) -> list[Moved]:
        if not changed:
            return []
        self._writer.put(self.name, list(changed.values()))
        if not self.is_activity:
            return [Moved(id_) for id_ in changed]
        # As the store has them from now on: its way of writing numbers must not make a difference.
        after = self._writer.fetch(self.name, [id_ for id_, row in changed.items() if row.state == LIVE])
        return [Moved(id_, _live(before.get(id_)), after.get(id_)) for id_ in changed]

    def _truncate(self, truncation: Truncation) -> Iterator[list[Moved]]:
        known = self._emptied.get(truncation.source)
        emptied = Emptied(standing_of(truncation), truncation.event_time)
        if known is not None and not supersedes(emptied.standing, known.standing):
            return
        self._advance(min(truncation.event_time, self._clock() + _DAY))
        self._emptied[truncation.source] = emptied
        self._writer.note(EMPTIED, {f"{self.name}/{truncation.source}": msgspec.json.encode(emptied)})
        for ids in batches(self._writer.ids(self.name, truncation.source)):
            yield self._bury(ids, emptied)
        now = self._clock()
        for rows in batches(self._writer.gapped(self.name, truncation.source)):
            emptier = [row for before in rows for row in [emptied_gaps(before, emptied, now)] if row is not None]
            yield self._put({row.id: row for row in emptier}, {row.id: row for row in rows})

    def _bury(self, ids: Sequence[RowId], emptied: Emptied) -> list[Moved]:
        rows = self._writer.fetch(self.name, ids)
        now, standing = self._clock(), emptied.standing
        gone = {
            id_: StoredRow(
                row.source,
                row.key,
                None,
                GONE,
                msgspec.structs.replace(standing, position=merged_position(standing.position, row.standing.position)),
                emptied.event_time,
                now,
            )
            for id_, row in rows.items()
            if supersedes(standing, row.standing)
        }
        return self._put(gone, {**rows})

    def _advance(self, event_time: int) -> None:
        if self._newest is None or event_time > self._newest:
            self._newest = event_time


def batches(items: Iterable[X], size: int = AT_ONCE) -> Iterator[list[X]]:
    """Cut into lists of `size`."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _without_image(row: StoredRow) -> StoredRow:
    return msgspec.structs.replace(row, state=GONE, image=None, gaps={})


def _live(row: StoredRow | Known | None) -> StoredRow | None:
    return row if isinstance(row, StoredRow) and row.state == LIVE else None
