"""Keyed state in buckets: logic sees ids, state survives, what has expired is forgotten by event time alone."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import ClassVar

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, cluster_main, run_main

from operators.buckets import BUCKETS, Bucket, Entry, bucket_of, bucketed, group_by_bucket


class Counter(Bucket[tuple[str, int], tuple[str, int]]):
    """Counts values per id; the value is an event time."""

    HORIZON: ClassVar[int | None] = 100

    def step(self, id_: str, value: tuple[str, int]) -> Iterable[tuple[str, int]]:
        count = self.entries.get(id_, (0, 0))[0] + 1
        self.entries[id_] = (count, value[1])
        return ((id_, count),)

    def event_time(self, value: tuple[str, int]) -> int | None:
        return value[1]

    def expired(self, entry: Entry, before: int) -> bool:
        return bool(entry[1] < before)


class CounterOfNextLayout(Counter):
    VERSION = 2

    def migrate(self, version: int, entries: dict[str, Entry]) -> dict[str, Entry]:
        assert version == 1
        return {id_: (count * 1000, time) for id_, (count, time) in entries.items()}


def test_a_bucket_is_the_same_for_ever() -> None:
    # Written down once: a change of these would lose the state of everybody who upgrades.
    assert [bucket_of(id_) for id_ in ("", "a", "docs/fares/light.md", "ü")] == ["0000", "3651", "1649", "2517"]


def test_ids_spread_over_all_buckets() -> None:
    used = {bucket_of(f"document {number}") for number in range(100_000)}
    assert len(used) == BUCKETS


def test_grouping_keeps_the_order_of_each_id() -> None:
    items = [(f"id {number % 5}", number) for number in range(100)]
    groups = group_by_bucket(items)
    for id_ in {id_ for id_, _ in items}:
        grouped = [value for key, group in groups if key == bucket_of(id_) for found, value in group if found == id_]
        assert grouped == [value for found, value in items if found == id_]


def test_what_concerns_all_goes_to_every_bucket_and_has_its_id_at_home_only() -> None:
    groups = dict(group_by_bucket([("a", 1), ("all", 2), ("b", 3), ("a", 4)], lambda value: value == 2))
    assert len(groups) == BUCKETS
    assert groups.pop(bucket_of("a")) == [("a", 1), ("", 2), ("a", 4)]
    assert groups.pop(bucket_of("b")) == [("", 2), ("b", 3)]
    assert groups.pop(bucket_of("all")) == [("all", 2)]
    assert all(group == [("", 2)] for group in groups.values())


def test_what_is_older_than_the_horizon_is_forgotten() -> None:
    bucket = Counter()
    bucket.take([("old", ("old", 0)), ("new", ("new", 90))])
    assert set(bucket.entries) == {"old", "new"}
    bucket.take([("newest", ("newest", 150))])
    assert set(bucket.entries) == {"new", "newest"}


def test_settings_may_give_another_horizon() -> None:
    bucket = Counter()
    bucket.horizon = 10
    bucket.take([("old", ("old", 0)), ("new", ("new", 9))])
    bucket.take([("newest", ("newest", 11))])
    assert set(bucket.entries) == {"new", "newest"}


def test_a_snapshot_is_plain_data_and_resumes() -> None:
    bucket = Counter()
    bucket.take([("a", ("a", 1)), ("a", ("a", 2)), ("b", ("b", 3))])
    state = pickle.loads(pickle.dumps(bucket.snapshot()))  # noqa: S301  # as the engine does
    assert state == (1, {"a": (2, 2), "b": (1, 3)}, 3)
    resumed = Counter()
    resumed.resume(state)
    assert resumed.take([("a", ("a", 4))]) == [("a", 3)]


def test_an_older_layout_is_migrated_or_refused() -> None:
    old = Counter()
    old.take([("a", ("a", 1))])
    newer = CounterOfNextLayout()
    newer.resume(old.snapshot())
    assert newer.entries == {"a": (1000, 1)}
    with pytest.raises(ValueError, match="layout 2 cannot be read by layout 1"):
        Counter().resume((2, {}, None))


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_depend_neither_on_batches_nor_on_workers(batch: int, workers: int) -> None:
    items = [(f"id {number % 37}", number % 50) for number in range(500)]
    expected = sorted((id_, count) for id_ in {id_ for id_, _ in items} for count in range(1, _times(items, id_) + 1))

    found: list[tuple[str, int]] = []
    flow = Dataflow("counting")
    up = op.input("in", flow, TestingSource(items, batch))
    counted = bucketed("count", up, lambda item: item[0], Counter)
    op.output("out", counted, TestingSink(found))
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    assert sorted(found) == expected


def _times(items: list[tuple[str, int]], id_: str) -> int:
    return sum(1 for found, _ in items if found == id_)
