"""Facts are a function of the set of events: any order, duplicates, amendments, cuts and resumes, against a batch."""

from __future__ import annotations

import pickle
from itertools import pairwise
from random import Random
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from events.feedback import Judgement, Timed
from events.kpis import FactChange, Frontier
from operators.buckets import group_by_bucket
from operators.feedback.configure import Objectives
from operators.feedback.conversations import Conversation, Entry
from operators.feedback.facts import facts_of
from operators.feedback.join import JoinBucket, Joined, joined_id
from operators.feedback.rules import Limits
from tests.property.facts_oracle import expected_facts
from tests.property.facts_world import HORIZON, Event, World

LIMITS = Limits(lateness=2, horizon=HORIZON)
OBJECTIVES = Objectives(5.0, {"prices": 2.0})
seeds = st.integers(0, 2**32)
counts = st.integers(0, 60)


class Facts:
    """What whoever counts facts has: every change must be of what is there."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], tuple[int, dict[str, Any]]] = {}

    def apply(self, change: FactChange) -> None:
        assert change.before != change.after
        if change.before is not None and change.after is not None:
            assert (change.before.kind, change.before.id) == (change.after.kind, change.after.id)
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


@given(seed=seeds, count=counts, cuts=st.lists(st.integers(0, 60), max_size=3), resumes=st.booleans())
def test_facts_are_those_of_a_batch_over_all_events(seed: int, count: int, cuts: list[int], resumes: bool) -> None:
    random = Random(seed)
    events = World(random, span=random.choice((15, 40))).events(count)
    coming = [_timed(random, event) for event in events]
    buckets: dict[str, JoinBucket] = {}
    facts = Facts()
    for start, end in pairwise(sorted({0, len(coming), *(cut for cut in cuts if cut < len(coming))})):
        for key, group in group_by_bucket((joined_id(value), value) for value in coming[start:end]):
            for change in buckets.setdefault(key, JoinBucket(LIMITS, OBJECTIVES)).take(group):
                facts.apply(change)
        if resumes:
            buckets = {key: _resumed(bucket) for key, bucket in buckets.items()}
        expected = expected_facts(events[:end], HORIZON, OBJECTIVES.by_source, OBJECTIVES.default)
        assert facts.known() == expected


@given(seed=seeds, count=counts)
def test_what_is_told_change_by_change_is_what_a_conversation_holds(seed: int, count: int) -> None:
    random = Random(seed)
    bucket, facts = JoinBucket(LIMITS, OBJECTIVES), Facts()
    for event in World(random, span=30).events(count):
        value = _timed(random, event)
        name = joined_id(value)
        changes = bucket.take([(name, value)])
        if not name.startswith("c"):
            continue
        for change in changes:
            facts.apply(change)
        opened = Conversation(name[1:], HORIZON, cast("Entry", bucket.entries[name]))
        held = {fact: (found.time, found.fields) for fact, found in facts_of(opened, OBJECTIVES).items()}
        assert {fact: row for fact, row in facts.found.items() if row[1]["conversation"] == name[1:]} == held


@given(seed=seeds, count=counts, often=st.integers(1, 20))
def test_forgetting_changes_nothing_as_long_as_nothing_is_too_late(seed: int, count: int, often: int) -> None:
    random = Random(seed)
    events = World(random, span=150, drifting=True).events(count)
    # About in order: nothing comes more than a horizon late.
    events.sort(key=lambda event: event.time + random.randint(0, HORIZON - 1))
    forgetful, mindful = JoinBucket(LIMITS, OBJECTIVES), JoinBucket(LIMITS, OBJECTIVES)
    for number, event in enumerate(events):
        if number % often == 0:
            furthest = min(later.time for later in events[number:]) + HORIZON
            assert forgetful.take([("", Frontier(furthest))]) == []
        value = _timed(random, event)
        assert _told(forgetful, value) == _told(mindful, value)
    assert forgetful.take([("", Frontier(200))]) == []
    assert not forgetful.entries


def _told(bucket: JoinBucket, value: Joined) -> list[FactChange]:
    # What a conversation was told last may be forgotten with it: then the watermark is that of the event alone.
    changes = bucket.take([(joined_id(value), value)])
    return sorted(
        (FactChange(change.before, change.after, 0) for change in changes),
        key=lambda change: (change.after or change.before or "").__repr__(),
    )


def _timed(random: Random, event: Event) -> Joined:
    return event if isinstance(event, Judgement) else Timed(event, event.time + random.randint(0, 9))


def _resumed(bucket: JoinBucket) -> JoinBucket:
    fresh = JoinBucket(LIMITS, OBJECTIVES)
    fresh.resume(pickle.loads(pickle.dumps(bucket.snapshot())))  # noqa: S301  # as the engine does
    return fresh
