from __future__ import annotations

import json
from typing import Any

import pytest

from events.feedback import Comment, FeedbackEvent, Point, Rating, Turn
from events.log import LogRecord
from operators.feedback.decode import Decoder

NOW = 1_793_520_000_000
ASKED, ANSWERED = "2026-11-01T07:59:50.000Z", "2026-11-01T07:59:51.500Z"
ASKED_AT, ANSWERED_AT = NOW - 10_000, NOW - 8_500


def decoded(value: Any) -> tuple[FeedbackEvent, ...]:
    decoder = Decoder("auto", "desk", 2**20, 0, lambda: NOW)
    return decoder.decode(LogRecord("langfuse", 0, 0, NOW, None, json.dumps(value).encode()))


GENERATION: dict[str, Any] = {
    "id": "obs-1",
    "traceId": "tr-1",
    "type": "GENERATION",
    "name": "answer",
    "startTime": ASKED,
    "endTime": ANSWERED,
    "model": "m-1",
    "modelParameters": {},
    "input": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "When?"}],
    "output": {"role": "assistant", "content": "At noon."},
    "usageDetails": {"input": 90, "output": 4, "total": 94},
    "costDetails": {"input": 0.0009, "output": 0.0001, "total": 0.001},
    "level": "DEFAULT",
    "environment": "default",
}
TRACE: dict[str, Any] = {
    "id": "tr-1",
    "timestamp": ASKED,
    "name": "chat",
    "input": {"question": "When?"},
    "output": {"answer": "At noon."},
    "sessionId": "se-1",
    "userId": "loyalty:7",
    "tags": [],
    "public": False,
    "environment": "production",
}
SCORE: dict[str, Any] = {
    "id": "sc-1",
    "traceId": "tr-1",
    "name": "user-feedback",
    "value": 1,
    "dataType": "NUMERIC",
    "source": "API",
    "timestamp": "2026-11-01T07:59:58Z",
    "comment": "Thanks!",
    "environment": "production",
}
ABOUT: dict[str, Any] = {"application": "desk", "person": "loyalty:7"}
MEASURED: dict[str, Any] = {"model": "m-1", "tokens_in": 90, "tokens_out": 4, "cost": 0.001, "latency": 1500.0}


def test_a_trace_with_its_observations_and_scores_is_a_question_an_answer_and_its_rating() -> None:
    whole = {
        **TRACE,
        "htmlPath": "/project/x/traces/tr-1",
        "latency": 1.5,
        "totalCost": 0.001,
        "observations": [{**GENERATION, "type": "SPAN", "id": "obs-0"}, GENERATION],
        "scores": [SCORE],
    }
    question, answer, rating, comment = decoded(whole)
    assert isinstance(question, Turn)
    assert question == Turn("tr-1", question.id, ASKED_AT, "user", "When?", **ABOUT)
    assert answer == Turn("tr-1", "tr-1", ANSWERED_AT, "assistant", "At noon.", **ABOUT, **MEASURED)
    assert rating == Rating("tr-1", "sc-1", NOW - 2_000, "thumbs", 1.0, "tr-1")
    assert comment == Comment("tr-1", "sc-1", NOW - 2_000, "Thanks!", "tr-1")


def test_a_trace_and_its_generation_from_two_exports_are_the_same_question_and_answer() -> None:
    from_trace, from_generation = decoded(TRACE), decoded(GENERATION)
    ids = [
        [(one.conversation, one.id) for one in found if isinstance(one, Turn)]
        for found in (from_trace, from_generation)
    ]
    assert ids[0] == ids[1]
    answer = from_generation[1]
    assert answer == Turn("tr-1", "tr-1", ANSWERED_AT, "assistant", "At noon.", application="desk", **MEASURED)


def test_a_trace_that_names_its_observations_only_is_read_without_them() -> None:
    question, answer = decoded({**TRACE, "observations": ["obs-1"], "scores": ["sc-1"], "latency": 1.5})
    assert isinstance(answer, Turn)
    assert isinstance(question, Turn)
    assert (answer.time, answer.latency, answer.model) == (ANSWERED_AT, 1500.0, "")


def test_what_the_sdks_send_is_read_like_what_the_api_returns() -> None:
    generation = {name: value for name, value in GENERATION.items() if name != "type"}
    batch = {
        "batch": [
            {"id": "1", "timestamp": ASKED, "type": "trace-create", "body": TRACE},
            {"id": "2", "timestamp": ASKED, "type": "span-create", "body": {"id": "obs-0", "traceId": "tr-1"}},
            {"id": "3", "timestamp": ANSWERED, "type": "generation-create", "body": generation},
            {"id": "4", "timestamp": ANSWERED, "type": "score-create", "body": SCORE},
        ],
        "metadata": {"sdk_name": "python"},
    }
    expected = (*decoded(TRACE), *decoded(GENERATION), *decoded(SCORE))
    assert decoded(batch) == expected
    assert decoded(batch["batch"]) == expected
    assert decoded({"data": [TRACE, GENERATION, SCORE], "meta": {"page": 1}}) == expected


@pytest.mark.parametrize(
    ("said", "scale", "value"),
    [
        ({"value": 0}, "thumbs", 0),
        ({"value": 1, "stringValue": "True", "dataType": "BOOLEAN"}, "thumbs", 1),
        ({"value": False, "dataType": "BOOLEAN"}, "thumbs", 0),
        ({"value": None, "stringValue": "negative", "dataType": "CATEGORICAL"}, "thumbs", 0),
        ({"value": "👍", "dataType": "CATEGORICAL"}, "thumbs", 1),
        ({"name": "csat", "value": 4}, "csat", 4),
        (
            {"name": "user_satisfaction", "stringValue": "Very satisfied", "dataType": "CATEGORICAL", "value": 0},
            "csat",
            5,
        ),
        ({"name": "Stars", "value": 2.5}, "stars", 2.5),
    ],
)
def test_a_score_by_people_is_a_rating_whatever_its_type(said: dict[str, Any], scale: str, value: float) -> None:
    (rating,) = decoded({**SCORE, "comment": None, **said})
    assert rating == Rating("tr-1", "sc-1", NOW - 2_000, scale, value, "tr-1")  # type: ignore[arg-type] # a parameter


def test_a_score_of_an_observation_rates_the_answer_of_its_trace() -> None:
    for said in (
        {"observationId": "obs-1"},
        {"traceId": None, "subject": {"kind": "observation", "id": "obs-1", "traceId": "tr-1"}},
        {"traceId": None, "subject": {"kind": "trace", "id": "tr-1"}},
    ):
        rating, _ = decoded({**SCORE, **said})
        assert isinstance(rating, Rating)
        assert (rating.conversation, rating.turn) == ("tr-1", "tr-1")


def test_a_score_of_a_session_is_of_the_session_as_a_whole() -> None:
    for said in ({"sessionId": "se-1"}, {"subject": {"kind": "session", "id": "se-1"}}):
        rating, comment = decoded({**SCORE, "traceId": None, **said})
        assert isinstance(rating, Rating)
        assert isinstance(comment, Comment)
        assert (rating.conversation, rating.turn, comment.turn) == ("se-1", "", "")


def test_what_a_program_scored_is_a_metric_and_its_reasons_are_nobodys_opinion() -> None:
    (found,) = decoded({**SCORE, "name": "hallucination", "value": 0.25, "source": "EVAL"})
    assert found == Point("sc-1", NOW - 2_000, "hallucination", 0.25, {"source": "EVAL", "environment": "production"})
    (found,) = decoded({**SCORE, "name": "tone", "value": "formal", "dataType": "CATEGORICAL"})
    assert isinstance(found, Point)
    assert (found.value, found.labels["category"]) == (1.0, "formal")


def test_a_text_is_a_comment_and_a_correction_nothing() -> None:
    (comment,) = decoded({**SCORE, "name": "remark", "value": "Too long.", "comment": None, "dataType": "TEXT"})
    assert comment == Comment("tr-1", "sc-1", NOW - 2_000, "Too long.", "tr-1")
    assert decoded({**SCORE, "value": "At one.", "dataType": "CORRECTION"}) == ()
