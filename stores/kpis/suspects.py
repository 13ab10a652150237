"""Which documents the answers behind an alert were given from, and which rows are behind it.

A document is suspicious if answers that were shown it are bad far more often in the alert's windows than answers that
were shown the same document before: by the lower bound of the difference of the two shares, so that few answers never
suffice (Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10: from the
two intervals of Wilson). The most suspicious is the one that accounts for the most bad answers: that bound times how
many answers were shown it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from events.alerts import Alert
from events.clock import to_iso
from events.kpis import FIELDS
from stores.feedback_settings import FeedbackSettings
from stores.kpi_settings import KpiSettings, Where, window_of
from stores.kpis.conditions import column_of, predicate
from stores.kpis.schema import literal

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST = 3
"""Documents that an alert names."""
LEAST_BAD = 3
"""Bad answers of the alert's own group that a document must have been shown for."""
LEAST_BEFORE = 5
"""Earlier answers from a document that suffice to compare with; if there are fewer, it is all other answers."""
LEAST_RISE = 0.1
"""By how much the share of bad answers must have risen, at the least."""
BEFORE = 7 * 86_400_000
"""Milliseconds before the alert's windows that are looked at."""
Z = 1.645
"""Of the normal distribution: one-sided 95 %."""
_QUALITY = {"bad", "good", "score", "value", "category", "stale"}
_DISSATISFIED = "dissatisfied"
_LONGEST = 200
_BESIDE = 3_600_000
"""Milliseconds of a metric that are shown before what is abnormal in it."""


class Suspect(NamedTuple):
    """A document; how many of the answers that were shown it are bad, and how many were of those to compare with."""

    document: str
    bad: int
    answers: int
    bad_before: int
    answers_before: int
    own: bool
    rise: float


def explained(db: DuckDBPyConnection, alert: Alert, settings: FeedbackSettings, *, search: bool = True) -> Alert:
    """Return the alert with the documents behind it, the most suspicious first, and SQL for the rows behind it.

    :arg search: Whether there is time to look for documents.
    """
    kpi = _kpi_of(alert, settings)
    if kpi is None:
        return alert if alert.rows or not alert.subject else msgspec.structs.replace(alert, rows=_rows_of_metric(alert))
    begin, end = span_of(alert, _window_of(alert, kpi, settings))
    alert = msgspec.structs.replace(alert, rows=alert.rows or _rows(alert, kpi, begin, end))
    fields = {kpi.of, *kpi.where, *kpi.hits}
    judged = kpi.facts in {"answers", "ratings", "comments"} and bool(fields & _QUALITY)
    if alert.documents or not judged or not search:
        return alert
    horizon = round(settings.horizon_hours * 3_600_000)
    found = suspects(db, _group(alert, kpi.facts), kpi, (begin, end), horizon)
    if not found:
        return alert
    return msgspec.structs.replace(
        alert, text=f"{alert.text}; {_said(found[0])}", documents=tuple(suspect.document for suspect in found)
    )


def suspects(db: DuckDBPyConnection, mine: str, kpi: KpiSettings, span: tuple[int, int], horizon: int) -> list[Suspect]:
    """Return the documents whose answers turned bad in the span of time, the most suspicious first.

    :arg mine: The condition that facts of the alert's group fulfil.
    """
    begin, end = span
    judged = _judged(kpi, begin - BEFORE, end, horizon, mine)
    counts = db.execute(
        f"""WITH judged AS ({judged}),
        shown AS (SELECT unnest(documents) AS document, time >= {_moment(begin)} AS late, bad, mine FROM judged)
        SELECT document, count(*) FILTER (late AND mine AND bad), count(*) FILTER (late AND bad),
            count(*) FILTER (late), count(*) FILTER (NOT late AND bad), count(*) FILTER (NOT late)
        FROM shown GROUP BY document
        UNION ALL SELECT NULL, 0, count(*) FILTER (late AND bad), count(*) FILTER (late),
            count(*) FILTER (NOT late AND bad), count(*) FILTER (NOT late)
        FROM (SELECT time >= {_moment(begin)} AS late, bad FROM judged)"""  # noqa: S608  # made of settings; values are quoted
    ).fetchall()
    ((_, _, all_bad, all_late, all_bad_before, all_before),) = [row for row in counts if row[0] is None]
    found: list[tuple[float, int, str, Suspect]] = []
    for document, own_bad, bad, answers, bad_before, before in counts:
        if document is None or own_bad < LEAST_BAD:
            continue
        own = before >= LEAST_BEFORE
        others = (bad_before, before) if own else (all_bad_before + all_bad - bad, all_before + all_late - answers)
        rise = least_rise(bad, answers, *others)
        if rise >= LEAST_RISE:
            found.append((-rise * answers, -own_bad, document, Suspect(document, bad, answers, *others, own, rise)))
    return [suspect for *_, suspect in sorted(found)[:MOST]]


def least_rise(bad: int, answers: int, bad_before: int, before: int) -> float:
    """Return by how much a share has risen at the least: the lower bound of the difference of two proportions."""
    if not answers or not before:
        return -1.0
    share, share_before = bad / answers, bad_before / before
    low, _ = wilson(bad, answers)
    _, high_before = wilson(bad_before, before)
    return share - share_before - math.hypot(share - low, high_before - share_before)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return Wilson's interval of a proportion (1927), at `Z`."""
    share = hits / count
    middle = share + Z * Z / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    return (middle - half) / (1 + Z * Z / count), (middle + half) / (1 + Z * Z / count)


def span_of(alert: Alert, window: str) -> tuple[int, int]:
    """Return begin and end of the windows that an alert is about."""
    _, size, step, gap = window_of(window)
    since = alert.since or alert.event_time
    if gap:
        return since - gap, alert.event_time + gap
    return since - since % step, alert.event_time - alert.event_time % step + size


def _said(suspect: Suspect) -> str:
    now = f"{suspect.bad} of {suspect.answers} bad"
    before = f"{'before' if suspect.own else 'of all others'} {suspect.bad_before} of {suspect.answers_before}"
    return f"most often after being shown {suspect.document} ({now}, {before})"


def _kpi_of(alert: Alert, settings: FeedbackSettings) -> KpiSettings | None:
    kpis = {kpi.name: kpi for kpi in settings.all_kpis()}
    rule = next((rule for rule in settings.all_alerts() if rule.name == alert.rule), None)
    if rule is not None:
        return kpis.get(rule.kpi)
    return kpis.get(next(iter(_subject(alert)), ""))


def _window_of(alert: Alert, kpi: KpiSettings, settings: FeedbackSettings) -> str:
    windows = kpi.windows or settings.windows
    said = _subject(alert)[1:2]
    return said[0] if said and said[0] in windows else windows[0]


def _subject(alert: Alert) -> list[str]:
    """Return KPI and kind of window of a series, as far as the alert's subject is one."""
    try:
        said = msgspec.json.decode(alert.subject)
    except msgspec.DecodeError:
        return []
    return [text for text in said[:2] if isinstance(text, str)] if isinstance(said, list) else []


def _judged(kpi: KpiSettings, begin: int, end: int, horizon: int, mine: str) -> str:
    """Return a SELECT of answers that somebody has said something of: time, bad, documents, of the alert's group."""
    within = f"time >= {_moment(begin)} AND time < {_moment(end)}"
    if kpi.facts == "answers":
        return f"SELECT time, bad, documents, {mine} AS mine FROM answers WHERE {within} AND rated"  # noqa: S608
    said = "bad" if kpi.facts == "ratings" else f"category IN ({_bad_categories(kpi)})"
    return f"""SELECT f.time, f.bad, a.documents, f.mine
        FROM (SELECT time, {said} AS bad, {mine} AS mine, conversation, turn FROM {kpi.facts}
              WHERE {within}{" AND category IS NOT NULL" if kpi.facts == "comments" else ""}) f
        JOIN (SELECT conversation, turn, documents FROM answers WHERE time >= {_moment(begin - horizon)}) a
        ON f.conversation = a.conversation AND f.turn = a.turn"""  # noqa: S608  # made of settings; values are quoted


def _bad_categories(kpi: KpiSettings) -> str:
    conditions: Where = {**kpi.where, **kpi.hits}
    said = conditions.get("category")
    values = said if isinstance(said, tuple) else (said,)
    named = [value for value in values if isinstance(value, str)] if kpi.better == "low" else []
    return ", ".join(map(literal, named or [_DISSATISFIED]))


def _group(alert: Alert, kind: str) -> str:
    """Return the condition that facts of the alert's group fulfil."""
    parts = []
    for field, value in alert.group.items():
        if field not in FIELDS[kind] and kind != "points":
            continue
        column, type_ = column_of(kind, field), FIELDS[kind].get(field, str)
        if type_ is tuple:
            parts.append(f"list_contains({column}, {literal(value)})" if value else f"len(coalesce({column}, [])) = 0")
        else:
            parts.append(f"left(coalesce({column}::VARCHAR, ''), {_LONGEST}) = {literal(value)}")
    return f"({' AND '.join(parts) or 'true'})"


def _rows(alert: Alert, kpi: KpiSettings, begin: int, end: int) -> str:
    place = f"feedback.kpis, {kpi.name}"
    parts = [f"time >= {_shown(begin)}", f"time < {_shown(end)}"]
    conditions = [predicate(kpi.facts, kpi.where, place), predicate(kpi.facts, kpi.hits, place)]
    conditions.append(_group(alert, kpi.facts)[1:-1])
    parts += [part for part in conditions if part != "true"]
    return f"SELECT * FROM {kpi.facts} WHERE {' AND '.join(parts)} ORDER BY time"  # noqa: S608  # values are quoted


def _rows_of_metric(alert: Alert) -> str:
    begin = min(alert.since or alert.event_time, alert.event_time) - _BESIDE
    within = f"time >= {_shown(begin)} AND time <= {_shown(alert.event_time)}"
    return f"SELECT * FROM points WHERE series = {literal(alert.subject)} AND {within} ORDER BY time"  # noqa: S608  # values are quoted


def _moment(millis: int) -> str:
    return f"make_timestamptz({millis * 1000})"


def _shown(millis: int) -> str:
    return f"'{to_iso(millis)}'"
