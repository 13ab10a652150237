"""Lateness: each partition by its own event times, however they are cut; what is too late is kept and counted."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, cluster_main, run_main

from events.feedback import FeedbackEvent, Point, Rating, Timed
from events.kpis import TooLate
from events.log import LogRecord, Mark
from operators.feedback.batches import FeedbackBatch, JudgedBatch
from operators.feedback.lateness import Lateness, lateness
from operators.feedback.rules import Limits

HOUR = 3_600_000
LIMITS = Limits(lateness=60_000, horizon=2 * HOUR)
REPLAY = frozenset({"replay.feedback"})


def test_an_event_has_the_newest_time_up_to_it_as_its_watermark() -> None:
    judged = _lateness().judge(_batch([5 * HOUR, 4 * HOUR, 6 * HOUR, 4 * HOUR]))
    assert [timed.watermark for timed in judged.timed] == [5 * HOUR, 5 * HOUR, 6 * HOUR, 6 * HOUR]
    assert [timed.event.time for timed in judged.timed] == [5 * HOUR, 4 * HOUR, 6 * HOUR, 4 * HOUR]
    assert judged.watermark == 6 * HOUR
    assert (judged.late, judged.dead) == ([], [])


def test_what_is_older_than_the_horizon_is_a_dead_letter_with_a_remedy_and_counts_no_more() -> None:
    judged = _lateness().judge(_batch([5 * HOUR, 3 * HOUR, 3 * HOUR - 1]))
    assert [timed.event.time for timed in judged.timed] == [5 * HOUR, 3 * HOUR]
    assert judged.late == [TooLate("said/0/2", "said", "0", 5 * HOUR, 1)]
    [dead] = judged.dead
    assert (dead.flow, dead.step, dead.record.offset) == ("feedback", "lateness", 2)
    assert dead.reason == (
        "the point '2' of 1970-01-01T02:59:59.999Z came when its partition was at 1970-01-01T05:00:00.000Z: KPIs "
        "change for 2 hours (to count such events, raise feedback.horizon_hours and read the stream again from before "
        "them; a replay alone does not count them)"
    )


def test_a_record_of_several_events_that_are_too_late_is_one_dead_letter_and_each_of_them_counts() -> None:
    record = _record(7, HOUR)
    events: list[tuple[FeedbackEvent, LogRecord]] = [(_point("new", 9 * HOUR), _record(6, 9 * HOUR))]
    events += [(_point(name, HOUR), record) for name in ("a", "b", "c")]
    judged = _lateness().judge(FeedbackBatch(events, _mark(8), []))
    assert [dead.record for dead in judged.dead] == [record]
    assert judged.late == [TooLate("said/0/7", "said", "0", 9 * HOUR, 3)]


def test_what_one_record_says_of_days_does_not_make_itself_late_and_counts_at_its_own_times() -> None:
    record, logic = _record(7, HOUR), _lateness()
    logic.judge(_batch([5 * HOUR]))
    times = [4 * HOUR, 90 * HOUR, 4 * HOUR + 1, 6 * HOUR, 91 * HOUR, 6 * HOUR]
    whole: list[tuple[FeedbackEvent, LogRecord]] = [(_point(str(time), time), record) for time in times]
    judged = logic.judge(FeedbackBatch([*whole, (_point("next", 89 * HOUR - 1), _record(8, HOUR))], _mark(9), []))
    watermarks = [5 * HOUR, 90 * HOUR, 5 * HOUR, 6 * HOUR, 91 * HOUR, 6 * HOUR]
    assert [(timed.event.time, timed.watermark) for timed in judged.timed] == list(zip(times, watermarks, strict=True))
    assert judged.watermark == 91 * HOUR
    # The next record is judged by all of it.
    assert [dead.record.offset for dead in judged.dead] == [8]


def test_what_is_too_late_is_counted_alike_however_it_is_cut_and_when_it_is_read_again() -> None:
    times = [9 * HOUR, 1, 9 * HOUR + 5, 2, 3, 10 * HOUR, 4, 10 * HOUR - 1, 5]
    expected = {"said/0/1": 3, "said/0/6": 2}
    for size in (1, 2, 4, 9):
        logic, counts = _lateness(), dict[str, int]()
        for start in range(0, len(times), size):
            if start == size:
                saved, counts_then = pickle.dumps(logic.snapshot()), dict(counts)
            counts |= {late.id: late.count for late in logic.judge(_batch(times[start : start + size], start)).late}
        assert counts == expected
        if size < len(times):
            # From a snapshot, with other batches: the store that has kept the first counts has the same at the end.
            again = Lateness("feedback", LIMITS, REPLAY, pickle.loads(saved))  # noqa: S301  # as the engine does
            late = again.judge(_batch(times[size:], size)).late
            assert counts_then | {count.id: count.count for count in late} == expected


def test_streams_that_are_exempt_are_never_too_late_and_move_no_watermark() -> None:
    logic = _lateness()
    batch = _batch([9 * HOUR, 1], source="replay.feedback")
    judged = logic.judge(batch)
    assert judged.timed == [Timed(event, event.time) for event, _ in batch.events]
    assert (judged.watermark, judged.late, judged.dead) == (None, [], [])
    assert logic.snapshot() == _lateness().snapshot()


def test_a_partition_without_an_event_has_no_watermark_and_keeps_the_one_it_had() -> None:
    logic = _lateness()
    assert logic.judge(_batch([])).watermark is None
    logic.judge(_batch([HOUR]))
    assert logic.judge(_batch([])).watermark == HOUR


def test_state_of_another_layout_is_refused() -> None:
    with pytest.raises(ValueError, match="layout 9 cannot be read by layout 1"):
        Lateness("feedback", LIMITS, REPLAY, (9, None, None))


def test_a_rating_of_times_that_no_calendar_has_is_told_all_the_same() -> None:
    rating = Rating("c", "r" * 500, -(10**18), "thumbs", 1)
    batch = FeedbackBatch([(_point("a", 0), _record(0, 0)), (rating, _record(1, 0))], _mark(2), [])
    [dead] = _lateness().judge(batch).dead
    assert f"the rating '{'r' * 100}' of -1000000000000000000 ms came" in dead.reason


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_in_the_engine_partitions_do_not_see_each_other(workers: int) -> None:
    batches = [
        _batch([9 * HOUR], 0),
        _batch([1], 0, partition=1),
        _batch([2, 8 * HOUR], 1),
        _batch([3], 1, partition=1),
    ]
    found: list[JudgedBatch] = []
    flow = _flow(batches, found)
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    timed = sorted((batch.mark.partition, item.event.time, item.watermark) for batch in found for item in batch.timed)
    assert timed == [("0", 8 * HOUR, 9 * HOUR), ("0", 9 * HOUR, 9 * HOUR), ("1", 1, 1), ("1", 3, 3)]
    assert [late.count for batch in found for late in batch.late] == [1]


def test_in_the_engine_a_crash_forgets_nothing(tmp_path: Path) -> None:
    init_db_dir(tmp_path, 1)
    found: list[JudgedBatch] = []
    batches: list[FeedbackBatch | TestingSource.ABORT] = [
        _batch([9 * HOUR]),
        TestingSource.ABORT(),
        _batch([1], 1),
        _batch([8 * HOUR], 2),
    ]
    flow = _flow(batches, found)
    for _ in range(2):
        run_main(flow, epoch_interval=timedelta(0), recovery_config=RecoveryConfig(str(tmp_path)))
    late = {late.id: late.count for batch in found for late in batch.late}
    assert late == {"said/0/1": 1}
    assert {timed.watermark for batch in found for timed in batch.timed} == {9 * HOUR}


def _flow(batches: Sequence[FeedbackBatch | TestingSource.ABORT], found: list[JudgedBatch]) -> Dataflow:
    flow = Dataflow("feedback")
    up = op.input("in", flow, TestingSource(batches, 1))
    op.output("out", lateness("lateness", up, "feedback", LIMITS, REPLAY), TestingSink(found))
    return flow


def _lateness() -> Lateness:
    return Lateness("feedback", LIMITS, REPLAY)


def _batch(times: list[int], first: int = 0, source: str = "said", partition: int = 0) -> FeedbackBatch:
    offsets = range(first, first + len(times))
    events: list[tuple[FeedbackEvent, LogRecord]] = [
        (_point(str(offset), time), _record(offset, time)) for offset, time in zip(offsets, times, strict=True)
    ]
    return FeedbackBatch(events, _mark(first + len(times), source, partition), [])


def _point(id_: str, time: int) -> Point:
    return Point(id_, time, "load", 1.0)


def _record(offset: int, time: int) -> LogRecord:
    return LogRecord("said", 0, offset, time)


def _mark(offset: int, source: str = "said", partition: int = 0) -> Mark:
    return Mark(source, str(partition), offset, None, 0, caught_up=False)
