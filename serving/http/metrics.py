"""Metrics for Prometheus. Every label has few values: routes, not paths; kinds, not ids; nobody's name.

How fresh the sources are is looked up when somebody asks for the metrics, not kept beside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from events.context import Context
from serving.access.caller import Caller
from serving.answer.parts import Answer
from serving.overview import Overview
from serving.overview.gauges import gauges
from serving.service import AnswerEvent, Given, Served

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_TOKENS = (50, 100, 250, 500, 1000, 2000, 4000, 8000, 32_000, 128_000)

Look: TypeAlias = Callable[[Caller], Overview]
"""Returns the overview of all sources, as far as a caller may see it."""


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
    """Looks at each request for the metrics how everything stands, and what there is for whoever asks."""

    def __init__(self, look: Look, caller: Caller) -> None:
        self._look = look
        self._caller = caller

    @override
    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from gauges(lambda: self._look(self._caller))
