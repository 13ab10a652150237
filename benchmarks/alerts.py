"""Alerts, measured: how right the detector is, and how soon an alert comes.

    python -m benchmarks.alerts [--parts nab delay] [--nab FOLDER] [--rate 500] [--seconds 20]

nab     The score of the Numenta Anomaly Benchmark, by the scorer in `nab.py`, of the flow's own detector, of a
        threshold set once by hand, and of the benchmark's own baseline. Each also as alerts are raised: after one, what
        is not higher is quiet for twelve hours.
delay   From the append of an event until its alert is on the stream of alerts, live, with recovery, under load.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.alerts_delay import Delays, measure
from benchmarks.nab import (
    PROFILES,
    STANDARD,
    Detector,
    Series,
    anomaly,
    cooled,
    fixed_threshold,
    read,
    score,
    window_gaussian,
)  # fmt: skip
from events.errors import HeadraceError

PARTS = ("nab", "delay")
FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "nab"
DETECTORS: dict[str, Detector] = {
    "headrace": anomaly,
    "window Gaussian": window_gaussian,
    "fixed threshold": fixed_threshold,
}


class Line(msgspec.Struct):
    """What one detector reached.

    :arg scores: By profile.
    :arg halves: In the standard profile, on every second series each, at thresholds of their own.
    """

    name: str
    scores: dict[str, float]
    threshold: float
    found: int
    windows: int
    false: int
    halves: tuple[float, float]


def compare(series: Sequence[Series]) -> list[Line]:
    """Score all detectors, as they are and with the cool-down."""
    lines = []
    for name, detector in DETECTORS.items():
        plain = [(one, list(detector(one))) for one in series]
        lines.append(_line(name, plain))
        lines.append(_line(f"{name}, with cool-down", [(one, list(cooled(scores))) for one, scores in plain]))
    return lines


def _line(name: str, found: list[tuple[Series, list[float]]]) -> Line:
    best = score(found, STANDARD)
    scores = {profile.name: score(found, profile).value for profile in PROFILES}
    halves = score(found[::2], STANDARD).value, score(found[1::2], STANDARD).value
    return Line(name, scores, best.threshold, best.found, best.windows, best.false, halves)


def report_scores(console: Console, lines: Sequence[Line], count: int) -> None:
    table = Table(title=f"Numenta Anomaly Benchmark, {count} series")
    for column in ("detector", *(profile.name for profile in PROFILES), "found", "false", "threshold", "halves"):
        table.add_column(column, justify="left" if column == "detector" else "right")
    for line in lines:
        scores = [f"{value:.1f}" for value in line.scores.values()]
        halves = " and ".join(f"{value:.1f}" for value in line.halves)
        found = f"{line.found} of {line.windows}"
        table.add_row(line.name, *scores, found, str(line.false), f"{line.threshold:.4g}", halves)
    console.print(table)


def report_delay(console: Console, delays: Delays) -> None:
    parts = [f"p{percent} {delays.percentile(percent):.0f} ms" for percent in (50, 90, 99)]
    said = f"event to alert, {len(delays.millis)} probes at {delays.offered:,.0f} events/s: {', '.join(parts)}"
    console.print(said, highlight=False)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--nab", type=Path, default=FOLDER, help="folder with `data` and `labels` of the benchmark")
    parser.add_argument("--rate", type=float, default=500.0, help="events appended a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the load is kept up")
    parser.add_argument("--keep", action="store_true", help="leave log and store where they are")
    parser.add_argument("--out", type=Path, help="file for every single number, as JSON")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    # Whoever ends this process, by `timeout` for one, ends the measured one with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(width=max(Console().width, 130))  # a pipe is no reason to cut the table
    numbers: dict[str, object] = {}
    home = Path(tempfile.mkdtemp(prefix="alerts-"))
    try:
        if "nab" in options.parts:
            series = read(options.nab)
            if not series:
                detail = f"there are no series in {options.nab}"
                raise HeadraceError(detail, "name the folder by --nab")
            lines = compare(series)
            report_scores(console, lines, len(series))
            numbers["nab"] = lines
        if "delay" in options.parts:
            delays = measure(home, options.rate, options.seconds)
            report_delay(console, delays)
            numbers["delay"] = delays
    except (HeadraceError, OSError) as error:
        console.print(str(error), style="red", markup=False)
        raise SystemExit(1) from None
    finally:
        if options.keep:
            console.print(f"kept: {home}", highlight=False)
        else:
            shutil.rmtree(home, ignore_errors=True)
    console.print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.platform()}")
    if options.out:
        options.out.write_bytes(msgspec.json.encode(numbers))


if __name__ == "__main__":
    main()
