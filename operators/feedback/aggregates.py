"""How facts become the value of a KPI: what each contributes, and sums of contributions that can be undone.

The state of an aggregate is a function of the multiset of what counted and did not stop to count, whatever the order,
and two states can be merged. Where state is bounded, what that costs is said at the aggregate. States are plain
values, so that snapshots do not depend on where a class lives; `merge` changes its first argument and not its second.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, TypeAlias

from typing_extensions import override

from events.kpis import Fact
from operators.feedback.sketches import UNIT, number_of, units_of

Part: TypeAlias = "Hashable"
"""What one fact contributes; never None."""
State: TypeAlias = "Any"
"""What is known of all that counts, beside how many it is; plain values."""


class Aggregate(ABC):
    """One KPI's arithmetic. Stateless: states are handed in.

    :arg plain: Whether states are numbers, and merging is adding; such a one names no examples.
    """

    plain: ClassVar[bool] = False

    @abstractmethod
    def part(self, fact: Fact) -> Part | None:
        """Return what `fact` contributes; None if it does not count."""

    @abstractmethod
    def state(self, plus: Sequence[Any], minus: Sequence[Any]) -> State:
        """Return the state in which `plus` count and `minus`, which counted before, do not any more."""

    @abstractmethod
    def merge(self, state: State, other: State) -> State:
        """Return the state of what counts in either; may change `state`."""

    @abstractmethod
    def value(self, count: int, state: State, length: int) -> float | None:
        """Return the KPI's value of `count` facts, at least one, in a window of `length` milliseconds."""

    def examples(self, state: State) -> tuple[str, ...]:
        """Return ids of facts worth a look."""
        del state
        return ()

    def blank(self, state: State) -> bool:
        """Tell whether `state` says nothing, if no facts count."""
        return not state


class Count(Aggregate):
    """How many facts."""

    plain = True

    @override
    def part(self, fact: Fact) -> Part | None:
        return 1

    @override
    def state(self, plus: Sequence[Any], minus: Sequence[Any]) -> State:
        return 0

    @override
    def merge(self, state: State, other: State) -> State:
        return 0

    @override
    def value(self, count: int, state: State, length: int) -> float | None:
        return float(count)


class Rate(Count):
    """How many facts a second; a session of less than a second counts as one second."""

    @override
    def value(self, count: int, state: State, length: int) -> float | None:
        return count * 1000 / max(length, 1000)


class Sum(Aggregate):
    """Sum of numbers, as a whole number of billionths; correctly rounded when it comes out."""

    plain = True

    def __init__(self, of: str) -> None:
        self._of = of

    @override
    def part(self, fact: Fact) -> Part | None:
        number = number_of(fact.fields.get(self._of))
        return None if number is None else units_of(number)

    @override
    def state(self, plus: Sequence[Any], minus: Sequence[Any]) -> State:
        return sum(plus) - sum(minus) if minus else sum(plus)

    @override
    def merge(self, state: State, other: State) -> State:
        return state + other

    @override
    def value(self, count: int, state: State, length: int) -> float | None:
        return float(state / UNIT)


class Mean(Sum):
    """Arithmetic mean of numbers."""

    @override
    def value(self, count: int, state: State, length: int) -> float | None:
        return float(state / (count * UNIT))


class Share(Sum):
    """Of the facts that say anything about it, how many pass a test; from 0 to 1."""

    def __init__(self, needed: tuple[str, ...], hit: Callable[[Fact], bool]) -> None:
        super().__init__("")
        self._needed = needed
        self._hit = hit

    @override
    def part(self, fact: Fact) -> Part | None:
        fields = fact.fields
        for field in self._needed:
            if fields.get(field) is None:
                return None
        return int(self._hit(fact))

    @override
    def value(self, count: int, state: State, length: int) -> float | None:
        return float(state / count)
