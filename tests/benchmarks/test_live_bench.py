from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from benchmarks import live
from benchmarks.live_bridge import unframed
from benchmarks.live_chain import Chain
from benchmarks.live_log import probe_in, seen
from benchmarks.live_measure import Delays
from benchmarks.live_source import TRANSACTIONS, Writer
from events.log import LogRecord


def framed(*events: tuple[bytes | None, bytes | None]) -> bytes:
    """Write events as the engine's program does."""
    data = b""
    for event in events:
        for part in event:
            data += struct.pack(">i", -1 if part is None else len(part))
        data += b"".join(part or b"" for part in event)
    return data


def load(rate: float = 1_000, offered: float = 1_000, last: float = 20) -> Delays:
    return Delays(rate, offered, [], [20.0], last, 1.0, {}, 0.0)


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_events_of_the_engine_are_whole_wherever_the_pipe_cuts_them(cut: int) -> None:
    events = [(b'{"id":1}', b'{"after":null}'), (b'{"id":1}', None), (None, b""), (b"", b"x")]
    data = framed(*events)
    first, rest = unframed(data[:cut])
    then, left = unframed(rest + data[cut:])
    assert first + then == events
    assert left == b""


@pytest.mark.parametrize("space", ["", " "])
def test_a_probe_is_found_in_events_of_either_capture(space: str) -> None:
    separators = ("," + space, ":" + space)
    event = {"before": {"id": 3}, "after": {"id": 3, "version": 41}, "source": {"table": "probes"}, "op": "u"}
    said = json.dumps(event, separators=separators).encode()
    assert probe_in(LogRecord("live", 0, 0, 0, b"{}", said)) == (3, 41)


def test_other_events_and_tombstones_are_no_probes() -> None:
    event = {"before": None, "after": {"id": 3, "version": 41}, "source": {"table": "flights"}, "op": "u"}
    assert probe_in(LogRecord("live", 0, 0, 0, b"{}", json.dumps(event).encode())) is None
    assert probe_in(LogRecord("live", 0, 0, 0, b"{}", None)) is None


def test_what_the_log_watcher_wrote_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "seen").write_text("3 41 12.5\n4 1 13.0\n")
    assert seen(tmp_path / "seen") == [(3, 41, 12.5), (4, 1, 13.0)]
    assert seen(tmp_path / "absent") == []


@pytest.mark.parametrize("rate", [100.0, 500.0, 1_000.0, 16_000.0])
def test_a_writer_reaches_each_rate_by_larger_transactions_not_by_more(rate: float) -> None:
    writer = Writer("", rate, 0)
    assert writer.pace <= TRANSACTIONS
    assert writer.pace * writer.size == pytest.approx(rate, rel=0.01)


def test_a_rate_is_held_only_if_it_was_offered_and_nothing_waits_at_the_end() -> None:
    assert load().held
    assert not load(last=1_500).held
    assert not load(offered=900).held


def test_every_log_and_number_of_processes_is_measured_with_each_capture() -> None:
    assert [chain.name for chain in live.chains_of(live.parse(["--debezium", "python", "--log", "files"]))] == [
        "headrace, log on files, tables in 1 process",
        "debezium, log on files, tables in 1 process",
        "headrace, log on files, tables in 2 processes",
        "debezium, log on files, tables in 2 processes",
    ]
    assert live.chains_of(live.parse(["--log", "kafka", "--processes", "2"])) == [Chain("kafka", 2)]
