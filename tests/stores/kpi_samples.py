"""Facts, values and stores for the tests of the store of KPIs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from events.alerts import Alert
from events.kpis import Fact, FactChange, FactKind, KpiValue
from events.log import Mark
from stores.kpis.intake import KpiIntake
from stores.kpis.reader import KpiReader
from stores.log.base import Log
from stores.settings import Settings, load

BEGIN = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
MINUTE = 60_000


class Store:
    """One store, opened and closed again as a flow does.

    :arg mode: Of the flow.
    :arg log: Where the events come from.
    :arg feedback: Settings of `[feedback]`, beside the stream.
    """

    def __init__(self, folder: Path, mode: str = "live", log: Log | None = None, **feedback: Any) -> None:
        self.settings = self._settings(folder, mode, feedback)
        self.log = log
        self.now = BEGIN
        self.told: list[Alert] = []
        self.intake = self.open()
        self.reader = KpiReader(self.settings.kpis_path)

    def open(self, tell: Callable[[Alert], None] | None = None) -> KpiIntake:
        """Open the intake anew, whatever it had not committed being lost."""
        if hasattr(self, "intake"):
            self.intake.close()
        self.intake = KpiIntake(self.settings, lambda: self.now, tell or self.told.append, log=self.log)
        return self.intake

    def reopen(self, *, resumed: bool, **feedback: Any) -> KpiIntake:
        """Open it with other settings of `[feedback]`, as a flow does that goes on where it was, or begins anew."""
        self.settings = self._settings(self.settings.data_dir, self.settings.mode, feedback)
        self.open().begin(resumed=resumed)
        return self.intake

    @staticmethod
    def _settings(folder: Path, mode: str, feedback: dict[str, Any]) -> Settings:
        return load(data_dir=folder, mode=mode, feedback={"streams": [{"name": "chat"}], **feedback})

    def commit(self, *items: Any, offset: int | None = None, caught_up: bool = False) -> None:
        """Write items and close the epoch, at `offset` of the only partition, if any is given."""
        self.now += 1000
        self.intake.write(items)
        marks = [] if offset is None else [Mark("chat", "0", offset, BEGIN + offset, self.now, caught_up)]
        self.intake.close_epoch(marks)


def new(fact: Fact, watermark: int = 0) -> FactChange:
    """Return the change that brings a fact."""
    return FactChange(None, fact, watermark or fact.time)


def fact(kind: FactKind, id_: str, time: int, **fields: Any) -> Fact:
    """Return a fact."""
    return Fact(kind, id_, time, fields)


def answer(id_: str, time: int, **fields: Any) -> Fact:
    """Return an answer of a conversation of its own."""
    return fact("answers", f"{id_}/a", time, **{"conversation": id_, "turn": "a", **fields})


def value(start: int, number: float | None, *, count: int = 1, late: int = 0, **group: str) -> KpiValue:
    """Return a value of the KPI `answers` in a window of a minute."""
    return KpiValue("answers", "1m", start, start + MINUTE, tuple(group.items()), number, count, late)
