from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import RejectedError
from events.feedback import (
    Comment,
    FeedbackEvent,
    Point,
    Rating,
    ShownContext,
    ShownItem,
    Turn,
    Verdict,
    kind_of,
)
from events.log import LogRecord
from operators.feedback.decode import Decoder
from operators.feedback.own import from_json, to_json
from operators.feedback.reading import Origin, moment
from operators.moments import moment_of

NOW = 1_793_520_000_000
ORIGIN = Origin(NOW, NOW, "support")


def said(**fields: Any) -> tuple[FeedbackEvent, ...]:
    return from_json(json.dumps(fields).encode(), ORIGIN)


def one(**fields: Any) -> Any:
    (found,) = said(**fields)
    return found


def test_each_kind_is_read_with_all_its_fields() -> None:
    turn: dict[str, Any] = {
        "conversation": "c1",
        "id": "t2",
        "time": "2026-11-01T07:59:58.250Z",
        "role": "assistant",
        "text": "By 20 November.",
        "application": "desk",
        "model": "m-2",
        "language": "en-GB",
        "topic": "refund",
        "person": "loyalty:77",
        "latency": 812.5,
        "tokens_in": 900,
        "tokens_out": 12,
        "cost": 0.002,
        "fallback": True,
        "context": "x1",
        "consent": False,
    }
    assert said(type="turn", **turn) == (Turn(**{**turn, "time": NOW - 1_750, "language": "en"}),)
    rating: dict[str, Any] = {
        "conversation": "c1",
        "id": "r1",
        "time": NOW - 5,
        "scale": "thumbs",
        "value": 0,
        "turn": "t2",
        "person": "p",
    }
    assert said(type="rating", **rating) == (Rating(**rating),)
    comment: dict[str, Any] = {
        "conversation": "c1",
        "id": "k",
        "time": NOW,
        "text": "No.",
        "turn": "t2",
        "person": "p",
        "language": "de",
    }
    assert said(type="comment", **comment) == (Comment(**comment),)
    item: dict[str, Any] = {
        "source": "docs",
        "document": "a.md",
        "chunk": "k1",
        "lag": 3.5,
        "stale": True,
        "text": "Fees",
    }
    shown = one(type="context", conversation="c1", id="x1", items=[{**item, "as_of": "2026-10-31"}, {"source": "crm"}])
    expected = (ShownItem(**item, as_of=1_793_404_800_000), ShownItem("crm"))
    assert shown == ShownContext("c1", "x1", NOW, expected)
    named = one(type="context", conversation="c1", id="x1", items=[], person="loyalty:77")
    assert named == ShownContext("c1", "x1", NOW, (), "loyalty:77")
    point: dict[str, Any] = {"id": "p1", "time": NOW, "name": "load", "value": -0.5, "labels": {"host": "a"}}
    assert said(type="point", **point) == (Point(**point),)


def test_a_conversation_gives_its_parts_what_they_do_not_say_themselves() -> None:
    found = said(
        type="conversation",
        id="c7",
        time=NOW - 60_000,
        person="p1",
        language="en",
        topic="refund",
        model="m-1",
        consent=True,
        turns=[
            {"role": "user", "text": "Hi"},
            {"role": "assistant", "text": "Hello", "topic": "greeting"},
            {"role": "user", "text": "Bye", "time": NOW - 10_000, "person": "p2", "consent": False},
        ],
        ratings=[{"scale": "stars", "value": 5, "turn": "2"}],
        comments=[{"text": "Fine.", "time": NOW}],
        contexts=[{"id": "x", "items": []}],
    )
    hi, hello, bye, rating, comment, context = found
    common: dict[str, Any] = {"application": "support", "language": "en", "consent": True}
    assert hi == Turn("c7", "1", NOW - 60_000, "user", "Hi", topic="refund", person="p1", **common)
    assert hello == Turn(
        "c7", "2", NOW - 59_999, "assistant", "Hello", model="m-1", topic="greeting", person="p1", **common
    )
    assert bye == Turn(
        "c7", "3", NOW - 10_000, "user", "Bye", topic="refund", person="p2", **{**common, "consent": False}
    )
    assert isinstance(rating, Rating)
    assert (rating.conversation, rating.turn, rating.person, rating.time) == ("c7", "2", "p1", NOW - 60_000)
    assert comment == Comment("c7", comment.id, NOW, "Fine.", person="p1", language="en")
    assert context == ShownContext("c7", "x", NOW - 60_000, (), "p1")


def test_an_event_without_an_id_has_the_same_one_each_time_and_another_one_than_any_other() -> None:
    turn: dict[str, Any] = {"type": "turn", "conversation": "c1", "role": "user", "text": "Hi"}
    assert one(**turn).id == one(**turn).id
    others: list[dict[str, Any]] = [{"text": "Ho"}, {"role": "system"}, {"conversation": "c2"}, {"time": NOW - 1}]
    assert len({one(**{**turn, **other}).id for other in [{}, *others]}) == 5


def test_a_person_who_rates_an_answer_again_replaces_the_rating_and_nobody_elses() -> None:
    rating: dict[str, Any] = {
        "type": "rating",
        "conversation": "c1",
        "turn": "t1",
        "scale": "stars",
        "person": "p1",
        "time": NOW - 9,
    }
    first = one(**rating, value=5).id
    assert one(**{**rating, "time": NOW}, value=1).id == first
    for other in ({"person": "p2"}, {"turn": "t2"}, {"scale": "csat"}, {"conversation": "c2"}, {"person": ""}):
        assert one(**{**rating, **other}, value=5).id != first
    unknown = {**rating, "person": None}
    assert one(**unknown, value=5).id != one(**{**unknown, "time": NOW}, value=5).id


def test_a_point_without_an_id_is_named_by_its_time() -> None:
    assert one(type="point", name="load", value=1, time=NOW - 3).id == str(NOW - 3)


def test_a_list_is_read_whole_or_not_at_all() -> None:
    turn = {"type": "turn", "conversation": "c", "role": "user"}
    point = {"type": "point", "name": "load", "value": 1}
    assert [kind_of(event) for event in from_json(json.dumps([turn, point]).encode(), ORIGIN)] == ["turn", "point"]
    rating = {"type": "rating", "conversation": "c", "scale": "stars", "value": 9}
    with pytest.raises(RejectedError, match="a rating of 9"):
        from_json(json.dumps([turn, rating]).encode(), ORIGIN)
    with pytest.raises(RejectedError, match="10001 events in one record"):
        from_json(json.dumps([turn] * 10_001).encode(), ORIGIN)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"type":"turn","conversation":"c","role":"user","role":"tool"}',
        b'{"type":"turn","conversation" :"c","role":"user","role":"tool"}',
        b'{"type":"turn","conversation":"c","role":"user","text":"a\\":b","text":"a"}',
        b'{"type":"turn","conversation":"c","role":"user","metadata":{"a":1,"a":2}}',
        b'{"type":"point","name":"n","value":1,"labels":{"a":"1","a":"2"}}',
        b'{"type":"conversation","id":"c","turns":[{"role":"user","role":"tool"}]}',
        b'[{"type":"turn","conversation":"c","role":"user"},{"type":"conversation","id":"c","turns":[{"role":"user","role":"tool"}]}]',
    ],
)
def test_a_key_that_comes_twice_is_refused_wherever_it_is(raw: bytes) -> None:
    with pytest.raises(RejectedError, match="occurs twice"):
        from_json(raw, ORIGIN)


_TIMES = st.integers(946_684_800_000, NOW)
_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
_IDS = _NAMES.filter(bool)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from("\n\t\r"), max_size=40)
_AMOUNTS = st.none() | st.floats(0, 1e12)
_COUNTS = st.none() | st.integers(0, 10**12)
_LANGUAGES = st.sampled_from(["", "en", "deu"])
_SCORES = st.tuples(st.just("thumbs"), st.sampled_from([0.0, 1.0])) | st.tuples(
    st.sampled_from(["stars", "csat"]), st.floats(1, 5)
)
_ITEMS = st.builds(ShownItem, _IDS, _NAMES, _NAMES, st.none() | st.integers(0, 2**53), _AMOUNTS, st.booleans(), _TEXTS)
_VERDICTS = st.builds(Verdict, _NAMES, st.lists(_NAMES, max_size=3).map(tuple), st.floats(0, 1), _NAMES)
EVENTS: st.SearchStrategy[FeedbackEvent] = st.one_of(
    st.builds(
        Turn,
        conversation=_IDS,
        id=_IDS,
        time=_TIMES,
        role=st.sampled_from(["user", "assistant", "system", "tool"]),
        text=_TEXTS,
        application=_NAMES,
        model=_NAMES,
        language=_LANGUAGES,
        topic=_NAMES,
        person=_NAMES,
        latency=_AMOUNTS,
        tokens_in=_COUNTS,
        tokens_out=_COUNTS,
        cost=_AMOUNTS,
        fallback=st.booleans(),
        context=_NAMES,
        consent=st.none() | st.booleans(),
    ),
    _SCORES.flatmap(
        lambda score: st.builds(
            Rating, _IDS, _IDS, _TIMES, st.just(score[0]), st.just(score[1]), turn=_NAMES, person=_NAMES
        )
    ),
    st.builds(Comment, _IDS, _IDS, _TIMES, _TEXTS.filter(bool), _NAMES, _NAMES, _LANGUAGES, st.none() | _VERDICTS),
    st.builds(ShownContext, _IDS, _IDS, _TIMES, st.lists(_ITEMS, max_size=3).map(tuple)),
    st.builds(Point, _IDS, _TIMES, _IDS, st.floats(-1e100, 1e100), st.dictionaries(_IDS, _NAMES, max_size=3)),
)


@given(EVENTS)
def test_what_is_written_is_read_as_it_was(event: FeedbackEvent) -> None:
    assert from_json(to_json(event)) == (event,)


@given(st.lists(EVENTS, max_size=5))
def test_a_list_is_its_events_in_their_order(events: list[FeedbackEvent]) -> None:
    assert from_json(b"[" + b",".join(map(to_json, events)) + b"]") == tuple(events)


@given(
    st.datetimes().map(lambda at: at.isoformat(timespec="milliseconds") + "Z")
    | st.datetimes().map(lambda at: at.isoformat(timespec="seconds") + "Z")
    | st.text("0123456789-:.TZ ", min_size=20, max_size=24)
)
def test_the_usual_form_of_a_moment_says_the_same_as_any_other(text: str) -> None:
    expected = moment_of(text)
    if expected is None:
        with pytest.raises(RejectedError, match="no moment"):
            moment(text, "time")
    else:
        assert moment(text, "time") == expected


_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.just(10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
) | st.sampled_from(
    [
        "",
        "turn",
        "user",
        "chat",
        "c1",
        "1",
        "[{}]",
        "{",
        "GENERATION",
        "NUMERIC",
        "stars",
        "2026-11-01T08:00:00Z",
        "\x00",
    ]
)
_WORDS = st.sampled_from(
    [
        "type", "conversation", "id", "time", "role", "text", "turns", "ratings", "items", "labels", "metadata",
        "value", "name", "scale", "resourceSpans", "resourceLogs", "resource", "scopeSpans", "scopeLogs", "logRecords",
        "spans", "attributes", "events", "traceId", "spanId", "context", "key", "stringValue", "intValue", "arrayValue",
        "values", "kvlistValue", "startTimeUnixNano", "endTimeUnixNano", "status", "code", "body", "eventName",
        "gen_ai.system", "gen_ai.operation.name", "gen_ai.input.messages", "gen_ai.output.messages",
        "gen_ai.prompt.0.content", "verdict",
        "gen_ai.evaluation.name", "gen_ai.evaluation.score.value", "batch", "data", "meta", "timestamp", "observations",
        "scores", "input", "output", "dataType", "subject", "usage", "usageDetails", "costDetails", "latency",
        "startTime",
        "endTime", "totalCost", "comment", "parts", "content", "message", "sessionId", "service.name", "model",
        "gen_ai.response.finish_reasons", "gen_ai.conversation.id",
    ]
)  # fmt: skip
_ANYTHING = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=6),
    max_leaves=25,
)


def _outlines() -> Iterator[dict[str, Any]]:
    """Yield objects that some decoder takes for its own."""
    yield {"type": "turn", "conversation": "c", "role": "user"}
    yield {"type": "conversation", "id": "c"}
    yield {
        "traceId": "a",
        "spanId": "b",
        "attributes": {"gen_ai.system": "x"},
        "startTimeUnixNano": "1793520000000000000",
    }
    yield {"traceId": "a", "body": {}, "attributes": {}, "eventName": "gen_ai.evaluation.result"}
    yield {
        "resourceSpans": [{"scopeSpans": [{"spans": [{"spanId": "b", "events": [{"name": "gen_ai.evaluation.x"}]}]}]}]
    }
    yield {"id": "a", "timestamp": "2026-11-01T08:00:00Z", "input": "Hi", "output": "Ho"}
    yield {"type": "GENERATION", "traceId": "a", "startTime": "2026-11-01T08:00:00Z"}
    yield {"name": "stars", "value": 3, "traceId": "a"}
    yield {"type": "score-create", "body": {"name": "stars", "value": 3, "traceId": "a"}}


_NEARLY = st.builds(
    lambda outline, more: {**outline, **more},
    st.sampled_from(list(_outlines())),
    st.dictionaries(_WORDS, _ANYTHING, max_size=5),
)


def decode_or_refuse(value: bytes, format_of_stream: Any) -> None:
    decoder = Decoder(format_of_stream, "", 2**20, 0, lambda: NOW)
    try:
        found = decoder.decode(LogRecord("feedback", 0, 0, NOW, None, value))
    except RejectedError as error:
        refused = error
    else:
        assert all(from_json(to_json(event)) == (event,) for event in found)
        return
    assert refused.hint
    assert "\n" not in str(refused)


@given(_NEARLY | _ANYTHING | st.lists(_NEARLY, max_size=2), st.sampled_from(["auto", "headrace", "otel", "langfuse"]))
def test_whatever_json_comes_it_is_events_or_refused(value: Any, format_of_stream: str) -> None:
    decode_or_refuse(msgspec.json.encode(value), format_of_stream)


@given(
    st.binary(max_size=60) | EVENTS.map(to_json).flatmap(lambda raw: st.integers(0, len(raw)).map(lambda n: raw[:n]))
)
def test_whatever_bytes_come_they_are_events_or_refused(value: bytes) -> None:
    decode_or_refuse(value, "auto")


def test_a_verdict_that_is_sent_in_is_read_and_what_it_leaves_out_is_empty() -> None:
    comment: dict[str, Any] = {"type": "comment", "conversation": "c", "text": "fine"}
    verdict = {"category": "satisfied", "topics": ["fares", "bags"], "confidence": 0.75, "model": "m-1"}
    assert one(**comment, verdict=verdict).verdict == Verdict("satisfied", ("fares", "bags"), 0.75, "m-1")
    assert one(**comment, verdict={"category": None, "topics": ["fares"]}).verdict == Verdict("", ("fares",))
    most = {"category": "c" * 200, "topics": [f"{number:0200}" for number in range(20)], "confidence": 1}
    assert one(**comment, verdict=most).verdict == Verdict("c" * 200, tuple(most["topics"]), 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "verdict",
    [
        {"category": "c" * 201},
        {"topics": ["t" * 201]},
        {"topics": [f"t{number}" for number in range(21)]},
        {"confidence": 1e300},
        {"model": "m" * 513},
    ],
    ids=lambda verdict: next(iter(verdict)),
)
def test_a_verdict_without_measure_is_refused(verdict: dict[str, Any]) -> None:
    with pytest.raises(RejectedError, match=r"not a comment: .*verdict"):
        one(type="comment", conversation="c", text="fine", verdict=verdict)
