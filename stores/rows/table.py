"""How one live table takes its items in: joined in their order, counted by the guard, each row written once a batch.

Everything here happens within the caller's transaction. What is in memory beside it agrees with the store after each
commit; after an exception it does not, and the object is to be thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from events.changes import Change, Decision, Sighting, Truncation, supersedes
from events.clock import Clock
from stores.rows.base import GONE, HELD, LIVE, Known, LiveTable, RowWriter, StoredRow
from stores.rows.batch import Batch, KeptBatch
from stores.rows.columns import COLUMNS, Seen, joined, kinds_of, seen_of
from stores.rows.guard import Guard, Status
from stores.rows.holds import Hold, Holds
from stores.rows.join import Emptied, emptied_gaps, join, standing_of
from stores.rows.recent import RecentRows
from stores.settings import GuardSettings, LiveTableSettings

NEWEST, EMPTIED, FORMER = "newest", "emptied", "former"
"""Kinds of facts: the newest event time of a live table; by live table and source, the newest `Emptied`; whether it is
kept what a live table's rows were."""

_HOUR = 3_600_000
_LOOKED_AT = 2_000
"""Rows that are looked at in an epoch for histories that can be forgotten."""
_NEVER = 2**63 - 1
"""An event time that never comes."""

_DAY = 86_400_000
"""How far an event may be ahead of the clock before its time is taken for wrong: it ends no slice then, and makes
nothing be forgotten."""


class Counts(msgspec.Struct):
    """What became of changes and truncations.

    :arg changed: Changes that changed their row.
    :arg filled: Of these, older ones that brought the value of a column that newer ones had left out.
    :arg older: Changes that came after a newer one of their row, and changed nothing.
    :arg duplicates: Changes that their row had taken in already.
    :arg truncations: Truncations.
    """

    changed: int = 0
    filled: int = 0
    older: int = 0
    duplicates: int = 0
    truncations: int = 0


class TableIntake:
    """One live table on its way into the store.

    :arg alert: Called with a slice that becomes held, before that is committed.
    :arg former_hours: For how long what rows were before is kept after their last change; 0: it is not.
    """

    def __init__(
        self,
        writer: RowWriter,
        live: LiveTableSettings,
        guard: GuardSettings,
        clock: Clock,
        alert: Callable[[Hold], object],
        *,
        former_hours: float = 0.0,
    ) -> None:
        self.name = live.name
        self._writer = writer
        self._keeps_former = former_hours > 0
        self._former_millis = round(former_hours * _HOUR)
        self._recent = RecentRows(writer, live.name)
        self._switch_former()
        self._settings = live
        self._clock = clock
        self._seen: Seen | None = seen_of(writer.facts(COLUMNS).get(self.name))
        self._seen_noted = self._seen
        self._exposed: LiveTable | None = None
        self._emptied = {
            source: msgspec.json.decode(value, type=Emptied)
            for fact, value in writer.facts(EMPTIED).items()
            for name, _, source in [fact.partition("/")]
            if name == self.name
        }
        self._holds = Holds(writer, self.name, round(guard.window_seconds * 1000), clock, alert)
        self._guard = self._count(guard)
        self._forgotten: tuple[int, int] | None = None
        self._former_before: int | None = None
        self._former_from = ""

    @property
    def newest(self) -> int | None:
        """Newest event time that the table has taken in (ms since epoch)."""
        return self._guard.newest

    def take(self, items: Sequence[Change | Truncation | Decision], counts: Counts) -> None:
        """Take items in, in their order, and bring the store to what follows from them."""
        before = self._guard.newest
        run: list[Change] = []
        for item in items:
            if isinstance(item, Change):
                run.append(item)
                continue
            self._change(run, counts)
            run = []
            self._settle()
            if isinstance(item, Truncation):
                self._truncate(item)
                counts.truncations += 1
            else:
                self._decide(item)
            self._settle()
        self._change(run, counts)
        self._settle()
        if self._guard.newest is not None and self._guard.newest != before:
            self._writer.note(NEWEST, {self.name: msgspec.json.encode(self._guard.newest)})

    def see(self, sighting: Sighting) -> None:
        """Take in which columns the table's events have."""
        self._seen = joined(self._seen, sighting)

    def expose(self) -> None:
        """Show the table in SQL with the columns seen so far."""
        ttl = self._settings.ttl_seconds
        table = LiveTable(
            self.name, kinds_of(self._seen), None if ttl is None else round(ttl * 1000), self._settings.index
        )
        if table != self._exposed:
            self._writer.expose(table)
            self._exposed = table
            self.note_seen()

    @property
    def unnoted(self) -> bool:
        """Whether columns have been seen that are not noted in the store."""
        return self._seen is not self._seen_noted

    def note_seen(self) -> None:
        """Note which columns have been seen, and when."""
        if self._seen is not None and self.unnoted:
            self._writer.note(COLUMNS, {self.name: msgspec.json.encode(self._seen)})
            self._seen_noted = self._seen

    def forgettable(self, behind: int | None, tombstone_days: float) -> tuple[int, int] | None:
        """Return before which event times images and rows of deleted rows can go; None if they have gone already.

        :arg behind: Event time of the slowest partition that is still catching up; None: there is none.
        """
        newest = self._guard.newest
        if newest is None:
            return None
        safe = newest if behind is None else min(newest, behind)
        window = self._guard.window
        # Whole slices only, and only once each: looking for what to forget has its price.
        images = (safe // window - 2) * window
        before = images, min(images, (safe - round(tombstone_days * _DAY)) // window * window)
        return None if self._forgotten is not None and before <= self._forgotten else before

    def forget(self, before: tuple[int, int]) -> None:
        """Forget what `forgettable` has named."""
        self._writer.forget(self.name, *before)
        self._recent.forget()
        self._guard.forget(before[0] // self._guard.window)
        self._forgotten = before

    def former_forgettable(self, behind: int | None) -> int | None:
        """Return before which event time former versions can go; None if they have been looked through for that.

        They are so once in an hour of event time, a part of them with each call of `forget_former`.
        """
        if not self._keeps_former or self._guard.newest is None:
            return None
        if self._former_from:
            return self._former_before
        safe = self._guard.newest if behind is None else min(self._guard.newest, behind)
        before = (safe - self._former_millis) // _HOUR * _HOUR
        return before if self._former_before is None or before > self._former_before else None

    def forget_former(self, before: int) -> None:
        """Forget a part of what `former_forgettable` has named."""
        self._former_before = before
        self._former_from = self._writer.forget_former(self.name, before, self._former_from, _LOOKED_AT)

    def _count(self, settings: GuardSettings) -> Guard:
        tally = self._writer.tally(self.name, self._holds.window)
        newest = self._writer.facts(NEWEST).get(self.name)
        # Rows that are held without a known slice were held under another window.
        statuses: dict[int, Status] = dict.fromkeys(tally.held, "held")
        return Guard(
            share=settings.share,
            rows=settings.rows,
            window=self._holds.window,
            tally=tally,
            newest=None if newest is None else msgspec.json.decode(newest, type=int),
            statuses=statuses | self._holds.statuses(),
            verdicts=self._holds.verdicts(),
        )

    def _change(self, run: Sequence[Change], counts: Counts) -> None:
        while run:
            run = run[self._join(run, counts) :]
            if run:
                self._settle()

    def _join(self, run: Sequence[Change], counts: Counts) -> int:
        """Join changes with their rows; return after how many of them stored rows have to be restated first."""
        now, emptied, guard = self._clock(), self._emptied, self._guard
        batch = (
            KeptBatch(self._recent, run, now)
            if self._keeps_former
            else Batch(self._recent, self._writer, self.name, run)
        )
        rows = batch.rows
        latest, done = now + _DAY, 0
        for change in run:
            done += 1
            old = rows.get((change.source, change.key))
            floor = emptied.get(change.source) if emptied else None
            new = join(old, change, now, floor)
            if old is not None and (new is None or new.standing is old.standing):
                if new is None and _came_before(change, old):
                    counts.duplicates += 1
                elif batch.place(old, new, change, floor):
                    counts.changed += 1
                    counts.filled += 1
                else:
                    counts.older += 1
                continue
            if new is None:
                counts.older += 1
                continue
            counts.changed += 1
            guard.advance(min(change.event_time, latest))
            if new.state == GONE and old is not None and old.state == LIVE and guard.keeps(new.as_of):
                new = msgspec.structs.replace(new, state=LIVE)
            _recount(guard, old, new)
            batch.take(old, new, change)
            if guard.restored:
                break
        batch.write()
        return done

    def _switch_former(self) -> None:
        """Forget all histories where none are kept any more: what happens to their rows is not in them."""
        kept = self._writer.facts(FORMER).get(self.name) == b"true"
        if kept and not self._keeps_former:
            after = self._writer.forget_former(self.name, _NEVER, "", _LOOKED_AT)
            while after:
                after = self._writer.forget_former(self.name, _NEVER, after, _LOOKED_AT)
        if kept != self._keeps_former:
            self._writer.note(FORMER, {self.name: msgspec.json.encode(self._keeps_former)})

    def _truncate(self, truncation: Truncation) -> None:
        known = self._emptied.get(truncation.source)
        emptied = Emptied(standing_of(truncation), truncation.event_time)
        if known is not None and not supersedes(emptied.standing, known.standing):
            return
        self._guard.advance(min(truncation.event_time, self._clock() + _DAY))
        self._emptied[truncation.source] = emptied
        self._writer.note(EMPTIED, {f"{self.name}/{truncation.source}": msgspec.json.encode(emptied)})
        self._bury(truncation.source, emptied)
        now = self._clock()
        gapped = [emptied_gaps(row, emptied, now) for row in self._writer.gapped(self.name, truncation.source)]
        self._recent.put([row for row in gapped if row is not None])

    def _bury(self, source: str, emptied: Emptied) -> None:
        # Held rows went when they were first deleted. Whether they are held by now must not matter here.
        self._restate_held(HELD, GONE)
        self._recent.forget()
        count = self._writer.bury(self.name, source, emptied.standing, emptied.event_time, self._clock())
        self._restate_held(GONE, HELD)
        self._guard.disappear(emptied.event_time, count)

    def _restate_held(self, old: int, state: int) -> None:
        for slice_, status in self._guard.statuses.items():
            if status == "held":
                self._restate(slice_, old, state)

    def _decide(self, decision: Decision) -> None:
        if self._guard.decide(decision.slice, decision.verdict):
            self._holds.note_decision(decision)

    def _settle(self) -> None:
        while due := self._guard.settle():
            for restatement in due:
                self._restate(restatement.slice, restatement.old, restatement.state)
            # A truncation that came later than deletes which are discarded has their rows to delete as well. Without
            # a position nothing tells that it did.
            restored = [restatement.slice * self._guard.window for restatement in due if restatement.state == LIVE]
            for source, emptied in self._emptied.items():
                if restored and emptied.standing.position and emptied.event_time >= min(restored):
                    self._bury(source, emptied)
        self._holds.note(self._guard)

    def _restate(self, slice_: int, old: int, state: int) -> None:
        begin = slice_ * self._guard.window
        self._recent.forget()
        self._writer.restate(self.name, old, state, begin, begin + self._guard.window)


def _came_before(change: Change, row: StoredRow | Known) -> bool:
    standing = row.standing
    if change.position:
        return change.position == standing.position
    same = change.stream == standing.stream and change.partition == standing.partition
    return same and change.offset == standing.offset


def _recount(guard: Guard, old: StoredRow | Known | None, new: StoredRow) -> None:
    was = LIVE if old is None else old.state
    if old is None:
        if new.state == LIVE:
            guard.appear()
    elif was == LIVE and new.state != LIVE:
        guard.disappear(new.as_of)
    elif was != LIVE and new.state == LIVE:
        guard.appear()
        imaged = old.imaged if isinstance(old, Known) else old.image is not None
        if imaged:
            guard.return_(old.as_of)
