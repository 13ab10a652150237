"""Identity and profiles, measured: how right linking is, how fast, how soon, and whether it stays so as it grows.

    python -m benchmarks.identity [--parts quality resolve flow] [--only headrace] [--quick | --full]

quality  Precision and recall in pairs of records, on records whose truth is known, with Splink beside it.
resolve  The identity graph with its journal, alone, and a plain NetworkX batch over the final rows beside it.
flow     The whole flow from the log to profiles: first events of all records, and later ones, at each size; live with
         recovery at the largest: delay, pauses, and the restart after a kill; look-ups by identifier.

Every flow is checked: the persons in its store must be as many as the connected components of the rows.
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
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.identity_flow import Flowing, measure_flow
from benchmarks.identity_quality import measure_quality, report_quality
from benchmarks.identity_resolve import Resolving, measure_resolve, report_resolve
from events.errors import HeadraceError

PARTS = ("quality", "resolve", "flow")
FLAT_AIM, PAUSE_AIM, RESUME_AIM = 1.5, 500.0, 30.0
DELAY_AIM, LOOKUP_AIM = (20.0, 150.0), (0.5, 2.0)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--only", choices=("headrace",), help="leave the peer out")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--quick", action="store_true", help="10,000 and 30,000 records: minutes become seconds")
    sizes.add_argument("--full", action="store_true", help="10,000, 100,000 and 1,000,000 records")
    sizes.add_argument("--records", nargs="+", type=int, help="records of each size, ascending")
    parser.add_argument("--changes", type=int, help="later events of the flow")
    parser.add_argument("--rate", type=float, default=1_000.0, help="events appended a second while the flow is live")
    parser.add_argument("--seconds", type=float, help="how long the load is kept up")
    parser.add_argument("--folder", type=Path, help="where logs and stores go; default: the system's temporary folder")
    parser.add_argument("--keep", action="store_true", help="leave logs and stores where they are")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--out", type=Path, help="file for every single number, as JSON")
    options = parser.parse_args(arguments)
    if not options.records:
        options.records = [10_000, 100_000, 1_000_000] if options.full else [10_000, 100_000]
        options.records = [10_000, 30_000] if options.quick else options.records
    options.changes = options.changes or (20_000 if options.quick else 100_000)
    options.seconds = options.seconds or (5.0 if options.quick else 30.0)
    return options


def report_flow(console: Console, found: Sequence[Flowing], alone: Sequence[Resolving]) -> None:
    """Print the rates at each size, the ratios to the smallest and to the batch, and what the largest did live."""
    batches = {one.records: one.batch for one in alone}
    table = Table(title="From the log to profiles", box=SIMPLE_HEAD)
    for column in (
        "records",
        "first events/s",
        "of the smallest",
        "later events/s",
        "of the smallest",
        "times the batch",
        "peak MiB",
        "look-up p50 ms",
        "p99 ms",
    ):
        table.add_column(column, justify="right")
    for one in found:
        batch = batches.get(one.records)
        table.add_row(
            f"{one.records:,}",
            f"{one.first.rate:,.0f}",
            f"{one.first.rate / found[0].first.rate:.0%}",
            f"{one.later.rate:,.0f}",
            f"{one.later.rate / found[0].later.rate:.0%}",
            "not measured" if batch is None else f"{one.first.seconds / batch:.1f}",
            f"{one.first.peak / 2**20:,.0f}",
            f"{one.lookup.p50:.2f}",
            f"{one.lookup.p99:.2f}",
        )
    console.print(table)
    console.print(f"aims: at least {1 / FLAT_AIM:.0%} of the smallest; look-ups {LOOKUP_AIM[0]} and {LOOKUP_AIM[1]} ms")
    for one in found:
        if one.live is not None:
            live = one.live
            console.print(
                f"live at {one.records:,} records, {live.offered:,.0f} events/s: event to profile p50 "
                f"{live.delay.p50:.0f} ms, p99 {live.delay.p99:.0f} ms; longest time between commits in a second p50 "
                f"{live.pause.p50:.0f} ms, p99 {live.pause.p99:.0f} ms, longest {live.pause.longest:.0f} ms; up "
                f"in {live.start:.1f} s without a recovery folder, back {live.resume:.1f} s after a kill; "
                f"at most {live.peak / 2**20:,.0f} MiB",
                highlight=False,
            )
    delay, late = DELAY_AIM
    console.print(
        f"aims: event to profile {delay:.0f} and {late:.0f} ms; pause {PAUSE_AIM:.0f} ms; resume {RESUME_AIM:.0f} s\n"
    )


def run(options: argparse.Namespace, home: Path, console: Console) -> dict[str, object]:
    """Measure and report part by part; return all single numbers."""
    numbers: dict[str, object] = {}
    alone: list[Resolving] = []
    if "quality" in options.parts:
        numbers["quality"] = judged = measure_quality(console, peer=options.only is None)
        report_quality(console, judged)
    if "resolve" in options.parts:
        for records in options.records:
            console.print(f"resolve: {records:,} records …", style="dim")
            alone.append(measure_resolve(records, options.seed, home))
        numbers["resolve"] = alone
        report_resolve(console, alone)
    if "flow" in options.parts:
        found = []
        for records in options.records:
            console.print(f"flow: {records:,} records …", style="dim")
            place = home / f"records-{records}"
            live = (options.rate, options.seconds) if records == options.records[-1] else None
            found.append(measure_flow(place, records, options.seed, options.changes, live))
            if not options.keep:
                shutil.rmtree(place)
        numbers["flow"] = found
        report_flow(console, found, alone)
    console.print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.platform()}")
    return numbers


def main() -> None:
    options = parse()
    # Whoever ends this process, by `timeout` for one, ends the measured ones with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(width=max(Console().width, 150))  # a pipe is no reason to cut the table
    home = Path(tempfile.mkdtemp(prefix="identity-", dir=options.folder))
    try:
        numbers = run(options, home, console)
    except HeadraceError as error:
        console.print(str(error), style="red", markup=False)
        raise SystemExit(1) from None
    finally:
        if options.keep:
            console.print(f"kept: {home}", highlight=False)
        else:
            shutil.rmtree(home, ignore_errors=True)
    if options.out:
        options.out.write_bytes(msgspec.json.encode(numbers))


if __name__ == "__main__":
    main()
