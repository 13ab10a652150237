"""One record of the log with events of several people: those of one of them are taken out, the rest stays readable.

Lists of events, and OpenTelemetry's lists of spans and log records within resources and scopes, can be told apart item
by item; whatever else a record holds is one thing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_LISTS = frozenset({
    "resourceSpans", "resource_spans", "scopeSpans", "scope_spans", "spans",
    "resourceLogs", "resource_logs", "scopeLogs", "scope_logs", "logRecords", "log_records",
    "batch", "data",
})  # fmt: skip
"""Members of OpenTelemetry's and of Langfuse's objects that list events, or what holds such lists."""


def without(value: Any, mine: Callable[[Any], bool]) -> Any:
    """Return what is left of a value when the events that are `mine` are taken out; None if nothing is.

    :arg mine: Tells of a value with a single event in it, all that is around it kept, whether that event is to go.
    """
    return _left(value, mine, lambda part: part)


def _left(value: Any, mine: Callable[[Any], bool], around: Callable[[Any], Any]) -> Any:
    if isinstance(value, list):
        kept = [left for one in value if (left := _left(one, mine, lambda part: around([part]))) is not None]
        return kept or None
    names = [name for name in value if name in _LISTS and isinstance(value[name], list)] if _is_object(value) else []
    if not names:
        return None if mine(around(value)) else value
    bare = {name: part for name, part in value.items() if name not in names}
    found = {name: _left(value[name], mine, _within(bare, name, around)) for name in names}
    if all(left is None for left in found.values()):
        return None
    return {name: found.get(name, part) for name, part in value.items() if found.get(name, part) is not None}


def _within(bare: dict[str, Any], name: str, around: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda part: around({**bare, name: part})


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)
