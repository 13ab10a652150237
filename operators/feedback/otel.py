"""OpenTelemetry: spans of calls of models, by the semantic conventions of generative AI, in each of their versions.

A call whose answer is text is a question and an answer. How the messages stand in a span has changed four times; each
way is one entry of `_VERSIONS`, the newest first, and what is found first counts. Other spans, and other events than
evaluations, are passed over. The conventions have no word for some of ours: attributes `headrace.topic`, `.language`,
`.person`, `.application`, `.context`, `.cost`, `.fallback`, `.consent` say them.

Read with the OpenTelemetry semantic conventions 1.25 to 1.39 (`gen_ai.*`) and those of OpenLLMetry before them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from operators.feedback.messages import Message, answer, messages_of, questions, role_of
from operators.feedback.otlp import Event, Span, logs_of, spans_of
from operators.feedback.reading import digest
from operators.feedback.scores import scored

_CALLS = {"chat", "generate_content", "text_completion", "completion"}
_EVALUATION = "gen_ai.evaluation."
_OURS = ("topic", "language", "person", "application", "context", "cost", "fallback", "consent")
_SAME: dict[str, tuple[str, ...]] = {
    "model": ("gen_ai.response.model", "gen_ai.request.model", "llm.request.model"),
    "tokens_in": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens"),
    "tokens_out": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens"),
    "cost": ("headrace.cost", "gen_ai.usage.cost"),
    "person": ("headrace.person", "enduser.id", "user.id"),
    "application": ("headrace.application",),
    "conversation": ("gen_ai.conversation.id", "session.id"),
}
_MOST = 1_000
"""Messages that stand one by one in attributes."""


class Call(NamedTuple):
    """What went into a model, and what came out."""

    asked: list[Message]
    answered: list[Message]


def otel(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of spans and log records in our own JSON.

    :raises RejectedError: When they are not as OpenTelemetry writes them.
    """
    for span in spans_of(value):
        if _is_call(span):
            yield from _exchange(span)
        for event in span.events:
            if event.name.startswith(_EVALUATION) or event.name == "gen_ai.evaluation":
                yield from _evaluation(event, span.resource, span)
    for event, resource in logs_of(value):
        if event.name.startswith(_EVALUATION) or event.name == "gen_ai.evaluation":
            yield from _evaluation(event, resource, None)


def _is_call(span: Span) -> bool:
    operation = span.attributes.get("gen_ai.operation.name") or span.attributes.get("llm.request.type")
    if operation is not None:
        return str(operation) in _CALLS
    return "gen_ai.system" in span.attributes or "gen_ai.provider.name" in span.attributes


def _exchange(span: Span) -> Iterator[dict[str, Any]]:
    call = next((found for read in _VERSIONS if (found := read(span)) is not None), None)
    about = _about(span.attributes, span.resource, span.trace)
    turn: dict[str, Any] = {"type": "turn", **about}
    ours = {name: said for name in _OURS if (said := span.attributes.get(f"headrace.{name}")) is not None}
    answers = {**ours, "application": about["application"], "person": about["person"]}
    common: dict[str, Any] = {name: ours[name] for name in ("topic", "language", "consent") if name in ours}
    # What was said may be left out of spans, and mostly is: that somebody asked is known all the same.
    for place, text in enumerate([""] if call is None else questions(call.asked)):
        named = digest("question", span.trace or span.id, str(place), text)
        yield {**turn, **common, "id": named, "role": "user", "time": span.begin, "text": text}
    text = "" if call is None else answer(call.answered)
    if text or (call is None and not span.failed and not _calls_tools(span)):
        yield {
            **turn,
            **answers,
            "id": span.id,
            "role": "assistant",
            "time": span.end if span.end is not None else span.begin,
            "text": text,
            "latency": span.latency,
            **{name: _first(span.attributes, name) for name in ("model", "tokens_in", "tokens_out", "cost")},
        }


def _calls_tools(span: Span) -> bool:
    reasons = span.attributes.get("gen_ai.response.finish_reasons")
    found = reasons if isinstance(reasons, list) else [reasons]
    return bool(found) and all(str(reason).startswith("tool_call") for reason in found)


def _about(attributes: Mapping[str, Any], resource: Mapping[str, Any], trace: str) -> dict[str, Any]:
    service = resource.get("service.name")
    known = isinstance(service, str) and not service.startswith("unknown_service")
    return {
        "conversation": _first(attributes, "conversation") or trace,
        "application": _first(attributes, "application") or (service if known else None),
        "person": _first(attributes, "person"),
    }


def _evaluation(event: Event, resource: Mapping[str, Any], span: Span | None) -> Iterator[dict[str, Any]]:
    own = event.attributes
    attributes = own if span is None else {**span.attributes, **own}
    trace, turn = (event.trace, event.span) if span is None else (span.trace, span.id)
    about = _about(attributes, resource, trace)
    name = own.get("gen_ai.evaluation.name") or event.name.removeprefix(_EVALUATION)
    value, label = own.get("gen_ai.evaluation.score.value"), own.get("gen_ai.evaluation.score.label")
    if value is None:
        value = own.get("gen_ai.evaluation.score", label)
    if not isinstance(value, (str, int, float)) or not isinstance(name, str):
        return
    time = event.time if span is None or event.time is not None else span.end
    said = {
        "conversation": about["conversation"],
        "turn": turn,
        "person": about["person"],
        "id": digest("evaluation", trace, turn, name, str(time)),
        "time": time,
    }
    labels = {"application": about["application"]} if about["application"] else {}
    found = scored(name, value, said, labels)
    yield found
    comment = own.get("gen_ai.evaluation.explanation")
    if found["type"] == "rating" and isinstance(comment, str) and comment.strip():
        yield {"type": "comment", **said, "text": comment}


def _first(attributes: Mapping[str, Any], field: str) -> Any:
    return next((attributes[name] for name in _SAME[field] if attributes.get(name) is not None), None)


def _by_attributes(span: Span) -> Call | None:
    """Read `gen_ai.input.messages` and `gen_ai.output.messages`: 1.37 and later, on the span or on its event."""
    places = [span.attributes, *(event.attributes for event in span.events)]
    for place in places:
        asked, answered = place.get("gen_ai.input.messages"), place.get("gen_ai.output.messages")
        if asked is not None or answered is not None:
            return Call(messages_of(_parsed(asked), "user"), messages_of(_parsed(answered), "assistant"))
    return None


def _by_message_events(span: Span) -> Call | None:
    """Read one event for each message, `gen_ai.user.message` and the like, and `gen_ai.choice`: 1.28 to 1.36."""
    asked, answered = [], []
    for event in span.events:
        head, _, tail = event.name.removeprefix("gen_ai.").partition(".")
        if event.name.startswith("gen_ai.") and tail == "message":
            asked += messages_of({"role": head, **_content(event)}, role_of(head))
        elif event.name == "gen_ai.choice":
            answered += messages_of(_parsed(_content(event).get("message")) or _content(event), "assistant")
    return Call(asked, answered) if asked or answered else None


def _content(event: Event) -> dict[str, Any]:
    body = event.body if isinstance(event.body, dict) else {}
    return {name: said for name, said in {**event.attributes, **body}.items() if name in {"content", "message"}}


def _by_content_events(span: Span) -> Call | None:
    """Read the events `gen_ai.content.prompt` and `gen_ai.content.completion`: 1.25 to 1.27."""
    asked, answered = [], []
    for event in span.events:
        asked += messages_of(_parsed(event.attributes.get("gen_ai.prompt")), "user")
        answered += messages_of(_parsed(event.attributes.get("gen_ai.completion")), "assistant")
    return Call(asked, answered) if asked or answered else None


def _by_numbers(span: Span) -> Call | None:
    """Read `gen_ai.prompt.0.content` and the like: OpenLLMetry."""
    asked, answered = _numbered(span, "gen_ai.prompt", "user"), _numbered(span, "gen_ai.completion", "assistant")
    return Call(asked, answered) if asked or answered else None


def _numbered(span: Span, name: str, role: str) -> list[Message]:
    found: list[Message] = []
    for place in range(_MOST):
        said = span.attributes.get(f"{name}.{place}.role")
        content = span.attributes.get(f"{name}.{place}.content")
        if said is None and content is None:
            break
        found += messages_of({"role": said or role, "content": _parsed(content)}, role)
    return found


_VERSIONS: tuple[Callable[[Span], Call | None], ...] = (
    _by_attributes,
    _by_message_events,
    _by_content_events,
    _by_numbers,
)


def _parsed(value: Any) -> Any:
    """Return what a text says as JSON where it is a list or an object: attributes could long hold nothing else."""
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return value
    return value
