"""What is too old goes, by the event time of what has come: a clock that runs ahead of it removes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from events.kpis import FACT_KINDS
from events.log import Applied
from stores.feedback_settings import FeedbackSettings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_DAY = 86_400_000
MOST_ROWS = 200_000
"""Rows of a table that one round of retention removes at most."""


def retain(db: DuckDBPyConnection, settings: FeedbackSettings, frontier: int, applied: int | None) -> None:
    """Remove facts, values, alerts and counts that are older than the settings keep them.

    :arg frontier: Follows the clock while all is idle, so that it counts only as far as facts have come.
    :arg applied: Newest event time of what has been applied; counts where there are no facts.
    """
    newest = newest_fact(db)
    if newest is None:
        newest = applied
    if newest is None:
        return
    present = min(frontier, newest)
    facts, kpis = (present - round(days * _DAY) for days in (settings.facts_days, settings.kpis_days))
    bounds: list[tuple[str, str, int]] = [(kind, "time", facts) for kind in FACT_KINDS]
    bounds += [("kpi_values", "until", kpis), ("too_late", "time", kpis), ("alerts", "event_time", kpis)]
    for table, column, before in bounds:
        db.execute(
            f"""DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table}
                WHERE {column} < make_timestamptz(?) LIMIT {MOST_ROWS})""",  # noqa: S608  # names of ours
            [before * 1000],
        )


def newest_fact(db: DuckDBPyConnection) -> int | None:
    """Return the newest event time of all facts (ms since epoch); None if there is no fact."""
    union = " UNION ALL ".join(f"SELECT max(time) AS time FROM {kind}" for kind in FACT_KINDS)  # noqa: S608  # our kinds
    ((newest,),) = db.execute(f"SELECT epoch_ms(max(time)) FROM ({union})").fetchall()  # noqa: S608  # as above
    return int(newest) if newest is not None else None


def newest_applied(marks: Iterable[Applied]) -> int | None:
    """Return the newest event time that has been applied; None if nothing with one has been."""
    return max((mark.event_time for mark in marks if mark.event_time is not None), default=None)
