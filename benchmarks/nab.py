"""The scorer of the Numenta Anomaly Benchmark, and its series.

Written from the definition: Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms: the Numenta Anomaly
Benchmark" (2015), section II. Within a window of an anomaly the first detection counts, the earlier the more; a
detection outside costs the more the farther it is behind the window before it; a window without any costs too. One
threshold for all series is chosen, the best one. 0 is a detector that never says anything, 100 a perfect one.
"""

from __future__ import annotations

import csv
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from events.clock import to_millis
from operators.feedback.anomaly import Anomaly
from operators.feedback.detectors import Memory, Sample
from operators.feedback.rules import AlertRule

SENSITIVITY = 12.0
"""Of the detector here; the threshold that the scorer finds should be near it."""
COOL_DOWN = 144
"""Rows of five minutes: twelve hours."""
PROBATION_SHARE = 0.15
PROBATION_OF = 5_000
"""The probation is a share of the rows, of so many at most."""
_FAR = 3.0
"""Window lengths behind a window, from where on a false alarm costs all that it can."""


class Profile(msgspec.Struct, frozen=True):
    """What a right, a false and a missing detection weigh."""

    name: str
    right: float
    false: float
    missed: float


STANDARD = Profile("standard", 1.0, 0.11, 1.0)
FEW_FALSE = Profile("reward low FP", 1.0, 0.22, 1.0)
FEW_MISSED = Profile("reward low FN", 1.0, 0.11, 2.0)
PROFILES = (STANDARD, FEW_FALSE, FEW_MISSED)


class Series(msgspec.Struct, frozen=True):
    """One file of the benchmark.

    :arg times: Milliseconds since 1970-01-01 UTC.
    :arg windows: First and last index of each anomaly's window, both included, in order.
    """

    name: str
    times: list[int]
    values: list[float]
    windows: list[tuple[int, int]]

    @property
    def probation(self) -> int:
        """How many rows are only learnt from."""
        return probation(len(self.values))


class Score(msgspec.Struct, frozen=True):
    """What a detector reached.

    :arg value: 0 as a detector that says nothing, 100 as a perfect one.
    :arg threshold: Of its scores, the best one for all series; infinite if it had better said nothing.
    :arg found: Windows with a detection.
    :arg false: Detections outside any window.
    """

    value: float
    threshold: float
    found: int
    windows: int
    false: int


Detector = Callable[[Series], Iterable[float]]
"""Returns a score for each row, from its past and itself alone."""


def probation(rows: int) -> int:
    """Return how many of the first rows are only learnt from."""
    return math.floor(PROBATION_SHARE * min(rows, PROBATION_OF))


def scaled_sigmoid(position: float) -> float:
    """Return what a detection is worth, from 1 to -1: 0 at the end of a window, which is one length long.

    :arg position: -1 at the window's begin, 0 at its end, 1 one length behind it.
    """
    return -1.0 if position > _FAR else 2.0 / (1.0 + math.exp(5.0 * position)) - 1.0


def worths(series: Series) -> list[tuple[int, float]]:
    """Return for each row behind the probation its window, -1 for none, and what a detection there is worth."""
    out: list[tuple[int, float]] = []
    perfect = scaled_sigmoid(-1.0)
    windows = series.windows
    at = 0
    for row in range(series.probation, len(series.values)):
        while at < len(windows) and windows[at][1] < row:
            at += 1
        if at < len(windows) and windows[at][0] <= row:
            begin, end = windows[at]
            out.append((at, scaled_sigmoid(-(end - row + 1) / (end - begin + 1)) / perfect))
        elif at:
            begin, end = windows[at - 1]
            out.append((-1, scaled_sigmoid((row - end) / max(1, end - begin))))
        else:
            out.append((-1, -1.0))
    return out


def score(found: Sequence[tuple[Series, Sequence[float]]], profile: Profile) -> Score:
    """Score a detector on all series at once, at the best threshold for all of them."""
    points: list[tuple[float, int, float]] = []
    numbered = 0
    for series, scores in found:
        behind = scores[series.probation :]
        for (window, worth), value in zip(worths(series), behind, strict=True):
            points.append((value, -1 if window < 0 else numbered + window, worth))
        numbered += len(series.windows)
    points.sort(key=lambda point: point[0], reverse=True)
    nothing, perfect = -profile.missed * numbered, profile.right * numbered
    total, best_total = nothing, nothing
    threshold, best_found, best_false = math.inf, 0, 0
    reached: dict[int, float] = {}
    false = 0
    for at, (value, window, worth) in enumerate(points):
        if window < 0:
            false += 1
            total += profile.false * worth
        else:
            before = reached.get(window)
            now = profile.right * worth
            if before is None:
                total += now + profile.missed
                reached[window] = now
            elif now > before:
                total += now - before
                reached[window] = now
        is_last = at + 1 == len(points) or points[at + 1][0] < value
        if is_last and total > best_total:
            best_total, threshold, best_found, best_false = total, value, len(reached), false
    value = 100.0 * (best_total - nothing) / (perfect - nothing) if numbered else 0.0
    return Score(value, threshold, best_found, numbered, best_false)


def read(folder: Path) -> list[Series]:
    """Read all series below `folder`: `data/*/*.csv` and their windows."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text(encoding="utf-8"))
    return [
        _series(path, labels[path.relative_to(folder / "data").as_posix()])
        for path in sorted((folder / "data").glob("*/*.csv"))
    ]


def _series(path: Path, labels: list[tuple[str, str]]) -> Series:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [(_millis(row["timestamp"]), float(row["value"])) for row in csv.DictReader(file)]
    times = [time for time, _ in rows]
    first = {time: row for row, time in reversed(list(enumerate(times)))}
    last = {time: row for row, time in enumerate(times)}
    windows = sorted((first[_millis(begin)], last[_millis(end)]) for begin, end in labels)
    return Series(f"{path.parent.name}/{path.stem}", times, [value for _, value in rows], windows)


def _millis(text: str) -> int:
    return to_millis(datetime.fromisoformat(text))


def window_gaussian(series: Series, size: int = 6_400, step: int = 100) -> Iterator[float]:
    """Score by the tail of a normal distribution: the benchmark's own baseline, `windowedGaussian`.

    Mean and deviation are those of the past, until it has `size` rows; from then on, of a window that moves on by
    `step` rows at a time.
    """
    window: list[float] = []
    waiting: list[float] = []
    mean, deviation = 0.0, 1.0
    total = squares = 0.0
    for value in series.values:
        if window:
            far = abs(value - mean) / deviation
            yield 1.0 - 0.5 * math.erfc(far / math.sqrt(2.0))
        else:
            yield 0.0
        if len(window) < size:
            window.append(value)
            total, squares = total + value, squares + value * value
        else:
            waiting.append(value)
            if len(waiting) < step:
                continue
            window = window[step:] + waiting
            waiting = []
            total, squares = math.fsum(window), math.fsum(value * value for value in window)
        mean = total / len(window)
        deviation = math.sqrt(max(0.0, squares / len(window) - mean * mean)) or 1e-6


def fixed_threshold(series: Series) -> Iterator[float]:
    """Score by the distance from what the probation had, in widths of it: a threshold set once, by hand."""
    begin = sorted(series.values[: series.probation])
    middle, width = begin[len(begin) // 2], (begin[-1] - begin[0]) or 1.0
    for value in series.values:
        yield abs(value - middle) / width


def anomaly(series: Series) -> Iterator[float]:
    """Score by the deviations of the flow's own detector, row by row; it is told that a day may be a season."""
    detector = Anomaly(AlertRule("nab", "anomaly", season=86_400_000, sensitivity=SENSITIVITY))
    memory: Memory = ()
    for time, value in zip(series.times, series.values, strict=True):
        sample = Sample(time, time + 1, value)
        yield abs(detector.look(memory, sample).deviation)
        memory = detector.learn(memory, sample)


def cooled(scores: Iterable[float], rows: int = COOL_DOWN) -> Iterator[float]:
    """Keep of scores those that are the highest of their last `rows`, the others become 0: one alert an episode."""
    before: deque[tuple[int, float]] = deque()
    for row, value in enumerate(scores):
        while before and before[0][0] < row - rows:
            before.popleft()
        yield value if not before or value > before[0][1] else 0.0
        while before and before[-1][1] <= value:
            before.pop()
        before.append((row, value))
