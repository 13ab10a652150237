"""Facts of a conversation, one rule after the other: what belongs to what, and what each field says."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from events.feedback import Comment, Judgement, Rating, Said, ShownContext, ShownItem, Timed, Turn, Verdict
from events.kpis import FIELDS, Fact, FactValue
from operators.feedback.configure import Objectives
from operators.feedback.conversations import Conversation
from operators.feedback.facts import facts_of
from operators.feedback.join import JoinBucket, joined_id
from operators.feedback.rules import Limits

HORIZON = 1_000
OBJECTIVES = Objectives(60.0, {"prices": 5.0})


def test_an_answer_has_what_it_says_and_what_it_cost() -> None:
    answer = _turn("a", 10, "assistant", model="m1", latency=12.5, tokens_in=3, tokens_out=4, cost=0.5, fallback=True)
    fact = _facts(answer)["answers", "c/a"]
    assert fact.time == 10
    assert {"model": "m1", "latency": 12.5, "tokens": 7, "cost": 0.5, "fallback": True}.items() <= fact.fields.items()
    assert _facts(_turn("a", 10, "assistant", tokens_out=4))["answers", "c/a"].fields["tokens"] == 4
    assert _facts(_turn("a", 10, "assistant"))["answers", "c/a"].fields["tokens"] is None


def test_questions_and_answers_are_facts_and_what_tools_and_systems_say_is_none() -> None:
    found = _facts(*(_turn(role, 1, role) for role in ("user", "assistant", "system", "tool")))
    assert set(found) == {("questions", "c/user"), ("answers", "c/assistant")}


@pytest.mark.parametrize("field", ["application", "language", "person"])
def test_what_a_turn_lacks_it_has_of_the_nearest_before_else_of_the_nearest_after(field: str) -> None:
    said = [
        _turn("1", 10, "user"),
        _turn("2", 20, "user", **{field: "x"}),
        _turn("3", 30, "tool", **{field: "y"}),
        _turn("4", 40, "user"),
        _turn("5", 30 + HORIZON + 1, "user"),
    ]
    found = _facts(*said)
    assert [found["questions", f"c/{id_}"].fields[field] for id_ in "1245"] == ["x", "x", "y", None]


def test_an_answer_has_the_topic_of_the_nearest_question_before_it_that_has_one() -> None:
    found = _facts(
        _turn("0", 5, "assistant"),
        _turn("1", 10, "user", topic="fares"),
        _turn("2", 20, "user"),
        _turn("3", 30, "assistant"),
        _turn("4", 40, "assistant", topic="bags"),
        _turn("5", 50, "assistant"),
        _turn("6", 11 + HORIZON, "assistant"),
    )
    topics = [found["answers", f"c/{id_}"].fields["topic"] for id_ in "03456"]
    assert topics == [None, "fares", "bags", "fares", None]
    assert found["questions", "c/2"].fields["topic"] is None


def test_a_rating_has_what_its_answer_has_and_the_answer_is_rated() -> None:
    found = _facts(
        _turn("q", 10, "user", application="app", topic="fares", person="p1", language="en"),
        _turn("a", 20, "assistant", model="m1"),
        Rating("c", "r", 30, "stars", 2, turn="a"),
    )
    expected: dict[str, FactValue] = {
        "conversation": "c", "turn": "a", "application": "app", "model": "m1", "language": "en", "topic": "fares",
        "person": "p1", "scale": "stars", "value": 2, "score": 0.25, "good": False, "bad": True, "stale": None,
        "known": True,
    }  # fmt: skip
    assert found["ratings", "c/r"] == Fact("ratings", "c/r", 30, expected)
    answer = found["answers", "c/a"].fields
    assert [answer[field] for field in ("rated", "good", "bad", "score")] == [True, False, True, 0.25]


def test_an_answer_is_good_or_bad_by_most_of_its_ratings_and_neither_when_they_are_even() -> None:
    answer = _turn("a", 20, "assistant")
    ratings = [
        Rating("c", "1", 30, "thumbs", 0, "a"),
        Rating("c", "2", 30, "csat", 5, "a"),
        Rating("c", "3", 30, "stars", 1, "a"),
    ]
    fields = _facts(answer, *ratings)["answers", "c/a"].fields
    assert [fields[field] for field in ("good", "bad", "score")] == [False, True, 1 / 3]
    even = _facts(answer, *ratings[:2])["answers", "c/a"].fields
    assert [even[field] for field in ("rated", "good", "bad", "score")] == [True, False, False, 0.5]
    none = _facts(answer)["answers", "c/a"].fields
    assert [none[field] for field in ("rated", "good", "bad", "score")] == [False, None, None, None]


def test_a_rating_of_an_unknown_answer_or_one_that_is_too_far_away_stands_alone() -> None:
    answer = _turn("a", 20, "assistant", application="app")
    found = _facts(answer, Rating("c", "1", 20, "thumbs", 1, "b"), Rating("c", "2", 21 + HORIZON, "thumbs", 1, "a"))
    assert [found["ratings", f"c/{id_}"].fields["known"] for id_ in "12"] == [False, False]
    assert "application" not in found["ratings", "c/1"].fields
    assert found["answers", "c/a"].fields["rated"] is False
    near = _facts(answer, Rating("c", "2", 20 + HORIZON, "thumbs", 1, "a"))
    assert near["ratings", "c/2"].fields["known"] is True


def test_a_rating_of_a_whole_conversation_is_about_its_last_answer_until_then_and_rates_none() -> None:
    found = _facts(
        _turn("q", 10, "user"),
        _turn("a", 20, "assistant", model="m1"),
        _turn("b", 30, "assistant", model="m2"),
        _turn("c", 50, "assistant", model="m3"),
        Rating("c", "early", 5, "thumbs", 1),
        Rating("c", "r", 30, "thumbs", 1),
        Rating("c", "far", 50 + HORIZON, "thumbs", 1),
        Rating("c", "alone", 51 + HORIZON, "thumbs", 1),
    )
    models = [found["ratings", f"c/{id_}"].fields.get("model") for id_ in ("early", "r", "far", "alone")]
    assert models == [None, "m2", "m3", None]
    known = [found["ratings", f"c/{id_}"].fields["known"] for id_ in ("early", "r", "far", "alone")]
    assert known == [True, True, True, False]
    assert not any(found["answers", f"c/{id_}"].fields["rated"] for id_ in "abc")
    assert found["ratings", "c/r"].fields["turn"] is None


def test_a_comment_has_its_verdict_and_the_first_500_characters() -> None:
    verdict = Verdict("dissatisfied", ("bags", "fares"), 0.9, "m")
    answer = _turn("a", 20, "assistant", topic="fares", person="p1", language="en")
    said = Comment("c", "k", 30, "x" * 600, "a", person="p2", language="de", verdict=verdict)
    fields = _facts(answer, said)["comments", "c/k"].fields
    assert fields["text"] == "x" * 500
    assert [fields[field] for field in ("category", "topics", "confidence")] == ["dissatisfied", ("bags", "fares"), 0.9]
    assert [fields[field] for field in ("topic", "person", "language", "known")] == ["fares", "p2", "de", True]
    silent = _facts(Comment("c", "k", 30, "x"))["comments", "c/k"].fields
    assert [silent[field] for field in ("category", "topics", "confidence", "known")] == [None, None, None, False]


def test_a_context_is_stale_if_a_piece_says_so_or_is_behind_its_sources_objective() -> None:
    answer = _turn("a", 20, "assistant", context="x", application="app")
    rating = Rating("c", "r", 30, "thumbs", 0, "a")
    for pieces, stale, lag in (
        ((ShownItem("docs", "d", lag=60.0), ShownItem("prices", "p", lag=5.0)), False, 60.0),
        ((ShownItem("docs", "d", lag=60.0), ShownItem("prices", "p", lag=5.1)), True, 60.0),
        ((ShownItem("docs", "d", lag=61.0),), True, 61.0),
        ((ShownItem("docs", "d", stale=True), ShownItem("docs", "b")), True, None),
        ((), False, None),
    ):
        found = _facts(answer, rating, ShownContext("c", "x", 19, pieces))
        assert found["answers", "c/a"].fields["stale"] is stale
        assert found["ratings", "c/r"].fields["stale"] is stale
        assert found["answers", "c/a"].fields["lag"] == lag
        assert sum(kind == "contexts" for kind, _ in found) == len(pieces)


def test_documents_of_an_answer_are_named_once_each_and_sorted() -> None:
    items = [
        ShownItem("docs", "b"),
        ShownItem("docs", "a"),
        ShownItem("docs", "b"),
        ShownItem("people"),
        ShownItem("", "z"),
    ]
    found = _facts(_turn("a", 20, "assistant", context="x"), ShownContext("c", "x", 19, tuple(items)))
    assert found["answers", "c/a"].fields["documents"] == ("/z", "docs/a", "docs/b")
    # A piece without a source is no fact; the others keep their places.
    assert sorted(id_ for kind, id_ in found if kind == "contexts") == [f"c/x/{place}" for place in range(4)]


def test_a_context_that_has_not_come_or_is_too_far_away_is_not_known() -> None:
    answer = _turn("a", 20, "assistant", context="x")
    for context in (ShownContext("c", "y", 19, ()), ShownContext("c", "x", 21 + HORIZON, ())):
        fields = _facts(answer, context)["answers", "c/a"].fields
        assert [fields[field] for field in ("stale", "lag", "documents")] == [None, None, None]


def test_a_piece_of_a_context_has_the_application_of_the_turn_before_it() -> None:
    said = [_turn("1", 10, "user", application="x"), _turn("2", 20, "user", application="y")]
    for time, application in ((9, "x"), (10, "x"), (19, "x"), (20, "y"), (20 + HORIZON, "y"), (21 + HORIZON, None)):
        found = _facts(*said, ShownContext("c", "x", time, (ShownItem("docs"),)))
        assert found["contexts", "c/x/0"].fields["application"] == application


def test_a_late_verdict_tells_a_questions_topic_and_a_comments_category() -> None:
    question, answer = _turn("q", 10, "user"), _turn("a", 20, "assistant")
    comment = Comment("c", "k", 30, "bad", "a")
    later = [
        Judgement("turn", "c", "q", 10, Verdict(topics=("fares", "bags")), 30),
        Judgement("comment", "c", "k", 30, Verdict("dissatisfied"), 30),
    ]
    found = _facts(question, answer, comment, *later)
    assert found["questions", "c/q"].fields["topic"] == "fares"
    assert found["answers", "c/a"].fields["topic"] == "fares"
    assert found["comments", "c/k"].fields["topic"] == "fares"
    assert found["comments", "c/k"].fields["category"] == "dissatisfied"
    moved = _facts(_turn("q", 11, "user"), *later)
    assert moved["questions", "c/q"].fields["topic"] is None


def test_ids_of_facts_differ_where_those_of_their_events_do() -> None:
    first = _facts(_turn("b/c", 10, "user", conversation="a"))
    second = _facts(_turn("c", 10, "user", conversation="a/b"))
    third = _facts(_turn("b%2Fc", 10, "user", conversation="a"))
    assert len(set(first) | set(second) | set(third)) == 3


def test_fields_are_those_that_are_documented() -> None:
    found = _facts(
        _turn("q", 10, "user"),
        _turn("a", 20, "assistant", context="x"),
        ShownContext("c", "x", 19, (ShownItem("docs"),)),
        Rating("c", "r", 30, "thumbs", 1),
        Comment("c", "k", 30, "text"),
    )
    assert {fact.kind: set(fact.fields) for fact in found.values()} == {
        kind: set(fields) for kind, fields in FIELDS.items() if kind != "points"
    }


def _turn(id_: str, time: int, role: Any, *, conversation: str = "c", **said: Any) -> Turn:
    return Turn(conversation, id_, time, role, **said)


def _facts(*events: Said | Judgement) -> dict[tuple[str, str], Fact]:
    """Return the facts of events that come in any order."""
    bucket = JoinBucket(Limits(0, HORIZON), OBJECTIVES)
    values = [event if isinstance(event, Judgement) else Timed(event, event.time) for event in events]
    Random(len(events)).shuffle(values)
    bucket.take([(joined_id(value), value) for value in values])
    [(id_, entry)] = bucket.entries.items()
    return facts_of(Conversation(id_[1:], HORIZON, entry), OBJECTIVES)
