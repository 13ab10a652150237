from __future__ import annotations

import json
from typing import Any

import pytest

from events.feedback import Comment, FeedbackEvent, Point, Rating, Turn
from events.log import LogRecord
from operators.feedback.decode import Decoder

NOW = 1_793_520_000_000
BEGIN, END = NOW - 5_000, NOW - 3_750
NANOS = 1_000_000
QUESTION, ANSWER = "When does the flight leave?", "At 14:05 from Lisbon."


def decoded(value: Any, application: str = "") -> tuple[FeedbackEvent, ...]:
    decoder = Decoder("auto", application, 2**20, 0, lambda: NOW)
    return decoder.decode(LogRecord("spans", 0, 0, NOW, None, json.dumps(value).encode()))


def wrapped(value: Any) -> dict[str, Any]:
    """Wrap a value as OTLP/JSON does; numbers of 64 bits are texts there."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [wrapped(one) for one in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": attributes(value)}}
    return {"stringValue": value}


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": wrapped(value)} for name, value in values.items()]


def otlp(said: dict[str, Any], events: tuple[tuple[str, dict[str, Any]], ...] = (), **span: Any) -> dict[str, Any]:
    """Return an export request with one span."""
    whole = {
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": str(BEGIN * NANOS),
        "endTimeUnixNano": str(END * NANOS),
        "attributes": attributes(said),
        "events": [
            {"name": name, "timeUnixNano": str(END * NANOS), "attributes": attributes(values)}
            for name, values in events
        ],
        **span,
    }
    resource = {"attributes": attributes({"service.name": "travel-desk"})}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "x"}, "spans": [whole]}]}]}


CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "m",
    "gen_ai.response.model": "m-2026-08",
    "gen_ai.conversation.id": "c1",
}
TOKENS = {"gen_ai.usage.input_tokens": 812, "gen_ai.usage.output_tokens": 9}
FORMERLY = {"gen_ai.usage.prompt_tokens": 812, "gen_ai.usage.completion_tokens": 9}
HISTORY = [("system", "Be brief."), ("user", "Hello"), ("assistant", "Hello!"), ("user", QUESTION)]
PARTS = [{"role": role, "parts": [{"type": "text", "content": text}]} for role, text in HISTORY]
CHAT = [{"role": role, "content": text} for role, text in HISTORY]
ANSWERED = [{"role": "assistant", "parts": [{"type": "text", "content": ANSWER}], "finish_reason": "stop"}]

VERSIONS: dict[str, dict[str, Any]] = {
    "1.37, messages as text": otlp(
        {
            **CALL,
            **TOKENS,
            "gen_ai.provider.name": "openai",
            "gen_ai.input.messages": json.dumps(PARTS),
            "gen_ai.output.messages": json.dumps(ANSWERED),
        }
    ),
    "1.37, messages as values": otlp(
        {**CALL, **TOKENS, "gen_ai.input.messages": PARTS, "gen_ai.output.messages": ANSWERED}
    ),
    "1.37, messages on an event": otlp(
        {**CALL, **TOKENS},
        (
            (
                "gen_ai.client.inference.operation.details",
                {"gen_ai.input.messages": json.dumps(PARTS), "gen_ai.output.messages": json.dumps(ANSWERED)},
            ),
        ),
    ),
    "1.28, an event for each message": otlp(
        {**CALL, **TOKENS, "gen_ai.system": "openai"},
        (
            *((f"gen_ai.{role}.message", {"content": text, "gen_ai.system": "openai"}) for role, text in HISTORY),
            ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": json.dumps({"content": ANSWER})}),
        ),
    ),
    "1.25, the prompt and the completion as events": otlp(
        {**CALL, **FORMERLY, "gen_ai.system": "openai"},
        (
            ("gen_ai.content.prompt", {"gen_ai.prompt": json.dumps(CHAT)}),
            (
                "gen_ai.content.completion",
                {"gen_ai.completion": json.dumps([{"role": "assistant", "content": ANSWER}])},
            ),
        ),
    ),
    "numbered attributes": otlp(
        {
            **CALL,
            **FORMERLY,
            **{f"gen_ai.prompt.{n}.role": role for n, (role, _) in enumerate(HISTORY)},
            **{f"gen_ai.prompt.{n}.content": text for n, (_, text) in enumerate(HISTORY)},
            "gen_ai.completion.0.role": "assistant",
            "gen_ai.completion.0.content": ANSWER,
        }
    ),
}


@pytest.mark.parametrize("span", VERSIONS.values(), ids=list(VERSIONS))
def test_a_call_is_the_last_question_and_the_answer_in_each_version_of_the_conventions(span: dict[str, Any]) -> None:
    question, answer = decoded(span)
    assert isinstance(question, Turn)
    assert question == Turn("c1", question.id, BEGIN, "user", QUESTION, application="travel-desk")
    assert answer == Turn(
        "c1",
        "eee19b7ec3c1b174",
        END,
        "assistant",
        ANSWER,
        application="travel-desk",
        model="m-2026-08",
        latency=1250.0,
        tokens_in=812,
        tokens_out=9,
    )


def test_a_span_as_the_console_exporter_of_the_sdk_writes_it_is_read_alike() -> None:
    span: dict[str, Any] = {
        "name": "chat m",
        "context": {"trace_id": "0x5b8e", "span_id": "0xeee1", "trace_state": "[]"},
        "kind": "SpanKind.CLIENT",
        "parent_id": None,
        "start_time": "2026-11-01T07:59:55.000000Z",
        "end_time": "2026-11-01T07:59:56.250000Z",
        "status": {"status_code": "UNSET"},
        "attributes": {**CALL, **TOKENS, "gen_ai.output.messages": json.dumps(ANSWERED)},
        "events": [],
        "resource": {"attributes": {"service.name": "unknown_service"}, "schema_url": ""},
    }
    assert decoded(span, "desk") == (
        Turn("c1", "eee1", END, "assistant", ANSWER, "desk", "m-2026-08", latency=1250.0, tokens_in=812, tokens_out=9),
    )


def test_a_call_of_which_nobody_wrote_down_what_was_said_counts_all_the_same() -> None:
    question, answer = decoded(otlp({**CALL, **TOKENS, "enduser.id": "p9"}))
    assert isinstance(question, Turn)
    assert isinstance(answer, Turn)
    assert (question.role, question.text, question.person) == ("user", "", "p9")
    assert (answer.role, answer.text, answer.latency, answer.tokens_in) == ("assistant", "", 1250.0, 812)


def test_a_call_that_asks_for_a_tool_or_failed_is_no_answer() -> None:
    tool = [{"role": "assistant", "parts": [{"type": "tool_call", "id": "1", "name": "flights", "arguments": {}}]}]
    asked = {**CALL, "gen_ai.input.messages": json.dumps(PARTS)}
    first = decoded(otlp({**asked, "gen_ai.output.messages": json.dumps(tool)}))
    assert [event.role for event in first if isinstance(event, Turn)] == ["user"]
    result = [*PARTS, *tool, {"role": "tool", "parts": [{"type": "tool_call_response", "response": "14:05"}]}]
    second = {**CALL, "gen_ai.input.messages": json.dumps(result), "gen_ai.output.messages": json.dumps(ANSWERED)}
    assert [event.text for event in decoded(otlp(second)) if isinstance(event, Turn)] == [ANSWER]
    unseen = {**CALL, "gen_ai.response.finish_reasons": ["tool_calls"]}
    assert [event.role for event in decoded(otlp(unseen)) if isinstance(event, Turn)] == ["user"]
    assert [event.role for event in decoded(otlp(CALL, status={"code": 2})) if isinstance(event, Turn)] == ["user"]


def test_a_question_that_two_calls_of_a_trace_were_asked_is_one() -> None:
    asked = {**CALL, "gen_ai.input.messages": json.dumps(PARTS), "gen_ai.output.messages": json.dumps(ANSWERED)}
    first, second = decoded(otlp(asked)), decoded(otlp(asked, spanId="aaaaaaaaaaaaaaaa"))
    ids = [[event.id for event in found if isinstance(event, Turn)] for found in (first, second)]
    assert ids[0][0] == ids[1][0]
    assert ids[0][1] != ids[1][1]


def test_other_spans_are_passed_over() -> None:
    for operation in ("embeddings", "execute_tool", "invoke_agent", "retrieval"):
        assert decoded(otlp({**CALL, "gen_ai.operation.name": operation})) == ()
    assert decoded(otlp({"http.request.method": "GET"})) == ()


def test_without_a_conversation_the_session_or_else_the_trace_is_one() -> None:
    nameless = {name: value for name, value in CALL.items() if name != "gen_ai.conversation.id"}
    for said, expected in (({"session.id": "s1"}, "s1"), ({}, "5b8efff798038103d269b633813fc60c")):
        (question, _) = decoded(otlp({**nameless, **said}))
        assert isinstance(question, Turn)
        assert question.conversation == expected


def test_attributes_of_ours_say_what_the_conventions_have_no_word_for() -> None:
    ours = {
        "headrace.topic": "refund",
        "headrace.language": "en",
        "headrace.person": "loyalty:7",
        "headrace.application": "desk",
        "headrace.context": "x1",
        "headrace.cost": 0.5,
        "headrace.fallback": True,
        "headrace.consent": False,
    }
    question, answer = decoded(otlp({**CALL, **ours}))
    assert isinstance(question, Turn)
    assert isinstance(answer, Turn)
    assert (question.topic, question.language, question.consent) == ("refund", "en", False)
    assert (question.application, question.person, question.context) == ("desk", "loyalty:7", "")
    assert (answer.topic, answer.context, answer.cost, answer.fallback) == ("refund", "x1", 0.5, True)
    assert (answer.application, answer.person, answer.consent) == ("desk", "loyalty:7", False)


def evaluation(name: str, **score: Any) -> tuple[str, dict[str, Any]]:
    scores = {f"gen_ai.evaluation.score.{what}": value for what, value in score.items() if what != "explanation"}
    said = {name: value for name, value in score.items() if name == "explanation"}
    explained = {f"gen_ai.evaluation.{what}": value for what, value in said.items()}
    return "gen_ai.evaluation.result", {"gen_ai.evaluation.name": name, **scores, **explained}


@pytest.mark.parametrize(
    ("event", "scale", "value"),
    [
        (evaluation("user_feedback", value=1), "thumbs", 1),
        (evaluation("thumbs", value=-1), "thumbs", 0),
        (evaluation("User Thumbs Up", label="negative"), "thumbs", 0),
        (evaluation("CSAT", value=4.0, label="satisfied"), "csat", 4),
        (evaluation("star-rating", label="2"), "stars", 2),
        (evaluation("customer_satisfaction", label="very dissatisfied"), "csat", 1),
    ],
)
def test_an_evaluation_by_people_rates_the_answer_of_its_span(
    event: tuple[str, dict[str, Any]], scale: str, value: int
) -> None:
    found = [one for one in decoded(otlp(CALL, (event,))) if isinstance(one, Rating)]
    assert [(one.conversation, one.turn, one.scale, one.value, one.time) for one in found] == [
        ("c1", "eee19b7ec3c1b174", scale, value, END)
    ]


def test_what_people_explain_is_a_comment_and_the_judgement_of_a_program_a_point() -> None:
    events = (
        evaluation("user_feedback", value=0, explanation="Wrong date."),
        evaluation("Relevance", value=0.82, explanation="On topic."),
        evaluation("Toxicity", label="none"),
    )
    found = decoded(otlp(CALL, events))[2:]
    assert [type(one) for one in found] == [Rating, Comment, Point, Point]
    assert [one.text for one in found if isinstance(one, Comment)] == ["Wrong date."]
    points = [(one.name, one.value, one.labels) for one in found if isinstance(one, Point)]
    application = {"application": "travel-desk"}
    assert points == [("Relevance", 0.82, application), ("Toxicity", 1.0, {**application, "category": "none"})]


def test_an_evaluation_that_comes_as_a_log_record_rates_the_same_answer() -> None:
    name, said = evaluation("stars", value=5)
    record = {
        "timeUnixNano": str(END * NANOS),
        "eventName": name,
        "traceId": "5b8efff798038103d269b633813fc60c",
        "spanId": "eee19b7ec3c1b174",
        "attributes": attributes({**said, "gen_ai.conversation.id": "c1"}),
    }
    other = {**record, "eventName": "exception"}
    (found,) = decoded({"resourceLogs": [{"scopeLogs": [{"logRecords": [record, other]}]}]})
    assert found == Rating("c1", found.id, END, "stars", 5.0, "eee19b7ec3c1b174")
