"""Questions to KPIs: newest values with their recent past, by window and group, each with how final it is.

Windows without any fact have no value: a series has gaps there, never zeros.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from events.clock import Clock, system_clock, to_iso
from events.errors import HeadraceError
from serving.freshness import Demand, await_fresh
from stores.feedback_settings import KpiSettings, window_of
from stores.kpis.reader import Group, KpiReader, StoredAlert, StoredKpi, StoredValue
from stores.log.choose import open_log
from stores.rows.base import SqlAnswer
from stores.settings import Settings


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
        :raises HeadraceError: When a position is demanded: feedback has none.
        """
        if demand.position:
            detail = "feedback has no positions of a database"
            raise HeadraceError(detail, "use --max-age")
        if demand.max_age is not None:
            log = open_log(self._whole)
            streams = [stream.name for stream in self._feedback.streams]
            await_fresh(demand, self.reader.applied, lambda: {name: log.partitions(name) for name in streams}, clock)
        return self.reader.sql(statement, rows=rows, seconds=seconds)

    def overview(self, window: str = "", last: int = 30) -> list[Series]:
        """Return each KPI's total (or its first group, where it has no total), in its shortest windows by default."""
        found: list[Series] = []
        stored = self.reader.kpis()
        order = {name: place for place, name in enumerate(self._settings)}
        for name in sorted({one.kpi for one in stored}, key=lambda name: (order.get(name, len(order)), name)):
            mine = [one for one in stored if one.kpi == name and window in {"", one.window}]
            if not mine:
                continue
            first = min(mine, key=lambda one: (len(one.grouping), length(one.window), one.grouping))
            series = self.series(name, window=first.window, by=first.grouping, last=last)
            found += series[:1]
        return found

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
        found = []
        for of_group in groups.values():
            at = {value.start: value.value for value in of_group}
            found.append(Series(of_group[-1], tuple(at.get(start) for start in starts)))
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
                raise HeadraceError(detail, "start the flow: `headrace run feedback`")
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

    def written(self, value: StoredValue) -> str:
        """Write a value with its unit."""
        return written(value.value, self._settings.get(value.kpi), self._feedback.currency)

    def goodness(self, series: Series) -> int:
        """Tell whether the newest value is better (1) or worse (-1) than before; 0 if that cannot be said."""
        better = getattr(self._settings.get(series.newest.kpi), "better", "")
        return series.trend * {"high": 1, "low": -1}.get(better, 0)


def written(value: float | None, kpi: KpiSettings | None, currency: str) -> str:
    """Write a value for people: shares in percent, whole numbers whole, others to four digits."""
    if value is None:
        return "-"
    if kpi is not None and kpi.aggregate == "share" and not kpi.unit:
        return f"{value:.1%}".replace("%", " %")
    unit = "" if kpi is None else kpi.unit or (currency if kpi.of == "cost" else "")
    text = f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:,.4g}"  # noqa: PLR2004  # digits
    return f"{text} {unit}".rstrip()


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
