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
from typing import NamedTuple, TypeAlias

from typing_extensions import override

from operators.feedback.detectors import NORMAL, Detector, Finding, Memory, Sample, floor_of, is_beyond, is_share
from operators.feedback.rules import AlertRule

LEVEL_RATE = 0.01
SPREAD_RATE = 0.001
SEASON_RATE = 0.03
RUNNING_RATE = 0.1
FARTHEST_KEPT = 0.999
"""Part of the farthest deviation that is left after one more value."""
FARTHER = 1.2
"""How many times as far as the farthest of the recent ones a deviation has to be to be abnormal."""
CLIP = 3.0
"""Spreads beyond which a deviation teaches no more."""
TO_SIGMA = 1.26
"""Standard deviation of normal values, by their mean absolute deviation that is clipped at `CLIP` of itself."""
FREE = 20
"""Values until the spread is known well enough to go by it; those of the probation, if they are fewer."""
CALM = 0.5
"""Part of what is too far, within which a value is near enough for an alert to be over."""
SUSTAINED_AFTER = 100
"""Values until the running mean is looked at: before, a drift cannot be told from what is usual."""
SUSTAINED = 1.3
"""How much more a deviation of the running mean counts than one as rare of a single value."""
SETTLED = 50
"""Values in a row on the same far side that are the new level."""
SETTLE_RATE = 0.1
SEASON_BETTER = 0.8
"""The season is believed if its errors are smaller than those of the common level by this factor."""
SEASONS_SEEN = 2
HOUR = 3_600_000
_PARTS, _MOST_PARTS = 24, 168
_WEIGHT = SUSTAINED * math.sqrt((2.0 - RUNNING_RATE) / RUNNING_RATE)
"""What the running mean counts for: as many standard deviations of its own, if values were independent, and more."""
MOST = 100.0
"""What a deviation counts for at most, so that the first move of what never moved is forgotten again."""
_LARGEST = 2**31

Parts: TypeAlias = "tuple[tuple[int, float, int], ...]"


class Known(NamedTuple):
    """The memory, by names; see `Anomaly`."""

    number: int
    first: int
    level: float
    by_level: float = 0.0
    by_season: float = 0.0
    running: float = 0.0
    far: float = 0.0
    far_running: float = 0.0
    peak: float = 0.0
    peak_running: float = 0.0
    row: int = 0
    side: int = 0
    parts: Parts = ()


class Anomaly(Detector):
    """Robust, seasonal deviations.

    As many values in a row as it takes to raise an alert are judged by what was the farthest before them.

    Memory: number of values, time of the first one, level, mean absolute deviation from the level alone and from the
    season alone, running mean of deviations, farthest deviation of single values and of the running mean, those of
    the values in a row that are not counted in yet, number of values in a row that are not calm, number of values in a
    row on one far side (negative: below), the parts of the season (which one, level, number of values) in their order.
    """

    def __init__(self, rule: AlertRule) -> None:
        self._rule = rule
        self._season = rule.season
        self._free = min(FREE, rule.probation)
        self._parts = min(_MOST_PARTS, max(_PARTS, rule.season // HOUR))

    @override
    def look(self, memory: Memory, sample: Sample) -> Finding:
        if not memory:
            return NORMAL
        known = Known(*memory)
        sensitivity = self._rule.sensitivity
        level, sigma = self._expected(known, sample)
        plain = _clipped((sample.value - level) / sigma, MOST)
        room = _room(known.far, sensitivity)
        deviation = plain / room
        if known.number > SUSTAINED_AFTER and abs(plain) > 1.0:
            running = known.running + RUNNING_RATE * (plain - known.running)
            lasting = _WEIGHT * running / _room(known.far_running, sensitivity)
            if lasting * plain > 0:
                deviation = max(deviation, lasting, key=abs)
        abnormal = is_beyond(deviation, self._rule)
        is_calm = not is_beyond(plain / CALM, self._rule)
        low, high = self._bounds(level, sensitivity * sigma * room, sample)
        return Finding(deviation, abnormal, is_calm and not abnormal, low, high)

    @override
    def learn(self, memory: Memory, sample: Sample) -> Memory:
        value = sample.value
        if not memory:
            parts: Parts = ((self._part_of(sample.start), value, 1),) if self._season else ()
            return tuple(Known(1, sample.start, value, parts=parts))
        known = Known(*memory)
        number = min(known.number + 1, _LARGEST)
        expected, sigma = self._expected(known, sample)
        is_begin = number <= self._free
        plain = 0.0 if is_begin else _clipped((value - expected) / sigma, MOST)
        limit = math.inf if is_begin else CLIP * sigma / TO_SIGMA
        # What is unusual teaches slowly however little is known: it shall not be what is usual after a few times.
        early = 1.0 / number if abs(plain) <= CLIP else 0.0
        rate = max(SPREAD_RATE, early)
        from_level = value - known.level
        parts, from_season = self._learn_part(known.parts, sample, limit, from_level)
        side = _side(known.side, plain)
        if abs(side) > SETTLED:
            level = known.level + SETTLE_RATE * from_level
        else:
            level = known.level + max(LEVEL_RATE, early) * _clipped(from_level, limit)
        running = known.running + RUNNING_RATE * (plain - known.running)
        far, far_running = known.far * FARTHEST_KEPT, known.far_running * FARTHEST_KEPT
        peak, peak_running = max(known.peak, abs(plain)), max(known.peak_running, _WEIGHT * abs(running))
        row = 0 if abs(plain) <= CALM * self._rule.sensitivity else known.row + 1
        if not row or row >= self._rule.raise_after:
            far, far_running, peak, peak_running = max(far, peak), max(far_running, peak_running), 0.0, 0.0
        by_level = known.by_level + rate * (min(abs(from_level), limit) - known.by_level)
        by_season = known.by_season + rate * (min(abs(from_season), limit) - known.by_season)
        return tuple(
            Known(
                number, known.first, level, by_level, by_season, running, far, far_running, peak, peak_running, row,
                side, parts,
            )
        )  # fmt: skip

    def _bounds(self, level: float, width: float, sample: Sample) -> tuple[float | None, float | None]:
        low, high = level - width, level + width
        if is_share(level, sample):
            low, high = max(0.0, low), min(1.0, high)
        direction = self._rule.direction
        return None if direction == "up" else low, None if direction == "down" else high

    def _expected(self, known: Known, sample: Sample) -> tuple[float, float]:
        """Return what is expected, and its standard deviation."""
        level, spread = known.level, known.by_level
        is_known = self._season and sample.start - known.first >= SEASONS_SEEN * self._season
        if is_known and known.by_season < SEASON_BETTER * known.by_level:
            wanted = self._part_of(sample.start)
            level = next((of_part for part, of_part, _ in known.parts if part == wanted), level)
            spread = known.by_season
        return level, max(TO_SIGMA * spread, floor_of(level, sample))

    def _learn_part(self, parts: Parts, sample: Sample, limit: float, otherwise: float) -> tuple[Parts, float]:
        """Return the parts of the season after one more value, and how wrong they were; `otherwise` without any."""
        if not self._season:
            return (), otherwise
        wanted = self._part_of(sample.start)
        for place, (part, level, number) in enumerate(parts):
            if part == wanted:
                error = sample.value - level
                rate = max(SEASON_RATE, 1.0 / (number + 1))
                learnt = (part, level + rate * _clipped(error, limit), min(number + 1, _LARGEST))
                return (*parts[:place], learnt, *parts[place + 1 :]), error
        return tuple(sorted((*parts, (wanted, sample.value, 1)))), otherwise

    def _part_of(self, time: int) -> int:
        return time % self._season * self._parts // self._season if self._season else 0


def _room(far: float, sensitivity: float) -> float:
    """Return by how much more is usual after a deviation as far as that.

    One that was not too far makes no room, or a slow rise would never be found: each value would excuse the next one.
    """
    return FARTHER * far / sensitivity if far > sensitivity else 1.0


def _clipped(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))


def _side(side: int, plain: float) -> int:
    """Return how many values in a row, this one included, are far above (positive) or far below."""
    if abs(plain) <= 2.0:  # noqa: PLR2004  # far enough not to be of the old level
        return 0
    if plain > 0:
        return min(side, _LARGEST) + 1 if side > 0 else 1
    return max(side, -(_LARGEST)) - 1 if side < 0 else -1
