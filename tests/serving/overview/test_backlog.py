"""What waits on the log is counted exactly or not told, at a bounded cost a look; a rate is what was counted."""

from __future__ import annotations

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from serving.overview.backlog import Allowance, Backlog, Pace

BIG = 10**9


class Partition:
    """Events of different sizes: offsets are places of bytes."""

    def __init__(self) -> None:
        self.ends = [0]
        self.read = 0

    def append(self, sizes: list[int]) -> None:
        for size in sizes:
            self.ends.append(self.ends[-1] + size)

    def count(self, begin: int, end: int) -> int:
        self.read += end - begin
        return bisect_right(self.ends, end) - bisect_right(self.ends, begin)


steps = st.lists(
    st.tuples(st.lists(st.integers(1, 50), max_size=6), st.integers(0, 8), st.integers(1, 120)), min_size=1, max_size=25
)


@given(steps)
def test_it_is_exact_or_not_told_and_no_look_reads_more_than_it_may(
    steps: list[tuple[list[int], int, int]],
) -> None:
    partition, backlog, at, unseen = Partition(), None, 0, 0
    for sizes, applies, allowed in steps:
        partition.append(sizes)
        before = at
        at = min(at + applies, len(partition.ends) - 1)
        backlog = backlog or Backlog(partition.count, partition.ends[before])
        partition.read = 0
        waiting = backlog.look(partition.ends[at], partition.ends[-1], Allowance(allowed))
        assert partition.read <= allowed
        assert waiting in {None, len(partition.ends) - 1 - at}
        taken = backlog.taken()
        unseen += at - before
        if taken is None:
            unseen = 0
        else:
            assert taken == unseen
            unseen = 0


@given(st.lists(st.lists(st.integers(1, 50), max_size=6), min_size=1, max_size=20), st.randoms())
def test_each_byte_is_read_twice_at_most(batches: list[list[int]], chance: object) -> None:
    partition = Partition()
    backlog = Backlog(partition.count, 0)
    for number, sizes in enumerate(batches):
        partition.append(sizes)
        applied = partition.ends[max(0, len(partition.ends) - 1 - number % 3)]
        assert backlog.look(max(applied, backlog.applied), partition.ends[-1], Allowance(BIG)) is not None
    assert partition.read <= 2 * partition.ends[-1]


def test_counting_goes_on_over_looks_until_all_is_counted() -> None:
    partition = Partition()
    partition.append([10] * 10)
    backlog = Backlog(partition.count, 0)
    told = [backlog.look(0, 100, Allowance(40)) for _ in range(3)]
    assert told == [None, None, 10]


def test_another_store_in_the_place_of_the_one_that_was_there_is_counted_from_its_beginning() -> None:
    partition = Partition()
    partition.append([10] * 10)
    backlog = Backlog(partition.count, 100)
    assert backlog.look(100, 100, Allowance(BIG)) == 0
    assert backlog.look(30, 100, Allowance(BIG)) == 7
    assert backlog.taken() is None


def test_a_rate_is_not_known_at_first_then_that_of_the_last_ten_seconds() -> None:
    pace = Pace()
    assert pace.look(0, 1_000) is None
    assert pace.look(50, 2_000) == 50
    assert pace.look(0, 3_000) == 25
    rates = [pace.look(30, 3_000 + 1_000 * n) for n in range(1, 21)]
    assert rates[-1] == 30


def test_looks_far_apart_tell_the_rate_between_them() -> None:
    pace = Pace()
    pace.look(0, 0)
    assert pace.look(600, 60_000) == 10
    assert pace.look(0, 120_000) == 0


def test_after_a_look_at_which_events_could_not_be_counted_the_rate_begins_anew() -> None:
    pace = Pace()
    pace.look(0, 0)
    pace.look(10, 1_000)
    assert pace.look(None, 2_000) is None
    assert pace.look(8, 4_000) == 4


def test_a_clock_that_was_put_back_begins_anew() -> None:
    pace = Pace()
    pace.look(0, 50_000)
    assert pace.look(10, 40_000) is None
    assert pace.look(10, 41_000) == 10
