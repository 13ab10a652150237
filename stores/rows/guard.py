"""The mass-delete guard of one live table: tells when so much disappears at once that deletes are held back.

Event time is cut into windows that do not overlap, the slices. A slice is held when the rows deleted in it are many
enough, and more than the given share of them and of all rows that are there together. It is open until an event is
newer than its end by more than a window. What is guaranteed: after any item, the state of every slice is a function of
the sequence of items up to it, however they were cut into batches, as long as deleted rows still have their images.
For an open slice it is what its counts at that moment say; a closed one keeps what it was when it closed, except that
deletes which come late can still make it held. What the user has decided stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from stores.rows.base import GONE, HELD, LIVE, Tally

Verdict = Literal["release", "discard"]
Status = Literal["held", "dissolved", "released", "discarded"]
"""Of a slice: waiting for the user's word; let go because the counts allowed it again; decided by the user."""


class Restatement(msgspec.Struct, frozen=True):
    """Rows in state `old` of a slice are to be in `state`."""

    slice: int
    old: int
    state: int


class Guard:
    """Counts and judges; knows no store.

    :arg share: Share of a table's rows that may be deleted in a slice.
    :arg rows: Fewer deletes than this are never held.
    :arg window: Length of a slice in milliseconds.
    :arg tally: What is there.
    :arg newest: Newest event time of the table so far (ms since epoch).
    :arg statuses: Slices that are or were held.
    :arg verdicts: What the user has decided, be it of slices that have not been held so far.

    `restored` tells that deleted rows have come to be live again, and are not stored so before `settle` is heeded.
    """

    def __init__(
        self,
        *,
        share: float,
        rows: int,
        window: int,
        tally: Tally,
        newest: int | None = None,
        statuses: Mapping[int, Status] | None = None,
        verdicts: Mapping[int, Verdict] | None = None,
    ) -> None:
        self.window = window
        self.newest = newest
        self.live = tally.live
        self.deleted = dict(tally.gone)
        for slice_, count in tally.held.items():
            self.deleted[slice_] = self.deleted.get(slice_, 0) + count
        self.statuses: dict[int, Status] = dict(statuses or {})
        self.verdicts: dict[int, Verdict] = dict(verdicts or {})
        self._share = share
        self._rows = rows
        self._open = {slice_ for slice_ in {*self.deleted, *self.statuses} if not self._closed(slice_)}
        self.restored = False
        self._touched: set[int] = set()
        self._stored_as_held = set(tally.held)

    def advance(self, event_time: int) -> None:
        """Take notice of an item's event time (ms since epoch), before the item itself is counted."""
        if self.newest is None or event_time > self.newest:
            # What closes is judged as it was before this item.
            if self._open:
                for slice_ in sorted(slice_ for slice_ in self._open if event_time > self._closes(slice_)):
                    self._judge(slice_)
                    self._open.discard(slice_)
            self.newest = event_time

    def appear(self, count: int = 1) -> None:
        """Count rows that come to be live; one that was deleted before has to `return_` too."""
        self.live += count

    def return_(self, as_of: int) -> None:
        """Count out a row with an image that was deleted or held as of `as_of`."""
        slice_ = as_of // self.window
        left = self.deleted.get(slice_, 0) - 1
        if left > 0:
            self.deleted[slice_] = left
        else:
            self.deleted.pop(slice_, None)

    def keeps(self, as_of: int) -> bool:
        """Tell whether a row that is deleted as of `as_of` stays live, as the user has decided; it is not counted."""
        return self.statuses.get(as_of // self.window) == "discarded"

    def disappear(self, as_of: int, count: int = 1) -> None:
        """Count live rows that are deleted as of `as_of`."""
        if not count:
            return
        slice_ = as_of // self.window
        self.live -= count
        self.deleted[slice_] = self.deleted.get(slice_, 0) + count
        self._touched.add(slice_)
        if self._closed(slice_) or slice_ in self.verdicts:
            self._judge(slice_)
        else:
            self._open.add(slice_)

    def decide(self, slice_: int, verdict: Verdict) -> bool:
        """Take the user's word on a slice; return whether it is the first one. The first one counts."""
        if slice_ in self.verdicts:
            return False
        self._judge(slice_)
        self.verdicts[slice_] = verdict
        self._judge(slice_)
        return True

    def settle(self) -> list[Restatement]:
        """Judge open slices by their counts; return what the stored rows lack to agree with all judgements so far.

        Rows deleted since it was last called are expected to be stored in state GONE by now.
        """
        # A decision is for ever: whether it takes effect is asked at each delete, not wherever a batch happens to end.
        for slice_ in sorted(self._open - self.verdicts.keys()):
            self._judge(slice_)
        due: list[Restatement] = []
        for slice_ in sorted(self._touched):
            status = self.statuses.get(slice_)
            if status == "discarded":
                due += [Restatement(slice_, GONE, LIVE), Restatement(slice_, HELD, LIVE)]
                self._stored_as_held.discard(slice_)
            elif status == "held":
                due.append(Restatement(slice_, GONE, HELD))
                self._stored_as_held.add(slice_)
            elif slice_ in self._stored_as_held:
                due.append(Restatement(slice_, HELD, GONE))
                self._stored_as_held.discard(slice_)
        self._touched.clear()
        self.restored = False
        return due

    def forget(self, before: int) -> None:
        """Count out the slices that end before or at slice number `before`, except what is held."""
        for slice_ in [slice_ for slice_ in self.deleted if slice_ < before and self.statuses.get(slice_) != "held"]:
            del self.deleted[slice_]

    def rows_of(self, slice_: int) -> tuple[int, int]:
        """Return how many rows were deleted in a slice, and these with all that are live."""
        deleted = self.deleted.get(slice_, 0)
        return deleted, self.live + deleted

    def _closes(self, slice_: int) -> int:
        return (slice_ + 2) * self.window

    def _closed(self, slice_: int) -> bool:
        return self.newest is not None and self.newest > self._closes(slice_)

    def _judge(self, slice_: int) -> None:
        status = self.statuses.get(slice_)
        if status == "released":
            return
        if status == "discarded":
            self._restore(slice_)
            return
        deleted, rows = self.rows_of(slice_)
        tripped = deleted >= self._rows and deleted > self._share * rows
        verdict = self.verdicts.get(slice_)
        if verdict is not None and (tripped or status == "held"):
            self._become(slice_, "released" if verdict == "release" else "discarded")
            if verdict == "discard":
                self._restore(slice_)
        elif tripped and status != "held":
            self._become(slice_, "held")
        elif not tripped and status == "held" and not self._closed(slice_):
            self._become(slice_, "dissolved")

    def _become(self, slice_: int, status: Status) -> None:
        self.statuses[slice_] = status
        self._touched.add(slice_)

    def _restore(self, slice_: int) -> None:
        self.live += self.deleted.pop(slice_, 0)
        self.restored = True
