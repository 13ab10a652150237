"""OpenTelemetry's JSON: spans and log records with their attributes as plain values, whichever way they were written.

OTLP/JSON nests them in resources and scopes and wraps each attribute; the console exporters of the SDKs write one flat
object each. Keys are lowerCamelCase, 64-bit numbers texts, times nanoseconds since 1970, as "OTLP Specification, JSON
Protobuf Encoding" has it. Who wraps wrongly is told so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from events.errors import RejectedError
from operators.feedback.reading import moment

_REMEDY = "send OTLP/JSON (resourceSpans) or one span as a JSON object"
_LAST = 2**64
_WRAPPED = ("stringValue", "boolValue", "doubleValue", "bytesValue")


class Event(msgspec.Struct, frozen=True):
    """An event of a span, or a log record.

    :arg time: In milliseconds since 1970; None if it says none.
    :arg body: Of a log record.
    """

    name: str
    time: int | None
    attributes: dict[str, Any]
    trace: str = ""
    span: str = ""
    body: Any = None


class Span(msgspec.Struct, frozen=True):
    """A span. Times are in milliseconds since 1970; None if it says none.

    :arg latency: From start to end, in milliseconds with fractions.
    """

    trace: str
    id: str
    begin: int | None
    end: int | None
    latency: float | None
    attributes: dict[str, Any]
    resource: dict[str, Any]
    events: tuple[Event, ...]
    failed: bool


def is_otel(value: dict[str, Any]) -> bool:
    """Tell whether an object is of OpenTelemetry, by what no other format has."""
    names = value.keys()
    if not names.isdisjoint({"resourceSpans", "resourceLogs", "resource_spans", "resource_logs"}):
        return True
    return "attributes" in names and not names.isdisjoint({"traceId", "trace_id", "context"})


def spans_of(value: dict[str, Any]) -> Iterator[Span]:
    """Yield the spans of an object.

    :raises RejectedError: When it is not as OpenTelemetry writes it.
    """
    for resource in _list(value, "resourceSpans"):
        attributes = _attributes(_object(resource.get("resource") or {}))
        for scope in _list(resource, "scopeSpans"):
            for span in _list(scope, "spans"):
                yield _span(span, attributes)
    if "attributes" in value and not _is_log(value):
        yield _span(value, _attributes(_object(value.get("resource") or {})))


def logs_of(value: dict[str, Any]) -> Iterator[tuple[Event, dict[str, Any]]]:
    """Yield the log records of an object, each with the attributes of its resource.

    :raises RejectedError: When it is not as OpenTelemetry writes it.
    """
    for resource in _list(value, "resourceLogs"):
        attributes = _attributes(_object(resource.get("resource") or {}))
        for scope in _list(resource, "scopeLogs"):
            for record in _list(scope, "logRecords"):
                yield _event(record), attributes
    if "attributes" in value and _is_log(value):
        yield _event(value), _attributes(_object(value.get("resource") or {}))


def _is_log(value: dict[str, Any]) -> bool:
    return "body" in value or "eventName" in value or "event_name" in value or "severity_number" in value


def _span(span: dict[str, Any], resource: dict[str, Any]) -> Span:
    context = _object(span.get("context") or {})
    begin = _nanos(_get(span, "startTimeUnixNano", "start_time", "startTime"))
    end = _nanos(_get(span, "endTimeUnixNano", "end_time", "endTime"))
    status = span.get("status")
    code = _get(status, "code", "statusCode", "status_code") if isinstance(status, dict) else status
    return Span(
        trace=_id(_get(span, "traceId", "trace_id") or context.get("trace_id")),
        id=_id(_get(span, "spanId", "span_id") or context.get("span_id")),
        begin=None if begin is None else begin // 1_000_000,
        end=None if end is None else end // 1_000_000,
        latency=None if begin is None or end is None else (end - begin) / 1_000_000,
        attributes=_attributes(span),
        resource=resource,
        events=tuple(map(_event, _list(span, "events"))),
        failed=str(code) in {"2", "ERROR", "STATUS_CODE_ERROR"},
    )


def _event(event: dict[str, Any]) -> Event:
    attributes = _attributes(event)
    time = _nanos(_get(event, "timeUnixNano", "timestamp", "observedTimeUnixNano", "observed_timestamp"))
    name = _get(event, "eventName", "event_name", "name") or attributes.get("event.name")
    return Event(
        name if isinstance(name, str) else "",
        None if time is None else time // 1_000_000,
        attributes,
        _id(_get(event, "traceId", "trace_id")),
        _id(_get(event, "spanId", "span_id")),
        plain(event.get("body")),
    )


def _attributes(owner: dict[str, Any]) -> dict[str, Any]:
    attributes = owner.get("attributes") or {}
    if isinstance(attributes, dict):
        return {name: plain(value) for name, value in attributes.items()}
    if not isinstance(attributes, list):
        message = "`attributes` is neither a list nor an object"
        raise RejectedError(message, _REMEDY)
    found = {}
    for attribute in attributes:
        if not isinstance(attribute, dict) or not isinstance(attribute.get("key"), str):
            message = "an attribute is no object with `key` and `value`"
            raise RejectedError(message, _REMEDY)
        found[attribute["key"]] = plain(attribute.get("value"))
    return found


def plain(value: Any) -> Any:
    """Return the value in a wrapped attribute (`AnyValue`); any other as it is."""
    if isinstance(value, dict) and len(value) == 1:
        ((kind, inner),) = value.items()
        if kind in _WRAPPED:
            return inner
        if kind == "intValue":
            return _integer(inner, kind)
        if kind == "arrayValue" and isinstance(inner, dict):
            return [plain(one) for one in inner.get("values") or ()]
        if kind == "kvlistValue" and isinstance(inner, dict):
            return _attributes({"attributes": inner.get("values")})
    return value


def _nanos(value: Any) -> int | None:
    """Read nanoseconds, as a number or its text, or ISO 8601 text."""
    if value is None or str(value) == "0":
        return None
    if isinstance(value, str) and not value.isdecimal():
        return moment(value, "time") * 1_000_000
    nanos = _integer(value, "time")
    if not 0 <= nanos < _LAST:
        message = "`time` is no number of nanoseconds since 1970-01-01 UTC"
        raise RejectedError(message, _REMEDY)
    return nanos


def _integer(value: Any, what: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        message = f"`{what}` is no whole number: {str(value)[:40]!r}"
        raise RejectedError(message, _REMEDY) from None


def _id(value: Any) -> str:
    return value.removeprefix("0x") if isinstance(value, str) else ""


def _get(value: dict[str, Any], *names: str) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)


def _list(value: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = value.get(name) or ()
    if name.startswith("resource"):
        found = found or value.get(name.replace("S", "_s").replace("L", "_l")) or ()
    elif not found and name.startswith("scope"):
        found = value.get(name.replace("S", "_s").replace("L", "_l")) or ()
    elif not found and name == "logRecords":
        found = value.get("log_records") or ()
    if not isinstance(found, (list, tuple)):
        message = f"`{name}` is no list"
        raise RejectedError(message, _REMEDY)
    return [_object(one) for one in found]


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    message = "a list, a text or a number stands where OpenTelemetry has an object"
    raise RejectedError(message, _REMEDY)
