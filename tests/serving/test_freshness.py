"""A read that demands freshness waits for it or is refused; what has been reached is never overstated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.log import Applied
from serving.freshness import Demand, StaleError, age, await_fresh, has_reached

NOW = 100_000


def mark(
    partition: int = 0,
    *,
    stream: str = "ops",
    read_at: int = NOW,
    event_time: int | None = None,
    behind: bool = False,
    position: int = 0,
    reached: int = 0,
) -> Applied:
    positions: dict[str, tuple[int, ...]] = {"db": (0, position)} if position else {}
    return Applied(
        stream,
        str(partition),
        10,
        event_time,
        read_at,
        not behind,
        read_at,
        positions,
        {"db": reached} if reached else {},
    )


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


def test_the_oldest_partition_counts() -> None:
    marks = [mark(0, read_at=NOW - 50), mark(1, read_at=NOW - 700)]
    assert age(marks, {"ops": [0, 1]}, NOW) == 700


def test_a_partition_that_is_behind_is_as_old_as_its_newest_event() -> None:
    assert age([mark(behind=True, event_time=NOW - 90_000)], {"ops": [0]}, NOW) == 90_000


def test_what_was_never_read_has_no_age() -> None:
    assert age([], {"ops": [0]}, NOW) is None
    assert age([mark(0)], {"ops": [0, 1]}, NOW) is None
    assert age([mark(0)], {"ops": [0], "more": []}, NOW) is None
    assert age([mark(behind=True)], {"ops": [0]}, NOW) is None


def test_a_stream_that_does_not_feed_the_tables_does_not_count() -> None:
    marks = [mark(0, read_at=NOW - 5), mark(0, stream="documents", read_at=0)]
    assert age(marks, {"ops": [0]}, NOW) == 5


def test_a_read_waits_until_the_store_is_fresh() -> None:
    time = Time()

    def applied() -> list[Applied]:
        return [mark(read_at=NOW + 400 if time.now >= NOW + 500 else NOW - 9000)]

    found = await_fresh(Demand(max_age=1000, seconds=2), applied, lambda: {"ops": [0]}, time, time.sleep)
    assert found is not None
    assert found <= 1000
    assert NOW + 500 <= time.now < NOW + 600


def test_a_read_is_refused_with_the_age_when_the_time_is_over() -> None:
    time = Time()
    with pytest.raises(StaleError, match=r"9\.0 s old, older than the 1 s") as caught:
        await_fresh(
            Demand(max_age=1000, seconds=0), lambda: [mark(read_at=NOW - 9000)], lambda: {"ops": [0]}, time, time.sleep
        )
    assert caught.value.age == 9000


def test_a_refusal_says_which_position_there_is() -> None:
    time = Time()
    with pytest.raises(StaleError, match=r"'db' is at 41, 42 has not been reached"):
        await_fresh(
            Demand(source="db", position=(0, 42), seconds=0.1),
            lambda: [mark(position=41, reached=NOW)],
            lambda: {"ops": [0]},
            time,
            time.sleep,
        )


def test_without_a_demand_nothing_is_waited_for() -> None:
    time = Time()
    assert await_fresh(Demand(), lambda: [], lambda: {"ops": [0]}, time, time.sleep) is None
    assert time.now == NOW


def test_another_partition_must_have_been_read_to_its_end_since() -> None:
    first = mark(0, position=42, reached=NOW - 100)
    partitions = {"ops": [0, 1]}
    assert has_reached([first, mark(1, position=7, reached=5, read_at=NOW - 99)], partitions, "db", (0, 42))
    assert not has_reached([first, mark(1, position=7, reached=5, read_at=NOW - 100)], partitions, "db", (0, 42))
    assert not has_reached([first, mark(1, behind=True, position=7, reached=5)], partitions, "db", (0, 42))
    assert not has_reached([first], partitions, "db", (0, 42))


@given(
    routes=st.lists(st.integers(0, 1), min_size=1, max_size=8),
    looks=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 26), st.integers(1, 5)), min_size=2, max_size=8),
    wanted=st.integers(1, 8),
)
def test_what_is_reached_has_been_read(routes: list[int], looks: list[tuple[int, int, int]], wanted: int) -> None:
    """A source writes event n at time 3n into partition `routes[n - 1]`; looks take 2 and read a few of a partition."""
    events: dict[int, list[int]] = {0: [], 1: []}
    for number, partition in enumerate(routes, 1):
        events[partition].append(number)
    read = {0: 0, 1: 0}
    marks: dict[int, Applied] = {}
    for partition, moment, limit in sorted(looks, key=lambda look: look[1]):
        there = [number for number in events[partition] if 3 * number <= moment + 1]
        fresh = there[read[partition] : read[partition] + limit]
        read[partition] += len(fresh)
        before = marks.get(partition)
        positions, reached = (dict(before.positions), dict(before.reached)) if before else ({}, {})
        if fresh:
            positions["db"], reached["db"] = (0, fresh[-1]), moment + 2
        marks[partition] = Applied(
            "ops", str(partition), read[partition], 0, moment, read[partition] == len(there), moment, positions, reached
        )
    if has_reached(marks.values(), {"ops": [0, 1]}, "db", (0, wanted)):
        seen = {number for partition in events for number in events[partition][: read[partition]]}
        assert {number for number in range(1, len(routes) + 1) if number <= wanted} <= seen
