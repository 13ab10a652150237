"""What is counted together: all KPIs of the same facts, by the same fields, in the same kind of window.

A fact is looked at once for each such lane and not once for each KPI, and one entry of state holds what all of its KPIs
have counted in one window of one group.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import msgspec
from typing_extensions import Self

from events.kpis import Fact, FactKind
from operators.buckets import bucket_of
from operators.feedback.aggregates import Aggregate, Count, Mean, Part, Rate, Share, State, Sum
from operators.feedback.conditions import needed, passes
from operators.feedback.multisets import Distinct, Max, Min, Quantile, Top
from operators.feedback.rules import KpiRule, Limits, WindowRule
from operators.feedback.spans import Group, groups_by, over

SHARDS = 16
"""Buckets of all windows of one kind that begin at the same time. Part of the state's schema: never changes."""
_REMEMBERED = 10_000
_encode = msgspec.json.Encoder().encode

Tally: TypeAlias = "tuple[int, int, State]"
"""What one KPI has counted, or a change of it: how many facts, how many changes that came after the window was final,
the aggregate's state. Plain, as it stands in snapshots."""


Outcome: TypeAlias = "tuple[float | None, int, int, tuple[str, ...]]"
"""What is told of one KPI in one window: value, count, late changes, examples."""

NOTHING: Outcome = (None, 0, 0, ())


class Kpi:
    """One KPI, ready to count.

    :arg id: Names it in state. Another definition under the same name has another id: what the two have counted does
        not mix.
    """

    def __init__(self, rule: KpiRule) -> None:
        meaning = msgspec.json.encode([rule.facts, rule.aggregate, rule.of, rule.where, rule.hits])
        self.id = f"{rule.name}:{zlib.crc32(meaning):08x}"
        self.name = rule.name
        self.aggregate: Aggregate = aggregate_of(rule)
        self.plain = self.aggregate.plain
        self._counts = passes(rule.where)
        self.part: Callable[[Fact], Part | None] = self._part if rule.where else self.aggregate.part

    def merge(self, known: Tally | None, change: Tally) -> Tally:
        """Return `known` after `change`; may change `known`, and shares nothing with `change`."""
        if self.plain:
            if known is None:
                return change
            return known[0] + change[0], known[1] + change[1], known[2] + change[2]
        count, late, state = known or (0, 0, self.aggregate.state((), ()))
        return count + change[0], late + change[1], self.aggregate.merge(state, change[2])

    def blank(self, tally: Tally) -> bool:
        """Tell whether there is nothing to remember."""
        count, late, state = tally
        return not count and not late and self.aggregate.blank(state)

    def outcome(self, tally: Tally | None, length: int) -> Outcome:
        """Return what is to be told of a window of `length` milliseconds."""
        if tally is None or tally[0] <= 0:
            return NOTHING
        count, late, state = tally
        examples = () if self.plain else self.aggregate.examples(state)
        return self.aggregate.value(count, state, length), count, late, examples

    def _part(self, fact: Fact) -> Part | None:
        return self.aggregate.part(fact) if self._counts(fact) else None


class Lane:
    """The KPIs of the same facts, grouped by the same fields, in the same kind of window.

    :arg members: Which of its kind's KPIs, by their number.
    :arg span: From the begin of a window to its end; of sessions, that of one moment.
    :arg grace: How far the watermark may be past the begin of a pane until a change is late for, or too late for, any
        window of it.
    """

    def __init__(
        self,
        index: int,
        kind: FactKind,
        by: tuple[str, ...],
        window: WindowRule,
        *,
        members: dict[int, Kpi],
        limits: Limits,
    ) -> None:
        self.index = index
        self.window = window
        self.members = list(members.items())
        self.kpis = tuple(members.values())
        self.names = tuple(kpi.id for kpi in self.kpis)
        self.step = window.step or 1
        self.span = window.size or 1
        self.slides = window.step < window.size
        final = over(window, self.step - window.size) if window.size else over(window, 0)
        self.grace = min(final + limits.lateness, self.step + limits.horizon)
        self._by = by
        self._head = (kind, window.name, by)
        self._buckets: dict[tuple[int, int], str] = {}

    def place_of(self, group: Group, start: int) -> tuple[str, str]:
        """Return bucket and id of the state of one window; those of all sessions of one group are the same.

        Windows that begin together lie together, in so few buckets as is enough to share the work: a snapshot of what
        is changing then carries little of what was before, and a batch touches few buckets. Sessions lie anywhere.
        """
        if not self.window.size:
            id_ = _encode((*self._head, None, *group)).decode()
            return bucket_of(id_), id_
        name = _encode((*self._head, start, *group))
        key = (start, zlib.crc32(name) % SHARDS)
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) > _REMEMBERED:
                self._buckets.clear()
            bucket = self._buckets[key] = bucket_of(f"{self.window.name}/{start}/{key[1]}")
        return bucket, name.decode()

    def named(self, group: Group) -> tuple[tuple[str, str], ...]:
        """Return a group as values of KPIs have it: texts with the names of their fields."""
        by = self._by
        return ((by[0], group[0]),) if len(by) == 1 else tuple(zip(by, group, strict=True))


class Facts:
    """What is counted of one kind of facts.

    :arg parts: What a fact contributes to each of the KPIs.
    :arg groupings: How to tell the groups of a fact, and the lanes of those groups.
    """

    def __init__(self, kpis: Sequence[Kpi]) -> None:
        self.parts = [kpi.part for kpi in kpis]
        self.groupings: list[tuple[Callable[[Fact], tuple[Group, ...]], list[Lane]]] = []


class Plan:
    """All lanes, and which of them are of which facts."""

    def __init__(self, lanes: list[Lane], kinds: dict[str, Facts]) -> None:
        self.lanes = lanes
        self.kinds = kinds

    @classmethod
    def of(cls, rules: Iterable[KpiRule], limits: Limits) -> Self:
        """Return the plan that counts what `rules` say."""
        by_kind: dict[FactKind, list[KpiRule]] = {}
        for rule in rules:
            by_kind.setdefault(rule.facts, []).append(rule)
        lanes: list[Lane] = []
        kinds: dict[str, Facts] = {}
        for kind, of_kind in by_kind.items():
            kpis = [Kpi(rule) for rule in of_kind]
            facts = kinds[kind] = Facts(kpis)
            for by in dict.fromkeys(by for rule in of_kind for by in rule.by):
                found: list[Lane] = []
                for window in dict.fromkeys(window for rule in of_kind if by in rule.by for window in rule.windows):
                    members = {
                        place: kpi
                        for place, (kpi, rule) in enumerate(zip(kpis, of_kind, strict=True))
                        if by in rule.by and window in rule.windows
                    }
                    if members:
                        found.append(Lane(len(lanes) + len(found), kind, by, window, members=members, limits=limits))
                lanes += found
                facts.groupings.append((groups_by(by), found))
        return cls(lanes, kinds)


def aggregate_of(rule: KpiRule) -> Aggregate:
    """Return the arithmetic of a KPI."""
    make: dict[str, Callable[[], Aggregate]] = {
        "count": Count,
        "rate": Rate,
        "sum": lambda: Sum(rule.of),
        "mean": lambda: Mean(rule.of),
        "share": lambda: Share(needed(rule.hits), passes(rule.hits)),
        "min": lambda: Min(rule.of),
        "max": lambda: Max(rule.of),
        "distinct": lambda: Distinct(rule.of),
        "quantile": lambda: Quantile(rule.of, rule.quantile),
        "top": lambda: Top(rule.of),
    }
    return make[rule.aggregate]()
