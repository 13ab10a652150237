"""A level that has shifted for good: two-sided cumulative sums (Page, "Continuous inspection schemes", 1954).

Each value counts by its deviation from the level that was learnt first, less half a standard deviation, and never as
more than two: one outlier alone is no shift, however far it is. Once there is one, the level is learnt anew.
"""

from __future__ import annotations

from typing_extensions import override

from operators.feedback.detectors import Detector, Finding, Memory, Sample, floor_of
from operators.feedback.rules import AlertRule

SLACK = 0.5
MOST = 2.5
"""What a value counts for at most, before the slack."""
KEPT = 64
"""Values that level and spread are learnt from, at most."""
_TO_SIGMA = 1.4826
"""Standard deviation of normal values by their median absolute deviation."""


class Change(Detector):
    """Level shifts.

    Memory while it learns: the values. Memory then: None, level, spread (robust standard deviation), both sums and
    since when they have been above zero.
    """

    is_early = False

    def __init__(self, rule: AlertRule) -> None:
        self._rule = rule
        self._learn = min(KEPT, max(3, rule.probation))

    @override
    def look(self, memory: Memory, sample: Sample) -> Finding:
        if len(memory) == 0 or memory[0] is not None:
            # Learning a level, perhaps the one after a shift: nothing is known of this value.
            return Finding(0.0, False, False)
        _, level, spread, *_ = memory
        above, above_since, below, below_since = self._sums(memory, sample)
        is_up = above > self._rule.sensitivity and self._rule.direction != "down"
        is_down = below > self._rule.sensitivity and self._rule.direction != "up"
        deviation = above if above >= below else -below
        since = above_since if is_up else below_since if is_down else None
        return Finding(deviation, is_up or is_down, not (is_up or is_down), level - spread, level + spread, since)

    @override
    def learn(self, memory: Memory, sample: Sample) -> Memory:
        if len(memory) == 0 or memory[0] is not None:
            values = (*memory, sample.value)
            if len(values) < self._learn:
                return values
            level = _median(values)
            spread = _TO_SIGMA * _median([abs(value - level) for value in values])
            return None, level, spread, 0.0, 0, 0.0, 0
        sums = self._sums(memory, sample)
        if max(sums[0], sums[2]) > self._rule.sensitivity:
            return (sample.value,)
        return None, memory[1], memory[2], *sums

    def _sums(self, memory: Memory, sample: Sample) -> tuple[float, int, float, int]:
        _, level, spread, above, above_since, below, below_since = memory
        deviation = (sample.value - level) / max(spread, floor_of(level, sample))
        deviation = max(-MOST, min(MOST, deviation))
        above_since = above_since if above > 0 else sample.start
        below_since = below_since if below > 0 else sample.start
        return max(0.0, above + deviation - SLACK), above_since, max(0.0, below - deviation - SLACK), below_since


def _median(values: tuple[float, ...] | list[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0
