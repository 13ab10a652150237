"""Questions to facts, KPIs and alerts: each opens the file, reads one commit, and closes it at once.

A store that has not been made is empty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from events.alerts import Alert
from events.kpis import FACT_KINDS, FIELDS
from events.log import Applied
from stores.kpis.file import READER_SECONDS, open_for_reading
from stores.kpis.schema import CONVERSATIONAL
from stores.kpis.statement import answer
from stores.rows.base import SqlAnswer

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Stage = Literal["early", "final", "corrected"]
Group = tuple[tuple[str, str], ...]

_PERSONS = " UNION ALL ".join(
    f"SELECT conversation, person FROM {kind} WHERE person <> ''"  # noqa: S608  # names of ours
    for kind in CONVERSATIONAL
    if "person" in FIELDS[kind]
)
_APPLIED = "SELECT whole FROM applied ORDER BY stream, partition"
_COUNTS = " UNION ALL ".join(
    [
        *(f"SELECT '{kind}', count(*) FROM {kind}" for kind in (*FACT_KINDS, "kpis")),  # noqa: S608  # names of ours
        "SELECT 'alerts', count(*) FROM alerts WHERE state = 'raised'",
    ]
)


class StoredKpi(msgspec.Struct, frozen=True):
    """What there is of one KPI in one kind of window and one grouping.

    :arg grouping: The fields grouped by; empty for the total.
    :arg newest: Begin of the newest window (ms since epoch).
    """

    kpi: str
    window: str
    grouping: tuple[str, ...]
    rows: int
    newest: int


class StoredValue(msgspec.Struct, frozen=True):
    """What a KPI is in one window, for one group. Times are in milliseconds since 1970-01-01 UTC."""

    kpi: str
    window: str
    start: int
    end: int
    group: Group
    value: float | None
    count: int
    late: int
    stage: Stage
    examples: tuple[str, ...]
    updated_at: int


class StoredAlert(msgspec.Struct, frozen=True):
    """An alert in the store.

    :arg raised_at: When the store took it in first (ms since epoch).
    :arg updated_at: When it last changed.
    """

    alert: Alert
    raised_at: int
    updated_at: int


class KpiSummary(msgspec.Struct, frozen=True):
    """What the store holds, in one commit.

    :arg counts: As `KpiReader.counts` returns them; empty where there is no store.
    :arg too_late: Events that came after the horizon.
    """

    applied: tuple[Applied, ...] = ()
    counts: dict[str, int] = {}
    too_late: int = 0


class KpiReader:
    """The reader. Threads and processes may each have one, or share it.

    :arg path: The file; an absent one is empty.
    :arg seconds: How long to wait for the writer.
    """

    def __init__(self, path: Path, seconds: float = READER_SECONDS) -> None:
        self.path = path
        self._seconds = seconds

    def kpis(self) -> list[StoredKpi]:
        """Return what KPIs there are, in which windows and groupings, by name."""
        query = """SELECT kpi, windows, grouping, count(*), epoch_ms(max(start)) FROM kpi_values
            GROUP BY ALL ORDER BY ALL"""
        return [
            StoredKpi(kpi, window, fields_of(grouping), rows, newest)
            for kpi, window, grouping, rows, newest in self._rows(query)
        ]

    def values(
        self,
        kpi: str = "",
        *,
        window: str = "",
        grouping: tuple[str, ...] | None = None,
        where: Mapping[str, str] | None = None,
        since: int | None = None,
        until: int | None = None,
        last: int | None = None,
    ) -> list[StoredValue]:
        """Return values in the order of KPI, kind of window, begin and group; all that fulfil what is given.

        :arg grouping: Fields grouped by; empty for the total.
        :arg where: Values of those fields.
        :arg since: Windows that begin then or later (ms since epoch).
        :arg until: Windows that begin earlier.
        :arg last: Of each KPI and kind of window, only so many of the newest begins that are there.
        """
        wanted: list[str] = []
        given: list[object] = []
        for condition, value in (
            ("kpi = ?", kpi or None),
            ("windows = ?", window or None),
            ("grouping = ?", None if grouping is None else ",".join(grouping)),
            ("start >= make_timestamptz(?::BIGINT)", None if since is None else since * 1000),
            ("start < make_timestamptz(?::BIGINT)", None if until is None else until * 1000),
        ):
            if value is not None:
                wanted.append(condition)
                given.append(value)
        for field, value in (where or {}).items():
            wanted.append("groups[?] = ?")
            given += [field, value]
        query = f"""SELECT kpi, windows, epoch_ms(start), epoch_ms(until), map_entries(groups), value, count, late,
            stage, examples, epoch_ms(updated_at) FROM kpis WHERE {" AND ".join(wanted) or "true"}"""  # noqa: S608  # conditions of ours, values are given apart
        if last is not None:
            query += " QUALIFY dense_rank() OVER (PARTITION BY kpi, windows ORDER BY start DESC) <= ?"
            given.append(last)
        return [_value(row) for row in self._rows(f"{query} ORDER BY kpi, windows, start, series", given)]

    def alerts(self, *, over: bool = True, since: int | None = None, limit: int = 1000) -> list[StoredAlert]:
        """Return alerts, those that happened last first.

        :arg over: Also those that have come to their end.
        :arg since: Those that the store has changed then or later (ms since epoch).
        """
        query = f"""SELECT {ALERT_COLUMNS} FROM alerts WHERE (? OR state = 'raised') AND epoch_ms(updated_at) >= ?
            ORDER BY event_time DESC, id LIMIT ?"""  # noqa: S608  # columns of ours
        return [alert_of(row) for row in self._rows(query, [over, -(2**62) if since is None else since, limit])]

    def persons(self) -> list[str]:
        """Return all persons that facts name, as they name them."""
        return [person for (person,) in self._rows(f"SELECT DISTINCT person FROM ({_PERSONS}) ORDER BY person")]  # noqa: S608  # ours

    def conversations_of(self, persons: Sequence[str]) -> list[str]:
        """Return the conversations of which facts name one of these persons."""
        query = f"""SELECT DISTINCT conversation FROM ({_PERSONS})
            WHERE person IN (SELECT unnest(?::VARCHAR[])) ORDER BY conversation"""  # noqa: S608  # ours
        return [conversation for (conversation,) in self._rows(query, [list(persons)])]

    def facts_of(self, conversations: Sequence[str]) -> int:
        """Return how many facts there are of these conversations."""
        parts = [
            f"SELECT count(*) AS count FROM {kind} WHERE conversation IN (SELECT unnest(?::VARCHAR[]))"  # noqa: S608  # names of ours
            for kind in CONVERSATIONAL
        ]
        query = f"SELECT sum(count)::BIGINT FROM ({' UNION ALL '.join(parts)})"  # noqa: S608  # as above
        return sum(count for (count,) in self._rows(query, [list(conversations)] * len(parts)))

    def erased(self, erasure: str) -> int:
        """Return how many facts an erasure has removed."""
        found = self._rows("SELECT facts FROM erased WHERE id = ?", [erasure])
        return sum(count for (count,) in found)

    def texts(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the beginnings of comments by their ids, of those that are there."""
        if not ids:
            return {}
        return dict(self._rows("SELECT id, text FROM comments WHERE list_contains(?::VARCHAR[], id)", [list(ids)]))

    def applied(self) -> list[Applied]:
        """Return how far the store has taken in each partition of each stream."""
        rows = self._rows(_APPLIED)
        return [msgspec.json.decode(whole, type=Applied) for (whole,) in rows]

    def frontier(self) -> int | None:
        """Return the event time up to which everything has come (ms since epoch); None before that is known."""
        return next((frontier for (frontier,) in self._rows("SELECT frontier FROM headrace_store")), None)

    def late(self) -> list[tuple[str, str, int]]:
        """Return, for each stream and partition that had any, how many events came after the horizon."""
        query = "SELECT stream, partition, sum(count)::BIGINT FROM too_late GROUP BY ALL ORDER BY ALL"
        return [(stream, partition, count) for stream, partition, count in self._rows(query)]

    def counts(self) -> dict[str, int]:
        """Return how many facts of each kind, values of KPIs (`kpis`) and standing alerts (`alerts`) there are."""
        return dict(self._rows(_COUNTS))

    def summary(self) -> KpiSummary:
        """Return marks and counts, for which the file is opened only once."""
        with open_for_reading(self.path, self._seconds) as db:
            if db is None:
                return KpiSummary()
            marks = _fetch(db, _APPLIED, None)
            ((too_late,),) = _fetch(db, "SELECT coalesce(sum(count), 0)::BIGINT FROM too_late", None)
            applied = tuple(msgspec.json.decode(whole, type=Applied) for (whole,) in marks)
            return KpiSummary(applied, dict(_fetch(db, _COUNTS, None)), too_late)

    def sql(self, statement: str, *, rows: int = 100, seconds: float = 5.0) -> SqlAnswer:
        """Run one reading statement; nothing but this file can be reached by it. Moments come as ISO 8601 text in UTC.

        :arg rows: How many rows are returned at most.
        :raises RejectedError: When it is not one reading statement, names what is not there, or takes longer than
            `seconds`; with the database's reason.
        """
        with open_for_reading(self.path, self._seconds) as db:
            if db is None:
                return SqlAnswer((), [], cut=False)
            return answer(db, statement, rows=rows, seconds=seconds)

    def _rows(self, query: str, given: list[object] | None = None) -> list[tuple[Any, ...]]:
        with open_for_reading(self.path, self._seconds) as db:
            return [] if db is None else _fetch(db, query, given)


def fields_of(grouping: str) -> tuple[str, ...]:
    """Read the fields of a grouping, as the store has them in one text."""
    return tuple(grouping.split(",")) if grouping else ()


def _fetch(db: DuckDBPyConnection, query: str, given: list[object] | None) -> list[tuple[Any, ...]]:
    return db.execute(query, given or []).fetchall()


def _value(row: tuple[Any, ...]) -> StoredValue:
    kpi, window, start, end, groups, value, count, late, stage, examples, updated_at = row
    group = tuple((entry["key"], entry["value"]) for entry in groups)
    return StoredValue(kpi, window, start, end, group, value, count, late, stage, tuple(examples), updated_at)


ALERT_COLUMNS = """id, kind, subject, text, epoch_ms(event_time), severity, state, coalesce(epoch_ms(since), 0), rule,
    expected, actual, groups, documents, "rows", epoch_ms(raised_at), epoch_ms(updated_at)"""


def alert_of(row: tuple[Any, ...]) -> StoredAlert:
    """Return the alert that a row of `ALERT_COLUMNS` holds."""
    *head, actual, groups, documents, rows, raised_at, updated_at = row
    id_, kind, subject, text, event_time, severity, state, since, rule, expected = head
    alert = Alert(
        id_, kind, subject, text, event_time, severity, state, since, rule, expected, actual, dict(groups),
        tuple(documents), rows,
    )  # fmt: skip
    return StoredAlert(alert, raised_at, updated_at)
