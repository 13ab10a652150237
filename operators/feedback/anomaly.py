"""Far from what the series' own past lets expect, where the past says by itself how much it varies.

Level and spread are exponentially forgetting and robust: no single value moves them by more than a few of its
predecessors did (after Gelper, Fried and Croux, "Robust forecasting with exponential and Holt-Winters smoothing",
2010). Where the series repeats itself, each part of the season has its own level; it is believed only while it
foretells better than the common one. A series that has bursts of its own is given more room: the farthest of the recent
deviations, slowly forgotten, widens what counts as usual. Beside single values, their running mean is looked at, so
that a small deviation that lasts is found as well.

The numbers here were chosen on the 21 series that `just bench alerts` reads, the same for all of them.
"""

from __future__ import annotations

import math

from typing_extensions import override

from operators.feedback.detectors import Detector, Finding, Memory, Sample, floor_of, is_beyond, is_share
from operators.feedback.rules import AlertRule

LEVEL_RATE = 0.01
SPREAD_RATE = 0.001
SEASON_RATE = 0.03
RUNNING_RATE = 0.1
FARTHEST_KEPT = 0.999
"""Part of the farthest deviation that is left after one more value."""
USUAL_TAIL = 8.0
"""Farthest deviation of a series that needs no more room."""
CLIP = 3.0
"""Spreads beyond which a deviation teaches no more."""
TO_SIGMA = 1.26
"""Standard deviation of normal values, by their mean absolute deviation that is clipped at `CLIP` of itself."""
FREE = 20
"""Values until the spread is known well enough to clip by it; those of the probation, if they are fewer."""
CALM = 0.5
"""Part of what is too far, within which a value is near enough for an alert to be over."""
SUSTAINED_AFTER = 100
"""Values until the running mean is looked at: before, a drift cannot be told from what is usual."""
SUSTAINED = 1.3
SETTLED = 50
"""Values in a row on the same far side that are the new level."""
SETTLE_RATE = 0.1
SEASON_BETTER = 0.8
"""The season is believed if its errors are smaller than those of the common level by this factor."""
SEASONS_SEEN = 2
HOUR = 3_600_000
_PARTS, _MOST_PARTS = 24, 168
_GROWTH = math.sqrt((2.0 - RUNNING_RATE) / RUNNING_RATE)
"""Standard deviation of single values by that of their running mean."""

MOST = 100.0
"""What a deviation counts for at most, so that the first move of what never moved is forgotten again."""

_Parts = tuple[tuple[int, float, int], ...]


class Anomaly(Detector):
    """Robust, seasonal deviations.

    Memory: number of values, time of the first one, level, spread (mean absolute deviation), mean absolute deviation
    from the level alone and from the season alone, running mean of deviations, farthest deviation of single values and
    of the running mean, number of values in a row on one far side (negative: below), the parts of the season (which
    one, level, number of values) in their order.
    """

    def __init__(self, rule: AlertRule) -> None:
        self._rule = rule
        self._season = rule.season
        self._free = min(FREE, rule.probation)
        self._parts = min(_MOST_PARTS, max(_PARTS, rule.season // HOUR))

    @override
    def look(self, memory: Memory, sample: Sample) -> Finding:
        if not memory:
            return Finding(0.0, False, True)
        number, spread = memory[0], memory[3]
        level = self._expected(memory, sample)
        sigma = max(TO_SIGMA * spread, floor_of(level, sample))
        plain = _clipped((sample.value - level) / sigma, MOST)
        room = max(1.0, memory[7] / USUAL_TAIL)
        deviation = plain / room
        if number > SUSTAINED_AFTER:
            running = _GROWTH * (memory[6] + RUNNING_RATE * (plain - memory[6]))
            lasting = SUSTAINED * running / max(1.0, memory[8] / USUAL_TAIL)
            deviation = max(deviation, lasting, key=abs)
        width = self._rule.sensitivity * sigma * room
        abnormal = is_beyond(deviation, self._rule)
        is_calm = not is_beyond(plain / CALM, self._rule)
        low, high = self._bounds(level, width, sample)
        return Finding(deviation, abnormal, is_calm and not abnormal, low, high)

    @override
    def learn(self, memory: Memory, sample: Sample) -> Memory:
        value = sample.value
        if not memory:
            part = self._part_of(sample.start)
            parts: _Parts = ((part, value, 1),) if self._season else ()
            return 1, sample.start, value, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, parts
        number, first, level, spread, by_level, by_season, running, far, far_running, side, parts = memory
        number = min(number + 1, 2**31)
        expected = self._expected(memory, sample)
        sigma = max(TO_SIGMA * spread, floor_of(expected, sample))
        plain = _clipped((value - expected) / sigma, MOST)
        limit = CLIP * max(spread, sigma / TO_SIGMA) if number > self._free else math.inf
        # What is unusual teaches slowly however little is known: it shall not be what is usual after a few times.
        early = 1.0 / number if number <= self._free or abs(plain) <= CLIP else 0.0
        rate = max(SPREAD_RATE, early)
        from_level = value - level
        parts, from_season = self._learn_part(parts, sample, limit, from_level)
        by_level += rate * (min(abs(from_level), limit) - by_level)
        by_season += rate * (min(abs(from_season), limit) - by_season)
        spread += rate * (min(abs(value - expected), limit) - spread)
        side = _side(side, plain)
        if abs(side) > SETTLED:
            level += SETTLE_RATE * from_level
        else:
            level += max(LEVEL_RATE, early) * _clipped(from_level, limit)
        running += RUNNING_RATE * (plain - running)
        far = max(abs(plain), far * FARTHEST_KEPT)
        far_running = max(_GROWTH * abs(running), far_running * FARTHEST_KEPT)
        return number, first, level, spread, by_level, by_season, running, far, far_running, side, parts

    def _bounds(self, level: float, width: float, sample: Sample) -> tuple[float | None, float | None]:
        low, high = level - width, level + width
        if is_share(level, sample):
            low, high = max(0.0, low), min(1.0, high)
        direction = self._rule.direction
        return None if direction == "up" else low, None if direction == "down" else high

    def _expected(self, memory: Memory, sample: Sample) -> float:
        level: float = memory[2]
        is_known = self._season and sample.start - memory[1] >= SEASONS_SEEN * self._season
        if is_known and memory[5] < SEASON_BETTER * memory[4]:
            wanted = self._part_of(sample.start)
            return next((of_part for part, of_part, _ in memory[10] if part == wanted), level)
        return level

    def _learn_part(
        self, parts: _Parts, sample: Sample, limit: float, otherwise: float
    ) -> tuple[_Parts, float]:
        """Return the parts of the season after one more value, and how wrong they were; `otherwise` without any."""
        if not self._season:
            return (), otherwise
        wanted = self._part_of(sample.start)
        for place, (part, level, number) in enumerate(parts):
            if part == wanted:
                error = sample.value - level
                rate = max(SEASON_RATE, 1.0 / (number + 1))
                learnt = (part, level + rate * _clipped(error, limit), min(number + 1, 2**31))
                return (*parts[:place], learnt, *parts[place + 1 :]), error
        return tuple(sorted((*parts, (wanted, sample.value, 1)))), otherwise

    def _part_of(self, time: int) -> int:
        return time % self._season * self._parts // self._season if self._season else 0


def _clipped(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))


def _side(side: int, plain: float) -> int:
    """Return how many values in a row, this one included, are far above (positive) or far below."""
    if abs(plain) <= 2.0:  # noqa: PLR2004  # far enough not to be of the old level
        return 0
    if plain > 0:
        return min(side, 2**31) + 1 if side > 0 else 1
    return max(side, -(2**31)) - 1 if side < 0 else -1
