"""Langfuse: traces, observations and scores, as its API and its exports write them and as its SDKs send them.

A trace is one exchange: a question and an answer. Its id is that of the conversation, and of the answer; what scores a
trace, or any observation within it, rates that answer. So traces, their generations and their scores find each other in
whatever order and from whichever export they come, and an answer that comes as a trace and as a generation counts
once: the later one stands. Read with the API of Langfuse 3 to 5 (`langfuse.api`: `Trace`, `TraceWithFullDetails`,
`Observation`, `ObservationV2`, scores v1 to v3, `IngestionEvent`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from events.errors import RejectedError
from operators.feedback.messages import answer, messages_of, questions
from operators.feedback.reading import digest, moment
from operators.feedback.scores import scored

_EVENTS = {
    "trace-create": "trace",
    "generation-create": "observation",
    "generation-update": "observation",
    "observation-create": "observation",
    "observation-update": "observation",
    "score-create": "score",
}
_PASSED_OVER = {"span-create", "span-update", "event-create", "sdk-log"}
_OBSERVATIONS = {
    "SPAN", "GENERATION", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "EMBEDDING", "GUARDRAIL",
}  # fmt: skip
_REMEDY = "see the fields of Langfuse's API, or set `format` of [[feedback.streams]]"


def is_langfuse(value: dict[str, Any]) -> bool:
    """Tell whether an object is one of Langfuse's, by what no other format has."""
    if "body" in value and str(value.get("type")) in _EVENTS.keys() | _PASSED_OVER:
        return True
    if isinstance(value.get("batch"), list) or (isinstance(value.get("data"), list) and "meta" in value):
        return True
    return _kind_of(value) is not None


def langfuse(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of an object in our own JSON.

    :raises RejectedError: When a field is missing or none that Langfuse writes.
    """
    inner = value.get("batch", value.get("data"))
    if isinstance(inner, list):
        for one in inner:
            yield from langfuse(_object(one))
        return
    if "body" in value:
        kind = _EVENTS.get(str(value.get("type")))
        body = _object(value["body"])
        if kind is not None:
            yield from _event(kind, {"timestamp": value.get("timestamp"), **body})
        return
    kind = _kind_of(value)
    if kind is None:
        message = "neither a trace, an observation nor a score of Langfuse"
        raise RejectedError(message, _REMEDY)
    yield from _event(kind, value)


def _kind_of(value: dict[str, Any]) -> str | None:
    if (
        "name" in value
        and ("value" in value or "stringValue" in value)
        and not value.keys().isdisjoint({"traceId", "sessionId", "observationId", "subject", "dataType"})
    ):
        return "score"
    if str(value.get("type")) in _OBSERVATIONS and "startTime" in value:
        return "observation"
    if (
        "id" in value
        and "timestamp" in value
        and not value.keys().isdisjoint({"sessionId", "userId", "observations", "htmlPath", "tags", "input", "output"})
    ):
        return "trace"
    return None


def _event(kind: str, value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if kind == "score":
        return _score(value)
    return _trace(value) if kind == "trace" else _observation(value)


def _trace(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    trace = _required(value, "id", "trace")
    asked = _required(value, "timestamp", "trace")
    calls = [one for one in _objects(value.get("observations")) if _is_call(one)]
    last = max(calls, key=lambda one: str(one.get("endTime") or one.get("startTime")), default={})
    about = {"conversation": trace, "person": value.get("userId")}
    yield from _exchange(
        about,
        asked,
        _answered(asked, value.get("latency"), last.get("endTime")),
        said=value.get("input", last.get("input")),
        output=value.get("output", last.get("output")),
        measured={
            "model": last.get("model"),
            "latency": _millis(value.get("latency")),
            "tokens_in": _sum(calls, _tokens, "input"),
            "tokens_out": _sum(calls, _tokens, "output"),
            "cost": value["totalCost"] if value.get("totalCost") is not None else _sum(calls, _cost),
        },
    )
    for score in _objects(value.get("scores")):
        yield from _score({"traceId": trace, **score})


def _is_call(observation: dict[str, Any]) -> bool:
    return observation.get("type") == "GENERATION"


def _observation(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if value.get("type", "GENERATION") != "GENERATION":
        return
    trace = _required(value, "traceId", "generation")
    asked, answered = value.get("startTime"), value.get("endTime")
    latency = _millis(value.get("latency"))
    if latency is None and asked and answered:
        latency = moment(answered, "endTime") - moment(asked, "startTime")
    asked = asked or value.get("timestamp")
    yield from _exchange(
        {"conversation": trace, "person": value.get("userId")},
        asked,
        answered or _answered(asked, None, None),
        said=value.get("input"),
        output=value.get("output"),
        measured={
            "model": value.get("model"),
            "latency": latency,
            "tokens_in": _tokens(value, "input"),
            "tokens_out": _tokens(value, "output"),
            "cost": _cost(value),
        },
    )


def _exchange(
    about: dict[str, Any], asked: Any, answered: Any, *, said: Any, output: Any, measured: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    turn = {"type": "turn", **about}
    asking = questions(messages_of(said, "user"))
    for place, text in enumerate(asking):
        named = digest("question", about["conversation"], str(place))
        yield {**turn, "id": named, "role": "user", "time": asked, "text": text}
    text = answer(messages_of(output, "assistant"))
    if text:
        yield {**turn, "id": about["conversation"], "role": "assistant", "time": answered, "text": text, **measured}


def _score(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind = value.get("dataType")
    if kind == "CORRECTION":
        return
    subject = _object(value.get("subject") or {})
    trace = (
        value.get("traceId")
        or subject.get("traceId")
        or (subject.get("id") if subject.get("kind") == "trace" else None)
    )
    session = value.get("sessionId") or (subject.get("id") if subject.get("kind") == "session" else None)
    name, time = _required(value, "name", "score"), value.get("timestamp")
    said = value.get("value")
    if kind == "CATEGORICAL" or said is None:
        said = value.get("stringValue") or said
    if not isinstance(said, (str, int, float)):
        message = f"the score {name!r} has no `value`"
        raise RejectedError(message, _REMEDY)
    conversation = trace or session
    about = {
        "conversation": conversation,
        "turn": trace,
        "time": time,
        "id": value.get("id") or digest("score", str(conversation), name, str(time)),
    }
    comment = value.get("comment")
    if kind == "TEXT":
        said, comment = None, said
    if said is not None:
        found = scored(name, said, about, _labels(value))
        # A value that a program measured has reasons, not an opinion.
        comment = comment if found["type"] == "rating" else None
        yield found
    if isinstance(comment, str) and comment.strip():
        yield {"type": "comment", **about, "text": comment}


def _labels(value: dict[str, Any]) -> dict[str, str]:
    return {name: said for name in ("source", "environment") if isinstance(said := value.get(name), str) and said}


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    message = "an object of Langfuse is none: a list, a text or a number stands in its place"
    raise RejectedError(message, _REMEDY)


def _objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; a list of a trace may also name them only, by their ids."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _required(value: dict[str, Any], name: str, what: str) -> Any:
    found = value.get(name)
    if found:
        return found
    message = f"the {what} of Langfuse has no `{name}`"
    raise RejectedError(message, _REMEDY)


def _answered(asked: Any, latency: Any, end: Any) -> Any:
    """Return when the answer was there: at the end of the last call, else after the latency, else just after it."""
    if end:
        return end
    return moment(asked, "timestamp") + (round(_millis(latency) or 0) or 1) if isinstance(asked, (str, int)) else None


def _millis(seconds: Any) -> float | None:
    return round(seconds * 1000, 6) if isinstance(seconds, (int, float)) else None


def _tokens(observation: dict[str, Any], which: str) -> Any:
    for place in ("usageDetails", "usage"):
        details = observation.get(place)
        if isinstance(details, dict):
            for name in (which, "promptTokens" if which == "input" else "completionTokens"):
                if details.get(name) is not None:
                    return details[name]
    return None


def _cost(observation: dict[str, Any], which: str = "total") -> Any:
    details, usage = observation.get("costDetails"), observation.get("usage")
    if isinstance(details, dict) and details.get(which) is not None:
        return details[which]
    if observation.get("totalCost") is not None:
        return observation["totalCost"]
    if observation.get("calculatedTotalCost") is not None:
        return observation["calculatedTotalCost"]
    return usage.get("totalCost") if isinstance(usage, dict) else None


def _sum(calls: list[dict[str, Any]], read: Any, *which: str) -> Any:
    found = [value for call in calls if isinstance(value := read(call, *which), (int, float))]
    return sum(found) if found else None
