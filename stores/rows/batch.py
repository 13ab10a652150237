"""The rows that a run of changes is joined with: looked up at once before it, each written once after it.

In between they are in memory, as what the changes so far have made of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from events.changes import Change
from stores.rows.base import Kept, Known, RowId, RowWriter, StoredRow
from stores.rows.former import extended, inserted
from stores.rows.join import Emptied, needs_image
from stores.rows.recent import RecentRows


class Batch:
    """Rows of which nothing but their newest state is kept.

    :arg rows: As they are by now; of one that no change needs whole, what is known of it.
    """

    def __init__(self, recent: RecentRows, writer: RowWriter, table: str, run: Sequence[Change]) -> None:
        self._recent = recent
        self._changed: dict[RowId, StoredRow] = {}
        self.rows: dict[RowId, StoredRow | Known] = {**recent.standings(ids_of(run))}
        # Reading and decoding images costs as much as all the rest, and an ordinary update needs none.
        whole = {
            id_: None
            for change in run
            for id_ in [(change.source, change.key)]
            if isinstance(row := self.rows.get(id_), Known) and needs_image(change, row)
        }
        if whole:
            self.rows.update(writer.fetch(table, list(whole)))

    def take(self, old: StoredRow | Known | None, new: StoredRow, change: Change) -> None:
        """Take note that `change` has made `new` of `old`."""
        del old, change
        id_ = new.source, new.key
        self.rows[id_] = self._changed[id_] = new

    def place(self, old: StoredRow | Known, new: StoredRow | None, change: Change, emptied: Emptied | None) -> bool:
        """Take note that `change` is older than `old`, of which it makes `new`; return whether that is another row."""
        del emptied
        if new is not None:
            self.take(old, new, change)
        return new is not None

    def write(self) -> None:
        """Write what has changed."""
        if self._changed:
            self._recent.put(list(self._changed.values()))


class KeptBatch(Batch):
    """Rows of which it is kept what they were."""

    def __init__(self, recent: RecentRows, run: Sequence[Change], now: int) -> None:
        self._recent = recent
        self._now = now
        self._stored = recent.kept(ids_of(run))
        self._histories: dict[RowId, str] = {}
        self._changed = {}
        self.rows = {id_: kept.row for id_, kept in self._stored.items()}

    def take(self, old: StoredRow | Known | None, new: StoredRow, change: Change) -> None:
        """Do as `Batch.take`, with the row's history."""
        id_ = new.source, new.key
        self._histories[id_] = extended(self._history(id_), _whole(old), new, change)
        self.rows[id_] = self._changed[id_] = new

    def place(self, old: StoredRow | Known, new: StoredRow | None, change: Change, emptied: Emptied | None) -> bool:
        """Do as `Batch.place`, and put the change where it belongs in the row's history."""
        id_ = change.source, change.key
        row = _whole(old)
        if row is None:
            return False
        before = Kept(row, self._history(id_))
        after = inserted(before, change, self._now, emptied)
        if after is not before:
            self._histories[id_] = after.history
            self.rows[id_] = self._changed[id_] = after.row
        return new is not None

    def write(self) -> None:
        """Write what has changed."""
        if self._changed:
            self._recent.put_kept({id_: Kept(row, self._histories[id_]) for id_, row in self._changed.items()})

    def _history(self, id_: RowId) -> str:
        history = self._histories.get(id_)
        if history is None:
            stored = self._stored.get(id_)
            return "" if stored is None else stored.history
        return history


def ids_of(run: Sequence[Change]) -> list[RowId]:
    """Return the rows that are changed, each once."""
    return list({(change.source, change.key): None for change in run})


def _whole(row: StoredRow | Known | None) -> StoredRow | None:
    if isinstance(row, Known):
        message = "the image of this row was not fetched, though its history needs it"
        raise TypeError(message)
    return row
