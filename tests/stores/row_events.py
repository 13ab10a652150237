"""Change events of one table for tests of the row store, and the store that they go into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from events.changes import Change, Decision, Position, Row, Sighting, Truncation
from stores.rows.holds import Hold
from stores.rows.intake import RowIntake
from stores.rows.sqlite import SqliteRows
from stores.settings import TablesSettings

NOW = 1_900_000_000_000
SOURCE, TABLE, LIVE_NAME = "operations", "public.flights", "flights"
Item = Change | Truncation | Sighting | Decision


def key_of(number: int) -> str:
    return f'{{"id":{number}}}'


def change(
    number: int,
    at: int | Position = (),
    after: Row | None = None,
    *,
    silent: Sequence[str] = (),
    time: int | None = None,
    offset: int | None = None,
    partition: int = 0,
    gone: bool = False,
) -> Change:
    """Return an event of row `number` at position `at`; `silent` are columns whose value it does not say."""
    position = (0, at) if isinstance(at, int) else at
    moment = position[-1] if position else 0
    return Change(
        SOURCE,
        TABLE,
        key_of(number),
        "delete" if gone else "update",
        None,
        None if gone else {"id": number, **(after or {})},
        moment if time is None else time,
        position,
        unavailable=tuple(silent),
        stream="changes",
        partition=partition,
        offset=moment if offset is None else offset,
    )


def gone(number: int, at: int | Position = (), **where: Any) -> Change:
    """Return the delete of row `number`."""
    return change(number, at, gone=True, **where)


def truncation(at: int | Position, *, time: int | None = None, offset: int = 0, partition: int = 0) -> Truncation:
    position = (0, at) if isinstance(at, int) else at
    moment = position[-1] if position and time is None else time or 0
    return Truncation(SOURCE, TABLE, moment, position, stream="changes", partition=partition, offset=offset)


def settings(
    *, share: float = 1, window: float = 60, rows: int = 1, tombstone_days: float = 7, **live: Any
) -> TablesSettings:
    """Return settings of one live table; the guard is off unless `share` is less than one."""
    return TablesSettings.model_validate(
        {
            "streams": [{"name": "changes"}],
            "live": [{"name": LIVE_NAME, "table": TABLE, **live}],
            "guard": {"share": share, "window_seconds": window, "rows": rows},
            "tombstone_days": tombstone_days,
        }
    )


def intake(
    path: Path,
    tables: TablesSettings | None = None,
    alert: Callable[[Hold], object] = lambda hold: None,
    **arguments: Any,
) -> tuple[RowIntake, SqliteRows]:
    """Open a store of its own; whoever does so closes the intake."""
    writer = SqliteRows(path, lambda: NOW)
    return RowIntake(writer, tables or settings(), lambda: NOW, alert, **arguments), writer
