"""Buckets against a plain dict: any ids, any cuts into batches, any resumes from snapshots."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from operators.buckets import Bucket, bucket_of, group_by_bucket


class Sums(Bucket[tuple[str, int], tuple[str, int]]):
    """Running sum of each id."""

    def step(self, id_: str, value: tuple[str, int]) -> Iterable[tuple[str, int]]:
        total = self.entries.get(id_, (0,))[0] + value[1]
        self.entries[id_] = (total,)
        return ((id_, total),)


@given(
    items=st.lists(st.tuples(st.text(max_size=3), st.integers(-100, 100)), max_size=200),
    cuts=st.lists(st.integers(0, 200), max_size=10),
    resumes=st.booleans(),
)
def test_state_in_buckets_equals_one_dict(items: list[tuple[str, int]], cuts: list[int], resumes: bool) -> None:
    expected: dict[str, list[int]] = {}
    for id_, number in items:
        sums = expected.setdefault(id_, [])
        sums.append((sums[-1] if sums else 0) + number)

    buckets: dict[str, Sums] = {}
    found: dict[str, list[int]] = {}
    edges = sorted({0, len(items), *(cut for cut in cuts if cut < len(items))})
    for start, end in itertools.pairwise(edges):
        for key, group in group_by_bucket((id_, (id_, number)) for id_, number in items[start:end]):
            bucket = buckets.setdefault(key, Sums())
            for id_, total in bucket.take(group):
                assert bucket_of(id_) == key
                found.setdefault(id_, []).append(total)
        if resumes:
            buckets = {key: _resumed(bucket) for key, bucket in buckets.items()}
    assert found == expected


def _resumed(bucket: Sums) -> Sums:
    fresh = Sums()
    fresh.resume(pickle.loads(pickle.dumps(bucket.snapshot())))  # noqa: S301  # as the engine does
    return fresh
