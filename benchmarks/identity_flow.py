"""The whole profiles flow, seen from outside: its rate, its delay, its pauses, and how soon it is back after a kill.

Its store must hold as many persons as the rows have components, also after the kill, or the benchmark fails.
"""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import numpy as np
import psutil
from bytewax.recovery import init_db_dir

from benchmarks.identity_log import REALM, STREAM, Customers, probe_person, settings
from benchmarks.tables_delay import delays
from benchmarks.tables_log import PARTITIONS, probes, write
from benchmarks.tables_watch import Commits, failed, start
from events.errors import HeadraceError
from events.log import LogRecord
from stores.log.files import FileLog
from stores.profiles.base import ProfileReader
from stores.profiles.sqlite_reader import SqliteProfileReader

NAME = "the profiles flow"
DATABASE = "profiles.sqlite3"
RECOVERY = "recovery"
RECOVERY_PARTITIONS = 16
TICK = 0.005
POLL = 0.001
WARM_SECONDS = 3.0
START_SECONDS = 600.0
END_SECONDS = 60.0
RUN_SECONDS = 1_800.0
LOOK = 0.002
LOOKUPS = 5_000
FIRST, LATER = -1, -2
"""Versions of the probes that begin the first events and the later ones."""
BEGUN = "SELECT 1 FROM row_probes WHERE json_extract(image, '$.version') = {version} LIMIT 1"


class Percentiles(msgspec.Struct):
    """Milliseconds."""

    p50: float
    p99: float
    longest: float


class Live(msgspec.Struct):
    """What a flow with recovery did under a steady load.

    :arg offered: Events a second, probes among them.
    :arg delay: From the append of an event until another process reads the profile.
    :arg pause: The longest time between two commits, of each second.
    :arg start: Seconds from a start without a recovery folder until an event that was waiting is in its profile.
    :arg resume: The same from the start after a kill, with one.
    :arg peak: Most memory that the process ever had, in bytes.
    """

    offered: float
    delay: Percentiles
    pause: Percentiles
    start: float
    resume: float
    peak: int


class TakenIn(msgspec.Struct):
    """How the flow took in events, from its first commit to its last, so that no start counts.

    :arg events: Those that were not yet there with the first commit.
    :arg start: Seconds until that.
    :arg peak: Most memory of the process, in bytes.
    """

    events: int
    seconds: float
    start: float
    peak: int

    @property
    def rate(self) -> float:
        """Events a second; not a number where the first commit had them all."""
        return self.events / self.seconds if self.events > 0 else math.nan


class Flowing(msgspec.Struct):
    """What was measured with so many records.

    :arg first: How the first events of all records were taken in.
    :arg later: How later events of records that were there were.
    :arg live: None where the flow was not run live.
    """

    records: int
    first: TakenIn
    later: TakenIn
    lookup: Percentiles
    live: Live | None = None


def measure_flow(home: Path, records: int, seed: int, changes: int, live: tuple[float, float] | None) -> Flowing:
    """Measure the flow in `home`.

    :arg live: Events a second and seconds of the load; None: it is not run live.
    :raises HeadraceError: When the flow fails, lags behind, or ends with another number of persons than there are.
    """
    customers = Customers(seed, records)
    stream, data = home / "log" / STREAM, home / "data"
    first = _take_in(customers, stream, data, FIRST, customers.snapshot())
    later = _take_in(customers, stream, data, LATER, customers.changes(changes))
    lookup = _lookups(data, seed)
    lived = None if live is None else measure_live(customers, stream, data, *live)
    return Flowing(records, first, later, lookup, lived)


def _take_in(customers: Customers, stream: Path, data: Path, version: int, events: Iterator[LogRecord]) -> TakenIn:
    count = write(stream, itertools.chain(customers.begin(version), events))
    began = time.monotonic()
    process = start(_command(_recovery(data)), data, _variables(stream, data, "replay"))
    commits = Commits(data / DATABASE, BEGUN.format(version=version))
    known: int | None = None
    try:
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            if time.monotonic() - began > RUN_SECONDS:
                detail = f"{NAME} took longer than {RUN_SECONDS:.0f} s"
                raise HeadraceError(detail, "measure with fewer --records")
            time.sleep(LOOK)
            commits.look()
            if known is None and not math.isnan(commits.first):
                known = _known(data) if version == FIRST else 0
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        commits.look()
    finally:
        commits.close()
        if process.returncode is None:
            process.kill()
            process.wait()
    if process.returncode or known is None:
        raise failed(NAME, data)
    _check(customers, data)
    return TakenIn(count - known, commits.last - commits.first, commits.first - began, ended[2].ru_maxrss * 1024)


def _known(data: Path) -> int:
    """Return how many records are there."""
    reader = SqliteProfileReader(data / DATABASE)
    members, _ = reader.totals()
    reader.close()
    return members


def _check(customers: Customers, data: Path) -> None:
    reader = SqliteProfileReader(data / DATABASE)
    members, persons = reader.totals()
    reader.close()
    wanted = customers.persons()
    if persons != wanted:
        detail = f"the flow found {persons:,} persons of {members:,} records, there are {wanted:,}"
        raise HeadraceError(detail, f"run it again with --keep and look at {data}")


def _lookups(data: Path, seed: int) -> Percentiles:
    """Look persons up by an identifier, as the command does, and read their profiles."""
    reader = SqliteProfileReader(data / DATABASE)
    some = [profile for start_ in ("p2", "pa", "pg", "pm", "pt") for profile in reader.persons(start_, 400)]
    chance = random.Random(seed)
    wanted = [f"{type_}:{values[0]}" for profile in some for type_, values in list(profile.identifiers.items())[:1]]
    millis = []
    for _ in range(LOOKUPS):
        identifier = chance.choice(wanted)
        began = time.perf_counter()
        holders = reader.holders(REALM, identifier, 1)
        found = reader.profile(holders[0].person) if holders else None
        millis.append(1_000 * (time.perf_counter() - began))
        if found is None:
            detail = f"nobody is found by {identifier}"
            raise HeadraceError(detail, f"look at {data}")
    reader.close()
    return _percentiles(millis)


def measure_live(customers: Customers, stream: Path, data: Path, rate: float, seconds: float) -> Live:
    """Run the flow live under a load, at first without what it knew of itself; kill it, and start it again."""
    watch = Watch(SqliteProfileReader(data / DATABASE))
    versions = iter(range(1_000_000, 2_000_000))
    shutil.rmtree(data / RECOVERY)
    began = time.monotonic()
    with _running(stream, data) as process:
        _append_probe(customers, stream, next(versions))
        _wait(process, data, lambda: 1_000_000 in watch.look().values(), START_SECONDS, "the flow's start")
        begun = time.monotonic() - began
        context = multiprocessing.get_context("spawn")
        receiving, sending = context.Pipe(duplex=False)
        arguments = (customers, stream, rate, seconds + WARM_SECONDS, sending)
        appender = context.Process(target=append, args=arguments, daemon=True)
        appender.start()
        sending.close()
        commits = Commits(data / DATABASE, "SELECT 1")
        moments: list[float] = []
        while not receiving.poll(POLL):
            if appender.exitcode or process.poll() is not None:
                raise failed("the appender" if appender.exitcode else NAME, data)
            watch.look()
            commits.look()
            if not moments or commits.last != moments[-1]:
                moments.append(commits.last)
        sent, offered, customers = receiving.recv()
        appender.join()
        newest = {probe: version for probe, version, _ in sent}
        _wait(process, data, lambda: watch.look() == newest, END_SECONDS, "reading the last event")
        commits.close()
        peak = _peak(process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    version = next(versions)
    _append_probe(customers, stream, version)
    began = time.monotonic()
    with _running(stream, data) as process:
        _wait(process, data, lambda: version in watch.look().values(), START_SECONDS, "the flow's start after a kill")
        resume = time.monotonic() - began
        peak = max(peak, _peak(process))
    watch.close()
    _check(customers, data)
    warm = sent[0][2] + WARM_SECONDS
    delay = _percentiles(delays([item for item in sent if item[2] >= warm], watch.seen))
    pause = _percentiles(longest_gaps([moment for moment in moments if warm <= moment <= sent[-1][2]]))
    return Live(offered, delay, pause, begun, resume, peak)


def append(customers: Customers, stream: Path, rate: float, seconds: float, done: Connection) -> None:
    """Append at `rate`, each few milliseconds a probe; send when each was appended, and the source."""
    log = FileLog(stream.parent, partitions=PARTITIONS)
    rows, sent, count = probes(), [], 0
    began = time.monotonic()
    for tick in range(round(seconds / TICK)):
        due = int(rate * TICK * (tick + 1))
        events = [customers.change() for _ in range(max(0, due - count - 1))]
        probe, version = rows[tick % len(rows)], tick // len(rows) + 1
        events.append(customers.probe(probe, version))
        time.sleep(max(0.0, began + tick * TICK - time.monotonic()))
        sent.append((probe, version, time.monotonic()))
        log.append(stream.name, events)
        count += len(events)
    done.send((sent, count / (time.monotonic() - began), customers))


class Watch:
    """Looks at the profiles of the probes, and notes when each version of them was first seen."""

    def __init__(self, reader: ProfileReader) -> None:
        self._reader = reader
        self._persons = {probe: probe_person(probe) for probe in probes()}
        self._newest: dict[int, int] = {}
        self.seen: list[tuple[int, int, float]] = []

    def look(self) -> dict[int, int]:
        """Read all probes; return their versions."""
        for probe, person in self._persons.items():
            profile = self._reader.profile(person)
            if profile is not None and (version := int(profile.fields["version"].value)) != self._newest.get(probe):
                self._newest[probe] = version
                self.seen.append((probe, version, time.monotonic()))
        return self._newest

    def close(self) -> None:
        """Let go of the store."""
        self._reader.close()


def longest_gaps(moments: list[float]) -> list[float]:
    """Return, for each second from the first moment on, the longest gap that ends in it, in milliseconds."""
    longest: dict[int, float] = {}
    for before, after in itertools.pairwise(moments):
        second = int(after - moments[0])
        longest[second] = max(longest.get(second, 0.0), 1_000 * (after - before))
    return [longest[second] for second in sorted(longest)]


def _append_probe(customers: Customers, stream: Path, version: int) -> None:
    write(stream, iter([customers.probe(probes()[0], version)]))


def _recovery(data: Path) -> Path:
    """Return the recovery folder, made if it is not there: without one, all that is known is told anew at a start."""
    recovery = data / RECOVERY
    if not recovery.exists():
        recovery.mkdir(parents=True)
        init_db_dir(recovery, RECOVERY_PARTITIONS)
    return recovery


def _command(recovery: Path) -> list[str]:
    return [sys.executable, "-m", "bytewax.run", "dataflows.profiles", "-s", "1", "-r", str(recovery), "-b", "0"]


def _variables(stream: Path, data: Path, mode: str) -> dict[str, str]:
    return {
        "HEADRACE_MODE": mode,
        "HEADRACE_DATA_DIR": str(data),
        "HEADRACE_LOG__DIR": str(stream.parent),
        **settings(),
    }


@contextmanager
def _running(stream: Path, data: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = start(_command(_recovery(data)), data, _variables(stream, data, "live"))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait(
    process: subprocess.Popen[bytes], data: Path, condition: Callable[[], bool], seconds: float, what: str
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            raise failed(NAME, data)
        if time.monotonic() > deadline:
            detail = f"{what} took longer than {seconds:.0f} s"
            raise HeadraceError(detail, "measure on a quiet machine, or at a lower --rate")
        time.sleep(POLL)


def _peak(process: subprocess.Popen[bytes]) -> int:
    status = Path(f"/proc/{process.pid}/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    return int(psutil.Process(process.pid).memory_info().rss)


def _percentiles(millis: list[float]) -> Percentiles:
    if not millis:
        detail = "nothing was measured"
        raise HeadraceError(detail, "measure for longer: --seconds")
    return Percentiles(*(float(np.percentile(millis, percent)) for percent in (50, 99, 100)))
