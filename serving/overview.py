"""How things stand: of each flow and source how far behind it is and whether that is within its objective.

What cannot be had at this moment is told as such; nothing is guessed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from events.changes import position_text
from events.clock import Clock, to_iso
from events.log import Applied
from operators.feedback.configure import objectives
from serving.freshness import age
from serving.lake import lake_status
from serving.runs import runs
from stores.dead_letters import DeadLetters
from stores.kpis.reader import KpiReader
from stores.log.choose import open_log
from stores.profiles.choose import open_profile_reader
from stores.rows.choose import open_row_reader
from stores.settings import Settings
from stores.vectors.lance_reader import LanceReader


class SourceState(msgspec.Struct, frozen=True):
    """One source of one flow. Spans in milliseconds, times in milliseconds since 1970-01-01 UTC.

    :arg backlog: Events that the log holds and the store does not; None if that cannot be told.
    :arg lag: How old what the store holds of it is at most; None if it cannot be told.
    :arg newest: Event time of the newest event taken in.
    :arg rate: Events a second of late; None if that is not known yet.
    """

    flow: str
    source: str
    running: bool
    partitions: int
    backlog: int | None
    lag: int | None
    objective: int
    newest: int | None
    positions: dict[str, str]
    rate: float | None
    caught_up: bool

    @property
    def met(self) -> bool | None:
        """Whether its objective is met; None if that cannot be told."""
        return None if self.lag is None else self.lag <= self.objective


class Overview(msgspec.Struct, frozen=True):
    """Everything at one moment.

    :arg stores: What the stores hold, by name.
    :arg dead_letters: How many wait, by flow.
    :arg alerts: How many stand.
    """

    at: int
    sources: tuple[SourceState, ...]
    stores: dict[str, Any]
    dead_letters: dict[str, int]
    alerts: int

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for other programs: times in ISO 8601, spans in milliseconds."""
        return {
            "at": to_iso(self.at),
            "sources": [_source_json(source, self.at) for source in self.sources],
            "stores": self.stores,
            "dead_letters": self.dead_letters,
            "alerts": self.alerts,
        }


class Watch:
    """Looks at the stores. Threads may share it."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._log = open_log(settings)
        self._rows = open_row_reader(settings)
        self._profiles = open_profile_reader(settings)
        self._vectors = LanceReader(settings.vectors_dir)
        self._kpis = KpiReader(settings.kpis_path)
        self._letters = DeadLetters(settings.dead_letters_path, clock)
        self._turn = threading.Lock()

    def look(self) -> Overview:
        """Return how everything stands now."""
        with self._turn:
            lake = lake_status(self._settings)
            applied: dict[str, Callable[[], Iterable[Applied]]] = {
                "knowledge": self._vectors.applied,
                "tables": self._rows.applied,
                "profiles": self._profiles.applied,
                "feedback": self._kpis.applied,
                "lake": lambda: lake.working.applied,
            }
            found = {flow: list(marks()) for flow, marks in applied.items()}
            now = self._clock()
            sources = [state for flow, marks in found.items() for state in self._of_flow(flow, marks, now)]
            records, persons = self._profiles.totals()
            documents = list(self._vectors.documents())
            feedback = self._kpis.counts()
            stores = {
                "documents": len(documents),
                "pieces": sum(len(document.chunk_ids) for document in documents),
                "tables": {
                    name: {"rows": live, "held": held, "newest": None if newest is None else to_iso(newest)}
                    for name, (live, held, newest) in self._rows.counts().items()
                },
                "records": records,
                "persons": persons,
                "feedback": feedback,
                "lake": {key: value for key, value in lake.as_json().items() if key != "applied"},
            }
            return Overview(now, tuple(sources), stores, self._letters.counts(), feedback.get("alerts", 0))

    def _of_flow(self, flow: str, marks: list[Applied], now: int) -> list[SourceState]:
        running = runs(flow, self._settings.data_dir)
        objective = objectives(self._settings.feedback)
        states = []
        for source in sorted({mark.source for mark in marks if not mark.source.startswith(("control.", "replay."))}):
            mine = [mark for mark in marks if mark.source == source]
            there = self._log.partitions(source) or [mark.partition for mark in mine]
            positions: dict[str, tuple[int, ...]] = {}
            for mark in mine:
                for database, position in mark.positions.items():
                    positions[database] = max(position, positions.get(database, ()))
            numbers = [int(number) if str(number).isdigit() else number for number in there]
            states.append(
                SourceState(
                    flow=flow,
                    source=source,
                    running=running,
                    partitions=len(mine),
                    backlog=None,
                    lag=age(mine, {source: numbers}, now),  # type: ignore[dict-item]  # folders have names for numbers
                    objective=round(objective.of(source)),
                    newest=max((mark.event_time for mark in mine if mark.event_time is not None), default=None),
                    positions={database: position_text(position) for database, position in positions.items()},
                    rate=None,
                    caught_up=all(mark.caught_up for mark in mine),
                )
            )
        return states


def _source_json(source: SourceState, now: int) -> dict[str, Any]:
    return {
        "flow": source.flow,
        "source": source.source,
        "running": source.running,
        "partitions": source.partitions,
        "backlog": source.backlog,
        "lag_ms": source.lag,
        "objective_ms": source.objective,
        "met": source.met,
        "newest": None if source.newest is None else to_iso(source.newest),
        "age_ms": None if source.newest is None else max(0, now - source.newest),
        "positions": source.positions,
        "rate": source.rate,
        "caught_up": source.caught_up,
    }
