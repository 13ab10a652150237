"""Aggregates that remember how many there are of each: what a sum cannot undo, these can.

Quantiles and counts of what is different are sketches, extreme values are kept as far as they can still be needed; the
error of each, and what bounds it, is said at the class.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

from typing_extensions import override

from events.kpis import Fact
from operators.feedback.aggregates import Aggregate, Part, State
from operators.feedback.sketches import bin_of, hash_of, how_many, number_of, quantile_of, sampled

KEPT = 32
"""Extreme values that can be taken back one after the other before the next one is not known any more."""
NAMED = 5
"""Facts that `top` names."""


class Counted(Aggregate):
    """What its state is made of: how many of each part there are. Never 0; below 0 if taken out before it came."""

    @override
    def state(self, plus: Sequence[Any], minus: Sequence[Any]) -> State:
        counts: dict[Any, int] = dict(Counter(plus))
        for part in minus:
            add(counts, part, -1)
        return counts

    @override
    def merge(self, state: State, other: State) -> State:
        for part, count in other.items():
            add(state, part, count)
        return state


class Quantile(Counted):
    """The smallest number that a share of all is not above, to half a percent of it."""

    def __init__(self, of: str, quantile: float) -> None:
        self._of = of
        self._quantile = quantile

    @override
    def part(self, fact: Fact) -> Part | None:
        number = number_of(fact.fields.get(self._of))
        return None if number is None else bin_of(number)

    @override
    def value(self, count: int, state: State, length: int) -> float | None:
        return quantile_of(state, self._quantile)


class Distinct(Aggregate):
    """How many different values; a field of several values brings each of them. State: level, counts by hash."""

    def __init__(self, of: str) -> None:
        self._of = of

    @override
    def part(self, fact: Fact) -> Part | None:
        value = fact.fields.get(self._of)
        if value is None or value == ():
            return None
        return tuple(sorted(set(map(hash_of, value if isinstance(value, tuple) else (value,)))))

    @override
    def state(self, plus: Sequence[Any], minus: Sequence[Any]) -> State:
        hashes: dict[int, int] = dict(Counter(chain.from_iterable(plus)))
        for hash_ in chain.from_iterable(minus):
            add(hashes, hash_, -1)
        return sampled(hashes, 0), hashes

    @override
    def merge(self, state: State, other: State) -> State:
        (level, hashes), (other_level, others) = state, other
        top = max(level, other_level)
        if top > level:
            for hash_ in [hash_ for hash_ in hashes if hash_ >> (64 - top)]:
                del hashes[hash_]
        for hash_, count in others.items():
            if not hash_ >> (64 - top):
                add(hashes, hash_, count)
        return sampled(hashes, top), hashes

    @override
    def value(self, count: int, state: State, length: int) -> float | None:
        level, hashes = state
        return float(how_many(hashes, level))

    @override
    def blank(self, state: State) -> bool:
        return not state[1]


class Extremes(Aggregate):
    """The first of all by a sort key. State: bound, counts by key of everything that comes before the bound.

    More than twice as many keys as are kept are cut, and the bound is the first that is cut off: what comes before it
    stays exact. Only if all that was kept is taken back before the window is over, the bound itself stands for what
    is not known any more.
    """

    def __init__(self, of: str, kept: int = KEPT) -> None:
        self._of = of
        self._kept = kept

    @override
    def state(self, plus: Sequence[Any], minus: Sequence[Any]) -> State:
        keys: dict[Any, int] = dict(Counter(plus))
        for key in minus:
            add(keys, key, -1)
        return self._cut(None, keys)

    @override
    def merge(self, state: State, other: State) -> State:
        (bound, keys), (other_bound, others) = state, other
        if other_bound is not None and (bound is None or other_bound < bound):
            bound = other_bound
            for key in [key for key in keys if key >= bound]:
                del keys[key]
        for key, count in others.items():
            if bound is None or key < bound:
                add(keys, key, count)
        return self._cut(bound, keys)

    @override
    def blank(self, state: State) -> bool:
        return not state[1]

    def _cut(self, bound: Any, keys: dict[Any, int]) -> State:
        if len(keys) > 2 * self._kept:
            *_, bound = heapq.nsmallest(self._kept + 1, keys)
            for key in [key for key in keys if key >= bound]:
                del keys[key]
        return bound, keys

    def _first(self, state: State) -> Any:
        bound, keys = state
        return min((key for key, count in keys.items() if count > 0), default=bound)


class Min(Extremes):
    """The smallest number; see `Extremes`."""

    @override
    def part(self, fact: Fact) -> Part | None:
        number = number_of(fact.fields.get(self._of))
        return None if number is None else number + 0.0

    @override
    def value(self, count: int, state: State, length: int) -> float | None:
        first = self._first(state)
        return None if first is None else float(first)


class Max(Extremes):
    """The largest number; see `Extremes`."""

    @override
    def part(self, fact: Fact) -> Part | None:
        number = number_of(fact.fields.get(self._of))
        return None if number is None else 0.0 - number

    @override
    def value(self, count: int, state: State, length: int) -> float | None:
        first = self._first(state)
        return None if first is None else 0.0 - float(first)


class Top(Extremes):
    """How many facts, and which have the highest number, the smaller id first where it is the same; see `Extremes`."""

    def __init__(self, of: str) -> None:
        super().__init__(of, KEPT // 2)

    @override
    def part(self, fact: Fact) -> Part | None:
        number = number_of(fact.fields.get(self._of))
        return None if number is None else (0.0 - number, fact.id)

    @override
    def value(self, count: int, state: State, length: int) -> float | None:
        return float(count)

    @override
    def examples(self, state: State) -> tuple[str, ...]:
        there = (key for key, count in state[1].items() if count > 0)
        return tuple(id_ for _, id_ in heapq.nsmallest(NAMED, there))


def add(counts: dict[Any, int], key: Any, count: int) -> None:
    """Add `count` to that of `key`; what comes to nothing goes."""
    total = counts.get(key, 0) + count
    if total:
        counts[key] = total
    else:
        counts.pop(key, None)
