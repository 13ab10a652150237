"""The order of changes: newest position wins, what is dropped is of no use, deletes hold, truncations reach all."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import bytewax.operators as op
import msgspec
import pytest
from bytewax.dataflow import Dataflow, Stream
from bytewax.testing import TestingSink, TestingSource, cluster_main, run_main

from events.changes import Change, Op, Position, Row, Standing, Truncation, supersedes
from events.erasure import Erased
from operators.buckets import BUCKETS, bucket_of
from operators.changes.order import DAY, Counts, OrderBucket, newer, order

Out = list[Change | Truncation]


def change(
    position: int | Position, row: Row | None = None, *, id_: int = 1, op_: Op | None = None, **fields: Any
) -> Change:
    place = position if isinstance(position, tuple) else (0, position)
    fields.setdefault("event_time", place[-1] if place else 0)
    key = f'{{"id":{id_}}}'
    return Change(
        "travel", "flights", key, op_ or ("delete" if row is None else "update"), None, row, position=place, **fields
    )


def truncation(position: int | Position, **fields: Any) -> Truncation:
    place = position if isinstance(position, tuple) else (0, position)
    fields.setdefault("event_time", place[-1] if place else 0)
    return Truncation("travel", "flights", position=place, **fields)


def take(bucket: OrderBucket, *events: Change | Truncation, home: bool = True) -> Out:
    return bucket.take(
        (event.record if isinstance(event, Change) else "travel/flights/" if home else "", event) for event in events
    )


def but_deletes(events: Out) -> Out:
    return [event for event in events if isinstance(event, Truncation) or event.op != "delete"]


def restarted(bucket: OrderBucket, fresh: OrderBucket) -> OrderBucket:
    fresh.resume(pickle.loads(pickle.dumps(bucket.snapshot())))  # noqa: S301  # as the engine does
    return fresh


def test_newer_says_what_the_one_rule_says() -> None:
    places = [
        (position, stream, partition, offset)
        for position in ((), (0, 1), (0, 1, 0), (0, 2), (1, 0))
        for stream in ("a", "b")
        for partition in (0, 1)
        for offset in (4, 5)
    ]
    for new, old in itertools.product(places, places):
        event = Truncation("s", "t", 0, new[0], "", "", *new[1:])
        assert newer(event, old) == supersedes(Standing(*new), Standing(*old)), (new, old)


def test_older_and_repeated_changes_are_dropped_and_counted() -> None:
    counts = Counts()
    bucket = OrderBucket(observe=counts)
    newest = change(5, {"id": 1}, offset=7)
    out = take(bucket, change(3, {"id": 1}), newest, change(4, {"id": 1}), newest)
    assert [event.position for event in out] == [(0, 3), (0, 5)]
    assert counts.tables == {("travel", "flights"): {"accepted": 2, "older": 1, "duplicate": 1}}
    assert (counts.total("accepted"), counts.total("late")) == (2, 0)


def test_older_changes_are_passed_on_to_a_store_that_keeps_what_rows_were() -> None:
    counts = Counts()
    bucket = OrderBucket(observe=counts, late=True)
    newest, deleted = change(5, {"id": 1}, offset=7), change(6)
    out = take(
        bucket, newest, change(3, {"id": 1}), newest, change(3, {"id": 1}), deleted, change(4, {"id": 1}), deleted
    )
    assert [event.position for event in out] == [(0, 5), (0, 3), (0, 3), (0, 6), (0, 4)]
    assert counts.tables == {("travel", "flights"): {"accepted": 2, "late": 3, "duplicate": 2}}


def test_rows_do_not_shadow_each_other() -> None:
    out = take(OrderBucket(), change(5, {"id": 1}), change(3, {"id": 2}, id_=2))
    assert [event.position for event in out] == [(0, 5), (0, 3)]


def test_a_late_change_cannot_bring_back_a_deleted_row_within_the_horizon() -> None:
    bucket = OrderBucket(horizon=100)
    assert len(take(bucket, change(50))) == 1
    assert take(bucket, change(49, {"id": 1})) == []
    take(bucket, change(140, {"id": 2}, id_=2))
    assert take(bucket, change(48, {"id": 1})) == []
    take(bucket, change(151, {"id": 2}, id_=2))
    assert len(take(bucket, change(47, {"id": 1}))) == 1


def test_a_snapshot_at_newer_positions_heals() -> None:
    bucket = OrderBucket()
    out = take(bucket, change(5), change(9, {"id": 1, "gate": "B2"}, op_="read"))
    assert isinstance(out[-1], Change)
    assert (out[-1].op, out[-1].after) == ("read", {"id": 1, "gate": "B2"})


def test_without_positions_the_offset_in_the_log_orders() -> None:
    bucket = OrderBucket()
    out = take(bucket, *(change((), {"id": offset}, offset=offset) for offset in (4, 6, 5, 6, 7)))
    assert [event.offset for event in out] == [4, 6, 7]


def test_an_event_without_position_leaves_the_position_of_its_row() -> None:
    bucket = OrderBucket()
    take(bucket, change(5, {"id": 1}, offset=1), change((), {"id": 1}, offset=2))
    assert take(bucket, change(4, {"id": 1}, offset=3)) == []
    assert len(take(bucket, change(6, {"id": 1}, offset=4))) == 1


def test_of_two_contents_at_one_position_the_later_offset_wins() -> None:
    bucket = OrderBucket()
    out = take(bucket, change(5, {"id": 1, "gate": "A"}, offset=1), change(5, {"id": 1, "gate": "B"}, offset=2))
    assert [event.offset for event in out] == [1, 2]
    assert take(bucket, change(5, {"id": 1, "gate": "A"}, offset=1)) == []


def test_state_survives_a_restart() -> None:
    bucket = OrderBucket()
    gapped = change(5, {"id": 2}, id_=2, unavailable=("note",))
    take(bucket, change(5, {"id": 1}), truncation(3), gapped)
    again = restarted(bucket, OrderBucket())
    counts = Counts()
    again = restarted(again, OrderBucket(observe=counts))
    assert take(again, change(4, {"id": 1}), truncation(3), gapped) == []
    assert but_deletes(take(again, change(2, {"id": 3}, id_=3))) == []
    assert len(take(again, change(4, {"id": 2, "note": "x"}, id_=2))) == 1
    verdicts = counts.tables["travel", "flights"]
    assert (verdicts["duplicate"], verdicts["older"] + verdicts["late"]) == (2, 3)


def test_a_truncation_drops_what_is_older_and_lets_pass_what_is_newer() -> None:
    bucket = OrderBucket()
    take(bucket, change(3, {"id": 1}), change(9, {"id": 2}, id_=2))
    assert truncation(5) in take(bucket, truncation(5))
    assert take(bucket, truncation(5), truncation(4)) == []
    older = [change(4, {"id": id_}, id_=id_) for id_ in (1, 2, 3)]
    assert but_deletes(take(bucket, *older)) == []
    newest = [change(11, {"id": id_}, id_=id_) for id_ in (1, 2, 3)]
    assert [event.position for event in take(bucket, *newest)] == [(0, 11)] * 3


def test_a_truncation_leaves_the_table_with_a_longer_name_alone() -> None:
    bucket = OrderBucket()
    other = msgspec.structs.replace(change(3, {"id": 1}), table="flights/old")
    take(bucket, other, truncation(5))
    late = msgspec.structs.replace(other, position=(0, 4))
    assert len(take(bucket, late)) == 1


def test_only_the_home_of_a_truncation_passes_it_on_and_counts_it() -> None:
    counts = Counts()
    bucket = OrderBucket(observe=counts)
    assert take(bucket, truncation(5), home=False) == []
    assert but_deletes(take(bucket, change(4, {"id": 1}))) == []
    assert counts.total("accepted") == 0


def test_older_changes_pass_while_the_newest_state_lacks_columns() -> None:
    counts = Counts()
    bucket = OrderBucket(observe=counts)
    gapped = change(5, {"id": 1}, unavailable=("note",), offset=2)
    assert take(bucket, gapped, change(3, {"id": 1, "note": "x"}, offset=1))[-1].position == (0, 3)
    assert take(bucket, gapped) == []
    take(bucket, change(6, {"id": 1, "note": "y"}))
    assert take(bucket, change(4, {"id": 1, "note": "z"})) == []
    assert counts.tables["travel", "flights"] == {"accepted": 2, "late": 1, "duplicate": 1, "older": 1}


def test_no_more_records_are_remembered_than_told_and_the_newest_are_kept() -> None:
    bucket = OrderBucket(keep=4)
    for time in range(20):
        take(bucket, change(time, {"id": time}, id_=time))
        assert len(bucket.entries) <= 4
    assert sorted(entry[4] for entry in bucket.entries.values()) == [16, 17, 18, 19]
    # Long forgotten, so passed on: the store decides.
    assert len(take(bucket, change(3, {"id": 5}, id_=5))) == 1
    assert sorted(entry[4] for entry in bucket.entries.values()) == [17, 18, 19]


def test_what_is_forgotten_depends_neither_on_batches_nor_on_the_order_of_equals() -> None:
    events = [change(number, {"id": number}, id_=number, event_time=number % 3) for number in range(50)]
    whole, single = OrderBucket(keep=8), OrderBucket(keep=8)
    take(whole, *events)
    for event in events:
        take(single, event)
    assert whole.entries == single.entries


def test_a_bucket_may_remember_nothing_and_then_passes_everything_on() -> None:
    bucket = OrderBucket(keep=0)
    assert len(take(bucket, change(5, {"id": 1}), change(4, {"id": 1}))) == 2
    assert bucket.entries == {}


def test_truncations_are_not_forgotten_for_the_sake_of_records() -> None:
    bucket = OrderBucket(keep=2)
    take(bucket, truncation(5), *(change(10 + id_, {"id": id_}, id_=id_) for id_ in range(9)))
    assert take(bucket, change(4, {"id": 99}, id_=99)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_in_a_flow_a_truncation_reaches_every_bucket_and_leaves_once(workers: int) -> None:
    events: list[Change | Truncation | Erased] = [
        truncation(5 * DAY),
        *(change(DAY + id_, {"id": id_}, id_=id_) for id_ in range(1000)),
    ]
    events += [change(6 * DAY + id_, {"id": id_}, id_=id_) for id_ in range(10)]
    assert len({bucket_of(event.record) for event in events if isinstance(event, Change)}) > BUCKETS // 10
    found: Out = []
    flow = Dataflow("ordering")
    up: Stream[Change | Truncation | Erased] = op.input("in", flow, TestingSource(events, 100))
    op.output("out", order("order", up), TestingSink(found))
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    left = sorted(event.position for event in but_deletes(found))
    assert left == [(0, 5 * DAY), *((0, 6 * DAY + id_) for id_ in range(10))]


def test_nothing_is_remembered_of_an_erased_record() -> None:
    bucket = OrderBucket()
    first, other = change(5, {"id": 1}), change(5, {"id": 2}, id_=2)
    take(bucket, first, other)
    assert bucket.take([(first.record, Erased(first.record))]) == []
    assert set(bucket.entries) == {other.record}
