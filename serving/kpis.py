"""Questions to KPIs: newest values with their recent past, by window and group, each with how final it is.

Windows without any fact have no value: a series has gaps there, never zeros.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from events.clock import Clock, system_clock, to_iso
from events.errors import HeadraceError
from events.kpis import FACT_KINDS
from serving.freshness import Demand, await_fresh
from stores.kpi_settings import KpiSettings, window_of
from stores.kpis.reader import Group, KpiReader, StoredAlert, StoredKpi, StoredValue
from stores.kpis.schema import literal
from stores.log.choose import open_log
from stores.rows.base import SqlAnswer
from stores.settings import Settings

_MOST_VALUES = 1_000_000
_SECONDS = 30.0
_WHOLE, _LARGEST = 1000, 10**15
_OVERVIEW = """WITH kinds AS (
    SELECT kpi, windows, grouping, max(start) AS newest FROM kpis WHERE {windows} GROUP BY ALL
), chosen AS (
    SELECT * FROM kinds QUALIFY row_number() OVER (
        PARTITION BY kpi ORDER BY grouping <> '', len(string_split(grouping, ',')), {rank}, windows, grouping) = 1
), recent AS (
    SELECT v.kpi, v.windows, v.start, v.until, v.groups, v.value, v.count, v.late, v.stage, v.examples, v.updated_at,
        v.series, c.newest
    FROM kpis v JOIN chosen c ON v.kpi = c.kpi AND v.windows = c.windows AND v.grouping = c.grouping
    QUALIFY dense_rank() OVER (PARTITION BY v.kpi ORDER BY v.start DESC) <= {last}
), shown AS (
    SELECT kpi, series, count(*) OVER (PARTITION BY kpi) AS of_groups FROM recent WHERE start = newest
    QUALIFY row_number() OVER (PARTITION BY kpi ORDER BY count DESC, series) = 1
)
SELECT of_groups, kpi, windows, epoch_ms(start), epoch_ms(until), groups, value, count, late, stage, examples,
    epoch_ms(updated_at) FROM recent JOIN shown USING (kpi, series) ORDER BY kpi, start"""
"""The last values of each KPI: of its total, else of the group of most facts, in its shortest windows.

One statement, so that the writer waits for one reader only."""


class Series(msgspec.Struct, frozen=True):
    """A KPI over its last windows, for one group.

    :arg newest: Its value in the newest window that it has one in.
    :arg past: Values of the last windows, oldest first; None where there is none.
    """

    newest: StoredValue
    past: tuple[float | None, ...]

    @property
    def trend(self) -> int:
        """Whether the newest value is above (1) or below (-1) the median of those before it; 0: neither."""
        known = [value for value in self.past if value is not None]
        before = sorted(known[:-1])
        if not before or self.newest.value is None:
            return 0
        half = len(before) // 2
        middle = before[half] if len(before) % 2 else (before[half - 1] + before[half]) / 2
        return (self.newest.value > middle) - (self.newest.value < middle)


class Line(msgspec.Struct, frozen=True):
    """A KPI in an overview of all.

    :arg series: None if it has no values (yet).
    :arg groups: How many groups have a value in the newest window, where it has no total: `series` is one of these.
    """

    kpi: str
    window: str
    series: Series | None = None
    groups: int = 0


class Kpis:
    """Reads KPIs.

    :arg settings: Units, and which values are good.
    """

    def __init__(self, settings: Settings, reader: KpiReader) -> None:
        self.reader = reader
        self._whole = settings
        self._feedback = settings.feedback
        self._settings = {kpi.name: kpi for kpi in settings.feedback.all_kpis()}

    @classmethod
    def of(cls, settings: Settings) -> Kpis:
        """Read the KPIs of `settings`; nothing is opened before it is asked."""
        return cls(settings, KpiReader(settings.kpis_path))

    def sql(
        self, statement: str, *, rows: int, seconds: float, demand: Demand, clock: Clock = system_clock
    ) -> SqlAnswer:
        """Run one reading statement over facts, KPIs and alerts; see `KpiReader.sql`.

        :arg demand: How fresh the store must be; waits for it.
        :raises StaleError: When it does not become so.
        :raises HeadraceError: When a position is demanded: feedback has none; or when there is no store yet.
        """
        if demand.position:
            detail = "feedback has no positions of a database"
            raise HeadraceError(detail, "use --max-age")
        if demand.max_age is not None:
            log = open_log(self._whole)
            streams = [stream.name for stream in self._feedback.streams]
            await_fresh(demand, self.reader.applied, lambda: {name: log.partitions(name) for name in streams}, clock)
        if not self.reader.path.exists():
            detail = f"there is no store of KPIs yet: {self.reader.path}"
            raise HeadraceError(detail, "start the flow: `headrace run feedback`")
        return self.reader.sql(statement, rows=rows, seconds=seconds)

    def overview(self, window: str = "", last: int = 30) -> list[Line]:
        """Return each KPI's total (or its largest group, where it has no total), in its shortest windows by default.

        KPIs of the settings that have no values are there, too; those that only the store knows come last.

        :raises HeadraceError: When no KPI has such windows.
        """
        of_kpi = {name: self._windows(kpi) for name, kpi in self._settings.items()}
        known = sorted({text for texts in of_kpi.values() for text in texts}, key=length)
        if window and window not in known:
            known = sorted({*known, *(one.window for one in self.reader.kpis())}, key=length)
            if window not in known:
                detail = f"no KPI has windows of {window!r}"
                raise HeadraceError(detail, f"there are: {', '.join(known)}")
        found = self._newest(window, known, last)
        lines = [
            found.pop(name) if name in found else Line(name, window or texts[0])
            for name, texts in of_kpi.items()
            if name in found or window in {"", *texts}
        ]
        return [*lines, *found.values()]

    def windows_of(self, name: str) -> list[str]:
        """Return the kinds of window that the settings give a KPI, the shortest first; none if there is no such KPI."""
        kpi = self._settings.get(name)
        return [] if kpi is None else self._windows(kpi)

    def _windows(self, kpi: KpiSettings) -> list[str]:
        texts = sorted(kpi.windows or self._feedback.windows, key=length)
        # Sessions have no SQL.
        return [text for text in texts if kpi.aggregate != "sql" or window_of(text).step] or texts

    def _newest(self, window: str, known: Sequence[str], last: int) -> dict[str, Line]:
        ranks = " ".join(f"WHEN {literal(text)} THEN {rank}" for rank, text in enumerate(known))
        query = _OVERVIEW.format(
            windows=f"windows = {literal(window)}" if window else "true",
            rank=f"CASE windows {ranks} ELSE {len(known)} END" if known else "0",
            last=last,
        )
        values: dict[str, list[StoredValue]] = {}
        groups: dict[str, int] = {}
        for row in self.reader.sql(query, rows=_MOST_VALUES, seconds=_SECONDS).rows:
            of_groups, kpi, kind, start, end, group, value, count, late, stage, examples, updated_at = row
            groups[kpi] = of_groups if group else 0
            of_group = tuple(group.items())
            stored = StoredValue(
                kpi, kind, start, end, of_group, value, count, late, stage, tuple(examples), updated_at
            )  # fmt: skip
            values.setdefault(kpi, []).append(stored)
        return {kpi: Line(kpi, of[-1].window, _series(of, last), groups[kpi]) for kpi, of in values.items()}

    def lacks_streams(self) -> bool:
        """Tell whether the settings name no streams of feedback."""
        return not self._feedback.streams

    def is_empty(self) -> bool:
        """Tell whether there are no facts at all."""
        counts = self.reader.counts()
        return not any(counts.get(kind) for kind in FACT_KINDS)

    def series(
        self, kpi: str, *, window: str = "", by: Sequence[str] = (), where: Mapping[str, str] | None = None, last: int
    ) -> list[Series]:
        """Return the series of a KPI, by group, those of most facts first.

        :arg window: Kind of window; default: the shortest.
        :arg last: How many windows back from the newest one.
        :raises HeadraceError: When there is no such KPI, window or grouping.
        """
        chosen = self.choose(kpi, window, [*by, *(where or {})])
        values = self.values(kpi, window=chosen.window, by=chosen.grouping, where=where, last=last)
        groups: dict[Group, list[StoredValue]] = {}
        for value in values:
            groups.setdefault(value.group, []).append(value)
        starts = grid(chosen.window, values, last)
        found = [_over(of_group, starts) for of_group in groups.values()]
        return sorted(found, key=lambda series: (-series.newest.start, -series.newest.count, series.newest.group))

    def values(
        self, kpi: str, *, window: str = "", by: Sequence[str] = (), where: Mapping[str, str] | None = None, last: int
    ) -> list[StoredValue]:
        """Return values of a KPI's last windows, oldest first; arguments as of `series`."""
        chosen = self.choose(kpi, window, [*by, *(where or {})])
        step = window_of(chosen.window).step
        return self.reader.values(
            kpi,
            window=chosen.window,
            grouping=chosen.grouping,
            where=where,
            since=chosen.newest - (last - 1) * step if step else None,
            last=last,
        )

    def choose(self, kpi: str, window: str, fields: Sequence[str]) -> StoredKpi:
        """Return which windows and grouping of a KPI are meant.

        :raises HeadraceError: When there are no such ones, naming those that are there.
        """
        stored = self.reader.kpis()
        mine = [one for one in stored if one.kpi == kpi]
        if not mine:
            names = sorted({one.kpi for one in stored} | self._settings.keys())
            if kpi in names:
                detail = f"the KPI {kpi!r} has no values yet"
                raise HeadraceError(detail, self._why_none(kpi))
            close = difflib.get_close_matches(kpi, names, n=1)
            detail = f"there is no KPI {kpi!r}"
            raise HeadraceError(detail, f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}")
        windows = sorted({one.window for one in mine}, key=length)
        if window and window not in windows:
            detail = f"the KPI {kpi!r} has no windows of {window!r}"
            raise HeadraceError(detail, f"it has: {', '.join(windows)}")
        wanted = set(fields)
        fitting = [one for one in mine if one.window == (window or windows[0]) and set(one.grouping) == wanted]
        if not fitting and not wanted:
            fitting = sorted(
                (one for one in mine if one.window == (window or windows[0])), key=lambda one: len(one.grouping)
            )
        if not fitting:
            has = dict.fromkeys(" and ".join(one.grouping) or "the total" for one in mine)
            detail = f"the KPI {kpi!r} is not grouped by {' and '.join(fields)}"
            raise HeadraceError(detail, f"it has: {', '.join(has)}; more by `by` of [[feedback.kpis]]")
        return fitting[0]

    def _why_none(self, name: str) -> str:
        if self.is_empty():
            return "there are no facts at all: start the flow, `headrace run feedback`"
        kpi = self._settings[name]
        count = self.reader.counts().get(kpi.facts, 0)
        if not count:
            return f"no {kpi.facts} have come yet; `headrace status` shows what has"
        needs = ["that fulfil its `where`"] if kpi.where else []
        needs += [f"with a known {field!r}" for field in ([kpi.of] if kpi.of else kpi.hits)]
        if kpi.aggregate == "sql":
            return f"its SQL returns nothing for the {kpi.facts} that have come"
        if not needs:
            return f"it counts {kpi.facts} of windows that begin from here on"
        return f"it counts {kpi.facts} {' and '.join(needs)}: there are none of these"

    def written(self, value: StoredValue) -> str:
        """Write a value with its unit."""
        return written(value.value, self._settings.get(value.kpi), self._feedback.currency)

    def goodness(self, series: Series) -> int:
        """Tell whether the newest value is better (1) or worse (-1) than before; 0 if that cannot be said."""
        better = getattr(self._settings.get(series.newest.kpi), "better", "")
        return series.trend * {"high": 1, "low": -1}.get(better, 0)


def written(value: float | None, kpi: KpiSettings | None, currency: str) -> str:
    """Write a value for people: shares in percent, whole and large numbers whole, others to four digits."""
    if value is None:
        return "-"
    if kpi is not None and kpi.aggregate == "share" and not kpi.unit:
        return f"{value:.1%}".replace("%", " %")
    unit = "" if kpi is None else kpi.unit or (currency if kpi.of == "cost" else "")
    whole = math.isfinite(value) and (value == int(value) or abs(value) >= _WHOLE) and abs(value) < _LARGEST
    text = f"{value:,.0f}" if whole else f"{value:,.4g}"
    return f"{text} {unit}".rstrip()


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise what DuckDB makes of an interrupt by the user, a RuntimeError, as what it is."""
    try:
        yield
    except RuntimeError as error:
        if str(error) != "Query interrupted":
            raise
        raise KeyboardInterrupt from None


def _series(values: Sequence[StoredValue], last: int) -> Series:
    return _over(values, grid(values[-1].window, values, last))


def _over(values: Sequence[StoredValue], starts: Sequence[int]) -> Series:
    at = {value.start: value.value for value in values}
    return Series(values[-1], tuple(at.get(start) for start in starts))


def length(window: str) -> tuple[bool, int, str]:
    """Order kinds of windows: shortest first, sessions last."""
    _, size, _, gap = window_of(window)
    return bool(gap), size + gap, window


def grid(window: str, values: Sequence[StoredValue], last: int) -> list[int]:
    """Return the begins of the last windows, oldest first: all that there could be, of sessions those that were."""
    starts = sorted({value.start for value in values})
    step = window_of(window).step
    if not step or not starts:
        return starts[-last:]
    first = max(starts[0], starts[-1] - (last - 1) * step)
    return list(range(first, starts[-1] + 1, step))


def value_json(value: StoredValue) -> dict[str, Any]:
    """Return a value as plain data for other programs: times in ISO 8601."""
    return {
        "kpi": value.kpi,
        "window": value.window,
        "start": to_iso(value.start),
        "end": to_iso(value.end),
        "group": dict(value.group),
        "value": value.value,
        "count": value.count,
        "late": value.late,
        "stage": value.stage,
        "examples": list(value.examples),
        "updated_at": to_iso(value.updated_at),
    }


def alert_json(stored: StoredAlert) -> dict[str, Any]:
    """Return an alert as plain data for other programs: times in ISO 8601."""
    alert = stored.alert
    return {
        "id": alert.id,
        "rule": alert.rule or None,
        "kind": alert.kind,
        "severity": alert.severity,
        "state": alert.state,
        "since": to_iso(alert.since or alert.event_time),
        "event_time": to_iso(alert.event_time),
        "subject": alert.subject,
        "text": alert.text,
        "expected": alert.expected or None,
        "actual": alert.actual,
        "group": alert.group,
        "documents": list(alert.documents),
        "rows": alert.rows or None,
        "raised_at": to_iso(stored.raised_at),
        "updated_at": to_iso(stored.updated_at),
    }
