"""How everything stands at one moment, as plain values: what cannot be told is None, never a guess."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from events.clock import to_iso
from events.log import Applied
from stores.settings import FLOWS


class SourceState(msgspec.Struct, frozen=True):
    """One source of one flow. Spans in milliseconds, times in milliseconds since 1970-01-01 UTC.

    :arg configured: Whether the settings name it; one that they do not name any more is not followed.
    :arg partitions: How many it has at this moment: none for a stream that is not on the log (yet).
    :arg read: How many of them the store has noted as read.
    :arg backlog: Events that the log holds and the store does not; None if that cannot be told (yet).
    :arg lag: How old what the store holds of it is at most; None if it cannot be told.
    :arg newest: Event time of the newest event taken in.
    :arg positions: The highest one of each database that its events are of.
    :arg rate: Events a second that were taken in of late; None if that is not known yet.
    :arg caught_up: Whether all that is known to be there is in.
    """

    flow: str
    source: str
    running: bool
    configured: bool
    partitions: int
    read: int
    backlog: int | None
    lag: int | None
    objective: int
    newest: int | None
    positions: dict[str, str]
    rate: float | None
    caught_up: bool

    @property
    def met(self) -> bool | None:
        """Whether its objective is met; None if that cannot be told, or it is not followed any more."""
        return None if self.lag is None or not self.configured else self.lag <= self.objective

    def as_json(self, now: int) -> dict[str, Any]:
        """Return it as plain data for other programs."""
        return {
            "flow": self.flow,
            "source": self.source,
            "running": self.running,
            "configured": self.configured,
            "partitions": self.partitions,
            "read": self.read,
            "backlog": self.backlog,
            "lag_ms": self.lag,
            "objective_ms": self.objective,
            "met": self.met,
            "newest": None if self.newest is None else to_iso(self.newest),
            "age_ms": None if self.newest is None else max(0, now - self.newest),
            "positions": self.positions,
            "rate": None if self.rate is None else round(self.rate, 3),
            "caught_up": self.caught_up,
        }


class Overview(msgspec.Struct, frozen=True):
    """Everything at one moment.

    :arg running: Flows that run.
    :arg wanted: Flows that the settings give work to.
    :arg marks: What the stores have noted as applied, by flow.
    :arg stores: What the stores hold, by name; without what could never be had.
    :arg dead_letters: How many wait, by flow.
    :arg alerts: How many stand; None if that could never be had.
    :arg ages: How old the counts are (ms), by what they were counted in: what costs much is not counted at each look.
    :arg unavailable: What cannot be had at this moment and why; what is told of it is the last that was known.
    """

    at: int
    sources: tuple[SourceState, ...]
    running: frozenset[str]
    wanted: frozenset[str]
    marks: dict[str, tuple[Applied, ...]]
    stores: dict[str, Any]
    dead_letters: dict[str, int]
    alerts: int | None
    ages: dict[str, int]
    unavailable: dict[str, str]

    def problems(self) -> list[str]:
        """Return what is not as it should be, in a line each: for whoever watches without looking."""
        told = [f"{name} cannot be read: {why}" for name, why in self.unavailable.items()]
        if not self.wanted | self.running:
            told.append("nothing is configured here: no flow has anything to follow")
        told += [f"the flow {flow} does not run" for flow in FLOWS if flow in self.wanted - self.running]
        for source in self.sources:
            named = f"{source.source} of the flow {source.flow}"
            if source.met is False:
                late, most = (source.lag or 0) / 1000, source.objective / 1000
                told.append(f"{named} is {late:.1f} s behind, its objective is {most:g} s")
            elif source.configured and source.partitions and source.lag is None:
                told.append(f"{named} has not been read whole yet")
        return told

    def with_tables(self, names: Collection[str]) -> Overview:
        """Return it with what the stores hold of these live tables, and of no others."""
        if not self.stores.get("tables"):
            return self
        tables = {name: held for name, held in self.stores["tables"].items() if name in names}
        return msgspec.structs.replace(self, stores={**self.stores, "tables": tables})

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data for other programs: times in ISO 8601, spans in milliseconds."""
        return {
            "at": to_iso(self.at),
            "sources": [source.as_json(self.at) for source in self.sources],
            "flows": {
                flow: {"running": flow in self.running, "wanted": flow in self.wanted}
                for flow in FLOWS
                if flow in self.running | self.wanted
            },
            "stores": self.stores,
            "dead_letters": self.dead_letters,
            "alerts": self.alerts,
            "ages_ms": self.ages,
            "unavailable": self.unavailable,
        }
