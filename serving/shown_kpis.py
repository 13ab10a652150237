"""KPIs and alerts as plain data for other programs, without what they say of single persons.

A KPI that is grouped by person or conversation, and the alerts on it, are for who works with the store itself.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from events.clock import to_iso
from serving.brief import Brief
from serving.errors import ForbiddenError
from serving.kpis import Kpis, Line, Series, alert_json
from stores.kpi_settings import KpiSettings, window_of
from stores.kpis.reader import StoredValue
from stores.settings import Settings

PERSONAL = frozenset({"person", "conversation"})
_LAST = 30
_MOST = 1440
_ALERTS = 200
_SECONDS = 1.0


class ShownKpis:
    """Reads KPIs and alerts for programs. Threads may share it; a dashboard more costs nothing more."""

    def __init__(self, settings: Settings) -> None:
        self._kpis = Kpis.of(settings)
        self._brief = Brief[list[dict[str, Any]]](_SECONDS, time.monotonic)
        self._settings = {kpi.name: kpi for kpi in settings.feedback.all_kpis()}

    def overview(self, window: str, last: int | None) -> list[dict[str, Any]]:
        """Return each KPI over its last windows; `value` is None where there is none yet."""
        last = min(last or _LAST, _MOST)
        return self._brief.get(
            ("overview", window, last), lambda: [self._line(line) for line in self._kpis.overview(window, last)]
        )

    def series(
        self, name: str, window: str, by: Sequence[str], where: Mapping[str, str], last: int | None
    ) -> list[dict[str, Any]]:
        """Return the series of one KPI, group by group.

        :raises ForbiddenError: When a group would be a person or a conversation.
        :raises HeadraceError: When there is no such KPI, window or grouping.
        """
        chosen = self._kpis.choose(name, window, [*by, *where])
        if PERSONAL & set(chosen.grouping):
            detail = f"the KPI {name!r} is of single persons by {' and '.join(chosen.grouping)}"
            raise ForbiddenError(detail, "ask for another grouping")
        last = min(last or _LAST, _MOST)
        found = self._kpis.series(name, window=window, by=by, where=where, last=last)
        values = self._kpis.values(name, window=window, by=by, where=where, last=last)
        of_group: dict[Any, list[StoredValue]] = {}
        for value in values:
            of_group.setdefault(value.group, []).append(value)
        return [self._series(series, of_group[series.newest.group]) for series in found]

    def alerts(self, limit: int | None) -> list[dict[str, Any]]:
        """Return alerts, those that happened last first."""
        most = min(limit or _ALERTS, 1000)

        def read() -> list[dict[str, Any]]:
            found = self._kpis.reader.alerts(limit=most)
            return [alert_json(stored) for stored in found if not PERSONAL & set(stored.alert.group)]

        return self._brief.get(("alerts", most), read)

    def _line(self, line: Line) -> dict[str, Any]:
        series = line.series
        if series is None or PERSONAL & dict(series.newest.group).keys():
            return {**self._head(line.kpi, line.window), "groups": line.groups}
        # A line has values only: of windows on a grid their begins follow from the newest one; sessions have none.
        step, count = window_of(line.window).step, len(series.past)
        starts = [series.newest.start - step * (count - 1 - place) if step else None for place in range(count)]
        shown = self._described(series, line.window) | {"groups": line.groups}
        shown["values"] = [
            {"start": None if start is None else to_iso(start), "value": value}
            for start, value in zip(starts, series.past, strict=True)
        ]
        return shown

    def _series(self, series: Series, values: Sequence[StoredValue]) -> dict[str, Any]:
        return self._described(series, series.newest.window) | {"values": list(map(_value, values))}

    def _described(self, series: Series, window: str) -> dict[str, Any]:
        newest = series.newest
        return {
            **self._head(newest.kpi, window),
            "group": dict(newest.group),
            "value": newest.value,
            "written": self._kpis.written(newest),
            "start": to_iso(newest.start),
            "end": to_iso(newest.end),
            "count": newest.count,
            "late": newest.late,
            "stage": newest.stage,
            "updated_at": to_iso(newest.updated_at),
            "trend": series.trend,
            "goodness": self._kpis.goodness(series),
        }

    def _head(self, name: str, window: str) -> dict[str, Any]:
        kpi: KpiSettings | None = self._settings.get(name)
        return {
            "kpi": name,
            "window": window,
            "group": {},
            "unit": kpi.unit if kpi else "",
            "better": kpi.better if kpi else "",
            "aggregate": kpi.aggregate if kpi else "",
            "windows": self._kpis.windows_of(name),
            "value": None,
            "written": "-",
            "values": [],
        }


def _value(value: StoredValue) -> dict[str, Any]:
    return {
        "start": to_iso(value.start),
        "end": to_iso(value.end),
        "value": value.value,
        "count": value.count,
        "late": value.late,
        "stage": value.stage,
    }
