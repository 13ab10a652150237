"""The circuit breaker against a model that keeps the whole history, and with many threads."""

from __future__ import annotations

import threading

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from serving.answer.breaker import Breaker, Permit

SECONDS = 10


class Against(RuleBasedStateMachine):
    """The model: what counts are the outcomes of permits since the state changed last, and when that was."""

    @initialize(limit=st.integers(1, 4))
    def begin(self, limit: int) -> None:
        self.limit = limit
        self.time = 0
        self.breaker = Breaker(limit, SECONDS, lambda: self.time)
        self.permits: list[Permit] = []
        self.current: list[Permit] = []  # those that have a say
        self.outcomes: list[bool] = []  # of these, since the last success; True: failed
        self.closed_since: int | None = 0
        self.opens_at = 0
        self.probe: Permit | None = None

    @rule(seconds=st.integers(0, SECONDS))
    def wait(self, seconds: int) -> None:
        self.time += seconds

    @rule()
    def enter(self) -> None:
        is_free = self.closed_since is not None or (self.probe is None and self.time >= self.opens_at)
        permit = self.breaker.enter()
        assert (permit is not None) == is_free
        if permit is not None:
            self.permits.append(permit)
            self.current.append(permit)
            if self.closed_since is None:
                self.probe = permit

    @precondition(lambda self: bool(self.permits))
    @rule(data=st.data(), how=st.sampled_from(("answering", "succeeded", "failed", "release")))
    def tell(self, data: st.DataObject, how: str) -> None:
        permit = data.draw(st.sampled_from(self.permits))
        if how == "failed":
            permit.failed("why")
        else:
            getattr(permit, how)()
        has_say = permit in self.current
        if how != "answering":
            self.permits.remove(permit)
            self.current = [one for one in self.current if one is not permit]
        if not has_say:
            return
        was_probing = self.closed_since is None
        if how == "answering" and was_probing:
            self.closed_since, self.probe, self.outcomes = self.time, None, [True] * (self.limit - 1)
        elif how == "succeeded":
            self.closed_since, self.probe, self.outcomes = self.time, None, []
        elif how == "release" and was_probing:
            self.open(self.time)
        elif how == "failed":
            self.outcomes.append(True)
            if was_probing or len(self.outcomes) >= self.limit:
                self.open(self.time + SECONDS)

    def open(self, until: int) -> None:
        self.closed_since, self.probe, self.opens_at, self.current = None, None, until, []

    @invariant()
    def says_how_it_stands(self) -> None:
        expected = "closed" if self.closed_since is not None else "open" if self.probe is None else "probing"
        assert self.breaker.state == expected
        assert self.breaker.wait() == (max(0, self.opens_at - self.time) if expected == "open" else 0)


def test_it_decides_as_the_model_does() -> None:
    run_state_machine_as_test(Against, settings=settings(max_examples=150, stateful_step_count=40))


def test_of_many_that_come_at_once_after_the_pause_one_gets_through() -> None:
    time = [0.0]
    breaker = Breaker(1, SECONDS, lambda: time[0])
    permit = breaker.enter()
    assert permit is not None
    permit.failed("why")
    time[0] = SECONDS
    together, got = threading.Barrier(8), []

    def come() -> None:
        together.wait(20)
        got.append(breaker.enter())

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(one is not None for one in got) == 1
    assert len(got) == 8


def test_failures_after_the_first_word_open_it_at_once_on_parole() -> None:
    time = [0.0]
    breaker = Breaker(3, SECONDS, lambda: time[0])
    for _ in range(3):
        permit = breaker.enter()
        assert permit is not None
        permit.failed("fell silent")
    time[0] = SECONDS
    probe = breaker.enter()
    assert probe is not None
    probe.answering()
    assert breaker.state == "closed"
    probe.failed("fell silent again")
    assert (breaker.state, breaker.reason) == ("open", "fell silent again")
