"""Which columns of a table were seen when: observed at the speed of the stream, summed up when asked.

What is returned depends on the set of changes since the last time, not on their order.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from events.changes import Change, Kind, Sighting

_KINDS: dict[type, Kind] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    Decimal: "decimal",
    str: "text",
    list: "json",
    dict: "json",
}

_Shape = tuple[Any, ...]
"""The names of the columns, then the types of their values: rows of a table have few of them."""


class Sightings:
    """Gathers the columns of the rows that changes bring, and the kinds of their values."""

    def __init__(self) -> None:
        self._tables: dict[tuple[str, str], dict[_Shape, list[int]]] = {}

    def observe(self, change: Change) -> None:
        """Take in one change; one without `after` says nothing of columns."""
        after = change.after
        if after is None:
            return
        # One look-up for the whole row: columns are taken apart once per shape, not once per change.
        shape = (*after, *map(type, after.values()))
        time = change.event_time
        try:
            span = self._tables[change.source, change.table][shape]
        except KeyError:
            self._tables.setdefault((change.source, change.table), {})[shape] = [time, time]
            return
        if time > span[1]:
            span[1] = time
        elif time < span[0]:
            span[0] = time

    def take(self) -> list[Sighting]:
        """Return one sighting for each table observed since the last call, and begin anew."""
        tables, self._tables = self._tables, {}
        return [_summed(source, table, shapes) for (source, table), shapes in tables.items()]


def _summed(source: str, table: str, shapes: dict[_Shape, list[int]]) -> Sighting:
    columns: dict[tuple[str, Kind], tuple[int, int]] = {}
    for shape, (first, last) in shapes.items():
        width = len(shape) // 2
        for column, kind in zip(shape[:width], shape[width:], strict=True):
            seen = (column, _KINDS[kind])
            known = columns.get(seen, (first, last))
            columns[seen] = (min(known[0], first), max(known[1], last))
    first = min(span[0] for span in shapes.values())
    last = max(span[1] for span in shapes.values())
    return Sighting(source, table, columns, first, last)
