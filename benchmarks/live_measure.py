"""What is measured of a live chain: how soon a change is there, how many a second it holds, how fast a backlog goes.

The moment of a change is when its transaction is about to commit, by the server's clock. It is there when another
process reads it: from the log, or from the live table by the reader that serves contexts. Those who look do so every
millisecond or two, and what a look takes counts.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks.live_chain import Place, Program, Running, is_right, load_average, wait
from benchmarks.live_log import seen
from benchmarks.live_source import NAME, PROBES, TABLES, write
from benchmarks.tables_delay import Sent, Watch, delays
from events.errors import HeadraceError
from stores.log.base import Log

POLL = 0.001
LOOK = 0.01
WARM_SECONDS = 2.0
END_SECONDS = 240.0
DRAIN_SECONDS = 600.0
HELD_MILLIS = 1_000.0
"""A rate is held if the last changes of the load are there so soon: what waits has not grown."""
LEAST_OFFERED = 0.95
"""Share of a rate below which the writer has not kept it."""


class Delays(msgspec.Struct):
    """What one load measured.

    :arg rate: Changes a second that were wanted.
    :arg offered: Those that the writer committed.
    :arg on_log: Milliseconds from commit until on the log, of each probe; empty where nobody looked.
    :arg served: The same until in the live table.
    :arg last: The median of the last tenth of `served`.
    :arg looks: Milliseconds between two looks at the live table, at the median.
    :arg processor: Seconds of processor time a second, by program.
    :arg load: Of the machine when the load was over.
    """

    rate: float
    offered: float
    on_log: list[float]
    served: list[float]
    last: float
    looks: float
    processor: dict[str, float]
    load: float

    @property
    def held(self) -> bool:
        """Whether the chain has kept up with the rate."""
        return self.last <= HELD_MILLIS and self.kept

    @property
    def kept(self) -> bool:
        """Whether the writer has kept the rate."""
        return self.offered >= LEAST_OFFERED * self.rate


class Drain(msgspec.Struct):
    """How fast a backlog came onto the log.

    :arg events: Those behind the first ones.
    :arg start: Seconds until the first ones were there.
    :arg seconds: From then on until the last one.
    :arg processor: Seconds of processor time meanwhile.
    """

    events: int
    start: float
    seconds: float
    processor: float
    load: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


def measure_delays(chain: Running, rate: float, seconds: float, *, on_log: bool = True) -> Delays:
    """Load a chain, and return the delays after the first seconds.

    :arg on_log: Whether to look at the log as well, which takes some of the processor.
    :raises HeadraceError: When a program ends, or the live tables are not the source's in the end.
    """
    place = chain.place
    version = max(place.database.rows()[PROBES].values())
    with ExitStack() as stack:
        noted = stack.enter_context(_log_watched(place)) if on_log else None
        watch = Watch(chain.reader)
        watch.look()
        before = {program.name: program.processor_seconds() for program in chain.programs}
        began = time.monotonic()
        sent, offered = _loaded(place, rate, version, seconds + WARM_SECONDS, watch)
        took = time.monotonic() - began
        used = {program.name: program.processor_seconds() - before[program.name] for program in chain.programs}
        load = load_average()
        newest = {probe: number for probe, number, _ in sent}
        wait(lambda: watch.look() == newest, END_SECONDS, f"the last of {rate:,.0f} changes a second", chain.check)
        if noted is not None:
            wait(lambda: set(sent_names(sent)) <= set(sent_names(seen(noted))), END_SECONDS, "the end of the log")
        on_log_at = [] if noted is None else seen(noted)
    wait(lambda: is_right(chain), END_SECONDS, f"the right tables after {rate:,.0f} changes a second", chain.check)
    measured = [one for one in sent if one[2] >= sent[0][2] + WARM_SECONDS]
    served = delays(measured, watch.seen)
    return Delays(
        rate,
        offered,
        delays(measured, on_log_at),
        served,
        float(np.median(served[-max(1, len(served) // 10) :])),
        1_000 * float(np.median(np.diff(watch.looks))),
        {name: seconds_ / took for name, seconds_ in used.items()},
        load,
    )


def sent_names(sent: Sequence[Sent]) -> Iterator[tuple[int, int]]:
    """Yield probe and version of each."""
    return ((probe, version) for probe, version, _ in sent)


def _loaded(place: Place, rate: float, version: int, seconds: float, watch: Watch) -> tuple[list[Sent], float]:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    writer = context.Process(target=write, args=(place.database.address, rate, version, seconds, sending), daemon=True)
    writer.start()
    sending.close()
    while not receiving.poll(POLL):
        watch.look()
    try:
        found: tuple[list[Sent], float] = receiving.recv()
    except EOFError:
        detail = "the writer has failed"
        raise HeadraceError(detail, "what it has said stands above") from None
    writer.join()
    return found


@contextmanager
def _log_watched(place: Place) -> Iterator[Path]:
    """Watch the log while the block lasts; yield the file of what is seen."""
    file = place.home / "seen.txt"
    file.unlink(missing_ok=True)
    program = Program("log", [sys.executable, "-m", "benchmarks.live_log", NAME, str(file)], place)
    try:
        wait(file.exists, END_SECONDS, "the look at the log", program.check)
        yield file
    finally:
        program.stop()


def highest_held(
    chain: Running, rates: Sequence[float], seconds: float, tell: Callable[[str], None]
) -> tuple[float, list[Delays]]:
    """Load a chain at one rate after the other, until one is not held; return the last that was, and all."""
    found: list[Delays] = []
    highest = 0.0
    for rate in rates:
        one = measure_delays(chain, rate, seconds, on_log=False)
        found.append(one)
        tell(f"  {rate:,.0f}/s: {'held' if one.held else 'not held'}, the last after {one.last:,.0f} ms")
        if not one.held:
            break
        highest = one.offered
    return highest, found


def measure_drain(place: Place, events: int) -> Drain:
    """Let changes pile up behind a slot, then capture them."""
    log = place.log()
    _prepare(place)
    count = place.database.pile_up(events)
    name, command = place.capture(snapshot=False)
    began = time.monotonic()
    program = Program(name, command, place)
    try:
        first, last = _drained(log, count, program)
    finally:
        program.stop()
        log.close()
    return Drain(
        count - first.events, first.at - began, last.at - first.at, last.processor - first.processor, load_average()
    )


def _prepare(place: Place) -> None:
    """Make publication and slot, of which both captures know, before the first change."""
    names = ", ".join(f"public.{table}" for table in TABLES)
    with place.database.connect() as connection:
        connection.execute(f"CREATE PUBLICATION headrace_{NAME} FOR TABLE {names}")
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [f"headrace_{NAME}"])


class _Look(NamedTuple):
    """Events on the log at a moment, and the processor time of the capture by then."""

    at: float
    events: int
    processor: float


def _drained(log: Log, count: int, program: Program) -> tuple[_Look, _Look]:
    """Look at the log until all events are there; return the look at the first ones, and that at the last."""
    first: _Look | None = None
    known = 0
    ends: dict[int, int] = {}
    deadline = time.monotonic() + DRAIN_SECONDS
    while True:
        program.check()
        if time.monotonic() > deadline:
            detail = f"{known:,} of {count:,} events came onto the log"
            raise HeadraceError(detail, "run it again with --keep, and look at what the capture has said")
        time.sleep(LOOK)
        now = time.monotonic()
        known += sum(_come(log, partition, ends) for partition in log.partitions(NAME))
        if known and first is None:
            first = _Look(now, known, program.processor_seconds())
        if known >= count and first is not None:
            return first, _Look(now, known, program.processor_seconds())


def _come(log: Log, partition: int, ends: dict[int, int]) -> int:
    """Return how many events have come to a partition since the last look."""
    begin, end = ends.get(partition, 0), log.bounds(NAME, partition)[1]
    ends[partition] = end
    return log.count(NAME, partition, begin, end) if end > begin else 0
