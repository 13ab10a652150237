"""From the append of an event to the alert that it raises on the stream of alerts, live, with recovery.

Each probe is an answer that gave up, of a topic of its own: its KPI has one value, and that is beyond its threshold at
once. Beside the probes a steady load of other answers goes through the flow.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
from bytewax.recovery import init_db_dir

from benchmarks.tables_watch import failed, start
from events.alerts import Alert
from events.clock import system_clock
from events.errors import HeadraceError
from events.feedback import Turn
from events.log import LogRecord
from operators.feedback.own import to_json
from stores.alerts import STREAM
from stores.log.files import FileLog

NAME = "feedback"
PARTITIONS = 4
RECOVERY_PARTITIONS = 16
TICK = 0.02
PROBE_EVERY = 0.1
POLL = 0.002
START_SECONDS = 120.0
END_SECONDS = 30.0
WARM_SECONDS = 2.0
_RULE = "gave_up"


class Delays(msgspec.Struct):
    """What one run measured.

    :arg offered: Events appended per second, probes among them.
    :arg millis: Of each probe, from just before its append until its alert was read.
    """

    offered: float
    millis: list[float]

    def percentile(self, percent: float) -> float:
        """Return a percentile of `millis`."""
        return float(np.percentile(self.millis, percent))


def measure(home: Path, rate: float, seconds: float) -> Delays:
    """Run the flow live in `home` under `rate` events a second.

    :raises HeadraceError: When the flow does not come up, ends, or leaves a probe without its alert.
    """
    log = FileLog(home / "log", partitions=PARTITIONS)
    log.create(NAME, PARTITIONS)
    (home / "recovery").mkdir(parents=True)
    init_db_dir(home / "recovery", RECOVERY_PARTITIONS)
    command = [sys.executable, "-m", "bytewax.run", "dataflows.feedback", "-s", "1", "-r", str(home / "recovery")]
    process = start([*command, "-b", "0"], home, variables(home))
    watch = Watch(log)
    sent: dict[str, float] = {}
    try:
        deadline = time.monotonic() + START_SECONDS
        append(log, sent, "start")
        while "start" not in watch.look():
            if process.poll() is not None:
                raise failed(NAME, home)
            _before(deadline, "the flow's start")
        began, made, tick, asked = time.monotonic(), 0, 0, 0
        while (now := time.monotonic() - began) < seconds + WARM_SECONDS:
            due = round(rate * now)
            log.append(NAME, [_answer(f"load-{number}", f"topic-{number % 10}") for number in range(made, due)])
            made = max(made, due)
            if now >= asked * PROBE_EVERY:
                append(log, sent, f"probe-{asked}" if now > WARM_SECONDS else f"warm-{asked}")
                asked += 1
            tick += 1
            while time.monotonic() < began + tick * TICK:
                watch.look()
                time.sleep(POLL)
        offered = (made + asked) / (time.monotonic() - began)
        deadline = time.monotonic() + END_SECONDS
        while not sent.keys() <= watch.look().keys():
            _before(deadline, "the last alert")
        if process.poll() is not None:
            raise failed(NAME, home)
    finally:
        process.terminate()
        process.wait()
    probes = [name for name in sent if name.startswith("probe")]
    return Delays(offered, [1_000 * (watch.seen[name] - sent[name]) for name in probes])


def variables(home: Path) -> dict[str, str]:
    """Return the settings of the flow."""
    kpi = {
        "name": _RULE, "facts": "answers", "aggregate": "share", "hits": {"fallback": True}, "by": [["topic"]],
        "windows": ["1m"],
    }  # fmt: skip
    alert = {
        "name": _RULE, "kpi": _RULE, "window": "1m", "by": ["topic"], "detector": "threshold", "above": 0.5,
        "least_count": 1,
    }  # fmt: skip
    return {
        "HEADRACE_MODE": "live",
        "HEADRACE_DATA_DIR": str(home),
        "HEADRACE_LOG__DIR": str(home / "log"),
        "HEADRACE_FEEDBACK__STREAMS": json.dumps([{"name": NAME, "format": "headrace"}]),
        "HEADRACE_FEEDBACK__KPIS": json.dumps([kpi]),
        "HEADRACE_FEEDBACK__ALERTS": json.dumps([alert]),
        "HEADRACE_FEEDBACK__SENTIMENT__BACKEND": "none",
    }


def append(log: FileLog, sent: dict[str, float], name: str) -> None:
    """Append one probe, and note when."""
    sent[name] = time.monotonic()
    log.append(NAME, [_answer(name, name, fallback=True)])


def _answer(name: str, topic: str, *, fallback: bool = False) -> LogRecord:
    now = system_clock()
    turn = Turn(name, "answer", now, "assistant", topic=topic, model="m", latency=100.0, fallback=fallback)
    return LogRecord(NAME, 0, 0, now, name.encode(), to_json(turn))


class Watch:
    """Follows the stream of alerts, and notes when the one of each topic was first seen."""

    def __init__(self, log: FileLog) -> None:
        self._log = log
        self._offsets: dict[int, int] = {}
        self.seen: dict[str, float] = {}

    def look(self) -> dict[str, float]:
        """Read what has come; return all topics with an alert."""
        for partition in self._log.partitions(STREAM):
            records, offset = self._log.read(STREAM, partition, self._offsets.get(partition, 0), 1_000)
            now = time.monotonic()
            self._offsets[partition] = offset
            for record in records:
                alert = msgspec.json.decode(record.value or b"", type=Alert)
                if alert.rule == _RULE:
                    self.seen.setdefault(alert.group["topic"], now)
        return self.seen


def _before(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        detail = f"{what} took too long"
        raise HeadraceError(detail, "measure on a quiet machine, or at a lower --rate")
    time.sleep(POLL)
