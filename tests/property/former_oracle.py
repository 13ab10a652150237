"""What a row was until its changes, computed from the set of all its events at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from events.changes import Change, Truncation
from stores.rows.base import Former

UNKNOWN = object()


def formers(events: Iterable[Change | Truncation], most: int = 8) -> list[Former]:
    """Return what is told of one row by all events of it and all truncations of its table, newest change first."""
    events = list(events)
    emptied = max((event.position for event in events if isinstance(event, Truncation)), default=())
    changes = {event.position: event for event in events if isinstance(event, Change) and event.position > emptied}
    found: list[Former | None] = []
    state: dict[str, Any] | None = None
    for number, (position, change) in enumerate(sorted(changes.items())):
        after = _after(state, change)
        if number:
            found.append(None if change.op == "read" else _former(state, after, change))
        state = after
        assert position == change.position
    return [former for former in reversed(found[-most:]) if former is not None]


def _after(state: dict[str, Any] | None, change: Change) -> dict[str, Any] | None:
    if change.after is None:
        return None
    kept = {column: (state or {}).get(column, UNKNOWN) for column in change.unavailable}
    return {**kept, **change.after}


def _former(before: dict[str, Any] | None, after: dict[str, Any] | None, change: Change) -> Former | None:
    if before is None and after is None:
        return None
    if before is None or after is None:
        was = {column: value for column, value in (before or {}).items() if value is not UNKNOWN}
        return Former(change.position, change.event_time, was, deleted=True)
    was = {
        column: before.get(column)
        for column in {*before, *after} - {*change.unavailable}
        if before.get(column) is not UNKNOWN and before.get(column) != after.get(column)
    }
    return Former(change.position, change.event_time, was) if was else None
