"""Which facts count: conditions on their fields, made into one test.

A field that is None or missing passes `known: false` and nothing else; a value of a kind that cannot be compared
passes nothing. Truth values and numbers are never the same, whatever Python says of True and 1.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from events.kpis import Fact, FactValue
from operators.feedback.rules import Condition

Test = Callable[[FactValue], bool]

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "above": operator.gt,
    "below": operator.lt,
    "at_least": operator.ge,
    "at_most": operator.le,
}


def passes(conditions: Iterable[Condition]) -> Callable[[Fact], bool]:
    """Return a test that tells whether a fact passes all of `conditions`."""
    tests = [(condition.field, _test(condition)) for condition in conditions]
    if not tests:
        return _everything
    if len(tests) == 1:
        ((field, test),) = tests

        def one_passes(fact: Fact) -> bool:
            return test(fact.fields.get(field))

        return one_passes

    def all_pass(fact: Fact) -> bool:
        get = fact.fields.get
        return all(test(get(field)) for field, test in tests)

    return all_pass


def needed(conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Return the fields that must be known for `conditions` to say anything: all but those asked whether they are."""
    return tuple(dict.fromkeys(condition.field for condition in conditions if condition.comparison != "known"))


def is_number(value: object) -> bool:
    """Tell whether `value` is a number; a truth value is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _everything(fact: Fact) -> bool:
    del fact
    return True


def _test(condition: Condition) -> Test:
    if condition.comparison == "known":
        wanted = bool(condition.values[0])
        return lambda value: (value is not None) is wanted
    if condition.comparison in _ORDER:
        return _compared(_ORDER[condition.comparison], condition.values[0])
    among = _among(condition.values)
    if condition.comparison == "is":
        return lambda value: any(map(among, value)) if isinstance(value, tuple) else among(value)
    return lambda value: (
        not any(map(among, value)) if isinstance(value, tuple) else value is not None and not among(value)
    )


def _among(values: tuple[Any, ...]) -> Test:
    wanted = frozenset(values)
    if not wanted & {0, 1}:
        return lambda value: value in wanted
    # True == 1 and False == 0, so these need a look at what they are.
    told_apart = frozenset((isinstance(value, bool), value) for value in values)
    return lambda value: (isinstance(value, bool), value) in told_apart


def _compared(holds: Callable[[Any, Any], bool], bound: object) -> Test:
    if is_number(bound):
        return lambda value: is_number(value) and holds(value, bound)
    # Texts are compared with texts; of truth values none is above the other.
    return lambda value: isinstance(value, str) and isinstance(bound, str) and holds(value, bound)
