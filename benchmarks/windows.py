"""Windows, measured: events a second by the number of keys, and what they cost when nothing happens.

    python -m benchmarks.windows [--parts rate idle] [--keys 10 1000 100000] [--quick]

rate    Count and sum by key in windows of a minute, over events that lie ready, in order and with half a minute of
        disorder. Our operator tells every change of a window at once. Beside it Bytewax's own tumbling window, which
        tells each window once, with its default clock and with one that stands still (replay), and Apache Flink's SQL,
        which tells each window once as well. Events lie ready as objects, but for Flink as a file of JSON Lines, and
        its windows go into a file: it reads, parses and writes, the others do not. All of its Java process counts but
        its start; it has more than one thread, so its rate by the clock may be above the one by processor time.
idle    Share of a processor while nothing comes, live, after a window of each of 1,000 keys has ended and the allowed
        lateness has not gone by.

The systems take turns, each run in a process of its own; a figure is the median over the rounds, by processor time,
which other work on the machine disturbs least. Results are compared with a plain loop over all events: how many windows
are wrong is printed, and ours may not be. Flink is left out where there is no Java, or not the environment that
`benchmarks.tables` makes for it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.peers import environment
from benchmarks.windows_systems import DEFAULT, FLINK, FROZEN, HEADRACE
from events.errors import HeadraceError

ROOT = Path(__file__).parents[1]
SYSTEMS = (HEADRACE, DEFAULT, FROZEN, FLINK)
PARTS = ("rate", "idle")
DISORDER = 30_000
IDLE_AIM = 0.03


class Run(msgspec.Struct):
    """What one run took; None where it was stopped at the limit."""

    seconds: float
    processor: float
    windows: int = 0
    wrong: int = 0


def measure(limit: float, *arguments: str | float) -> Run | None:
    """Run one system in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.windows_systems", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        # A session of its own, so that the processes of a peer are stopped with it; its files go as well.
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
    if process.returncode:
        detail = f"{arguments[1]} failed: {errors.strip()[-500:]}"
        raise HeadraceError(detail, "run it alone to see why")
    return msgspec.convert(json.loads(output), Run)


def present(systems: Sequence[str], console: Console) -> list[str]:
    """Return the systems that can run here; say what is left out."""
    if FLINK in systems and (shutil.which("java") is None or not (environment.FLINK / "bin" / "python").exists()):
        console.print(f"{FLINK}: left out, there is no `java` or no {environment.FLINK.name}")
        return [system for system in systems if system != FLINK]
    return list(systems)


def measure_rates(options: argparse.Namespace, console: Console) -> None:
    """Print events a second of each system for each number of keys, in order and in disorder."""
    systems = present(options.systems, console)
    for disorder in options.disorders:
        how = f"up to {disorder // 1000} s out of order" if disorder else "in order"
        table = Table(title=f"{options.events:,} events, {how}, batches of {options.batch:,}", box=SIMPLE_HEAD)
        for column in ("", "keys", "events/s", "least", "most", "by the clock", "of bytewax", "windows", "wrong"):
            table.add_column(column, justify="left" if not column else "right", no_wrap=True)
        for keys in options.keys:
            runs: dict[str, list[Run | None]] = {system: [] for system in systems}
            for number in range(options.rounds):
                for system in systems if number % 2 == 0 else reversed(systems):
                    console.print(f"{how}, {keys:,} keys, round {number + 1}: {system} …", style="dim")
                    arguments = (keys, options.events, disorder, options.batch, options.seed)
                    runs[system].append(measure(options.limit, "rate", system, *arguments))
            if any(run is None or run.wrong for run in runs.get(HEADRACE, ())):
                detail = f"our windows are wrong, or took longer than {options.limit:.0f} s, with {keys:,} keys"
                raise HeadraceError(detail, "run the tests of operators/feedback")
            peer = _rates(options.events, runs.get(DEFAULT, ()))
            for system, of_system in runs.items():
                table.add_row(*_row(system, keys, options, of_system, peer))
        console.print(table)


def _rates(events: int, runs: Sequence[Run | None]) -> list[float]:
    return [events / run.processor for run in runs if run is not None]


def _row(
    system: str, keys: int, options: argparse.Namespace, runs: Sequence[Run | None], peer: Sequence[float]
) -> list[str]:
    rates = _rates(options.events, runs)
    if not rates:
        return [system, f"{keys:,}", f"over {options.limit:.0f} s", "", "", "", "", "", ""]
    middle = statistics.median(rates)
    done = [run for run in runs if run is not None]
    return [
        system,
        f"{keys:,}",
        f"{middle:,.0f}",
        f"{min(rates):,.0f}",
        f"{max(rates):,.0f}",
        f"{statistics.median(options.events / run.seconds for run in done):,.0f}",
        f"{middle / statistics.median(peer):.2f}" if peer else "",
        f"{done[-1].windows:,}",
        f"{max(run.wrong for run in done):,}",
    ]


def measure_idle(options: argparse.Namespace, console: Console) -> None:
    """Print what each system costs while nothing comes."""
    table = Table(title=f"nothing comes for {options.seconds:.0f} s, 1,000 open windows", box=SIMPLE_HEAD)
    for column in ("", "% of a processor", "aim"):
        table.add_column(column, justify="left" if not column else "right", no_wrap=True)
    for system in (HEADRACE, DEFAULT):
        run = measure(options.seconds + 60, "idle", system, 1000, options.seconds)
        share = float("nan") if run is None else run.processor / run.seconds
        aim = f"{IDLE_AIM:.0%}{'' if share <= IDLE_AIM else ': missed'}" if system == HEADRACE else ""
        table.add_row(system, f"{100 * share:.1f}", aim)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=SYSTEMS)
    parser.add_argument("--disorders", nargs="+", type=int, default=[0, DISORDER], help="in milliseconds")
    parser.add_argument("--keys", nargs="+", type=int, default=[10, 1_000, 100_000])
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="of idleness")
    parser.add_argument("--limit", type=float, default=180.0, help="seconds after which a run is stopped")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="in small")
    options = parser.parse_args()
    if options.quick:
        options.keys, options.events, options.rounds = [10, 1_000], 30_000, 1
        options.seconds, options.limit = 2.0, 20.0
    console = Console(width=None if sys.stdout.isatty() else 120)
    if "rate" in options.parts:
        measure_rates(options, console)
    if "idle" in options.parts:
        measure_idle(options, console)


if __name__ == "__main__":
    main()
