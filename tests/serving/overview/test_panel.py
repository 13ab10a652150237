"""What is dear to look up is looked up seldom; what cannot be had is told, with the last that was known."""

from __future__ import annotations

from events.errors import StoreError
from serving.overview.panel import LONGEST_MILLIS, SPARING, Panel


class Store:
    """Something that can be looked up, at a cost."""

    def __init__(self, cost: float = 0.0) -> None:
        self.cost = cost
        self.looks = 0
        self.time = 0.0
        self.error: Exception | None = None

    def look_up(self) -> int:
        self.time += self.cost
        self.looks += 1
        if self.error is not None:
            raise self.error
        return self.looks

    def timer(self) -> float:
        return self.time


def spent(store: Store, millis: int) -> float:
    panel = Panel(store.look_up, timer=store.timer)
    for now in range(0, millis, 100):
        panel.look(now)
    return store.time / (millis / 1000)


def test_what_is_dear_takes_a_small_share_of_the_time() -> None:
    assert spent(Store(0.05), 60_000) <= 1.2 / SPARING
    assert spent(Store(1.0), 300_000) <= 1.2 / SPARING


def test_what_is_cheap_is_looked_up_each_time() -> None:
    store = Store()
    panel = Panel(store.look_up, timer=store.timer)
    assert [panel.look(now) for now in (0, 100, 200)] == [1, 2, 3]


def test_what_shall_rest_is_not_looked_up_before() -> None:
    store = Store()
    panel = Panel(store.look_up, 2_000, store.timer)
    assert [panel.look(now) for now in (0, 1_999, 2_000)] == [1, 1, 2]


def test_however_dear_it_is_it_is_looked_up_again() -> None:
    store = Store(1_000.0)
    panel = Panel(store.look_up, timer=store.timer)
    panel.look(0)
    panel.look(1)
    assert panel.look(1 + LONGEST_MILLIS) == 3


def test_a_first_look_that_had_to_load_much_does_not_keep_from_the_second() -> None:
    store = Store(5.0)
    panel = Panel(store.look_up, timer=store.timer)
    panel.look(0)
    store.cost = 0.001
    assert panel.look(1_000) == 2
    assert panel.look(2_000) == 3


def test_a_failure_is_told_with_the_last_that_was_known_until_it_is_over() -> None:
    store = Store()
    panel = Panel(store.look_up, timer=store.timer)
    panel.look(0)
    store.error = StoreError("it is held", "wait")
    assert (panel.look(100), panel.failed, panel.at) == (1, "it is held", 0)
    looks = store.looks
    panel.look(200)
    assert store.looks == looks, "what has just failed is left alone for a while"
    store.error = None
    assert (panel.look(5_000), panel.failed, panel.at) == (looks + 1, "", 5_000)


def test_what_could_never_be_had_is_none() -> None:
    store = Store()
    store.error = OSError("no disk")
    panel = Panel(store.look_up, timer=store.timer)
    assert (panel.look(0), panel.failed, panel.at) == (None, "no disk", None)


def test_a_clock_that_was_put_back_keeps_nobody_from_looking() -> None:
    store = Store()
    panel = Panel(store.look_up, 1_000, store.timer)
    panel.look(1_000_000)
    assert panel.look(5) == 2
