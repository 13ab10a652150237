"""A process that dies comes back after pauses that grow; one that only ever says what is wrong with it does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.supervise.restarts import Restarts

lives = st.lists(st.tuples(st.integers(0, 200_000), st.booleans()), min_size=1, max_size=40)
"""For each life of a process: how long it ran (ms), and whether it said what stopped it."""


def live(process: Restarts, now: int, ran: int, *, explained: bool = False) -> tuple[int, int | None]:
    """Start it, let it run and end; return the time and the pause after which it is started again."""
    process.started(now)
    now += ran
    process.ended(now, explained=explained)
    return now, None if process.due is None else process.due - now


def pauses(lives: list[tuple[int, bool]]) -> list[int | None]:
    """Return the pause after each life."""
    process, now, found = Restarts(0), 0, []
    for ran, explained in lives:
        now, pause = live(process, now, ran, explained=explained)
        found.append(pause)
        if pause is None:
            break
        now += pause
    return found


def test_it_is_started_at_once_at_first() -> None:
    process = Restarts(500)
    assert process.is_due(500)
    process.started(500)
    assert (process.is_due(10_000), process.count) == (False, 0)


def test_pauses_double_from_a_second_to_a_minute() -> None:
    assert pauses([(0, False)] * 9) == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]


def test_after_a_minute_of_calm_they_begin_anew() -> None:
    assert pauses([(0, False), (0, False), (59_999, False), (60_000, False), (0, False)]) == [
        1_000, 2_000, 4_000, 1_000, 2_000
    ]  # fmt: skip


def test_what_says_three_times_what_is_wrong_before_it_ever_worked_is_given_up() -> None:
    assert pauses([(100, True), (9_999, True), (100, True)]) == [1_000, 2_000, None]


def test_a_death_without_a_word_in_between_begins_the_count_anew() -> None:
    assert pauses([(0, True), (0, True), (0, False), (0, True), (0, True), (0, True)])[-1] is None
    assert None not in pauses([(0, True), (0, True), (0, False)] * 5)


def test_what_has_ever_worked_is_never_given_up() -> None:
    assert None not in pauses([(10_000, False), *[(0, True)] * 20])


@given(lives)
def test_pauses_are_within_their_bounds_and_start_again_only_when_they_are_over(lives: list[tuple[int, bool]]) -> None:
    process, now = Restarts(0), 0
    for number, (ran, explained) in enumerate(lives):
        assert process.is_due(now)
        now, pause = live(process, now, ran, explained=explained)
        assert process.count == number
        if pause is None:
            assert process.given_up
            assert not process.is_due(now + 10**9)
            return
        assert not process.given_up
        assert 1_000 <= pause <= 60_000
        assert not process.is_due(now + pause - 1)
        now += pause


@given(lives)
def test_it_is_given_up_exactly_when_the_last_three_said_why_and_none_ever_ran_ten_seconds(
    lives: list[tuple[int, bool]],
) -> None:
    found = pauses(lives)
    for number in range(len(found)):
        past = lives[: number + 1]
        lost = len(past) >= 3 and all(said for _, said in past[-3:]) and all(ran < 10_000 for ran, _ in past)
        assert (found[number] is None) == lost


@given(lives)
def test_the_pause_is_what_the_deaths_since_the_last_calm_make_it(lives: list[tuple[int, bool]]) -> None:
    for number, pause in enumerate(pauses([(ran, False) for ran, _ in lives])):
        rows = [ran for ran, _ in lives[: number + 1]]
        calm = max((place for place, ran in enumerate(rows) if ran >= 60_000), default=0)
        assert pause == min(1_000 * 2 ** (number - calm), 60_000)


def test_how_often_it_may_explain_itself_and_the_first_pause_can_be_said() -> None:
    process = Restarts(0, explanations=1, first=20)
    now, pause = live(process, 0, 100)
    assert pause == 20
    assert live(process, now, 100, explained=True)[1] is None
    assert process.given_up
