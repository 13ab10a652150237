"""Looks at all stores, the log and the flows, again and again, at little cost.

A look never waits long: what cannot be had at this moment is told as such, and with it the last that was known. What is
told of lag is at most too great, never too small, as marks that are some seconds old claim less than newer ones.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any

from events.clock import Clock, to_iso
from events.log import Applied
from serving.lake import lake_status
from serving.overview.panel import Panel
from serving.overview.sources import Sources
from serving.overview.state import Overview
from serving.runs import runs, with_work
from stores.capture.places import Place, Places
from stores.dead_letters import DeadLetters
from stores.delivery.outbox import read_applied as taken
from stores.kpis.reader import KpiReader, KpiSummary
from stores.lake.working_size import read_applied
from stores.log.choose import open_log
from stores.profiles.choose import open_profile_reader
from stores.rows.choose import open_row_reader
from stores.settings import FLOWS, Settings
from stores.vectors.choose import open_vector_reader

ALLOWANCE = 64 * 2**20
"""How much of the log is read at one look to count what waits: some ten milliseconds' worth."""
KPI_MILLIS = 2_000
"""The file of KPIs is opened no more often than this: its writer waits for readers."""
KPI_SECONDS = 0.5
_COUNT_MILLIS = 1_000
_COUNTED = {"documents": "knowledge", "tables": "tables", "persons": "profiles", "lake": "lake"}
"""Whose store each count is of."""


class Watch:
    """Looks at everything. Threads may share it; those that come while another one looks share the next look.

    :arg settings: Where everything is.
    :arg allowance: How much of the log a look at a flow may read to count events, in offsets.
    :arg kpi_seconds: How long to wait for the writer of the KPIs.
    :arg flows: Only these, their sources and their stores are looked at.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        allowance: int = ALLOWANCE,
        kpi_seconds: float = KPI_SECONDS,
        flows: Collection[str] = FLOWS,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._flows = [flow for flow in FLOWS if flow in flows]
        self._rows = open_row_reader(settings)
        self._profiles = open_profile_reader(settings)
        self._vectors = open_vector_reader(settings)
        kpis = KpiReader(settings.kpis_path, kpi_seconds)
        letters = DeadLetters(settings.dead_letters_path, clock)
        self._sources = Sources(settings, open_log(settings), allowance)
        self._marks: dict[str, Panel[list[Applied]]] = {  # those of feedback come with the KPIs
            "knowledge": Panel(self._vectors.applied),
            "tables": Panel(self._rows.applied),
            "profiles": Panel(self._profiles.applied),
            "lake": Panel(lambda: read_applied(settings.conversations_path)),
            "delivery": Panel(lambda: _delivered(settings)),
        }
        self._kpis: Panel[KpiSummary] = Panel(kpis.summary, KPI_MILLIS)
        self._counts: dict[str, Panel[dict[str, Any]]] = {
            "documents": Panel(
                lambda: dict(zip(("documents", "pieces"), self._vectors.totals(), strict=True)), _COUNT_MILLIS
            ),
            "tables": Panel(lambda: {"tables": _tables(self._rows.counts())}, _COUNT_MILLIS),
            "persons": Panel(
                lambda: dict(zip(("records", "persons"), self._profiles.totals(), strict=True)), _COUNT_MILLIS
            ),
            "lake": Panel(lambda: {"lake": _lake(settings)}, _COUNT_MILLIS),
        }
        self._places: Panel[dict[str, Place]] = Panel(Places(settings.places_path).read)
        self._marks = {flow: panel for flow, panel in self._marks.items() if flow in flows}
        self._counts = {what: panel for what, panel in self._counts.items() if _COUNTED[what] in flows}
        self._letters: Panel[dict[str, int]] = Panel(letters.counts)
        self._turn = threading.Lock()
        self._begun = 0
        self._last: tuple[int, Overview] | None = None

    def look(self) -> Overview:
        """Return how everything stands: not before this call."""
        arrived = self._begun
        with self._turn:
            if self._last is not None and self._last[0] > arrived:
                return self._last[1]
            self._begun += 1
            overview = self._look()
            self._last = (self._begun, overview)
            return overview

    def close(self) -> None:
        """Let go of the stores."""
        self._rows.close()
        self._profiles.close()
        self._vectors.close()

    def _look(self) -> Overview:
        settings = self._settings
        panels: dict[str, Panel[Any]] = {
            **self._counts,
            "dead letters": self._letters,
            "captures": self._places,
        }
        if "feedback" in self._flows:
            panels["feedback"] = self._kpis
        panels |= {f"marks of {flow}": panel for flow, panel in self._marks.items()}
        found = {name: panel.look(self._clock()) for name, panel in panels.items()}
        kpis: KpiSummary | None = found.get("feedback")
        places: dict[str, Place] = found["captures"] or {}
        self._sources.know(places)
        found["marks of capture"] = [_mark(tap, place) for tap, place in places.items()]
        marks = {flow: tuple(self._of(flow, found)) for flow in self._flows}
        running = frozenset(flow for flow in self._flows if runs(flow, settings.data_dir))
        # Only now, for a look may take its time; and marks go before the log, so that what comes in between waits.
        now = self._clock()
        sources = [
            state
            for flow in self._flows
            for state in self._sources.look(flow, marks[flow], now, running=flow in running)
        ]
        unavailable = {name: panel.failed for name, panel in panels.items() if panel.failed}
        if self._sources.failed:
            unavailable["log"] = self._sources.failed
        stores = {name: value for panel in self._counts for name, value in (found[panel] or {}).items()}
        if kpis is not None:
            stores |= {"feedback": kpis.counts, "too_late": kpis.too_late}
        wanted = set(with_work(settings)) & set(self._flows)
        if not any(source.flow == "knowledge" for source in sources):
            wanted.discard("knowledge")  # its one stream is there by default, and nobody uses it
        return Overview(
            at=now,
            sources=tuple(sources),
            running=running,
            wanted=frozenset(wanted),
            marks=marks,
            stores=stores,
            dead_letters={flow: many for flow, many in (found["dead letters"] or {}).items() if flow in self._flows},
            alerts=None if kpis is None else kpis.counts.get("alerts", 0),
            ages={name: max(0, now - panel.at) for name, panel in panels.items() if panel.at is not None},
            unavailable=unavailable,
        )

    def _of(self, flow: str, found: dict[str, Any]) -> list[Applied]:
        kpis: KpiSummary | None = found.get("feedback")
        given = kpis and kpis.applied if flow == "feedback" else found.get(f"marks of {flow}")
        return sorted(given or (), key=lambda mark: (mark.source, mark.partition))


def _delivered(settings: Settings) -> list[Applied]:
    """Return how far each stream has been taken: where several deliveries take one, by the one that is behind."""
    found: dict[tuple[str, str], Applied] = {}
    for sink in settings.delivery.sinks:
        for mark in taken(settings.delivered_dir / f"{sink.name}.sqlite3"):
            other = found.get((mark.source, mark.partition))
            if other is None or mark.offset < other.offset:
                found[mark.source, mark.partition] = mark
    return [*found.values()]


def _mark(tap: str, place: Place) -> Applied:
    """Return a capture's place as the mark of a source that is read without partitions."""
    whole = place.true_at(place.history[-1][0]) if place.history else None
    if whole is None or not place.caught_up:
        return Applied(tap, "0", place.records, whole, place.at, False, place.at)
    return Applied(tap, "0", place.records, place.event_time, whole, True, place.at)


def _tables(counts: dict[str, tuple[int, int, int | None]]) -> dict[str, dict[str, Any]]:
    return {
        name: {"rows": live, "held": held, "newest": None if newest is None else to_iso(newest)}
        for name, (live, held, newest) in counts.items()
    }


def _lake(settings: Settings) -> dict[str, Any]:
    told = lake_status(settings).as_json()
    # Its marks are among the others, and where it lies concerns nobody who asks from afar.
    return {name: value for name, value in told.items() if name not in {"applied", "folder"}}
