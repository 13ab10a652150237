"""The tables flow, measured: how fast, how soon, and whether it stays so as the tables grow.

    python -m benchmarks.tables [--parts rate delay growth] [--only headrace loop flink] [--quick]

rate    Events a second from the log to the row store: the flow with one and two processes, plain loops over SQLite
        (`tables_loop.py`), with the flow's decoder and bare, and Apache Flink (`peers/flink_tables.py`), all over the
        same files, from nothing. This process watches the stores from outside: from the first commit with events to
        the last, so that no start counts.
delay   From the append of an event until another process reads its row, at a steady load, live and with recovery.
growth  Both again, on tables that hold 100,000 rows before, and a million.

The systems take turns, never two at once; each figure is the median over the rounds. Every table is compared with what
it must be in the end: if one is wrong, the benchmark fails.
"""

from __future__ import annotations

import argparse
import itertools
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

from benchmarks.tables_delay import Delays, measure
from benchmarks.tables_log import Workload, is_final, write
from benchmarks.tables_report import Growth, Speed, report_delays, report_growth, report_rates
from benchmarks.tables_systems import Flink, Headrace, Loop, System
from events.errors import HeadraceError

PARTS = ("rate", "delay", "growth")
SYSTEMS = ("headrace", "loop", "flink")


def measure_rates(options: argparse.Namespace, systems: Sequence[System], home: Path, console: Console) -> list[Speed]:
    """Take in the same log with each system, round by round."""
    workload = Workload(options.seed, options.rows)
    stream, store = home / "log" / "flights", home / "store"
    events = write(stream, itertools.chain(workload.begin(1), workload.changes(options.events)))
    speeds = []
    for number in range(options.rounds):
        for system in systems if number % 2 == 0 else reversed(systems):
            console.print(f"rate, round {number + 1} of {options.rounds}: {system.name} …", style="dim")
            shutil.rmtree(store, ignore_errors=True)
            speeds.append(Speed(system.name, events, system.take_in(stream, store, 1)))
            _check(system, store, workload)
    return speeds


def _check(system: System, home: Path, workload: Workload) -> None:
    if not is_final(system.rows(home), workload.final):
        detail = f"{system.name} ended in a wrong table"
        raise HeadraceError(detail, f"run it again with --keep and look at {home}")


def measure_delays(options: argparse.Namespace, home: Path, console: Console) -> list[tuple[float, Delays]]:
    """Load the flow at each rate, on a store of its own."""
    found = []
    for rate in options.rate:
        console.print(f"delay at {rate:,.0f} events a second …", style="dim")
        place = home / f"rate-{rate:.0f}"
        workload = Workload(options.seed, options.rows)
        _preload(place, workload, [Headrace()])
        found.append((rate, measure(place / "log" / "live", place / "data", workload, rate, options.seconds)))
    return found


def _preload(place: Path, workload: Workload, systems: Sequence[System]) -> None:
    """Fill the stores of all systems with each row once."""
    stream = place / "log" / "snapshot"
    write(stream, itertools.chain(workload.begin(1), workload.snapshot()))
    for system in systems:
        system.take_in(stream, place / "data", 1)


def measure_growth(options: argparse.Namespace, home: Path, console: Console) -> list[Growth]:
    """Measure rate and delay on stores of each size, one store for all that is measured of it."""
    found = []
    systems = [Headrace(), Loop(strict=True)]
    for rows in options.growth:
        console.print(f"growth: {rows:,} rows before …", style="dim")
        place = home / f"rows-{rows}"
        workload = Workload(options.seed, rows)
        _preload(place, workload, systems)
        speeds = []
        for number in range(2, options.rounds + 2):
            stream = place / "log" / f"changes-{number}"
            events = write(stream, itertools.chain(workload.begin(number), workload.changes(options.events)))
            for system in systems:
                speeds.append(Speed(system.name, events, system.take_in(stream, place / "data", number)))
                _check(system, place / "data", workload)
        delays = measure(place / "log" / "live", place / "data", workload, options.rate[0], options.seconds)
        found.append(Growth(rows, speeds, delays))
        if not options.keep:
            shutil.rmtree(place)
    return found


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; `--quick` makes small what is not given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--only", nargs="+", choices=SYSTEMS, default=SYSTEMS, help="systems whose rate is measured")
    parser.add_argument("--quick", action="store_true", help="small sizes: minutes become seconds")
    parser.add_argument("--events", type=int, help="changes in the log whose rate is measured")
    parser.add_argument("--rows", type=int, default=10_000, help="rows of the table, where it is not to grow")
    parser.add_argument("--rounds", type=int, help="how often the rates are measured")
    parser.add_argument("--rate", nargs="+", type=float, default=[1_000.0, 10_000.0], help="events appended a second")
    parser.add_argument("--seconds", type=float, help="how long each load is kept up")
    parser.add_argument("--growth", nargs="+", type=int, help="rows that the tables hold before")
    parser.add_argument("--folder", type=Path, help="where logs and stores go; default: the system's temporary folder")
    parser.add_argument("--keep", action="store_true", help="leave logs and stores where they are")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, help="file for every single number, as JSON")
    options = parser.parse_args(arguments)
    usual = {"events": 400_000, "rounds": 3, "seconds": 20.0, "growth": [100_000, 1_000_000]}
    quick = {"events": 50_000, "rounds": 1, "seconds": 3.0, "growth": [10_000, 100_000]}
    for name, value in (quick if options.quick else usual).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def run(options: argparse.Namespace, home: Path, console: Console) -> dict[str, object]:
    """Measure and report part by part; return all single numbers."""
    numbers: dict[str, object] = {}
    if "rate" in options.parts:
        systems: list[System] = [Headrace(), Headrace(2)] if "headrace" in options.only else []
        systems += [Loop(strict=True), Loop()] if "loop" in options.only else []
        systems += [Flink()] if "flink" in options.only else []
        speeds = measure_rates(options, systems, home / "rate", console)
        report_rates(console, speeds)
        for system in systems:
            said = ", ".join(f"{name} {version}" for name, version in system.versions().items())
            console.print(f"{system.name}: {said}", highlight=False)
        numbers["rate"] = speeds
    if "delay" in options.parts:
        delays = measure_delays(options, home / "delay", console)
        report_delays(console, delays)
        numbers["delay"] = delays
    if "growth" in options.parts:
        growth = measure_growth(options, home / "growth", console)
        report_growth(console, growth)
        numbers["growth"] = growth
    console.print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.platform()}")
    return numbers


def main() -> None:
    options = parse()
    # Whoever ends this process, by `timeout` for one, ends the measured one with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(width=max(Console().width, 110))  # a pipe is no reason to cut the table
    home = Path(tempfile.mkdtemp(prefix="tables-", dir=options.folder))
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
