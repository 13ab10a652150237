"""What the context benchmark has measured, and how it says so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.context_latency import Embedding, Measured, Percentiles
from benchmarks.context_readers import Readings

AIMS = {"/context": (30.0, 100.0), "/profiles/me": (None, 10.0)}
"""Milliseconds at p50 and p99, of one asker."""
_PEERS = (("/profiles/me", "Feast's feature server"), ("the profile, in process", "Feast, in process"))


def report_latencies(console: Console, found: Sequence[Measured]) -> None:
    """Print the percentiles, and which aims were missed."""
    table = Table(title="From the first byte sent to the last one read", box=SIMPLE_HEAD)
    for column in (
        "",
        "askers",
        "requests",
        "p50 ms",
        "p99 ms",
        "longest ms",
        "server's mean ms",
        "processor ms",
        "aim",
    ):
        table.add_column(column, justify="left" if not column else "right", no_wrap=not column)
    for one in found:
        own = ("" if value is None else f"{value:.1f}" for value in (one.server, one.processor))
        table.add_row(one.name, str(one.askers), f"{one.millis.count:,}", *_figures(one.millis), *own, _aim(one))
    console.print(table)


def report_embedding(console: Console, found: Embedding) -> None:
    """Print what embedding one question costs."""
    p50, p99, longest = _figures(found.millis)
    said = f"embedding of a question, {found.model} by {found.backend}: p50 {p50}, p99 {p99}, longest {longest} ms"
    console.print(said, highlight=False)


def report_ratios(console: Console, found: Sequence[Measured]) -> None:
    """Print how our look-ups compare with the peer's."""
    by_name = {(one.name, one.askers): one.millis for one in found}
    for ours, theirs in _PEERS:
        for askers in sorted({one.askers for one in found}):
            mine, peer = by_name.get((ours, askers)), by_name.get((theirs, askers))
            if mine is not None and peer is not None:
                ratios = f"p50 {peer.p50 / mine.p50:.2f}, p99 {peer.p99 / mine.p99:.2f} times as long"
                console.print(f"{theirs} beside {ours}, {askers} at once: {ratios}", highlight=False)


def report_readers(console: Console, readings: Readings, seconds: float) -> None:
    """Print what the readers met."""
    table = Table(title=f"{len(readings.answers)} readers for {seconds:g} s", box=SIMPLE_HEAD)
    for column in ("", "answers", "a second", "p50 ms", "p99 ms", "longest ms"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=not column)
    for kind, millis in sorted(readings.millis.items()):
        figures = (f"{np.percentile(millis, percent):.0f}" for percent in (50, 99, 100))
        table.add_row(kind, f"{len(millis):,}", f"{len(millis) / seconds:.1f}", *figures)
    console.print(table)
    compared = ", ".join(f"{kind} {count:,}" for kind, count in readings.compared.items())
    for line in (
        f"errors {len(readings.errors)}, torn {len(readings.torn)} (compared: {compared}), "
        f"implausible times {len(readings.implausible)}, told to wait {readings.told_to_wait}",
        f"answers of a reader: least {min(readings.answers)}, most {max(readings.answers)}; "
        f"commits of live tables meanwhile {readings.commits:,}",
        f"memory of the server at the end {readings.memory[-1] / 2**20:.0f} MiB, "
        f"{readings.growth:+.1%} since the first third (aim: under 10 %)",
    ):
        console.print(line, highlight=False)


def _figures(millis: Percentiles) -> tuple[str, str, str]:
    return f"{millis.p50:.1f}", f"{millis.p99:.1f}", f"{millis.longest:.1f}"


def _aim(one: Measured) -> str:
    p50, p99 = AIMS.get(one.name.split(maxsplit=1)[0], (None, None))
    if p99 is None or one.askers > 1 or "new" in one.name:
        return ""
    met = one.millis.p99 <= p99 and (p50 is None or one.millis.p50 <= p50)
    wanted = f"{p50:.0f} and {p99:.0f}" if p50 is not None else f"p99 {p99:.0f}"
    return wanted if met else f"{wanted}: missed"
