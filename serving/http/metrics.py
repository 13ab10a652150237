"""Metrics for Prometheus. Every label has few values: routes, not paths; kinds, not ids; nobody's name.

How fresh the sources are is looked up when somebody asks for the metrics, not kept beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from events.context import Context
from serving.access.caller import Caller
from serving.answer.parts import Answer
from serving.service import AnswerEvent, Given, Served

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_SOURCES = 500
"""More sources than this are not told one by one."""
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_TOKENS = (50, 100, 250, 500, 1000, 2000, 4000, 8000, 32_000, 128_000)

Look: TypeAlias = Callable[[Caller], dict[str, Any]]
"""Returns the overview of all sources, as `GET /freshness` tells it to a caller."""


class Metrics:
    """What one server counts."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "headrace_requests", "Requests that were answered.", ["route", "method", "status"], registry=registry
        )
        self._seconds = Histogram(
            "headrace_request_seconds", "From request to the end of its response.", ["route"], buckets=_SECONDS,
            registry=registry,
        )  # fmt: skip
        self._contexts = Counter("headrace_contexts", "Contexts that were assembled.", registry=registry)
        self._context_tokens = Histogram(
            "headrace_context_tokens", "Tokens of a context's block.", buckets=_TOKENS, registry=registry
        )
        self._items = Counter("headrace_context_items", "Items of contexts.", ["kind"], registry=registry)
        self._stale = Counter(
            "headrace_context_items_stale", "Items of contexts that were older than their source's objective.",
            ["kind"], registry=registry,
        )  # fmt: skip
        self._answers = Counter("headrace_answers", "Answers.", ["model", "degraded"], registry=registry)
        self._first_token = Histogram(
            "headrace_answer_first_token_seconds", "Until an answer's first text.", buckets=_SECONDS, registry=registry
        )
        self.limited = Counter("headrace_rate_limited", "Requests that were refused as too many.", registry=registry)
        self.streams = Gauge("headrace_answers_in_the_making", "Answers in the making.", registry=registry)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def context(self, context: Context) -> None:
        """Count a context."""
        self._contexts.inc()
        self._context_tokens.observe(context.tokens)
        for item in context.items:
            self._items.labels(item.kind).inc()
            if item.stale:
                self._stale.labels(item.kind).inc()

    def event(self, event: AnswerEvent) -> None:
        """Count what an answer comes in."""
        if isinstance(event, Served):
            self.context(event.context)
        elif isinstance(event, Given):
            self._answer(event.answer)

    def _answer(self, answer: Answer) -> None:
        # The model is the settings' one.
        self._answers.labels(answer.model[:200], "yes" if answer.degraded else "no").inc()
        self._first_token.observe(answer.first_token / 1000)

    def text(self, caller: Caller) -> bytes:
        """Return all that a caller may see of them as Prometheus reads them."""
        return generate_latest(self.registry) + generate_latest(Sources(self._look, caller))


class Sources(Collector):
    """Reads at each request for the metrics how fresh the sources are, and what there is for whoever asks."""

    def __init__(self, look: Look, caller: Caller) -> None:
        self._look = look
        self._caller = caller

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            seen = self._look(self._caller)
        except Exception:  # the other metrics are needed most when the stores cannot be read
            yield GaugeMetricFamily("headrace_overview_up", "Whether the sources could be looked up.", 0)
            return
        yield GaugeMetricFamily("headrace_overview_up", "Whether the sources could be looked up.", 1)
        yield from _of_sources(seen)
        letters = GaugeMetricFamily("headrace_dead_letters", "Events that could not be processed.", labels=["flow"])
        for flow, count in seen.get("dead_letters", {}).items():
            letters.add_metric([flow], count)
        yield letters
        rows = GaugeMetricFamily("headrace_table_rows", "Rows of a live table.", labels=["table"])
        for name, table in list((seen.get("stores", {}).get("tables") or {}).items())[:MOST_SOURCES]:
            if isinstance(table, dict) and table.get("rows") is not None:
                rows.add_metric([name], table["rows"])
        yield rows


_GAUGES: tuple[tuple[str, str, str, float], ...] = (
    ("lag_ms", "headrace_source_lag_seconds", "How far the store is behind the source at most.", 0.001),
    ("objective_ms", "headrace_source_objective_seconds", "How far it may be behind.", 0.001),
    ("met", "headrace_source_objective_met", "Whether it is no further behind than that.", 1),
    ("backlog", "headrace_source_backlog", "Events on the log that are not in the store.", 1),
    ("running", "headrace_source_running", "Whether its flow runs.", 1),
)


def _of_sources(seen: dict[str, Any]) -> Iterator[GaugeMetricFamily]:
    sources = seen.get("sources", [])[:MOST_SOURCES]
    for field, name, text, factor in _GAUGES:
        family = GaugeMetricFamily(name, text, labels=["flow", "source"])
        for source in sources:
            value = source.get(field)
            if isinstance(value, (bool, int, float)):
                family.add_metric([source["flow"], source["source"]], value * factor)
        yield family
    newest = GaugeMetricFamily(
        "headrace_source_newest_timestamp_seconds", "Event time of the newest change.", labels=["flow", "source"]
    )
    for source in sources:
        if source.get("newest"):
            at = datetime.fromisoformat(source["newest"].replace("Z", "+00:00")).timestamp()
            newest.add_metric([source["flow"], source["source"]], at)
    yield newest
