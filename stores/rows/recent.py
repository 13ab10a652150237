"""What is known of the rows that one table took in last, so that those that change again need not be looked up.

The store has a single writer, so that what it wrote stays true until the writer itself does something to rows that it
does not name: then all is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence

from stores.rows.base import Known, RowId, RowWriter, Step, StoredRow

MOST = 20_000
"""Rows remembered, about 10 MB of them without their images, and 30 MB with images of ten columns."""


class RecentRows:
    """Rows of one live table in a store, the ones written last also in memory.

    :arg most: Rows remembered; a quarter of them goes at a time, the ones that were written first.
    :arg imaged: Remember and return whole rows.
    """

    def __init__(self, writer: RowWriter, table: str, most: int = MOST, *, imaged: bool = False) -> None:
        self._writer = writer
        self._table = table
        self._most = most
        self._imaged = imaged
        self._known: dict[RowId, StoredRow | Known] = {}

    def standings(self, ids: Sequence[RowId]) -> dict[RowId, StoredRow | Known]:
        """Do as the writer's `standings`, or as its `fetch` where images are remembered."""
        known = self._known
        found = {id_: known[id_] for id_ in ids if id_ in known}
        if len(found) < len(ids):
            look_up = self._writer.fetch if self._imaged else self._writer.standings
            found.update(look_up(self._table, [id_ for id_ in ids if id_ not in found]))
        return found

    def put(self, rows: Sequence[StoredRow]) -> None:
        """Do as the writer's `put`."""
        self._writer.put(self._table, rows)
        self._remember(rows)

    def supersede(self, steps: Sequence[Step]) -> None:
        """Do as the writer's `supersede`."""
        self._writer.supersede(self._table, steps)
        self._remember([step.row for step in steps])

    def forget(self) -> None:
        """Forget all rows: something happened to some of them."""
        self._known.clear()

    def _remember(self, rows: Sequence[StoredRow]) -> None:
        known = self._known
        for row in rows:
            id_ = row.source, row.key
            known.pop(id_, None)  # what is written again moves to the end
            known[id_] = (
                row if self._imaged else Known(row.state, row.standing, row.as_of, row.image is not None, row.gaps)
            )
        if len(known) > self._most:
            for id_ in list(known)[: len(known) - self._most * 3 // 4]:
                del known[id_]
