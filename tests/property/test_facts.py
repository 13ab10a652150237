"""Facts are a function of the set of events: any order, duplicates, amendments, batches and resumes, against a batch."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from events.feedback import (
    Comment,
    FeedbackEvent,
    Judgement,
    Point,
    Rating,
    ShownContext,
    ShownItem,
    Timed,
    Turn,
    Verdict,
)
from events.kpis import FactChange, Frontier
from operators.buckets import group_by_bucket
from operators.feedback.configure import Objectives
from operators.feedback.facts import facts_of
from operators.feedback.join import JoinBucket, Joined, joined_id
from operators.feedback.rules import Limits
from tests.property.facts_oracle import expected_facts

HORIZON = 10
LIMITS = Limits(lateness=2, horizon=HORIZON)
OBJECTIVES = Objectives(5.0, {"prices": 2.0})

conversations = st.sampled_from(["c", "d"])
ids = st.sampled_from(["1", "2", "3", "4", "5"])
times = st.integers(0, 30)
few = st.sampled_from(["", "", "x", "y"])
verdicts = st.builds(
    Verdict,
    category=st.sampled_from(["", "satisfied", "dissatisfied"]),
    topics=st.sampled_from([(), ("fares",), ("bags", "fares")]),
    confidence=st.sampled_from([0.5, 0.9]),
)
turns = st.builds(
    Turn,
    conversation=conversations,
    id=ids,
    time=times,
    role=st.sampled_from(["user", "assistant", "user", "assistant", "system", "tool"]),
    application=few,
    model=few,
    language=few,
    topic=few,
    person=few,
    latency=st.sampled_from([None, 1.5, 20.0]),
    tokens_in=st.sampled_from([None, 3]),
    tokens_out=st.sampled_from([None, 4]),
    cost=st.sampled_from([None, 0.25]),
    fallback=st.booleans(),
    context=st.sampled_from(["", "1", "2", "3"]),
)
turn_or_none = st.sampled_from(["", "", "1", "2", "3", "4"])
thumbs = st.builds(
    Rating,
    conversation=conversations,
    id=ids,
    time=times,
    scale=st.just("thumbs"),
    value=st.sampled_from([0.0, 1.0]),
    turn=turn_or_none,
    person=few,
)
stars = st.builds(
    Rating,
    conversation=conversations,
    id=ids,
    time=times,
    scale=st.sampled_from(["stars", "csat"]),
    value=st.sampled_from([1.0, 2.3, 3.0, 4.1, 5.0]),
    turn=turn_or_none,
)
comments = st.builds(
    Comment,
    conversation=conversations,
    id=ids,
    time=times,
    text=st.sampled_from(["good", "bad", "long " * 200]),
    turn=turn_or_none,
    person=few,
    language=few,
    verdict=st.none() | verdicts,
)
items = st.builds(
    ShownItem,
    source=st.sampled_from(["docs", "prices", ""]),
    document=few,
    lag=st.sampled_from([None, 1.0, 3.0, 6.0]),
    stale=st.sampled_from([False, False, True]),
)
contexts = st.builds(
    ShownContext,
    conversation=conversations,
    id=ids,
    time=times,
    items=st.lists(items, max_size=3).map(tuple),
)
points = st.builds(
    Point,
    id=ids,
    time=times,
    name=st.sampled_from(["load", "heat"]),
    value=st.sampled_from([1.0, 2.0]),
    labels=st.sampled_from([{}, {"host": "a"}, {"name": "b", "host": "a"}]),
)
judgements = st.builds(
    Judgement,
    kind=st.sampled_from(["comment", "turn"]),
    conversation=conversations,
    id=ids,
    time=times,
    verdict=verdicts,
    watermark=times,
)
said = st.one_of(turns, turns, turns, thumbs, stars, comments, contexts, points)


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[Joined], list[FeedbackEvent | Judgement]]:
    """Draw what comes, and what it amounts to: late verdicts are mostly of something that is said at some time."""
    events: list[FeedbackEvent | Judgement] = list(draw(st.lists(said, max_size=40)))
    spoken = [event for event in events if isinstance(event, Turn | Comment)]
    for event in spoken:
        if draw(st.integers(0, 2)) == 0:
            kind: Any = "turn" if isinstance(event, Turn) else "comment"
            events.append(Judgement(kind, event.conversation, event.id, event.time, draw(verdicts), draw(times)))
    events += draw(st.lists(judgements, max_size=3))
    events += draw(st.lists(st.sampled_from(events), max_size=10)) if events else []
    events = draw(st.permutations(events))
    coming: list[Joined] = [
        event if isinstance(event, Judgement) else Timed(event, event.time + draw(st.integers(0, 9)))
        for event in events
    ]
    return coming, events


class Facts:
    """What whoever counts facts has: every change must be of what is there."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}

    def apply(self, change: FactChange) -> None:
        assert change.before != change.after
        if change.before is not None:
            name = (change.before.kind, change.before.id)
            assert self.found.pop(name) == (change.before.time, change.before.fields)
        if change.after is not None:
            name = (change.after.kind, change.after.id)
            assert name not in self.found
            self.found[name] = (change.after.time, change.after.fields)

    def known(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {
            name: {"at": time, **{field: value for field, value in fields.items() if value is not None}}
            for name, (time, fields) in self.found.items()
        }


@given(arriving=arrivals(), cuts=st.lists(st.integers(0, 60), max_size=6), resumes=st.booleans())
def test_facts_are_those_of_a_batch_over_all_events(
    arriving: tuple[list[Joined], list[FeedbackEvent | Judgement]], cuts: list[int], resumes: bool
) -> None:
    coming, events = arriving
    buckets: dict[str, JoinBucket] = {}
    facts = Facts()
    edges = sorted({0, len(coming), *(cut for cut in cuts if cut < len(coming))})
    for start, end in itertools.pairwise(edges):
        for key, group in group_by_bucket((joined_id(value), value) for value in coming[start:end]):
            for change in buckets.setdefault(key, JoinBucket(LIMITS, OBJECTIVES)).take(group):
                facts.apply(change)
        if resumes:
            buckets = {key: _resumed(bucket) for key, bucket in buckets.items()}
        assert facts.known() == _expected(events[:end])


@given(arriving=arrivals())
def test_what_is_told_change_by_change_is_what_a_conversation_holds(
    arriving: tuple[list[Joined], list[FeedbackEvent | Judgement]],
) -> None:
    bucket, facts = JoinBucket(LIMITS, OBJECTIVES), Facts()
    coming = [value for value in arriving[0] if joined_id(value).startswith("c")]
    for value in coming:
        for change in bucket.take([(joined_id(value), value)]):
            facts.apply(change)
        held = {}
        for name in {joined_id(value) for value in coming} & set(bucket.entries):
            held |= facts_of(bucket._conversation(name, name[1:]), OBJECTIVES)
        assert facts.found == {name: (fact.time, fact.fields) for name, fact in held.items()}


@given(arriving=arrivals(), fronts=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40)), max_size=4))
def test_forgetting_changes_nothing_for_what_is_not_too_late(
    arriving: tuple[list[Joined], list[FeedbackEvent | Judgement]], fronts: list[tuple[int, int]]
) -> None:
    # Event times ten times as far apart as the horizon allows, come in about their order, with frontiers between them.
    told: list[Joined] = []
    for value in sorted(arriving[0], key=_stretched):
        told.append(value)
    frontiers = dict(fronts)
    forgetful, mindful = JoinBucket(LIMITS, OBJECTIVES), JoinBucket(LIMITS, OBJECTIVES)
    for number, value in enumerate(told):
        if number in frontiers:
            # As far as everything that is still to come may be too late no more.
            rest = [_time_of(later) for later in told[number:]]
            assert forgetful.take([("", Frontier(min(rest) + HORIZON))]) == []
        pair = (joined_id(value), value)
        assert forgetful.take([pair]) == mindful.take([pair])


def _time_of(value: Joined) -> int:
    return value.event.time if isinstance(value, Timed) else value.time


def _stretched(value: Joined) -> tuple[int, int]:
    return _time_of(value) // 5, hash(value) if isinstance(value, Frontier) else 0


def _expected(events: list[FeedbackEvent | Judgement]) -> dict[tuple[str, str], dict[str, Any]]:
    return expected_facts(events, HORIZON, OBJECTIVES.by_source, OBJECTIVES.default)


def _resumed(bucket: JoinBucket) -> JoinBucket:
    fresh = JoinBucket(LIMITS, OBJECTIVES)
    fresh.resume(pickle.loads(pickle.dumps(bucket.snapshot())))  # noqa: S301  # as the engine does
    return fresh
