"""How much may be asked in a time and at once, told from an independent count of what flowed in and out."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.access.limits import Gate, RateLimit, steady_clock
from serving.errors import TooManyError


class Time:
    """A clock that stands until it is set."""

    def __init__(self, now: int = 0) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def taken(limit: RateLimit, key: str = "shop", tries: int = 1) -> int:
    """Return how many of so many requests are let in."""
    let_in = 0
    for _ in range(tries):
        try:
            limit.take(key)
        except TooManyError:
            continue
        let_in += 1
    return let_in


@pytest.mark.parametrize(("per_minute", "burst"), [(1, 10), (60, 10), (100, 10), (600, 60), (1_000_000, 100_000)])
def test_a_tenth_of_a_minutes_requests_may_come_at_once_and_at_least_ten(per_minute: int, burst: int) -> None:
    assert taken(RateLimit(per_minute, Time(5)), tries=burst + 50) == burst


def test_after_the_burst_requests_are_let_in_as_the_rate_says() -> None:
    clock = Time()
    limit = RateLimit(600, clock)
    taken(limit, tries=60)
    let_in = 0
    for clock.now in range(1, 60_001):
        let_in += taken(limit)
    assert let_in == 600


def test_who_is_refused_is_told_when_to_ask_again_and_is_let_in_then() -> None:
    clock = Time(1000)
    limit = RateLimit(60, clock)
    taken(limit, tries=10)
    with pytest.raises(TooManyError, match="ask again in 1 s") as refused:
        limit.take("shop")
    assert refused.value.after == 1.0
    clock.now += 999
    assert taken(limit) == 0
    clock.now += 1
    assert taken(limit) == 1


def test_a_request_that_is_refused_does_not_count() -> None:
    clock = Time()
    limit = RateLimit(60, clock)
    assert taken(limit, tries=1000) == 10
    clock.now = 1000
    assert taken(limit, tries=1000) == 1


def test_one_key_does_not_use_up_anothers() -> None:
    limit = RateLimit(60, Time())
    taken(limit, "shop", tries=50)
    assert taken(limit, "desk", tries=50) == 10


def test_checking_counts_nothing() -> None:
    limit = RateLimit(60, Time())
    for _ in range(100):
        limit.check("shop")
    assert taken(limit, tries=50) == 10
    with pytest.raises(TooManyError):
        limit.check("shop")
    limit.check("desk")


@given(
    per_minute=st.integers(1, 2000),
    steps=st.lists(st.tuples(st.integers(0, 5_000), st.sampled_from("abc")), max_size=200),
)
def test_the_rate_is_that_of_a_bucket_that_is_counted_exactly(per_minute: int, steps: list[tuple[int, str]]) -> None:
    clock = Time()
    limit = RateLimit(per_minute, clock)
    burst = Fraction(max(10, per_minute // 10))
    buckets: dict[str, tuple[Fraction, int]] = {}
    for pause, key in steps:
        clock.now += pause
        level, at = buckets.get(key, (burst, clock.now))
        level = min(burst, level + Fraction(per_minute * (clock.now - at), 60_000))
        expected = level >= 1
        buckets[key] = (level - 1 if expected else level, clock.now)
        assert taken(limit, key) == expected


def test_keys_that_have_not_asked_for_a_while_are_forgotten() -> None:
    clock = Time()
    limit = RateLimit(600, clock)
    for number in range(1000):
        limit.take(f"key{number}")
    assert len(limit) == 1000
    clock.now = 100
    limit.take("another")
    assert len(limit) == 1


def test_however_many_keys_ask_what_is_kept_is_bounded_and_newcomers_share_one_bucket() -> None:
    limit = RateLimit(60, Time(), most=100)
    let_in = sum(taken(limit, f"key{number}", tries=2) for number in range(5000))
    assert len(limit) == 101
    assert let_in == 100 * 2 + 10
    assert taken(limit, "key0", tries=50) == 8


def test_a_clock_that_goes_back_locks_nobody_out_for_longer_than_an_empty_bucket() -> None:
    clock = Time(10**12)
    limit = RateLimit(60, clock)
    taken(limit, tries=10)
    clock.now = 0
    assert taken(limit) == 0
    with pytest.raises(TooManyError) as refused:
        limit.take("shop")
    assert refused.value.after == 1.0


def test_threads_are_counted_together() -> None:
    limit, let_in = RateLimit(600, Time()), list[int]()
    threads = [threading.Thread(target=lambda: let_in.append(taken(limit, tries=50))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(let_in) == 60


def test_the_steady_clock_does_not_go_back() -> None:
    read = [steady_clock() for _ in range(100)]
    assert read == sorted(read)


def test_so_many_may_be_inside_at_once_and_each_that_leaves_makes_room() -> None:
    gate = Gate(2)
    with ExitStack() as inside:
        inside.enter_context(gate.enter("shop"))
        with gate.enter("shop"):
            with pytest.raises(TooManyError, match="2 requests are under way"), gate.enter("shop"):
                pass
            with gate.enter("desk"):
                pass
        inside.enter_context(gate.enter("shop"))
    assert len(gate) == 0


def test_whoever_leaves_by_an_error_makes_room_too() -> None:
    gate = Gate(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), gate.enter("shop"):
            _ = 1 // 0
    assert len(gate) == 0
