"""How everything stands, as gauges for Prometheus. Every label has few values, and nobody's name.

What cannot be told at this moment is left out, never told as a number that it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily

from events.log import Applied
from serving.overview.state import Overview, SourceState
from stores.settings import FLOWS

MOST_SOURCES = 500
"""More sources than this are not told one by one, and of their partitions no more than four times as many."""
_MOST_PARTITIONS = 4 * MOST_SOURCES

Values = Iterable[tuple[tuple[str, ...], float | int | None]]
"""Values of labels, and what is told of them."""


def gauges(look: Callable[[], Overview]) -> Iterator[GaugeMetricFamily]:
    """Look, and tell what was seen; or only that nothing could be."""
    try:
        seen = look()
    except Exception:  # the other metrics are needed most when the stores cannot be read
        yield GaugeMetricFamily("headrace_overview_up", "Whether the sources could be looked up.", 0)
        return
    yield GaugeMetricFamily("headrace_overview_up", "Whether the sources could be looked up.", 1)
    yield from _of_flows(seen)
    yield from _of_sources(seen.sources[:MOST_SOURCES])
    yield from _of_partitions(seen)
    yield from _of_stores(seen)


def _of_flows(seen: Overview) -> Iterator[GaugeMetricFamily]:
    known = [flow for flow in FLOWS if flow in seen.running | seen.wanted]
    yield _family("headrace_flow_running", "Whether a flow runs.", "flow", [((f,), f in seen.running) for f in known])
    yield _family(
        "headrace_dead_letters", "Events that could not be processed.", "flow",
        [((flow,), count) for flow, count in seen.dead_letters.items()],
    )  # fmt: skip


_OF_SOURCES: tuple[tuple[str, str, Callable[[SourceState], float | int | None]], ...] = (
    ("lag_seconds", "How far the store is behind the source at most.", lambda one: _seconds(one.lag)),
    ("objective_seconds", "How far it may be behind.", lambda one: one.objective / 1000),
    ("objective_met", "Whether it is no further behind than that.", lambda one: one.met),
    ("backlog", "Events on the log that are not in the store.", lambda one: one.backlog),
    ("running", "Whether its flow runs.", lambda one: one.running),
    ("newest_timestamp_seconds", "Event time of the newest change.", lambda one: _seconds(one.newest)),
    ("rate", "Events a second that were taken in of late.", lambda one: one.rate),
)


def _of_sources(sources: Iterable[SourceState]) -> Iterator[GaugeMetricFamily]:
    for name, text, value in _OF_SOURCES:
        values = [((one.flow, one.source), value(one)) for one in sources]
        yield _family(f"headrace_source_{name}", text, "flow source", values)


_OF_PARTITIONS: tuple[tuple[str, str, Callable[[Applied, int], float | int | None]], ...] = (
    ("watermark_timestamp_seconds", "Newest event time in the store.", lambda mark, now: _seconds(mark.event_time)),
    ("commit_timestamp_seconds", "When the store last noted what it holds.", lambda mark, now: mark.applied_at / 1000),
    ("read_timestamp_seconds", "When what the store holds of it was read.", lambda mark, now: mark.read_at / 1000),
    ("lag_seconds", "How old what the store holds of it is at most.", lambda mark, now: _seconds(_lag(mark, now))),
    ("event_age_seconds", "How long ago its newest event was.", lambda mark, now: _seconds(_age(mark, now))),
    ("caught_up", "Whether there was nothing more when it was last read.", lambda mark, now: mark.caught_up),
    ("offset", "Where on the log the store goes on.", lambda mark, now: mark.offset),
)


def _of_partitions(seen: Overview) -> Iterator[GaugeMetricFamily]:
    marks = [(flow, mark) for flow in FLOWS for mark in seen.marks.get(flow, ())][:_MOST_PARTITIONS]
    for name, text, value in _OF_PARTITIONS:
        values = [((flow, mark.source, mark.partition), value(mark, seen.at)) for flow, mark in marks]
        yield _family(f"headrace_partition_{name}", text, "flow source partition", values)


def _of_stores(seen: Overview) -> Iterator[GaugeMetricFamily]:
    rows = [((name,), table["rows"]) for name, table in list((seen.stores.get("tables") or {}).items())[:MOST_SOURCES]]
    yield _family("headrace_table_rows", "Rows of a live table.", "table", rows)
    if "too_late" in seen.stores:
        text = "Events that came after the horizon within which windows are corrected."
        yield GaugeMetricFamily("headrace_feedback_late_events", text, seen.stores["too_late"])
    if seen.alerts is not None:
        yield GaugeMetricFamily("headrace_alerts", "Alerts that stand.", seen.alerts)


def _lag(mark: Applied, now: int) -> int | None:
    """Return how old (ms) a partition is in the store, as `serving.freshness.age` does of all of a stream."""
    if mark.caught_up:
        return max(0, now - mark.read_at)
    return None if mark.event_time is None else max(0, now - min(mark.read_at, mark.event_time))


def _age(mark: Applied, now: int) -> int | None:
    return None if mark.event_time is None else max(0, now - mark.event_time)


def _seconds(millis: int | None) -> float | None:
    return None if millis is None else millis / 1000


def _family(name: str, text: str, labels: str, values: Values) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels.split())
    for of, value in values:
        if value is not None:
            family.add_metric(list(of), value)
    return family
