"""One system counts and sums by key in windows of a minute, in a process of its own, and says what it took.

    python -m benchmarks.windows_systems rate SYSTEM KEYS EVENTS DISORDER BATCH SEED
    python -m benchmarks.windows_systems idle SYSTEM KEYS SECONDS

It prints one line of JSON. Events lie ready as objects before the clock starts; what comes out is kept only as far as
the last value of each window needs it, and compared with a plain loop over all events. For Flink alone they lie ready
as a file of JSON Lines, and its results go into a file: reading, parsing and writing are part of what it took.
"""

from __future__ import annotations

import csv
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import windowing
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import TestingSource, run_main
from typing_extensions import override

from benchmarks.peers import environment
from events.kpis import Fact, FactChange, KpiValue
from operators.feedback.rules import KpiRule, Limits, WindowRule
from operators.feedback.windows import windows

HEADRACE, DEFAULT, FROZEN, FLINK = "headrace", "bytewax", "bytewax, replay", "flink, from a file"
MINUTE = 60_000
LATENESS = 60_000
DAY = 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SPACING = 2
"""Milliseconds of event time from one event to the next."""

Totals = dict[tuple[str, int], tuple[int, int]]
"""Count and sum by key and begin of the window."""


class Event(NamedTuple):
    """One thing to count; `watermark` is the newest time up to it."""

    key: str
    time: int
    tokens: int
    watermark: int


def events_of(keys: int, count: int, disorder: int, seed: int) -> list[Event]:
    """Return events of random keys; each comes up to `disorder` milliseconds after its time."""
    draw = random.Random(seed)
    times = sorted((number * SPACING + draw.randrange(disorder + 1), number * SPACING) for number in range(count))
    watermark, found = 0, []
    for _, moment in times:
        watermark = max(watermark, moment)
        found.append(Event(f"key {draw.randrange(keys)}", moment, draw.randrange(1000), watermark))
    return found


def totals_of(events: Iterable[Event]) -> Totals:
    """Return what must come out, by a plain loop."""
    totals: Totals = {}
    for key, moment, tokens, _ in events:
        place = (key, moment - moment % MINUTE)
        count, total = totals.get(place, (0, 0))
        totals[place] = (count + 1, total + tokens)
    return totals


class _Kept(StatelessSinkPartition[Any]):
    def __init__(self, keep: Callable[[list[Any]], None]) -> None:
        self._keep = keep

    @override
    def write_batch(self, items: list[Any]) -> None:
        self._keep(items)


class Keep(DynamicSink[Any]):
    """Hands everything that comes out to a function."""

    def __init__(self, keep: Callable[[list[Any]], None]) -> None:
        self._keep = keep

    @override
    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Kept:
        return _Kept(self._keep)


def ours(up: Stream[Any], length: int, kept: list[Any]) -> None:
    """Wire our operator."""
    window = WindowRule("window", length, length)
    by: tuple[tuple[str, ...], ...] = (("key",),)
    rules = [
        KpiRule("count", "answers", "count", (window,), by=by),
        KpiRule("sum", "answers", "sum", (window,), "tokens", by=by),
    ]
    op.output("out", windows("windows", up, rules, Limits(LATENESS, 172_800_000)), Keep(kept.append))


def theirs(up: Stream[Any], length: int, kept: list[Any], *, frozen: bool) -> None:
    """Wire Bytewax's tumbling window, unordered, as a fold that can do without order."""
    wait = timedelta(milliseconds=LATENESS)
    clock: windowing.EventClock[Any]
    if frozen:
        clock = windowing.EventClock(_moment, wait, now_getter=lambda: EPOCH, to_system_utc=lambda _: None)
    else:
        clock = windowing.EventClock(_moment, wait)
    windower = windowing.TumblingWindower(length=timedelta(milliseconds=length), align_to=EPOCH)
    out = windowing.fold_window("windows", up, clock, windower, _nothing, _fold, _join, ordered=False)
    op.output("out", out.down, Keep(kept.append))


def _moment(value: tuple[datetime, int]) -> datetime:
    return value[0]


def _nothing() -> tuple[int, int]:
    return (0, 0)


def _fold(totals: tuple[int, int], value: tuple[datetime, int]) -> tuple[int, int]:
    return (totals[0] + 1, totals[1] + value[1])


def _join(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return (one[0] + other[0], one[1] + other[1])


WIRE: dict[str, Callable[[Stream[Any], int, list[Any]], None]] = {
    HEADRACE: ours,
    DEFAULT: partial(theirs, frozen=False),
    FROZEN: partial(theirs, frozen=True),
}


def items_of(system: str, events: Iterable[Event]) -> list[Any]:
    """Return events as a system takes them."""
    if system == HEADRACE:
        return [
            FactChange(None, Fact("answers", str(number), event.time, {"key": event.key, "tokens": event.tokens}),
                       event.watermark)
            for number, event in enumerate(events)
        ]  # fmt: skip
    return [(event.key, (EPOCH + timedelta(milliseconds=event.time), event.tokens)) for event in events]


def read(system: str, kept: list[list[Any]]) -> Totals:
    """Return the last value of each window."""
    totals: Totals = {}
    for items in kept:
        for item in items:
            if isinstance(item, KpiValue):
                place = (item.group[0][1], item.start)
                count, total = totals.get(place, (0, 0))
                totals[place] = (item.count, total) if item.kpi == "count" else (count, int(item.value or 0))
            else:
                key, (number, value) = item
                totals[key, number * MINUTE] = value
    return totals


def rate(system: str, events: list[Event], batch: int) -> dict[str, Any]:
    """Count all events; return seconds and in how many windows the result is not that of a plain loop."""
    kept: list[Any] = []
    flow = Dataflow("windows")
    WIRE[system](op.input("in", flow, TestingSource(items_of(system, events), batch)), MINUTE, kept)
    # The events are there in any case: what collecting garbage costs is to be that of the systems.
    gc.collect()
    gc.freeze()
    wall, processor = time.perf_counter(), time.process_time()
    run_main(flow)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    found, expected = read(system, kept), totals_of(events)
    wrong = sum(found.get(place) != totals for place, totals in expected.items())
    return {"seconds": wall, "processor": processor, "windows": len(expected), "wrong": wrong}


def rate_flink(events: list[Event], disorder: int) -> dict[str, Any]:
    """Have Flink count all events, out of a file and into one; return what `rate` does.

    The file begins with an event of a day before the others. Its window ends with the next event, and from then on the
    time counts: no start does.
    """
    interpreter = environment.FLINK / "bin" / "python"
    program = Path(environment.__file__).with_name("flink_windows.py")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "events").mkdir()
        with (folder / "events" / "events.jsonl").open("w", encoding="utf-8") as file:
            for event in (Event("begin", -DAY, 0, -DAY), *events):
                fields = {"key": event.key, "time": event.time + DAY, "tokens": event.tokens}
                file.write(json.dumps(fields) + "\n")
        command = [str(interpreter), str(program), name, "--disorder", str(disorder)]
        variables = {**os.environ, **environment.flink_variables(interpreter)}
        done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True, check=True)
        found: Totals = {}
        for path in (folder / "windows").glob("part-*"):
            with path.open(encoding="utf-8", newline="") as file:
                for key, minute, count, total in csv.reader(file):
                    place = (key, int(minute) * MINUTE - DAY)
                    # Told twice is wrong: a window is to come once.
                    found[place] = (-1, -1) if place in found else (int(count), int(total))
    expected = totals_of(events)
    wrong = sum(found.get(place) != totals for place, totals in expected.items())
    took = json.loads(done.stdout.splitlines()[-1])
    return {**took, "windows": len(expected), "wrong": wrong}


class _Quiet(StatefulSourcePartition[Any, None]):
    """Emits its items at once, then nothing for so long; measures the processor while nothing comes."""

    def __init__(self, items: list[Any], wait: float, seconds: float, spent: list[float]) -> None:
        self._items: list[Any] | None = items
        self._begin = time.monotonic() + wait
        self._end = self._begin + seconds
        self._spent = spent
        self._next = self._begin

    @override
    def next_batch(self) -> list[Any]:
        now = time.monotonic()
        if self._items is not None:
            items, self._items = self._items, None
            return items
        if now >= self._begin and not self._spent:
            self._spent.append(time.process_time())
        if now >= self._end:
            self._spent.append(time.process_time())
            raise StopIteration
        self._next = self._begin if now < self._begin else min(now + 0.25, self._end)
        return []

    @override
    def next_awake(self) -> datetime | None:
        if self._items is not None:
            return None
        return datetime.now(timezone.utc) + timedelta(seconds=max(0.0, self._next - time.monotonic()))

    @override
    def snapshot(self) -> None:
        return None


class Quiet(FixedPartitionedSource[Any, None]):
    """A source on which nothing happens after its first batch."""

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments

    @override
    def list_parts(self) -> list[str]:
        return ["all"]

    @override
    def build_part(self, step_id: str, for_part: str, resume_state: None) -> _Quiet:
        return _Quiet(*self._arguments)


def idle(system: str, keys: int, seconds: float) -> dict[str, Any]:
    """Open a window for each key, wait until they have ended, and measure while nothing comes."""
    length, now = 2000, time.time_ns() // 1_000_000
    events = [Event(f"key {number}", now, 1, now) for number in range(keys)]
    spent: list[float] = []
    flow = Dataflow("windows")
    source = Quiet(items_of(system, events), 3.0, seconds, spent)
    WIRE[system](op.input("in", flow, source), length, [])
    run_main(flow, epoch_interval=timedelta(seconds=1))
    return {"seconds": seconds, "processor": spent[-1] - spent[0]}


def main() -> None:
    what, system, *numbers = sys.argv[1:]
    if what == "idle":
        print(json.dumps(idle(system, int(numbers[0]), float(numbers[1]))))
    else:
        keys, count, disorder, batch, seed = map(int, numbers)
        events = events_of(keys, count, disorder, seed)
        print(json.dumps(rate_flink(events, disorder) if system == FLINK else rate(system, events, batch)))


if __name__ == "__main__":
    main()
