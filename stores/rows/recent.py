"""What is known of the rows that one table took in last, so that those that change again need not be looked up.

The store has a single writer, so that what it wrote stays true until the writer itself does something to rows that it
does not name: then all is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from stores.rows.base import Kept, Known, RowId, RowWriter, StoredRow

MOST = 20_000
"""Rows remembered, about 10 MB of them."""
MOST_KEPT = 10_000
"""The same of whole rows with their histories, about 30 MB of rows with ten columns."""

R = TypeVar("R")


class RecentRows:
    """Rows of one live table in a store, the ones written last also in memory.

    Either `standings` and `put` are used of it, or `kept` and `put_kept`.

    :arg most: Rows remembered; a quarter of them goes at a time, the ones that were written first.
    """

    def __init__(self, writer: RowWriter, table: str, most: int | None = None) -> None:
        self._writer = writer
        self._table = table
        self._most = most
        self._known: dict[RowId, Known] = {}
        self._kept: dict[RowId, Kept] = {}

    def standings(self, ids: Sequence[RowId]) -> dict[RowId, Known]:
        """Do as the writer's `standings`."""
        return _found(ids, self._known, lambda rest: self._writer.standings(self._table, rest))

    def put(self, rows: Sequence[StoredRow]) -> None:
        """Do as the writer's `put`."""
        self._writer.put(self._table, rows)
        known = {row.id: Known(row.state, row.standing, row.as_of, row.image is not None, row.gaps) for row in rows}
        _remember(self._known, known, self._most or MOST)
        for row in rows:
            self._kept.pop(row.id, None)

    def kept(self, ids: Sequence[RowId]) -> dict[RowId, Kept]:
        """Do as the writer's `kept`."""
        return _found(ids, self._kept, lambda rest: self._writer.kept(self._table, rest))

    def put_kept(self, kept: Mapping[RowId, Kept]) -> None:
        """Do as the writer's `put_kept`."""
        self._writer.put_kept(self._table, list(kept.values()))
        _remember(self._kept, kept, self._most or MOST_KEPT)

    def forget(self) -> None:
        """Forget all rows: something happened to some of them."""
        self._known.clear()
        self._kept.clear()


def _found(
    ids: Sequence[RowId], known: dict[RowId, R], look_up: Callable[[list[RowId]], dict[RowId, R]]
) -> dict[RowId, R]:
    found = {id_: known[id_] for id_ in ids if id_ in known}
    if len(found) < len(ids):
        found.update(look_up([id_ for id_ in ids if id_ not in found]))
    return found


def _remember(known: dict[RowId, R], rows: Mapping[RowId, R], most: int) -> None:
    for id_ in rows:
        known.pop(id_, None)  # what is written again moves to the end
    known.update(rows)
    if len(known) > most:
        for id_ in list(known)[: len(known) - most * 3 // 4]:
            del known[id_]
