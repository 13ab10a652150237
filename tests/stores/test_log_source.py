"""The source over the log: what a dataflow gets from it, live and in replay, interrupted and resumed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import bytewax.operators as op
import pytest
from bytewax import recovery, testing
from bytewax.dataflow import Dataflow
from bytewax.inputs import AbortExecution
from bytewax.testing import TestingSink

from events.clock import Clock, system_clock
from events.errors import StoreError
from events.log import LogRecord, Mark
from stores.log.files import FileLog
from stores.log.source import SLOTS, LogBatch, LogSlot, LogSource, State, slot_of

DEADLINE_SECONDS = 30.0
NOON = 1_700_000_000_000

# These of the engine have no types of their own.
run: Callable[..., None] = testing.run_main
run_cluster: Callable[..., None] = testing.cluster_main
make_recovery: Callable[[Path, int], None] = recovery.init_db_dir
open_recovery: Callable[[str], recovery.RecoveryConfig] = recovery.RecoveryConfig


class Ticker:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        return self.now


def record(n: int, key: bytes | None = None, event_time: int | None = None) -> LogRecord:
    return LogRecord("", 0, 0, n if event_time is None else event_time, key, b"%d" % n)


def filled(folder: Path, streams: dict[str, int], count: int, segment_bytes: int = 2000) -> FileLog:
    log = FileLog(folder, segment_bytes=segment_bytes)
    for stream, partitions in streams.items():
        log.create(stream, partitions)
        for n in range(0, count, 10):
            log.append(stream, [record(i, b"k%d" % (i % 23)) for i in range(n, n + 10)])
    return log


def content(log: FileLog, stream: str) -> dict[str, list[LogRecord]]:
    return {
        f"{stream}/{partition}": log.read(stream, partition, log.bounds(stream, partition)[0], 10**6)[0]
        for partition in log.partitions(stream)
    }


def source(log: FileLog, *streams: str, tail: bool = False, clock: Clock = system_clock, **more: Any) -> LogSource:
    settings: dict[str, Any] = {"batch_size": 7, "heartbeat_seconds": 5.0, **more}
    return LogSource(log, streams, tail=tail, clock=clock, **settings)


def flow_of(reading: LogSource) -> tuple[Dataflow, list[LogBatch]]:
    out: list[LogBatch] = []
    flow = Dataflow("test")
    op.output("out", op.input("in", flow, reading), TestingSink(out))
    return flow, out


def grouped(batches: list[LogBatch]) -> dict[str, list[LogRecord]]:
    """Sort batches by partition, in the order in which they came, and check their marks against their records."""
    found: dict[str, list[LogRecord]] = {}
    marks: dict[str, Mark] = {}
    for batch in batches:
        name = f"{batch.mark.source}/{batch.mark.partition}"
        records = found.setdefault(name, [])
        records += batch.records
        assert all(f"{r.stream}/{r.partition}" == name for r in batch.records)
        if name in marks:
            assert marks[name].offset <= batch.mark.offset
            assert all(marks[name].offset <= r.offset for r in batch.records)
        assert all(r.offset < batch.mark.offset for r in batch.records)
        marks[name] = batch.mark
    return found


def slots_of(reading: LogSource, states: dict[str, State] | None = None) -> dict[str, LogSlot]:
    return {name: reading.build_part("in", name, (states or {}).get(name)) for name in reading.list_parts()}


def the_slot(reading: LogSource, stream: str, partition: int = 0, state: State | None = None) -> LogSlot:
    return reading.build_part("in", f"slot-{slot_of(stream, partition):02d}", state)


def read_out(slot: LogSlot) -> list[LogBatch]:
    batches: list[LogBatch] = []
    while True:
        try:
            batches += slot.next_batch()
        except StopIteration:
            return batches


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_a_replay_hands_on_every_record_once_in_the_order_of_its_partition(
    tmp_path: Path, workers: int, batch_size: int
) -> None:
    log = filled(tmp_path, {"orders": 5, "customers": 20}, 300)
    flow, out = flow_of(source(log, "orders", "customers", batch_size=batch_size))

    if workers == 1:
        run(flow)
    else:
        run_cluster(flow, [], 0, worker_count_per_proc=workers)

    assert grouped(out) == {**content(log, "orders"), **content(log, "customers")}
    assert all(len(batch.records) <= batch_size for batch in out)
    last = {f"{batch.mark.source}/{batch.mark.partition}": batch.mark for batch in out}
    for name, mark in last.items():
        stream, partition = name.split("/")
        assert mark.caught_up
        assert mark.offset == log.bounds(stream, int(partition))[1]
        assert mark.event_time == max((r.event_time for r in grouped(out)[name]), default=None)


def test_a_replay_of_the_same_log_is_the_same_every_time(tmp_path: Path) -> None:
    log = filled(tmp_path, {"orders": 40}, 500)
    runs = []
    for _ in range(2):
        slots = slots_of(source(FileLog(tmp_path), "orders", clock=Ticker()))
        runs.append({name: read_out(slot) for name, slot in slots.items()})
    assert runs[0] == runs[1]
    assert sum(len(batch.records) for batches in runs[0].values() for batch in batches) == 500
    assert log.partitions("orders") == list(range(40))


def test_an_empty_partition_is_confirmed_to_be_at_its_end_and_an_absent_stream_is_nothing(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    log.create("orders", 2)
    flow, out = flow_of(source(log, "orders", "absent", clock=Ticker()))
    run(flow)
    assert sorted(out, key=lambda batch: batch.mark.partition) == [
        LogBatch((), Mark("orders", "0", 0, None, NOON, caught_up=True, seen_at=NOON)),
        LogBatch((), Mark("orders", "1", 0, None, NOON, caught_up=True, seen_at=NOON)),
    ]


def test_a_replay_leaves_an_unfinished_line_unread_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "orders").mkdir()
    (tmp_path / "orders" / "0000.jsonl").write_text('{"time":1,"value":1}\n{"time":2,"value":2}')
    flow, out = flow_of(source(FileLog(tmp_path), "orders"))
    with caplog.at_level(logging.WARNING):
        run(flow)
    assert [r.value for batch in out for r in batch.records] == [b"1"]
    assert [message for message in caplog.messages if "orders" in message] == [
        "orders/0 ends with 20 bytes that are no whole record: left unread"
    ]


class Interrupted(LogSource):
    """Ends the run like a crash once a condition holds."""

    condition: Callable[[], bool]

    def build_part(self, step_id: str, for_part: str, resume_state: State | None) -> LogSlot:
        slot = super().build_part(step_id, for_part, resume_state)
        condition, following = self.condition, slot.next_batch

        def next_batch() -> list[LogBatch]:
            if condition():
                raise AbortExecution
            return following()

        slot.next_batch = next_batch  # type: ignore[method-assign]  # this very slot, not its class
        return slot


def interrupted(log: FileLog, *streams: str, condition: Callable[[], bool], **more: Any) -> Interrupted:
    reading = Interrupted(log, streams, **{"batch_size": 7, "heartbeat_seconds": 5.0, "clock": system_clock, **more})
    reading.condition = condition
    return reading


def recovery_in(folder: Path) -> recovery.RecoveryConfig:
    folder.mkdir()
    make_recovery(folder, 2)
    return open_recovery(str(folder))


@pytest.mark.parametrize("after", [1, 5, 30, 50])
def test_an_interrupted_flow_goes_on_where_its_last_epoch_ended(tmp_path: Path, after: int) -> None:
    log = filled(tmp_path / "log", {"orders": 5}, 400)
    config = recovery_in(tmp_path / "recovery")
    out: list[LogBatch] = []
    reading = interrupted(log, "orders", condition=lambda: len(out) >= after, tail=False)
    flow = Dataflow("test")
    op.output("out", op.input("in", flow, reading), TestingSink(out))
    run(flow, epoch_interval=timedelta(0), recovery_config=config)
    first = grouped(out)
    assert sum(map(len, first.values())) < 400

    flow, rest = flow_of(source(log, "orders"))
    run(flow, epoch_interval=timedelta(0), recovery_config=config)

    second = grouped(rest)
    for name, records in content(log, "orders").items():
        before, now = first.get(name, []), second.get(name, [])
        assert before == records[: len(before)]
        assert now == records[len(records) - len(now) :]
        # An epoch that was open at the interruption comes again, never less than that.
        assert len(records) <= len(before) + len(now) <= len(records) + 5 * 7


def test_a_resumed_flow_reads_what_came_since_in_old_and_new_partitions_and_streams(tmp_path: Path) -> None:
    log = filled(tmp_path / "log", {"orders": 2}, 100)
    config = recovery_in(tmp_path / "recovery")
    flow, out = flow_of(source(log, "orders", "customers"))
    run(flow, recovery_config=config)
    before = content(log, "orders")
    assert grouped(out) == before

    log.create("orders", 6)
    log.append("orders", [record(n, b"k%d" % n) for n in range(100, 200)])
    log.append("customers", [record(n) for n in range(10)])
    flow, out = flow_of(source(log, "orders", "customers"))
    run(flow, recovery_config=config)

    found = grouped(out)
    for name, records in {**content(log, "orders"), **content(log, "customers")}.items():
        assert found[name] == records[len(before.get(name, [])) :]

    flow, out = flow_of(source(log, "orders", "customers"))
    run(flow, recovery_config=config)
    assert [batch.records for batch in out] == [()] * 10
    assert all(batch.mark.caught_up for batch in out)
    # The newest event time is not forgotten, though nothing was read.
    assert max(batch.mark.event_time or 0 for batch in out) == 199


def test_a_partition_that_is_gone_keeps_its_place_and_the_flow_still_resumes(tmp_path: Path) -> None:
    log = filled(tmp_path / "log", {"orders": 3}, 100)
    config = recovery_in(tmp_path / "recovery")
    flow, _ = flow_of(source(log, "orders"))
    run(flow, recovery_config=config)
    end = log.bounds("orders", 1)[1]
    away = tmp_path / "away"
    away.mkdir()
    for path in (tmp_path / "log" / "orders").glob("0001-*"):
        path.rename(away / path.name)

    flow, out = flow_of(source(log, "orders"))
    run(flow, recovery_config=config)
    assert {batch.mark.partition for batch in out} == {"0", "2"}

    for path in away.iterdir():
        path.rename(tmp_path / "log" / "orders" / path.name)
    flow, out = flow_of(source(log, "orders"))
    run(flow, recovery_config=config)
    assert [(batch.records, batch.mark.offset) for batch in out if batch.mark.partition == "1"] == [((), end)]


class Counted(FileLog):
    """A log that knows of each stream how many partitions it has, and refuses one that had more."""

    def check(self, stream: str, known: Sequence[int]) -> None:
        if known and len(self.partitions(stream)) <= max(known):
            detail = f"{stream} has shrunk"
            raise StoreError(detail, "read it anew")


@pytest.mark.parametrize("streams", [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("late", [False, True])
def test_every_stream_is_checked_once_it_is_there_whichever_are_read_already(
    tmp_path: Path, streams: tuple[str, ...], late: bool
) -> None:
    log = Counted(tmp_path)
    log.create("a", SLOTS)
    if not late:
        log.create("b", 2)
    clock = Ticker()
    slot = the_slot(source(log, *streams, tail=True, clock=clock), "b", 3, {"b/3": (10, None)})
    if late:
        slot.next_batch()
        log.create("b", 2)
        clock.now += 1000
    with pytest.raises(StoreError, match="b has shrunk"):
        slot.next_batch()


def test_a_live_flow_gets_records_partitions_and_streams_as_they_come(tmp_path: Path) -> None:
    log = FileLog(tmp_path, segment_bytes=1000)
    out: list[LogBatch] = []
    finished = threading.Event()
    failed: list[str] = []

    def wait_for(count: int) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while sum(len(batch.records) for batch in list(out)) < count:
            if time.monotonic() > deadline:
                failed.append(f"{count} records were not seen in time")
                return
            finished.wait(0.005)

    def feed() -> None:
        other = FileLog(tmp_path, partitions=2, segment_bytes=1000)
        for n in range(100):
            other.append("orders", [record(n, b"k")])
        wait_for(100)
        other.create("orders", 5)
        other.append("orders", [record(n) for n in range(100, 200)])
        other.append("customers", [record(n) for n in range(100)])
        wait_for(300)
        finished.set()

    reading = interrupted(log, "orders", "customers", condition=finished.is_set, tail=True)
    flow = Dataflow("test")
    op.output("out", op.input("in", flow, reading), TestingSink(out))
    feeder = threading.Thread(target=feed)
    feeder.start()
    run(flow, epoch_interval=timedelta(milliseconds=100))
    feeder.join()

    assert failed == []
    assert grouped(out) == {**content(log, "orders"), **content(log, "customers")}


def test_an_idle_partition_says_so_once_at_the_end_and_then_at_each_heartbeat(tmp_path: Path) -> None:
    log = filled(tmp_path, {"orders": 1}, 10)
    ticker = Ticker()
    slot = the_slot(source(log, "orders", tail=True, clock=ticker, batch_size=10), "orders")
    end = log.bounds("orders", 0)[1]

    def idle(read_at: int) -> list[LogBatch]:
        return [LogBatch((), Mark("orders", "0", end, 9, read_at, caught_up=True, seen_at=read_at))]

    (full,) = slot.next_batch()
    assert (len(full.records), full.mark.caught_up, full.mark.event_time) == (10, False, 9)
    assert slot.next_batch() == idle(NOON)
    for _ in range(3):
        assert slot.next_batch() == []
    ticker.now += 4_999
    assert slot.next_batch() == []
    ticker.now += 1
    assert slot.next_batch() == idle(NOON + 5_000)
    assert slot.next_batch() == []
    ticker.now -= 60_000  # the machine's clock is set back
    assert slot.next_batch() == idle(NOON + 5_000 - 60_000)


def test_a_batch_that_reaches_the_end_is_a_confirmation_itself(tmp_path: Path) -> None:
    log = filled(tmp_path, {"orders": 1}, 10)
    ticker = Ticker()
    slot = the_slot(source(log, "orders", tail=True, clock=ticker), "orders")
    assert [(len(b.records), b.mark.caught_up) for _ in range(3) for b in slot.next_batch()] == [(7, False), (3, True)]
    log.append("orders", [record(5)])
    (batch,) = slot.next_batch()
    assert [r.value for r in batch.records] == [b"5"]
    # The newest event time so far, not that of the last record.
    assert (batch.mark.caught_up, batch.mark.event_time) == (True, 9)


def test_an_append_under_way_is_not_waited_for_and_does_not_hide_that_the_end_is_reached(tmp_path: Path) -> None:
    log = filled(tmp_path, {"orders": 1}, 10)
    with max((tmp_path / "orders").iterdir()).open("ab") as file:
        file.write(b'{"time":1,')
    slot = the_slot(source(log, "orders", tail=True, batch_size=100), "orders")
    (batch,) = slot.next_batch()
    assert (len(batch.records), batch.mark.caught_up) == (10, True)
    assert slot.next_batch() == []


def test_the_time_of_a_mark_is_taken_before_the_read(tmp_path: Path) -> None:
    log = filled(tmp_path, {"orders": 1}, 10)
    ticker = Ticker()

    class Slow(FileLog):
        def read(self, stream: str, partition: int, offset: int, limit: int) -> tuple[list[LogRecord], int]:
            ticker.now += 1000
            return super().read(stream, partition, offset, limit)

    slot = the_slot(source(Slow(tmp_path), "orders", tail=True, clock=ticker, batch_size=100), "orders")
    (batch,) = slot.next_batch()
    assert batch.mark.read_at == NOON
    assert log.bounds("orders", 0)[1] == batch.mark.offset


def test_a_log_that_returns_nothing_before_its_end_is_not_taken_for_read(tmp_path: Path) -> None:
    filled(tmp_path, {"orders": 1}, 10)

    class Lagging(FileLog):
        lag = True

        def read(self, stream: str, partition: int, offset: int, limit: int) -> tuple[list[LogRecord], int]:
            return ([], offset) if self.lag else super().read(stream, partition, offset, limit)

    for tail in (True, False):
        lagging = Lagging(tmp_path)
        slot = the_slot(source(lagging, "orders", tail=tail, batch_size=100), "orders")
        assert [slot.next_batch() for _ in range(3)] == [[], [], []]
        lagging.lag = False
        (batch,) = slot.next_batch()
        assert (len(batch.records), batch.mark.caught_up) == (10, True)


def test_partitions_of_a_slot_are_read_in_turn_however_full_one_of_them_is(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    log.create("orders", SLOTS * 3)
    reading = source(log, "orders", batch_size=10, tail=True)
    number = slot_of("orders", 0)
    for partition in (0, SLOTS, 2 * SLOTS):
        lines = b"".join(b'{"time":%d,"value":%d}\n' % (n, n) for n in range(1000 if partition == 0 else 25))
        (tmp_path / "orders" / f"{partition:04d}-{0:020d}.jsonl").write_bytes(lines)

    slot = reading.build_part("in", f"slot-{number:02d}", None)
    batches = [batch for _ in range(9) for batch in slot.next_batch()]

    seen = [int(batch.mark.partition) for batch in batches]
    assert all(set(seen[n : n + 3]) == {0, SLOTS, 2 * SLOTS} for n in range(0, 6, 3))
    assert sum(len(batch.records) for batch in batches if batch.mark.partition == str(SLOTS)) == 25


def test_partitions_are_looked_for_at_most_twice_a_second(tmp_path: Path) -> None:
    ticker = Ticker()
    looks: list[int] = []

    class Counted(FileLog):
        def partitions(self, stream: str) -> list[int]:
            looks.append(ticker.now)
            return super().partitions(stream)

    slot = the_slot(source(Counted(tmp_path), "orders", tail=True, clock=ticker), "orders")
    for _ in range(1000):
        slot.next_batch()
        ticker.now += 10
    assert len(looks) == 20
    FileLog(tmp_path).create("orders", 1)
    ticker.now += 500
    assert [batch.mark.partition for batch in slot.next_batch()] == ["0"]


def test_naps_grow_while_nothing_comes_and_end_with_the_first_record(tmp_path: Path) -> None:
    log = filled(tmp_path, {"orders": 1}, 10)
    ticker = Ticker()
    slot = the_slot(source(log, "orders", tail=True, clock=ticker), "orders")

    def nap() -> float | None:
        slot.next_batch()
        awake = slot.next_awake()
        assert awake == slot.next_awake()
        noon = datetime.fromtimestamp(ticker.now / 1000, tz=timezone.utc)
        return None if awake is None else (awake - noon) / timedelta(milliseconds=1)

    assert [nap() for _ in range(6)] == [None, None, 5, 10, 20, 20]
    log.append("orders", [record(1)])
    assert [nap() for _ in range(3)] == [None, 5, 10]
    empty = the_slot(source(log, "absent", tail=True, clock=ticker), "absent")
    assert empty.next_batch() == []
    assert empty.next_awake() == datetime.fromtimestamp((NOON + 500) / 1000, tz=timezone.utc)


def test_a_partition_begins_where_start_says_unless_it_has_been_read_before(tmp_path: Path) -> None:
    log = filled(tmp_path, {"orders": 1}, 10)
    records = content(log, "orders")["orders/0"]
    asked: list[tuple[str, int]] = []

    def start(stream: str, partition: int) -> int:
        asked.append((stream, partition))
        return records[4].offset

    reading = source(log, "orders", start=start)
    slot = the_slot(reading, "orders")
    assert grouped(read_out(slot)) == {"orders/0": records[4:]}
    assert asked == [("orders", 0)]

    resumed = the_slot(reading, "orders", state={"orders/0": (records[8].offset, 7)})
    assert grouped(read_out(resumed)) == {"orders/0": records[8:]}
    assert asked == [("orders", 0)]


def test_start_may_know_nothing(tmp_path: Path) -> None:
    log = filled(tmp_path, {"orders": 1}, 200, segment_bytes=1000)
    log.retain("orders", 100)
    slot = the_slot(source(log, "orders", start=lambda _stream, _partition: None), "orders")
    assert grouped(read_out(slot)) == content(log, "orders")
    assert 0 < len(content(log, "orders")["orders/0"]) < 200


def test_a_place_that_retention_has_removed_stops_the_flow_with_the_remedy(tmp_path: Path) -> None:
    log = filled(tmp_path, {"orders": 1}, 200, segment_bytes=1000)
    log.retain("orders", 100)
    oldest = log.bounds("orders", 0)[0]
    slot = the_slot(source(log, "orders"), "orders", state={"orders/0": (0, None)})
    with pytest.raises(StoreError, match=rf"begins at offset {oldest}.*on_expired to 'oldest'"):
        slot.next_batch()


def test_a_place_that_retention_has_removed_can_be_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = filled(tmp_path, {"orders": 1}, 200, segment_bytes=1000)
    log.retain("orders", 100)
    oldest = log.bounds("orders", 0)[0]
    for tail in (True, False):
        reading = source(log, "orders", tail=tail, on_expired="oldest", batch_size=1000)
        slot = the_slot(reading, "orders", state={"orders/0": (0, 5)})
        with caplog.at_level(logging.WARNING):
            batches = slot.next_batch() or slot.next_batch()
        assert grouped(batches) == content(log, "orders")
        assert slot.snapshot() == {"orders/0": (log.bounds("orders", 0)[1], 199)}
        assert f"going on from offset {oldest}" in caplog.text


def test_a_fault_of_the_log_is_not_taken_for_retention(tmp_path: Path) -> None:
    log = filled(tmp_path, {"orders": 1}, 10)
    slot = the_slot(source(log, "orders", on_expired="oldest"), "orders", state={"orders/0": (3, None)})
    with pytest.raises(StoreError, match="no record of partition 0"):
        slot.next_batch()


def test_a_partition_that_vanishes_while_it_is_read_ends_a_replay_and_is_not_called_caught_up(tmp_path: Path) -> None:
    log = filled(tmp_path, {"orders": 1}, 10)
    replay, live = (the_slot(source(log, "orders", tail=tail), "orders") for tail in (False, True))
    assert len(replay.next_batch()[0].records) == len(live.next_batch()[0].records) == 7
    for path in (tmp_path / "orders").iterdir():
        path.unlink()
    assert read_out(replay) == []
    assert [live.next_batch() for _ in range(3)] == [[], [], []]
    assert live.snapshot().keys() == {"orders/0"}


def test_the_state_is_plain_data_and_does_not_change_behind_the_engine(tmp_path: Path) -> None:
    log = filled(tmp_path, {"orders": 1}, 20)
    slot = the_slot(source(log, "orders"), "orders", state={"orders/99": (7, None)})
    slot.next_batch()
    state = slot.snapshot()
    kept = dict(state)
    slot.next_batch()
    assert state == kept
    records = content(log, "orders")["orders/0"]
    assert state == {"orders/99": (7, None), "orders/0": (records[7].offset, 6)}


def test_every_partition_belongs_to_one_slot_for_ever() -> None:
    # The recovery state of every installation depends on these numbers. The CRC-32 is what gzip writes at its end.
    assert [slot_of("orders", partition) for partition in range(3)] == [
        3_845_127_662 % 16,
        (3_845_127_662 + 1) % 16,
        (3_845_127_662 + 2) % 16,
    ]
    assert slot_of("documents", 0) == 2_729_472_648 % 16
    assert {slot_of("orders", partition) for partition in range(SLOTS)} == set(range(16))
