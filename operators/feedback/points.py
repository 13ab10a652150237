"""Points of metrics: each is a fact of its own; of two that are the same the newer stands, else by content."""

from __future__ import annotations

import hashlib
from typing import TypeAlias

from events.feedback import Point, rank
from events.kpis import Fact, FactChange, FactValue

PointEntry: TypeAlias = "tuple[int, bytes, float, int]"
"""Event time, digest, value, watermark that it was told with last. The rest is in the id."""


def point_id(point: Point) -> str:
    """Return what is the same for points of one series and id, and short: there are many."""
    return hashlib.blake2b(point_fact_id(point).encode(), digest_size=12).hexdigest()


def point_fact_id(point: Point) -> str:
    """Return the id of a point's fact."""
    return f"{point.series}/{point.id}"


def take_point(point: Point, watermark: int, known: PointEntry | None) -> tuple[PointEntry, FactChange] | None:
    """Return the entry of a point and what changes; None if it does not stand over the `known` one."""
    ranked = rank(point)
    if known is not None and ranked <= known[:2]:
        return None
    before = None
    if known is not None:
        before, watermark = _fact(point, known[0], known[2]), max(known[3], watermark)
    return (*ranked, point.value, watermark), FactChange(before, _fact(point, point.time, point.value), watermark)


def _fact(point: Point, time: int, value: float) -> Fact:
    own: dict[str, FactValue] = {"name": point.name, "series": point.series, "value": value}
    return Fact("points", point_fact_id(point), time, {**point.labels, **own})
