"""What the live benchmark has measured, and how it says so."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.live_measure import Delays, Drain

P50_AIM, P99_AIM, DRAIN_AIM = 100.0, 500.0, 70_000.0
NONE = "-"


class Measured(msgspec.Struct):
    """All that was measured of one chain.

    :arg highest: Changes a second of the last load that was held; None where that was not measured.
    :arg rates: The loads by which that was found.
    """

    chain: str
    delays: Delays | None = None
    highest: float | None = None
    rates: list[Delays] = []


class Drained(msgspec.Struct):
    """A backlog by one capture onto one log."""

    name: str
    drain: Drain


def percentiles(millis: Sequence[float], *percents: float) -> list[str]:
    """Return percentiles in words; of nothing there are none."""
    if not millis:
        return [NONE] * len(percents)
    return [f"{np.percentile(millis, percent):,.0f}" for percent in percents]


def summary(delays: Delays) -> str:
    """Say in a line what a load has measured."""
    on_log, served = percentiles(delays.on_log, 50, 99), percentiles(delays.served, 50, 99)
    said = f"on the log {' and '.join(on_log)} ms, served {' and '.join(served)} ms (p50 and p99)"
    return f"{said}; {delays.offered:,.0f} changes/s, load {delays.load:.1f}"


def report_delays(console: Console, found: Sequence[Measured], rate: float) -> None:
    """Print how soon changes were there."""
    table = Table(title=f"From commit, at {rate:,.0f} changes a second, in ms", box=SIMPLE_HEAD)
    table.add_column("")
    for column in ("on the log p50", "p99", "served p50", "p90", "p99", "longest", "a look", "processor", "load"):
        table.add_column(column, justify="right")
    for one in found:
        if one.delays is None:
            continue
        delays = one.delays
        table.add_row(
            one.chain if delays.kept else f"{one.chain} (only {delays.offered:,.0f}/s)",
            *percentiles(delays.on_log, 50, 99),
            *percentiles(delays.served, 50, 90, 99, 100),
            f"{delays.looks:.1f}",
            ", ".join(f"{name} {share:.0%}" for name, share in delays.processor.items()),
            f"{delays.load:.1f}",
        )
    console.print(table)
    console.print(f"aim: served within {P50_AIM:.0f} ms at the median, {P99_AIM:.0f} ms at the 99th percentile\n")


def report_rates(console: Console, found: Sequence[Measured], seconds: float) -> None:
    """Print the highest rates."""
    table = Table(title=f"Highest rate held for {seconds:.0f} s", box=SIMPLE_HEAD)
    table.add_column("")
    for column in ("changes/s", "served p50 ms then", "p99", "not held any more", "the last after ms"):
        table.add_column(column, justify="right")
    for one in found:
        if one.highest is None:
            continue
        held = [load for load in one.rates if load.held]
        over = [load for load in one.rates if not load.held]
        table.add_row(
            one.chain,
            f"{one.highest:,.0f}" if held else NONE,
            *percentiles(held[-1].served if held else [], 50, 99),
            f"{over[0].rate:,.0f}" if over else NONE,
            NONE if not over else f"{over[0].last:,.0f}" if over[0].kept else "the writer did not keep it",
        )
    console.print(table)


def report_drains(console: Console, found: Sequence[Drained]) -> None:
    """Print how fast backlogs went."""
    table = Table(title="A backlog onto the log", box=SIMPLE_HEAD)
    table.add_column("")
    for column in ("events", "events/s", "per processor s", "first after s", "load"):
        table.add_column(column, justify="right")
    for one in found:
        drain = one.drain
        table.add_row(
            one.name,
            f"{drain.events:,}",
            f"{drain.rate:,.0f}",
            f"{drain.events / drain.processor:,.0f}",
            f"{drain.start:.1f}",
            f"{drain.load:.1f}",
        )
    console.print(table)
    console.print(f"aim: {DRAIN_AIM:,.0f} events a second to the log on files\n")
