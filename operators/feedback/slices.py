"""Which buckets a frontier is told to: those of one slice, so that forgetting never touches all state at once."""

from __future__ import annotations

from events.kpis import Frontier

LANE = -1
"""The turn of a frontier that is told to whoever sees everything in one place, and to no bucket."""


def slice_of(value: object) -> int | None:
    """Return the slice that a frontier is for; None for everything else, which has an id of its own."""
    return value.turn if isinstance(value, Frontier) else None
