"""From the append of an event to the row that another process reads, under a load that does not wait for anybody.

A process of its own appends at a steady rate, and notes when. Every few milliseconds one of the events changes a probe:
a row of a small table, one for each partition of the log, whose version is the number of its change. The reader asks
for the probes again and again; as soon as it sees a version, that change and all before it of that row are readable.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.tables_log import PARTITIONS, PROBES, Workload, is_final, probes
from benchmarks.tables_systems import is_complete, live, live_rows
from events.errors import HeadraceError
from events.log import LogRecord
from stores.log.files import FileLog
from stores.rows.base import RowQuery, RowReader

TICK = 0.005
POLL = 0.001
WARM_SECONDS = 2.0
START_SECONDS = 120.0
END_SECONDS = 30.0

Sent = tuple[int, int, float]
"""Probe, its version, and when it was appended (seconds of the machine's monotonic clock)."""


class Delays(msgspec.Struct):
    """What one run measured.

    :arg offered: Events appended per second, probes among them.
    :arg millis: Of each probe's change, from just before its append until it was read.
    :arg looks: Milliseconds between two looks at the store, at the median: the resolution.
    """

    offered: float
    millis: list[float]
    looks: float

    def percentile(self, percent: float) -> float:
        """Return a percentile of `millis`."""
        return float(np.percentile(self.millis, percent))


def load(workload: Workload, rate: float, ticks: int) -> Iterator[tuple[tuple[int, int], list[LogRecord]]]:
    """Yield, for each tick, its probe and version, and its events, the probe's last."""
    rows = probes()
    made = 0
    for tick in range(ticks):
        due = int(rate * TICK * (tick + 1))
        events = [workload.change() for _ in range(max(0, due - made - 1))]
        probe, version = rows[tick % len(rows)], tick // len(rows) + 1
        events.append(workload.probe(probe, version))
        made += len(events)
        yield (probe, version), events


def append(stream: Path, workload: Workload, rate: float, seconds: float, done: Connection) -> None:
    """Append at `rate`; send when each probe was appended, and the rows as they must be in the end."""
    log = FileLog(stream.parent, partitions=PARTITIONS)
    sent: list[Sent] = []
    count = 0
    began = time.monotonic()
    for tick, ((probe, version), events) in enumerate(load(workload, rate, round(seconds / TICK))):
        time.sleep(max(0.0, began + tick * TICK - time.monotonic()))
        sent.append((probe, version, time.monotonic()))
        log.append(stream.name, events)
        count += len(events)
    done.send((sent, count / (time.monotonic() - began), workload.final))


def measure(stream: Path, home: Path, workload: Workload, rate: float, seconds: float) -> Delays:
    """Run the flow live in `home`, load it, and return the delays of all probes after the first seconds.

    :raises HeadraceError: When the flow does not come up, lags behind at the end, or ends in a wrong table.
    """
    FileLog(stream.parent).create(stream.name, PARTITIONS)
    with live(stream, home) as reader:
        _wait(lambda: bool(reader.applied()) and is_complete(stream, reader), START_SECONDS, "the flow's start")
        context = multiprocessing.get_context("spawn")
        receiving, sending = context.Pipe(duplex=False)
        arguments = (stream, workload, rate, seconds + WARM_SECONDS, sending)
        appender = context.Process(target=append, args=arguments, daemon=True)
        appender.start()
        sending.close()
        watch = Watch(reader)
        while not receiving.poll(POLL):
            watch.look()
        sent, offered, final = receiving.recv()
        appender.join()
        newest = {probe: version for probe, version, _ in sent}
        _wait(lambda: watch.look() == newest, END_SECONDS, "reading the last event")
        _wait(lambda: is_complete(stream, reader), END_SECONDS, "the end of the load")
        right = is_final(live_rows(reader), final)
    if not right:
        detail = f"the table is wrong after {offered:.0f} events a second"
        raise HeadraceError(detail, f"look at {home}")
    warm = sent[0][2] + WARM_SECONDS
    millis = delays([item for item in sent if item[2] >= warm], watch.seen)
    return Delays(offered, millis, 1_000 * float(np.median(np.diff(watch.looks))))


class Watch:
    """Looks at the probes, and notes when each version of them was first seen."""

    def __init__(self, reader: RowReader) -> None:
        self._reader = reader
        self._newest: dict[int, int] = {}
        self.seen: list[Sent] = []
        self.looks: list[float] = []

    def look(self) -> dict[int, int]:
        """Read all probes; return their versions."""
        rows = self._reader.select(RowQuery(table=PROBES))
        now = time.monotonic()
        self.looks.append(now)
        for row in rows:
            probe, version = (row.image or {})["id"], (row.image or {})["version"]
            if version != self._newest.get(probe):
                self._newest[probe] = version
                self.seen.append((probe, version, now))
        return self._newest


def delays(sent: Sequence[Sent], seen: Sequence[Sent]) -> list[float]:
    """Return for each version sent the milliseconds until it, or a later one of its probe, was seen.

    :arg seen: In the order in which they were seen.
    """
    waiting: dict[int, deque[tuple[int, float]]] = {}
    for probe, version, moment in sent:
        waiting.setdefault(probe, deque()).append((version, moment))
    found: list[float] = []
    for probe, version, moment in seen:
        queue = waiting.get(probe, deque())
        while queue and queue[0][0] <= version:
            found.append(1_000 * (moment - queue.popleft()[1]))
    return found


def _wait(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            detail = f"{what} took longer than {seconds:.0f} s"
            raise HeadraceError(detail, "measure on a quiet machine, or at a lower --rate")
        time.sleep(POLL)
