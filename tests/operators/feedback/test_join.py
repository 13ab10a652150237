"""The join: facts are told as they change, with what was and what is; nothing is told twice."""

from __future__ import annotations

import logging
import pickle
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, cluster_main, run_main

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
from events.kpis import Fact, FactChange, Frontier
from operators.feedback.configure import Objectives
from operators.feedback.join import JoinBucket, Joined, Refused, join, joined_id
from operators.feedback.rules import Limits

HORIZON = 1_000
LIMITS = Limits(0, HORIZON)
OBJECTIVES = Objectives(60.0)


def test_a_new_event_is_told_as_a_new_fact_with_its_watermark() -> None:
    [change] = _take(JoinBucket(LIMITS, OBJECTIVES), _question("q", 10), watermark=12)
    assert change.before is None
    assert change.after is not None
    assert (change.after.kind, change.after.id, change.watermark) == ("questions", "c/q", 12)


def test_a_rating_changes_its_answer_and_is_one_more_fact() -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES)
    [told] = _take(bucket, _answer("a", 10))
    rating, answer = _take(bucket, Rating("c", "r", 20, "thumbs", 0, "a"))
    assert rating.before is None
    assert answer.before == told.after
    assert answer.after is not None
    assert answer.after.fields["bad"] is True


def test_what_comes_twice_is_told_once() -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES)
    for event in (_answer("a", 10), Rating("c", "r", 20, "thumbs", 0, "a"), Point("p", 5, "load", 1.0)):
        assert _take(bucket, event) != []
        assert _take(bucket, event) == []


def test_what_is_amended_is_taken_back_and_the_older_one_comes_too_late() -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES)
    _take(bucket, _answer("a", 10))
    old, new = Rating("c", "r", 20, "thumbs", 0, "a"), Rating("c", "r", 25, "thumbs", 1, "a")
    _take(bucket, old)
    changes = _take(bucket, new)
    assert [(_of(change.before, "good"), _of(change.after, "good")) for change in changes] == [(False, True)] * 2
    assert _take(bucket, old) == []


def test_a_rating_that_moves_to_another_answer_leaves_the_first_unrated() -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES)
    _take(bucket, _answer("a", 10))
    _take(bucket, _answer("b", 12))
    _take(bucket, Rating("c", "r", 20, "thumbs", 0, "a"))
    changes = _take(bucket, Rating("c", "r", 21, "thumbs", 0, "b"))
    rated = {
        change.after.id: change.after.fields["rated"]
        for change in changes
        if change.after and change.after.kind == "answers"
    }
    assert rated == {"c/a": False, "c/b": True}


def test_a_turn_that_was_a_question_and_is_an_answer_is_two_changes() -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES)
    _take(bucket, _question("t", 10))
    changes = _take(bucket, _answer("t", 11))
    assert sorted((_kind(change.before), _kind(change.after)) for change in changes) == [
        ("", "answers"),
        ("questions", ""),
    ]


def test_a_context_of_fewer_pieces_takes_back_the_others() -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES)
    _take(bucket, ShownContext("c", "x", 10, (ShownItem("a"), ShownItem("b"))))
    [change] = _take(bucket, ShownContext("c", "x", 11, ()))[1:]
    assert (change.before.id if change.before else "", change.after) == ("c/x/1", None)


def test_a_new_fact_has_the_watermark_of_its_own_event_whatever_its_conversation_has_seen() -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES)
    _take(bucket, Rating("c", "r", 20, "thumbs", 0, "a"), watermark=90)
    told = {_kind(change.after): change.watermark for change in _take(bucket, _answer("a", 10), watermark=12)}
    # The rating is changed, as its answer is known: it was told with 90.
    assert told == {"answers": 12, "ratings": 90}


def test_the_watermark_of_a_fact_does_not_fall_and_those_of_others_do_not_raise_it() -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES)
    _take(bucket, _answer("a", 10), watermark=12)
    _take(bucket, _answer("b", 10), watermark=50)

    def rate(id_: str, answer: str, watermark: int) -> list[int]:
        changes = _take(bucket, Rating("c", id_, 11, "thumbs", 0, answer), watermark)
        return [change.watermark for change in changes if _kind(change.after) == "answers"]

    assert (rate("1", "a", 30), rate("2", "b", 30)) == ([30], [50])
    # Of two bad ratings an answer is as bad as of one: nothing is told, so that nothing is remembered.
    assert rate("3", "a", 80) == []
    late = Judgement("turn", "c", "a", 10, Verdict(topics=("fares",)), 20)
    assert bucket.take([(joined_id(late), late)]) == []
    [change] = [change for change in _take(bucket, _answer("a", 13), watermark=15) if _kind(change.after) == "answers"]
    assert change.watermark == 30


def test_the_watermark_of_a_point_does_not_fall() -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES)
    told = [_take(bucket, Point("1", time, "load", 1.0), mark) for time, mark in ((10, 20), (11, 15), (12, 40))]
    assert [change.watermark for [change] in told] == [20, 20, 40]


def test_what_is_replayed_when_its_conversation_is_forgotten_is_refused_and_counted() -> None:
    refused: list[Timed] = []
    bucket = JoinBucket(LIMITS, OBJECTIVES, refused=refused.append)
    answer, point = _answer("a", 10), Point("1", 10, "load", 1.0)
    _take(bucket, _question("q", 9, topic="fares"))
    _take(bucket, answer)
    _take(bucket, point)
    assert bucket.take([("", Frontier(11 + HORIZON))]) == []
    # Known still: so is all that belongs to it.
    assert _take(bucket, Rating("c", "r", 10, "thumbs", 0, "a")) != []
    assert bucket.take([("", Frontier(11 + 2 * HORIZON))]) == []
    late = Judgement("comment", "c", "k", 10, Verdict("satisfied"), 10)
    assert [_take(bucket, answer), _take(bucket, point), bucket.take([(joined_id(late), late)])] == [[], [], []]
    assert [timed.event for timed in refused] == [answer, point]
    resumed = JoinBucket(LIMITS, OBJECTIVES)
    resumed.resume(pickle.loads(pickle.dumps(bucket.snapshot())))  # noqa: S301  # as the engine does
    assert _take(resumed, answer) == []
    assert resumed.entries == {}
    assert _take(resumed, _answer("new", 11 + HORIZON)) != []


def test_what_is_replayed_when_its_part_of_a_long_conversation_is_forgotten_is_refused() -> None:
    refused: list[Timed] = []
    bucket = JoinBucket(LIMITS, OBJECTIVES, refused=refused.append)
    answers = [_answer(f"{number}", number * HORIZON) for number in range(8)]
    for answer in answers:
        _take(bucket, answer)
    assert bucket.take([("", Frontier(7 * HORIZON))]) == []
    # Some are known, and as they were; the others would be told once more.
    assert [_take(bucket, answer) for answer in answers] == [[]] * 8
    assert [timed.event for timed in refused] == answers[:3]


def test_what_is_refused_is_said_ever_more_rarely(caplog: pytest.LogCaptureFixture) -> None:
    refused = Refused()
    with caplog.at_level(logging.WARNING):
        for number in range(9):
            refused(Timed(_answer(f"a{number}", 1), 1))
    assert [record.args for record in caplog.records] == [(2**n, "turn", f"a{2**n - 1}") for n in range(4)]
    assert "raise feedback.horizon_hours" in caplog.text


def test_a_verdict_may_come_before_its_comment_and_stays_when_the_comment_comes_again() -> None:
    late = Judgement("comment", "c", "k", 30, Verdict("satisfied"), 30)
    comment, amended = Comment("c", "k", 30, "fine"), Comment("c", "k", 31, "bad after all")
    values: list[Joined] = [Timed(comment, 30), Timed(comment, 30), late]
    for order in permutations(values):
        bucket = JoinBucket(LIMITS, OBJECTIVES)
        told = [change for value in order for change in bucket.take([(joined_id(value), value)])]
        assert _of(told[-1].after, "category") == "satisfied"
        [change] = _take(bucket, amended)
        assert _of(change.after, "category") is None
        assert bucket.take([(joined_id(late), late)]) == []


def test_of_two_verdicts_on_the_same_one_stands_whichever_comes_first() -> None:
    verdicts = [Verdict("satisfied"), Verdict("neutral")]
    for first, second in permutations(Judgement("comment", "c", "k", 30, verdict, 30) for verdict in verdicts):
        bucket = JoinBucket(LIMITS, OBJECTIVES)
        told = _take(bucket, Comment("c", "k", 30, "fine"))
        told += [change for value in (first, second) for change in bucket.take([(joined_id(value), value)])]
        assert _of(told[-1].after, "category") == "satisfied"


def test_a_point_is_a_fact_with_its_labels_and_is_taken_back_when_it_is_amended() -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES)
    [first] = _take(bucket, Point("1", 10, "load", 0.5, {"host": "a", "name": "not this"}))
    series = '["load",["host","a"],["name","not this"]]'
    fields: dict[str, Any] = {"host": "a", "name": "load", "series": series, "value": 0.5}
    assert first == FactChange(None, Fact("points", f"{series}/1", 10, fields), 10)
    [second] = _take(bucket, Point("1", 11, "load", 0.7, {"name": "not this", "host": "a"}))
    assert second.before == first.after
    assert second.after == Fact("points", f"{series}/1", 11, fields | {"value": 0.7})
    [other] = _take(bucket, Point("1", 11, "load", 0.7, {"host": "b"}))
    assert other.before is None


def test_a_point_and_a_conversation_of_one_name_do_not_meet() -> None:
    point = Timed(Point("1", 10, "load", 0.5), 10)
    assert joined_id(point) != joined_id(Timed(_question("q", 1, conversation=joined_id(point)[1:]), 1))


def test_an_answer_as_far_from_a_rating_of_everything_as_the_horizon_allows_is_its_own() -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES)
    _take(bucket, _question("q", 5))
    _take(bucket, Rating("c", "r", 10 + HORIZON, "thumbs", 1))
    changes = _take(bucket, _answer("a", 10, model="m1"))
    assert [_of(change.after, "model") for change in changes if _kind(change.after) == "ratings"] == ["m1"]


def test_what_is_beyond_the_bound_is_refused_and_said_and_what_is_there_may_still_be_amended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES, most=3)
    _take(bucket, _answer("a", 10))
    _take(bucket, ShownContext("c", "x", 10, (ShownItem("docs"),)))
    with caplog.at_level(logging.WARNING):
        for number in range(25):
            assert _take(bucket, _answer(f"more {number}", 10)) == []
        assert _take(bucket, ShownContext("c", "x", 11, (ShownItem("docs"), ShownItem("docs")))) == []
    assert [record.args[-1] for record in caplog.records if record.args] == [1, 10]  # type: ignore[index]  # a tuple
    assert _take(bucket, _answer("a", 11)) != []
    assert _take(bucket, Comment("c", "k", 12, "x")) == []
    assert _take(bucket, _answer("a", 12, conversation="another")) != []
    [entry] = [entry for id_, entry in bucket.entries.items() if id_ == "cc"]
    assert entry[1] == 27


def test_a_long_conversation_forgets_what_nothing_can_belong_to_any_more_and_goes_on() -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES, most=30)
    for number in range(200):
        time = number * HORIZON // 5
        assert len(_take(bucket, _answer(f"{number}", time))) == 1
        assert bucket.take([("", Frontier(time))]) == []
    assert len(bucket.entries["cc"][2]) == 21


def test_state_is_plain_and_small_and_goes_on() -> None:
    bucket = JoinBucket(LIMITS, OBJECTIVES)
    long = "what is said takes room " * 1_000
    _take(bucket, _question("q", 10, text=long))
    _take(bucket, _answer("a", 11, text=long))
    _take(bucket, Comment("c", "k", 12, long, "a"))
    _take(bucket, ShownContext("c", "x", 11, (ShownItem("docs", "d", text=long),)))
    saved = pickle.dumps(bucket.snapshot())
    assert len(saved) < 2_000
    assert b"operators" not in saved
    assert b"events" not in saved
    resumed = JoinBucket(LIMITS, OBJECTIVES)
    resumed.resume(pickle.loads(saved))  # noqa: S301  # as the engine does
    rating = Rating("c", "r", 20, "thumbs", 0, "a")
    assert _take(resumed, rating) == _take(bucket, rating)
    assert len(_take(resumed, _answer("a", 15, model="m1"))) == 3


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 1000])
def test_in_the_engine_facts_depend_neither_on_batches_nor_on_workers(batch: int, workers: int) -> None:
    values = [*_conversations(), Frontier(1, 7)]
    expected = _settled(JoinBucket(LIMITS, OBJECTIVES).take((joined_id(value), value) for value in _conversations()))
    found: list[FactChange] = []
    flow = _flow(values, batch, found)
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    assert _settled(found) == expected


def test_in_the_engine_a_crash_changes_nothing(tmp_path: Path) -> None:
    init_db_dir(tmp_path, 1)
    values = _conversations()
    expected = _settled(JoinBucket(LIMITS, OBJECTIVES).take((joined_id(value), value) for value in values))
    found: list[FactChange] = []
    flow = _flow([*values[:40], TestingSource.ABORT(), *values[40:]], 7, found)
    for _ in range(2):
        run_main(flow, epoch_interval=timedelta(0), recovery_config=RecoveryConfig(str(tmp_path)))
    # What was told after the last closed epoch is told again: the last word on each fact is the same.
    last = {(fact.kind, fact.id): change.after for change in found if (fact := change.after or change.before)}
    assert {name: fact for name, fact in last.items() if fact is not None} == expected


def _conversations() -> list[Joined]:
    random = Random(5)
    events: list[FeedbackEvent] = []
    for conversation in "abcdefg":
        for number in range(6):
            time = random.randrange(500)
            events.append(_question(f"q{number}", time, conversation=conversation, topic=random.choice(["", "fares"])))
            events.append(_answer(f"a{number}", time + 5, conversation=conversation, context=f"x{number}"))
            events.append(ShownContext(conversation, f"x{number}", time + 4, (ShownItem("docs", lag=61.0),)))
            events.append(Rating(conversation, f"r{number}", time + 9, "thumbs", random.randrange(2), f"a{number}"))
    random.shuffle(events)
    return [Timed(event, 600) for event in events]


def _flow(values: list[Any], batch: int, found: list[FactChange]) -> Dataflow:
    flow = Dataflow("feedback")
    up = op.input("in", flow, TestingSource(values, batch))
    op.output("out", join("join", up, LIMITS, OBJECTIVES), TestingSink(found))
    return flow


def _settled(changes: list[FactChange]) -> dict[tuple[str, str], Fact]:
    """Return the facts that are there after all changes, each of which must be of what was there."""
    facts: dict[tuple[str, str], Fact] = {}
    for change in changes:
        if change.before is not None:
            assert facts.pop((change.before.kind, change.before.id)) == change.before
        if change.after is not None:
            facts[change.after.kind, change.after.id] = change.after
    return facts


def _take(bucket: JoinBucket, event: FeedbackEvent, watermark: int | None = None) -> list[FactChange]:
    value = Timed(event, event.time if watermark is None else watermark)
    return bucket.take([(joined_id(value), value)])


def _question(id_: str, time: int, *, conversation: str = "c", **said: Any) -> Turn:
    return Turn(conversation, id_, time, "user", **said)


def _answer(id_: str, time: int, *, conversation: str = "c", **said: Any) -> Turn:
    return Turn(conversation, id_, time, "assistant", **said)


def _kind(fact: Fact | None) -> str:
    return "" if fact is None else fact.kind


def _of(fact: Fact | None, field: str) -> object:
    assert fact is not None
    return fact.fields[field]
