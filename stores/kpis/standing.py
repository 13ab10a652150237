"""Alerts as they stand: one of an id and state is told once, whatever is raised again, and says what is behind it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from events.alerts import Alert
from stores.feedback_settings import FeedbackSettings
from stores.kpis import arrow
from stores.kpis.reader import ALERT_COLUMNS, alert_of
from stores.kpis.suspects import explained
from stores.kpis.upsert import replace

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EXPLAINING_SECONDS = 1.0
"""Time that one commit spends on what is behind alerts: in a storm of them the store is to stay fresh."""


def put_alerts(
    db: DuckDBPyConnection, alerts: Sequence[Alert], told: Collection[str], settings: FeedbackSettings, now: int
) -> tuple[list[Alert], set[str]]:
    """Write alerts over those with the same ids; return those that are to be told.

    :arg told: Ids of alerts that have been told.
    :returns: Beside them, ids of alerts for which there was no time to look for the documents behind them.
    """
    deadline = time.monotonic() + EXPLAINING_SECONDS
    unexplained: set[str] = set()

    def known_of(alert: Alert) -> Alert:
        if alert.state != "raised":
            return alert
        in_time = time.monotonic() < deadline
        if not in_time:
            unexplained.add(alert.id)
        return explained(db, alert, settings, search=in_time)

    if told:
        db.register("incoming", arrow.ids(told))
        db.execute("UPDATE alerts SET told = true WHERE id IN (SELECT id FROM incoming)")
    if not alerts:
        return [], unexplained
    standing = stored_alerts(db, [alert.id for alert in alerts])
    rows: dict[str, tuple[Alert, int, bool]] = {}
    telling: list[Alert] = []
    for alert in alerts:
        before, raised_at, was_told = standing.get(alert.id, (None, now, False))
        if before is not None and before.state == "over" != alert.state:
            # Read again from an earlier place: what is over does not begin anew.
            continue
        if before is not None and before.state == alert.state:
            known = before if before.documents else known_of(alert)
            if known.documents != before.documents:
                rows[alert.id] = standing[alert.id] = known, raised_at, was_told
            if not was_told:
                telling.append(known)
            continue
        after = known_of(alert)
        if before is not None:
            after = msgspec.structs.replace(
                after, documents=after.documents or before.documents, rows=after.rows or before.rows
            )
        rows[alert.id] = standing[alert.id] = after, raised_at, False
        telling.append(after)
    if rows:
        replace(db, "alerts", arrow.alerts_table(list(rows.values()), now), "id")
    return telling, unexplained


def stored_alerts(db: DuckDBPyConnection, ids: Iterable[str] | None) -> dict[str, tuple[Alert, int, bool]]:
    """Return alerts, with when they were raised first and whether they have been told; of these ids, or all untold."""
    if ids is None:
        condition = "NOT told"
    else:
        db.register("incoming", arrow.ids(ids))
        condition = "id IN (SELECT id FROM incoming)"
    query = f"SELECT told, {ALERT_COLUMNS} FROM alerts WHERE {condition} ORDER BY event_time, id"  # noqa: S608  # columns of ours
    found: dict[str, tuple[Alert, int, bool]] = {}
    for told, *row in db.execute(query).fetchall():
        stored = alert_of(tuple(row))
        found[stored.alert.id] = stored.alert, stored.raised_at, told
    return found
