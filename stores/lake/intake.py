"""How conversations enter the lake: each batch one commit of the working state, each epoch at most one of the lake.

The working state is committed first, and says which conversations are dirty; their rows are built and merged into the
lake; then it is noted where they lie, and how far everything is applied. What breaks off in between is done again from
the dirty conversations, and merging the same rows again changes nothing. Where the two do not agree on which commit of
the lake was the last one, the lake says where its rows are.

A flush takes longer the larger the lake's files are. Between two of them there is time for more to gather: so writing
the lake takes a fixed share of the time at most, and what is applied is noted with the flush.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

import msgspec
from typing_extensions import override

from events.clock import Clock
from events.erasure import Erasure
from events.errors import StoreError
from events.feedback import FeedbackEvent, Point, Said
from events.log import Applied, Mark, furthest
from stores.lake.rows import Objective, Row, conversation_row, events_of
from stores.lake.table import LakeTable
from stores.lake.working import Conversations, Kept, Place
from stores.rows.change_intake import applied_after
from stores.sink import EpochWriter

ERASED = "erased"
"""Kind of facts that hold, by id of an erasure, how many conversations it has removed."""

_LAKE = "lake"
_CHUNK = 2_000
"""Conversations whose rows are in memory at the same time, and go into one commit of the lake."""

_REST = 3
"""A flush is followed by so many times as long without one."""

_LONGEST_REST = 60_000
_COMPACTING = 2_000
"""Milliseconds after which compaction leaves further days for another time."""

_HOUR = 3_600_000

logger = logging.getLogger(__name__)


class LakeIntake(EpochWriter["FeedbackEvent | Erasure"]):
    """Drives the lake from a dataflow.

    :arg conversations: The working state; closed if the lake cannot be used.
    :arg table: The lake.
    :arg objective: How far behind sources may be when a context is shown.
    :arg clock: Tells `applied_at`, and how long things take.
    :arg keep: Milliseconds of event time for which a conversation's events are kept in the working state: what is that
        much older than the partition that is the furthest behind.
    :arg compact_every: Commits between two compactions.
    :arg retain: Milliseconds for which replaced files are kept.
    :arg barred: Tells which events are of persons who have been erased: what was under way then is not let in.
    :arg awaited: Sources and partitions whose marks will come: each of them is behind until it says that it has caught
        up. None: those that had not when they were heard of last.
    :raises StoreError: When the lake is not the one of this working state, or one of them cannot be used.
    """

    def __init__(
        self,
        conversations: Conversations,
        table: LakeTable,
        objective: Objective,
        clock: Clock,
        *,
        keep: int,
        compact_every: int,
        retain: int,
        barred: Callable[[FeedbackEvent], bool] = lambda event: False,
        awaited: Iterable[tuple[str, str]] | None = None,
    ) -> None:
        self._barred = barred
        self._conversations = conversations
        self._table = table
        self._objective = objective
        self._clock = clock
        self._keep = keep
        self._compact_every = compact_every
        self._retain = retain
        self._commits = 0
        self._vacuumed_at = clock()
        self._expired_at: int | None = None
        self._rest_until = 0
        self._marks: dict[tuple[str, str], Mark] = {}
        try:
            self._agree()
            self._applied = {(mark.source, mark.partition): mark for mark in conversations.applied()}
            self._behind = {key for key, mark in self._applied.items() if not mark.caught_up}
            if awaited is not None:
                self._behind = set(awaited)
            self._progress = int(conversations.facts(_LAKE).get("progress", b"0"))
            self._flush({})
        except BaseException:
            conversations.close()
            raise

    @override
    def write(self, items: Sequence[FeedbackEvent | Erasure]) -> None:
        said: list[Said] = []
        for item in items:
            if isinstance(item, Erasure):
                # What came before it is to be there, so that it can go.
                self._take(said)
                said = []
                self._erase(item)
            elif not isinstance(item, Point) and not self._barred(item):
                said.append(item)
        self._take(said)

    def _take(self, said: Sequence[Said]) -> None:
        if not said:
            return
        with self._conversations.transaction():
            said = self._conversations.admitted(said)
            known = self._conversations.meet(event.conversation for event in said)
            self._bring_back(known.values())
            self._conversations.put(said, known)

    @override
    def close_epoch(self, marks: Sequence[Mark]) -> None:
        for mark in marks:
            key = mark.source, mark.partition
            self._marks[key] = furthest(mark, self._marks.get(key))
            if mark.caught_up:
                self._behind.discard(key)
            else:
                self._behind.add(key)
        if not 0 < self._rest_until - self._clock() <= _LONGEST_REST:
            self.flush()

    @override
    def identity(self) -> str:
        return self._conversations.identity()

    @override
    def progress(self) -> int:
        return self._progress

    @override
    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._conversations.close()

    def flush(self) -> None:
        """Bring the lake up to date, and note what is applied."""
        begun = self._clock()
        applied, now = dict(self._applied), begun
        for key, mark in self._marks.items():
            applied[key] = applied_after(applied.get(key), mark, now)
        self._flush(applied)
        self._applied = applied
        self._marks.clear()
        self._expire()
        self._maintain()
        took = max(0, self._clock() - begun)
        self._rest_until = begun + took + min(_REST * took, _LONGEST_REST)

    def erase(self, persons: Iterable[str], conversations: Iterable[str] = ()) -> int:
        """Remove conversations, and all in which one of these persons is named, and every byte of them in the lake.

        The working state's file still has to be written anew (`stores/compaction.py`).

        :arg persons: Ids as the events have them.
        :arg conversations: Ids of conversations.
        :returns: How many conversations there were.
        """
        named, ids = frozenset(persons) - {""}, frozenset(conversations)
        self.flush()
        rows = self._table.of(named, ids)
        kept = {one.id: one for one in (*self._conversations.of_persons(named), *self._conversations.of_ids(ids))}
        # The rows go first: while the working state has the conversations, they are found again after a crash.
        self._table.remove(rows)
        with self._conversations.transaction():
            known = {**kept, **self._conversations.meet(rows)}
            self._conversations.remove(list(known.values()))
            self._note_version()
        self.vacuum(everything=True)
        return len(known)

    def _erase(self, erasure: Erasure) -> None:
        gone = self.erase((), erasure.conversations)
        known = self._conversations.facts(ERASED).get(erasure.id, b"0")
        with self._conversations.transaction():
            self._conversations.note(ERASED, {erasure.id: msgspec.json.encode(gone + msgspec.json.decode(known))})

    def compact(self) -> int:
        """Make few files of many small ones; return how many are fewer."""
        fewer = self._table.compact()
        with self._conversations.transaction():
            self._note_version()
        return fewer

    def vacuum(self, *, everything: bool = False) -> int:
        """Remove replaced files that are older than the settings keep them; return how many.

        :arg everything: However old, and what broken-off commits have left.
        """
        removed = self._table.vacuum(everything=everything)
        with self._conversations.transaction():
            self._note_version()
        self._vacuumed_at = self._clock()
        return removed

    def _flush(self, applied: dict[tuple[str, str], Applied]) -> None:
        offsets = {f"{mark.source}/{mark.partition}": mark.offset for mark in applied.values()}
        while True:
            dirty = self._conversations.dirty(_CHUNK)
            last = len(dirty) < _CHUNK
            changed, places = self._built(dirty)
            if changed:
                before = [one.place for one in dirty if places[one.number] != one.place and one.place is not None]
                # Only with the last rows everything up to the offsets is there.
                self._table.merge(changed, before, offsets if last else {})
                self._commits += 1
            noted = [mark for key, mark in applied.items() if mark is not self._applied.get(key)] if last else []
            if dirty or noted:
                with self._conversations.transaction():
                    self._conversations.settle(places)
                    self._conversations.note_applied(noted)
                    self._note_version()
                    self._conversations.note(_LAKE, {"progress": str(self._progress + 1).encode()})
                self._progress += 1
            if last:
                return

    def _built(self, dirty: Sequence[Kept]) -> tuple[list[Row], dict[int, Place | None]]:
        """Return the rows that are others than in the lake, and where each conversation's row lies then."""
        changed: list[Row] = []
        places: dict[int, Place | None] = {}
        events = self._conversations.events(dirty)
        for one in dirty:
            row = conversation_row(one.id, events[one.number], self._objective)
            place = one.place
            if row is not None and (place is None or row["revision"] != place.revision):
                changed.append(row)
                place = Place(row["day"], row["begin"], row["revision"])
            places[one.number] = place
        return changed, places

    def _bring_back(self, met: Iterable[Kept]) -> None:
        """Take the events of conversations that only the lake has out of their rows."""
        away = {one.id: one for one in met if not one.whole}
        found = self._table.fetch({id_: one.place for id_, one in away.items() if one.place is not None})
        events: list[Said] = [event for row in found for event in events_of(row)]
        self._conversations.put(events, away)

    def _agree(self) -> None:
        """See that the working state knows the rows of the lake, which may have gone on without it."""
        noted = self._conversations.facts(_LAKE)
        table, version = self._table.id.encode(), str(self._table.version).encode()
        if noted.get("table", table) != table:
            detail = "the lake is another one than that of the conversations that are kept for it"
            hint = "put the old lake back, or move the conversations' file and the recovery folder aside"
            raise StoreError(detail, hint)
        if noted.get("version") == version:
            return
        with self._conversations.transaction():
            lost = self._conversations.relocate(self._table.places())
            self._note_version()
        if lost:
            logger.warning("%d conversations are not in the lake any more, and too old to be written again", lost)

    def _note_version(self) -> None:
        noted = {"table": self._table.id.encode(), "version": str(self._table.version).encode()}
        self._conversations.note(_LAKE, noted)

    def _expire(self) -> None:
        reached = self._reached()
        pause = min(self._keep // 16, _HOUR)
        if reached is None or (self._expired_at is not None and reached < self._expired_at + pause):
            return
        self._expired_at = reached
        with self._conversations.transaction():
            _, gone = self._conversations.expire(reached - self._keep)
        if gone:
            logger.warning("feedback of %d conversations is gone: no turn of them came in time", gone)

    def _reached(self) -> int | None:
        """Return up to which event time everything has come, as far as is known; None if nothing is.

        A partition that has caught up holds nobody up; one that is behind and of which no event has come, everybody.
        """
        reached = self._conversations.newest()
        for key in self._behind:
            newest = self._applied[key].event_time if key in self._applied else None
            if newest is None or reached is None:
                return None
            reached = min(reached, newest)
        return reached

    def _maintain(self) -> None:
        if self._commits < self._compact_every:
            return
        self._commits = 0
        until = self._clock() + _COMPACTING
        self._table.compact(lambda: self._clock() >= until)
        with self._conversations.transaction():
            self._note_version()
        if not 0 <= self._clock() - self._vacuumed_at < min(self._retain, _HOUR):
            self.vacuum()
