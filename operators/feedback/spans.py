"""Where a fact counts: in which groups, and in which windows of event time.

Both depend on the fact alone. Windows are aligned to 1970-01-01 UTC. What lies between two of their begins is a pane:
all facts of a pane are in the same windows.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from events.kpis import Fact, FactValue
from operators.feedback.rules import WindowRule

Group = tuple[str, ...]
"""Texts of the fields that are grouped by, in their order."""

LONGEST = 200
"""Characters of a group's text at most: state keeps it once for each window."""


def groups_by(by: tuple[str, ...]) -> Callable[[Fact], tuple[Group, ...]]:
    """Return what tells the groups of a fact, by the fields `by`: one, or one for each value of a field of several."""
    if not by:
        total: tuple[Group, ...] = ((),)
        return lambda fact: total
    if len(by) == 1:
        (field,) = by

        def groups_by_one(fact: Fact) -> tuple[Group, ...]:
            value = fact.fields.get(field)
            if type(value) is str:
                return ((value[:LONGEST],),)
            return tuple((text,) for text in texts_of(value))

        return groups_by_one

    def groups_by_all(fact: Fact) -> tuple[Group, ...]:
        get = fact.fields.get
        return tuple(product(*(texts_of(get(field)) for field in by)))

    return groups_by_all


def texts_of(value: FactValue) -> tuple[str, ...]:
    """Return `value` as groups name it; what is not known, and what has no values, is the empty text."""
    if value is None:
        return ("",)
    if isinstance(value, tuple):
        return tuple(dict.fromkeys(text[:LONGEST] for text in value)) or ("",)
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, float) and value.is_integer():
        return (str(int(value)),)
    return (str(value)[:LONGEST],)


def pane_of(window: WindowRule, time: int) -> int:
    """Return the begin of the pane that `time` is in; of sessions, each moment is one."""
    return time - time % window.step if window.step else time


def starts_of(window: WindowRule, pane: int) -> range:
    """Return the begins of all windows that a pane is in, the last first; of sessions, the pane itself."""
    return range(pane, pane - window.size, -window.step) if window.step else range(pane, pane - 1, -1)


def over(window: WindowRule, start: int) -> int:
    """Return when nothing can come any more, were everything in order: a session waits for its gap."""
    return start + (window.size or window.gap + 1)
