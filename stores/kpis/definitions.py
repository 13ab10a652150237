"""From when on each KPI counts whole windows: a part of a window never takes the place of what was whole.

The engine's state of a KPI begins anew when its definition does, or a kind of window or a grouping is new: it counts
from there on only what comes. So the store keeps for each the fingerprint of its definition and the event time from
which on nothing is missing; values of windows that begin before are not taken in, and what stands of them was right by
the definition of its time. A flow that reads everything again counts everything again, as far as the log goes back.

KPIs in SQL are computed from the facts that are stored, and need none of this.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING, TypeAlias

from events.clock import to_iso
from events.kpis import FIELDS, KpiValue
from stores.feedback_settings import FeedbackSettings
from stores.kpi_settings import KpiSettings, window_of
from stores.kpis.arrow import definitions_table, ids
from stores.kpis.retention import newest_fact
from stores.kpis.upsert import insert

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLE = "definitions"
_MEANING = {"facts", "where", "aggregate", "of", "hits", "quantile", "sql"}
_logger = logging.getLogger(__name__)

Place: TypeAlias = "tuple[str, str, str]"
"""KPI, kind of window, and the fields grouped by with commas between."""


class Definitions:
    """What the settings say of KPIs, and from when on each counts."""

    def __init__(self, settings: FeedbackSettings) -> None:
        self._names = [kpi.name for kpi in settings.all_kpis()]
        self._prints: dict[Place, str] = {}
        for kpi in settings.all_kpis():
            if kpi.aggregate != "sql":
                for place in _places(kpi, settings):
                    self._prints[place] = _fingerprint(kpi)
        self._since: dict[Place, int] = {}

    def load(self, db: DuckDBPyConnection, *, known: bool, applied: int | None) -> None:
        """Compare the store with the settings, inside a transaction; remove values of KPIs that these have no more.

        :arg known: Whether the store has noted definitions before; if not, all are taken to be those of its values.
        :arg applied: Newest event time of what has been applied (ms since epoch); None if nothing has been.
        """
        self._remove_others(db)
        rows = db.execute(f"SELECT kpi, windows, grouping, fingerprint, since FROM {TABLE}").fetchall()  # noqa: S608  # ours
        stored = {(kpi, window, grouping): (print_, since) for kpi, window, grouping, print_, since in rows}
        anew = max(applied, newest_fact(db) or 0) + 1 if known and applied is not None else 0
        begun: set[str] = set()
        for place, print_ in self._prints.items():
            before = stored.get(place)
            if before is None or before[0] != print_:
                self._since[place] = anew
                begun.add(place[0])
            else:
                self._since[place] = before[1]
        if {place: (print_, self._since[place]) for place, print_ in self._prints.items()} != stored:
            self._store(db)
        if anew:
            for name in sorted(begun):
                _logger.info(
                    "the KPI %r is new or defined anew: windows that begin at %s or later count; older ones stay as "
                    "they are, unless recovery/feedback is removed and everything counted anew",
                    name,
                    to_iso(anew),
                )

    def begin_anew(self, db: DuckDBPyConnection, since: int) -> None:
        """Note that everything is counted again, from `since` on (ms since epoch; 0: all)."""
        if any(known != since for known in self._since.values()):
            self._since = dict.fromkeys(self._prints, since)
            self._store(db)

    def whole(self, values: list[KpiValue]) -> list[KpiValue]:
        """Return those of the values that are of whole windows."""
        bounds = {}
        for place, since in self._since.items():
            if since > 0:
                # What begins a session later than that has nothing before it that it would belong to.
                bounds[place] = since + window_of(place[1]).gap
        if not bounds:
            return values
        return [
            value
            for value in values
            if value.start >= bounds.get((value.kpi, value.window, ",".join(field for field, _ in value.group)), 0)
        ]

    def _remove_others(self, db: DuckDBPyConnection) -> None:
        db.register("incoming", ids(self._names))
        others = "kpi NOT IN (SELECT id FROM incoming)"
        gone = db.execute(f"SELECT DISTINCT kpi FROM kpi_values WHERE {others} ORDER BY kpi").fetchall()  # noqa: S608  # ours
        if gone:
            db.execute(f"DELETE FROM kpi_values WHERE {others}")  # noqa: S608  # as above
            names = ", ".join(name for (name,) in gone)
            _logger.info("values of KPIs that the settings have no more are removed: %s", names)

    def _store(self, db: DuckDBPyConnection) -> None:
        db.execute(f"DELETE FROM {TABLE}")  # noqa: S608  # ours
        if self._prints:
            rows = [(*place, print_, self._since[place]) for place, print_ in self._prints.items()]
            insert(db, TABLE, definitions_table(rows))


def _places(kpi: KpiSettings, settings: FeedbackSettings) -> list[Place]:
    groupings = settings.by if kpi.by is None else kpi.by
    fitting = [fields for fields in groupings if kpi.by is not None or set(fields) <= FIELDS[kpi.facts].keys()]
    return [
        (kpi.name, window, ",".join(fields)) for window in kpi.windows or settings.windows for fields in fitting or [()]
    ]


def _fingerprint(kpi: KpiSettings) -> str:
    # In the order of the settings: the engine tells definitions apart by it, too.
    meaning = json.dumps(kpi.model_dump(mode="json", include=_MEANING))
    return hashlib.sha256(meaning.encode()).hexdigest()[:16]
