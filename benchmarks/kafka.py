"""The log on Kafka beside the bare clients that it is built on: how much of their rate is left.

    python -m benchmarks.kafka [--client confluent kafka-python-ng] [--parts source append] [--quick]

source  Messages a second through the flows' source (`LogSource` over `KafkaLog`, in a Bytewax flow that drops them)
        beside a loop of the same client that polls, looks whether a message is an error, and adds up their sizes.
append  Messages a second through `KafkaLog.append`, each batch of 1,000 confirmed before the next one, beside the same
        client's producer that is fed without a pause and waited for once.

All use one broker on this machine: `noida-db` in a temporary folder, or those of --servers. It takes its share of the
processors, so that beside the rates stands what this process did in a second of its own processor time. The sides take
turns; each figure is the median over the rounds. What was read is counted, and what was appended is looked for on the
broker: if something is missing, the benchmark fails.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.kafka_sides import BareConfluent, BareNg, Headrace, Rate, Side
from events.clock import system_clock
from events.errors import HeadraceError
from events.log import LogRecord
from stores.log.kafka.log import KafkaLog
from stores.log_settings import KafkaSettings

CLIENTS: tuple[Literal["confluent", "kafka-python-ng"], ...] = ("confluent", "kafka-python-ng")
PARTS = ("source", "append")
STREAM = "measured"
AIM = 0.8
START_SECONDS = 30.0


class Measured(msgspec.Struct):
    """What one side of one part took in one round.

    :arg side: `headrace` or `bare`.
    """

    part: str
    client: str
    side: str
    rate: Rate

    @property
    def by_second(self) -> float:
        """Messages a second."""
        return self.rate.messages / self.rate.seconds

    @property
    def by_processor_second(self) -> float:
        """Messages a second of this process's processor time."""
        return self.rate.messages / self.rate.processor


def records_of(count: int, size: int) -> list[LogRecord]:
    """Return records of about `size` bytes and of this moment, over 5,000 keys."""
    now = system_clock()
    fill = "." * max(0, size - 24)
    return [
        LogRecord(STREAM, 0, 0, now, b'{"id":%d}' % (n % 5_000), b'{"n":%d,"fill":"%s"}' % (n, fill.encode()))
        for n in range(count)
    ]


def measure(options: argparse.Namespace, servers: tuple[str, ...], console: Console) -> list[Measured]:
    """Let the sides take turns, round by round."""
    records = records_of(options.messages, options.size)
    prefix = f"bench{system_clock()}."
    found: list[Measured] = []
    settings = {name: KafkaSettings(servers=servers, client=name, prefix=prefix, group="") for name in options.client}
    watching = KafkaLog(settings[options.client[0]], partitions=options.partitions, clock=system_clock)
    watching.create(STREAM, options.partitions)
    watching.append(STREAM, records)
    for number in range(options.rounds):
        for client in options.client:
            bare = BareConfluent if client == "confluent" else BareNg
            sides: dict[str, Side] = {
                "bare": bare(settings[client], options.partitions),
                "headrace": Headrace(settings[client]),
            }
            for part in options.parts:
                console.print(f"round {number + 1} of {options.rounds}: {part}, {client} …", style="dim")
                for side in sorted(sides, reverse=number % 2 == 1):
                    if part == "source":
                        rate = sides[side].read(STREAM, len(records))
                    else:
                        stream = f"appended.{client}.{side}.{number}"
                        watching.create(stream, options.partitions)
                        some = records[: options.messages // 4]
                        rate = sides[side].append(stream, some)
                        _check(watching, stream, len(some) + 1)
                    found.append(Measured(part, client, side, rate))
    watching.close()
    return found


def _check(log: KafkaLog, stream: str, expected: int) -> None:
    there = sum(log.bounds(stream, partition)[1] for partition in log.partitions(stream))
    if there != expected:
        detail = f"the broker has {there:,} messages of {expected:,} in {stream}"
        raise HeadraceError(detail, "name brokers that nobody else writes to")


def report(console: Console, found: Sequence[Measured]) -> None:
    """Print the medians of each side, and the ratios."""
    table = Table(title="Messages a second", box=SIMPLE_HEAD)
    for column in ("", "client", "bare", "headrace", "of the bare", "bare, per processor s", "headrace", "of the bare"):
        table.add_column(column, justify="left" if column in {"", "client"} else "right")
    for part in dict.fromkeys(one.part for one in found):
        for client in dict.fromkeys(one.client for one in found):
            sides = {
                side: [one for one in found if (one.part, one.client, one.side) == (part, client, side)]
                for side in ("bare", "headrace")
            }
            cells: list[str] = []
            for figure in ("by_second", "by_processor_second"):
                bare, ours = (statistics.median(getattr(one, figure) for one in rates) for rates in sides.values())
                cells += [f"{bare:,.0f}", f"{ours:,.0f}", f"{ours / bare:.0%}"]
            table.add_row(part, client, *cells)
    console.print(table)
    console.print(f"aim: the source has {AIM:.0%} of the bare loop's rate\n")


@contextmanager
def broker(home: Path) -> Iterator[str]:
    """Run noida-db on a free loopback port while the block lasts; its address.

    :raises HeadraceError: When it is not installed or does not start.
    """
    package = importlib.util.find_spec("noida_db")
    folders = list(package.submodule_search_locations or ()) if package else []
    if not folders:
        detail = "there is no broker to measure with"
        raise HeadraceError(detail, "pip install noida-db, or name one by --servers host:port")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [
        str(Path(folders[0]) / "noida-db"),
        "start",
        "--only",
        "kafka",
        "--kafka-port",
        str(port),
        "--data-dir",
        str(home / "data"),
    ]
    with (home / "broker.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                detail = f"the broker did not start; see {home / 'broker.log'}"
                raise HeadraceError(detail, "run it again with --keep and look there")
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; `--quick` makes small what is not given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--client", nargs="+", choices=CLIENTS, default=CLIENTS)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--servers", nargs="+", help="brokers, each host:port; default: one of its own")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--messages", type=int, help="messages that are read; a quarter of them is appended")
    parser.add_argument("--size", type=int, default=200, help="bytes of a message")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--rounds", type=int, help="how often all is measured")
    parser.add_argument("--keep", action="store_true", help="leave the broker's folder where it is")
    parser.add_argument("--out", type=Path, help="file for every single number, as JSON")
    options = parser.parse_args(arguments)
    for name, usual, quick in (("messages", 200_000, 20_000), ("rounds", 5, 1)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else usual)
    return options


def main() -> None:
    options = parse()
    # Whoever ends this process, by `timeout` for one, ends the broker with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(width=max(Console().width, 110))  # a pipe is no reason to cut the table
    home = Path(tempfile.mkdtemp(prefix="kafka-"))
    try:
        if options.servers:
            found = measure(options, tuple(options.servers), console)
        else:
            with broker(home) as address:
                found = measure(options, (address,), console)
    except HeadraceError as error:
        console.print(str(error), style="red", markup=False)
        raise SystemExit(1) from None
    finally:
        if options.keep:
            console.print(f"kept: {home}", highlight=False)
        else:
            shutil.rmtree(home, ignore_errors=True)
    report(console, found)
    packages = {"confluent": "confluent-kafka"}
    for client in options.client:
        name = packages.get(client, client)
        console.print(f"{name} {importlib.metadata.version(name)}", highlight=False)
    console.print(f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.platform()}")
    if options.out:
        options.out.write_bytes(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
