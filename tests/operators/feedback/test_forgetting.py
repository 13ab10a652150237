"""Persons who are to be forgotten: their conversations leave join and judge, and nothing is taken back of them."""

from __future__ import annotations

import pickle
from concurrent.futures import Future

from events.erasure import ErasedConversation, Erasure
from events.feedback import Comment, Judgement, Rating, Timed, Turn, Verdict
from operators.feedback.configure import Objectives
from operators.feedback.join import JoinBucket, Joined, joined_id
from operators.feedback.judge import LANES, Lane, told_to_lanes
from operators.feedback.rules import Limits

HERS = Erasure("e1", "default", "p1", (), (), 100, ("hers",))


def answer(conversation: str, time: int = 10) -> Timed:
    return Timed(Turn(conversation, "a", time, "assistant"), time)


def bucket(*erased: str) -> JoinBucket:
    return JoinBucket(Limits(0, 1_000), Objectives(60.0), is_erased=frozenset(erased).__contains__)


def test_a_conversation_leaves_the_state_and_its_facts_are_not_taken_back() -> None:
    join = bucket()
    values: list[Joined] = [answer("hers"), answer("his")]
    for value in values:
        join.take([(joined_id(value), value)])
    gone = ErasedConversation("hers")
    assert join.take([(joined_id(gone), gone)]) == []
    assert b"hers" not in pickle.dumps(join.snapshot())
    late = Timed(Rating("his", "r", 20, "thumbs", 1, "a"), 20)
    assert len(join.take([(joined_id(late), late)])) == 2
    assert join.take([(joined_id(gone), gone)]) == []


def test_what_was_under_way_of_an_erased_conversation_is_passed_over() -> None:
    join = bucket("hers")
    verdict = Judgement("comment", "hers", "k", 10, Verdict("satisfied"), 10)
    values: list[Joined] = [answer("hers"), verdict]
    assert [change for value in values for change in join.take([(joined_id(value), value)])] == []
    assert join.entries == {}


class Silent:
    """Somebody who never answers; remembers what was asked."""

    def __init__(self) -> None:
        self.asked: dict[str, Future[Verdict]] = {}

    def submit(self, text: str) -> Future[Verdict]:
        return self.asked.setdefault(text, Future())


def test_nobody_waits_any_more_for_a_verdict_on_what_she_said_and_others_get_theirs() -> None:
    somebody = Silent()
    lane = Lane(somebody, lambda: 0)
    comments = [Timed(Comment(id_, "k", 10, "the same words"), 10) for id_ in ("hers", "his")]
    for _, asks in told_to_lanes(comments):
        lane.on_batch([asks])
    lane.on_batch([HERS])
    assert b"hers" not in pickle.dumps(lane.snapshot())
    somebody.asked["the same words"].set_result(Verdict("neutral"))
    told, _ = lane.on_notify()
    assert [one.conversation for one in told] == ["his"]


def test_every_lane_is_told_who_is_to_be_forgotten_before_it_is_asked_anything() -> None:
    told = told_to_lanes([Timed(Comment("his", "k", 10, "fine"), 10), HERS])
    assert [item for _, item in told[:LANES]] == [HERS] * LANES
    assert len({lane for lane, _ in told[:LANES]}) == LANES
    assert len(told) == LANES + 1
