"""The frontier: the slowest that still brings something, told when an epoch has closed, and never taken back."""

from __future__ import annotations

import pickle
from datetime import timedelta

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, cluster_main, run_main

from events.feedback import Point, Timed
from events.kpis import Frontier
from events.log import Mark
from operators.buckets import BUCKETS, SLICES, buckets_of_slice, group_by_bucket
from operators.feedback.batches import JudgedBatch
from operators.feedback.frontier import GONE, Frontiers, Progress, State, frontier
from operators.feedback.slices import LANE, slice_of

IDLE = 10_000
HORIZON = 1_600


def test_it_is_the_least_watermark_and_told_when_the_epoch_has_closed() -> None:
    fronts = _fronts()
    assert fronts.take([_at("a", 50, 0), _at("b", 30, 0)]) == []
    assert fronts.take([_at("b", 40, 1)]) == []
    fronts.close_epoch()
    # What comes with the next epoch does not count yet.
    assert fronts.take([_at("b", 90, 2)]) == [Frontier(40, LANE)]
    fronts.close_epoch()
    assert fronts.take([]) == [Frontier(50, LANE)]


def test_it_is_not_told_again_while_it_stays() -> None:
    fronts = _fronts()
    fronts.take([_at("a", 50, 0)])
    assert _epoch(fronts, [_at("a", 50, 1)]) == [Frontier(50, LANE)]
    assert _epoch(fronts, [_at("a", 50, 2)]) == []


def test_it_never_goes_back_when_a_slow_partition_turns_up() -> None:
    fronts = _fronts()
    fronts.take([_at("a", 50, 0)])
    assert _epoch(fronts, [_at("b", 20, 1)]) == [Frontier(50, LANE)]
    assert _epoch(fronts, [_at("b", 45, 2)]) == []
    assert _epoch(fronts, [_at("b", 55, 3), _at("a", 60, 3)]) == []
    assert _epoch(fronts, []) == [Frontier(55, LANE)]


def test_a_partition_that_is_empty_holds_nobody_up() -> None:
    fronts = _fronts()
    fronts.take([_at("a", 50, 0), _at("empty", None, 0, caught_up=True)])
    assert _epoch(fronts, []) == [Frontier(50, LANE)]
    lonely = _fronts()
    lonely.take([_at("empty", None, 0, caught_up=True)])
    assert _epoch(lonely, []) == []


@pytest.mark.parametrize("live", [True, False])
def test_a_partition_that_is_being_read_and_had_no_event_yet_holds_everybody_up(live: bool) -> None:
    fronts = _fronts(live=live)
    fronts.take([_at("a", 50, 0), _at("begins", None, 0)])
    assert _epoch(fronts, [_at("a", 60, 1)]) == []
    assert _epoch(fronts, [_at("begins", 20, 2)]) == []
    assert _epoch(fronts, [_at("begins", 70, 3)]) == [Frontier(20, LANE)]
    assert _epoch(fronts, []) == [Frontier(60, LANE)]


def test_live_a_partition_without_an_event_of_which_nothing_is_heard_any_more_holds_nobody_up() -> None:
    fronts = _fronts()
    fronts.take([_at("a", 50, 0), _at("gone", None, 0)])
    assert _epoch(fronts, [_at("a", 60, GONE * IDLE + 1)]) == []
    assert _epoch(fronts, []) == [Frontier(60, LANE)]


def test_at_the_end_of_a_replay_nobody_is_waited_for_who_said_nothing() -> None:
    fronts = _fronts(live=False)
    fronts.take([_at("a", 50, 0, caught_up=True), _at("never", None, 0)])
    assert fronts.end() == [Frontier(50, LANE)]


def test_live_a_partition_that_is_caught_up_and_idle_holds_nobody_up() -> None:
    fronts = _fronts()
    fronts.take([_at("a", 50, 0), _at("b", 30, 0, caught_up=True)])
    assert _epoch(fronts, [_at("a", 60, IDLE), _at("b", 30, IDLE - 1, caught_up=True)]) == [Frontier(30, LANE)]
    assert _epoch(fronts, [_at("b", 30, IDLE, caught_up=True)]) == []
    assert _epoch(fronts, []) == [Frontier(60, LANE)]


def test_live_a_partition_that_has_more_to_read_is_not_idle() -> None:
    fronts = _fronts()
    fronts.take([_at("a", 50, 0), _at("b", 30, 0)])
    fronts.take([_at("a", 60, 5 * IDLE), _at("b", 30, 5 * IDLE)])
    assert _epoch(fronts, []) == [Frontier(30, LANE)]


def test_live_a_partition_of_which_nothing_is_heard_is_gone_after_a_while() -> None:
    fronts = _fronts()
    fronts.take([_at("a", 50, 0), _at("b", 30, 0)])
    fronts.take([_at("a", 60, 10 * IDLE)])
    assert _epoch(fronts, [_at("a", 61, 10 * IDLE + 1)]) == [Frontier(30, LANE)]
    assert _epoch(fronts, []) == [Frontier(61, LANE)]


def test_live_after_a_pause_every_partition_is_waited_for() -> None:
    fronts = _fronts()
    fronts.take([_at("a", 50, 0), _at("b", 30, 0)])
    resumed = _fronts(state=fronts.close_epoch())
    hours_later = 10_000 * IDLE
    assert resumed.take([_at("a", 90, hours_later)]) == [Frontier(30, LANE)]
    assert _epoch(resumed, [_at("b", 40, hours_later)]) == []
    assert _epoch(resumed, []) == [Frontier(40, LANE)]


def test_live_while_all_are_idle_time_goes_on_by_their_clock() -> None:
    now = 1_000_000
    fronts = _fronts()
    fronts.take([_at("a", now - 5, now, caught_up=True), _at("b", now - 9, now, caught_up=True)])
    both = [_at("a", now - 5, now + IDLE, caught_up=True), _at("b", now - 9, now + IDLE + 7, caught_up=True)]
    assert _epoch(fronts, both) == [Frontier(now - 9, LANE)]
    assert _epoch(fronts, []) == [Frontier(now, LANE)]


def test_replayed_a_partition_that_has_been_read_to_its_end_holds_nobody_up() -> None:
    fronts = _fronts(live=False)
    fronts.take([_at("a", 50, 0), _at("b", 30, 0, caught_up=True)])
    assert _epoch(fronts, [_at("a", 60, 0, caught_up=True)]) == [Frontier(50, LANE)]
    assert fronts.end() == [Frontier(60, LANE)]


def test_streams_without_an_order_are_not_waited_for() -> None:
    replayed = JudgedBatch([Timed(Point("1", 7, "load", 1.0), 7)], [], [], _at("replay", None, 0)[0], None)
    found: list[Frontier] = []
    flow = Dataflow("feedback")
    up = op.input("in", flow, TestingSource([_judged("a", 50), replayed, _judged("a", 60)], 1))
    op.output("out", frontier("frontier", up, idle_millis=IDLE, live=True), TestingSink(found))
    run_main(flow, epoch_interval=timedelta(0))
    assert found[0] == Frontier(50, LANE)


def test_state_is_plain_and_goes_on() -> None:
    fronts = _fronts()
    fronts.take([_at("a", 50, 0), _at("b", 40, 0)])
    state = pickle.loads(pickle.dumps(fronts.close_epoch()))  # noqa: S301  # as the engine does
    # Nobody may have heard of it before the crash.
    assert _fronts(state=state).take([_at("b", 70, 1)]) == [Frontier(40, LANE)]
    with pytest.raises(ValueError, match="layout 7 cannot be read by layout 1"):
        _fronts(state=(7, {}, None, [], 0))


def test_buckets_are_told_in_slices_one_an_epoch_and_only_when_it_is_worth_it() -> None:
    fronts = _fronts()
    fronts.take([_at("a", 0, 0)])
    told = [_epoch(fronts, [_at("a", time, 0)]) for time in (99, 100, 100)]
    assert told == [[Frontier(0, LANE)], [Frontier(99, LANE)], [Frontier(100, LANE), Frontier(100, 0)]]
    turns = [front.turn for _ in range(2 * SLICES) for front in _epoch(fronts, [_at("a", 100, 0)])]
    assert turns == list(range(1, SLICES))
    assert _epoch(fronts, [_at("a", 300, 0)]) == []
    assert [_epoch(fronts, [_at("a", 300, 0)])[-1].turn for _ in range(SLICES)] == list(range(SLICES))


def test_buckets_are_not_told_of_the_clock_alone() -> None:
    fronts = _fronts()
    fronts.take([_at("a", 0, 0, caught_up=True)])
    fronts.take([_at("a", 0, 100 * IDLE, caught_up=True)])
    assert _epoch(fronts, [_at("a", 0, 200 * IDLE, caught_up=True)]) == [Frontier(99 * IDLE, LANE)]
    assert _epoch(fronts, []) == [Frontier(199 * IDLE, LANE)]


def test_each_bucket_is_in_one_slice_and_a_frontier_goes_to_all_of_its_slice_only() -> None:
    slices = [buckets_of_slice(number) for number in range(SLICES)]
    assert sorted(key for keys in slices for key in keys) == [f"{number:04d}" for number in range(BUCKETS)]
    assert {len(keys) for keys in slices} == {BUCKETS // SLICES}
    assert {int(key) % SLICES for key in buckets_of_slice(5)} == {5}
    front = Frontier(1, 5)
    assert group_by_bucket([("", front)], slice_of=slice_of) == [(key, [("", front)]) for key in buckets_of_slice(5)]
    assert group_by_bucket([("", Frontier(1, LANE))], slice_of=slice_of) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_in_the_engine_the_last_frontier_of_a_replay_is_the_newest_event(workers: int) -> None:
    batches = [_judged("a", 10), _judged("b", 5), _judged("b", 30, caught_up=True), _judged("a", 20, caught_up=True)]
    found: list[Frontier] = []
    flow = Dataflow("feedback")
    up = op.input("in", flow, TestingSource(batches, 1))
    op.output("out", frontier("frontier", up, idle_millis=IDLE, live=False), TestingSink(found))
    if workers == 1:
        run_main(flow, epoch_interval=timedelta(0))
    else:
        cluster_main(flow, [], 0, epoch_interval=timedelta(0), worker_count_per_proc=workers)
    times = [front.time for front in found]
    assert times == sorted(set(times))
    assert times[-1] == 30
    # Before the end, what is not read to its end holds it up.
    assert set(times[:-1]) <= {10, 20}


def _fronts(*, live: bool = True, state: State | None = None) -> Frontiers:
    return Frontiers(horizon=HORIZON, idle_millis=IDLE, live=live, state=state)


def _epoch(fronts: Frontiers, progress: list[Progress]) -> list[Frontier]:
    """Close an epoch, and begin the next one with `progress`."""
    fronts.close_epoch()
    return fronts.take(progress)


def _at(partition: str, watermark: int | None, read_at: int, *, caught_up: bool = False) -> Progress:
    return Mark("said", partition, 0, watermark, read_at, caught_up), watermark


def _judged(partition: str, watermark: int, *, caught_up: bool = False) -> JudgedBatch:
    mark, _ = _at(partition, watermark, 0, caught_up=caught_up)
    return JudgedBatch([], [], [], mark, watermark)
