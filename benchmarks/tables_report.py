"""What the tables benchmark has measured, and how it says so: medians, ranges, and ratios within one run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.tables_delay import Delays
from benchmarks.tables_systems import BARE_LOOP, STRICT_LOOP
from benchmarks.tables_watch import Run

RATE_AIM, DELAY_AIM, GROWTH_AIM = 0.6, 150.0, 1.3


class Speed(msgspec.Struct):
    """What one round of one system measured, over so many events."""

    system: str
    events: int
    run: Run

    @property
    def rate(self) -> float:
        """Events per second, from the first commit to the last."""
        return self.events / self.run.seconds


class Growth(msgspec.Struct):
    """What was measured on tables that held so many rows before."""

    rows: int
    speeds: list[Speed]
    delays: Delays


def median_rate(speeds: Sequence[Speed], system: str) -> float:
    """Return the median of the rates of a system."""
    return statistics.median(speed.rate for speed in speeds if speed.system == system)


def report_rates(console: Console, speeds: Sequence[Speed]) -> None:
    """Print the medians of each system, and the ratios to the plain loop."""
    table = Table(title=f"{speeds[0].events:,} events from the log to the row store", box=SIMPLE_HEAD)
    for column in (
        "",
        "events/s",
        "least",
        "most",
        "first commit s",
        "processor s",
        "of the same-decoding loop",
        "of the bare loop",
    ):
        table.add_column(column, justify="left" if not column else "right")
    names = list(dict.fromkeys(speed.system for speed in speeds))
    medians = {name: median_rate(speeds, name) for name in names}
    for name in names:
        mine = [speed for speed in speeds if speed.system == name]
        rates = [speed.rate for speed in mine]
        processor = [speed.run.processor for speed in mine if speed.run.processor is not None]
        ratios = (medians[name] / medians[loop] if loop in medians else None for loop in (STRICT_LOOP, BARE_LOOP))
        table.add_row(
            name,
            f"{medians[name]:,.0f}",
            f"{min(rates):,.0f}",
            f"{max(rates):,.0f}",
            f"{statistics.median(speed.run.start for speed in mine):.1f}",
            f"{statistics.median(processor):.1f}" if processor else "unknown",
            *("not measured" if ratio is None else f"{ratio:.0%}" for ratio in ratios),
        )
    console.print(table)
    console.print(f"aim: {RATE_AIM:.0%} of a plain loop that does the same work\n")


def report_delays(console: Console, found: Sequence[tuple[float, Delays]]) -> None:
    """Print the percentiles at each rate."""
    table = Table(title="From the append to the row that another process reads", box=SIMPLE_HEAD)
    for column in ("events/s", "appended/s", "probes", "p50 ms", "p90 ms", "p99 ms", "longest ms", "a look ms"):
        table.add_column(column, justify="right")
    for rate, delays in found:
        table.add_row(
            f"{rate:,.0f}",
            f"{delays.offered:,.0f}",
            f"{len(delays.millis):,}",
            *(f"{delays.percentile(percent):.0f}" for percent in (50, 90, 99, 100)),
            f"{delays.looks:.1f}",
        )
    console.print(table)
    console.print(f"aim: p99 of {DELAY_AIM:.0f} ms at 1,000 events a second\n")


def report_growth(console: Console, found: Sequence[Growth]) -> None:
    """Print rates and delays by size, and the ratio of the largest to the smallest."""
    table = Table(title="The same on larger tables", box=SIMPLE_HEAD)
    names = list(dict.fromkeys(speed.system for speed in found[0].speeds))
    for column in ("rows before", *(f"{name}, events/s" for name in names), "p50 ms", "p99 ms"):
        table.add_column(column, justify="right")
    figures = [
        (
            [median_rate(growth.speeds, name) for name in names],
            [growth.delays.percentile(percent) for percent in (50, 99)],
        )
        for growth in found
    ]
    for growth, (rates, millis) in zip(found, figures, strict=True):
        table.add_row(f"{growth.rows:,}", *(f"{rate:,.0f}" for rate in rates), *(f"{value:.0f}" for value in millis))
    slower = [f"{first / last:.2f}" for first, last in zip(figures[0][0], figures[-1][0], strict=True)]
    later = [f"{last / first:.2f}" for first, last in zip(figures[0][1], figures[-1][1], strict=True)]
    table.add_row("worse by", *slower, *later)
    console.print(table)
    console.print(f"aim: within {GROWTH_AIM}\n")
