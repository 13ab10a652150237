"""What makes one value of a series abnormal: pure logic, told the past as plain values that it made itself.

A detector holds its rule only. What it has learnt of a series, its memory, is handed in and out, so that a value can be
looked at without being learnt from.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, TypeAlias

import msgspec
from typing_extensions import override

from operators.feedback.rules import AlertRule

Memory: TypeAlias = "tuple[Any, ...]"
"""What a detector has learnt of one series: plain values; empty at the beginning."""

_SAME = 1e-9


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One value of a series: of a window, or a point.

    :arg start: Begin of the window, or time of the point (ms since epoch).
    :arg end: End of the window, not included; of a point its time plus one.
    :arg count: How many facts it is of; 0 for a point.
    """

    start: int
    end: int
    value: float
    count: int = 0


class Finding(msgspec.Struct, frozen=True):
    """What a detector thinks of one value.

    :arg deviation: How far it is from what was expected, in robust standard deviations; above 0: higher.
    :arg abnormal: Whether that is too far.
    :arg calm: Whether it is near enough for an alert to be over. A value can be neither.
    :arg low: Lower bound of what was expected, None if there is none.
    :arg high: Upper bound.
    :arg since: Since when it has been so (ms since epoch), None if that is the value's own time.
    """

    deviation: float
    abnormal: bool
    calm: bool
    low: float | None = None
    high: float | None = None
    since: int | None = None


NORMAL = Finding(0.0, False, True)


class Detector(ABC):
    """One way to find abnormal values."""

    needs_past = True
    """Whether nothing is judged during the probation."""

    is_early = True
    """Whether values of windows that are not over can be judged."""

    @abstractmethod
    def look(self, memory: Memory, sample: Sample) -> Finding:
        """Judge a value by what was learnt before it."""

    def learn(self, memory: Memory, sample: Sample) -> Memory:
        """Return what is known when `sample` has been learnt as well; samples come in the order of time."""
        del sample
        return memory


class Threshold(Detector):
    """Beyond a fixed bound.

    :arg first: The series' value of the first field that it is grouped by, for bounds that differ.
    """

    needs_past = False

    def __init__(self, rule: AlertRule, first: str = "") -> None:
        self._low = rule.below
        self._high = rule.objectives.get(first, rule.above)

    @override
    def look(self, memory: Memory, sample: Sample) -> Finding:
        value, low, high = sample.value, self._low, self._high
        is_low = low is not None and value < low
        is_high = high is not None and value > high
        deviation = math.inf if is_high else -math.inf if is_low else 0.0
        return Finding(deviation, is_low or is_high, not (is_low or is_high), low, high)


class Flat(Detector):
    """Does not move for `patience`, and had moved before. Memory: the value, since when, how often it has moved."""

    is_early = False

    def __init__(self, rule: AlertRule) -> None:
        self._patience = rule.patience

    @override
    def look(self, memory: Memory, sample: Sample) -> Finding:
        if not memory or self._has_moved(memory, sample):
            return NORMAL
        _, since, moves = memory
        is_flat = bool(moves) and sample.end - since > self._patience
        return Finding(0.0, is_flat, not is_flat, since=since) if is_flat else NORMAL

    @override
    def learn(self, memory: Memory, sample: Sample) -> Memory:
        if not memory:
            return sample.value, sample.start, 0
        if self._has_moved(memory, sample):
            return sample.value, sample.start, min(memory[2] + 1, 2**31)
        return memory

    @staticmethod
    def _has_moved(memory: Memory, sample: Sample) -> bool:
        return not math.isclose(memory[0], sample.value, rel_tol=_SAME, abs_tol=_SAME * _SAME)


class Present(Detector):
    """Nothing is wrong with a value that is there: for series that are only watched for going missing."""

    needs_past = False
    is_early = False

    @override
    def look(self, memory: Memory, sample: Sample) -> Finding:
        del memory, sample
        return NORMAL


def is_beyond(deviation: float, rule: AlertRule) -> bool:
    """Tell whether a deviation is too far, and on a side that counts."""
    if rule.direction != "both" and (deviation > 0) != (rule.direction == "up"):
        return False
    return abs(deviation) > rule.sensitivity


def is_share(level: float, sample: Sample) -> bool:
    """Tell whether a value is of facts that may each be from 0 to 1, as far as can be seen."""
    return sample.count > 0 and 0.0 <= level <= 1.0 and 0.0 <= sample.value <= 1.0


def floor_of(level: float, sample: Sample) -> float:
    """Return the least standard deviation that a value can be thought to have around `level`.

    However flat the past was: a hundredth of the level; for what lies between 0 and 1, as shares and mean scores do,
    the standard error of that many facts (nothing between 0 and 1 has a larger variance than `p (1 - p)`; two facts are
    added, one of each sort, as Agresti and Coull do, for a past without any hits); for a number of facts, its square
    root, as if they came independently.
    """
    floor = 0.01 * abs(level) + 1e-9
    count = sample.count
    if count <= 0:
        return floor
    if is_share(level, sample):
        share = (level * count + 1.0) / (count + 2.0)
        return max(floor, math.sqrt(share * (1.0 - share) / count))
    if sample.value == count:
        return max(floor, math.sqrt(max(level, 1.0)))
    return floor
