"""What the KPI store holds, in a form that two runs can be compared by; and a feedback flow run in this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

from bytewax.testing import cluster_main, run_main

from dataflows.feedback import build
from events.kpis import FACT_KINDS
from stores.dead_letters import DeadLetters
from stores.kpis.reader import KpiReader
from stores.settings import Settings, load

STREAMS = Path(__file__).parents[2] / "fixtures" / "streams"
CONFIG = STREAMS / "headrace.toml"
ALL = 1_000_000


def content(data: Path, config: Path = CONFIG) -> dict[str, Any]:
    """Return all facts, values of KPIs, alerts and counts of what was too late, and the offsets taken in.

    When something was stored is left out: it is all that two runs over the same events may differ in. So are the
    documents that an alert names: they are those that are suspicious at the moment when it is raised.
    """
    settings = settings_of(data, config)
    reader = KpiReader(settings.kpis_path)
    return {
        "facts": {kind: sorted(_rows(reader, f"SELECT * FROM {kind}"), key=repr) for kind in FACT_KINDS},  # noqa: S608  # names of ours
        "kpis": {
            (value.kpi, value.window, value.start, value.group): (
                value.end, value.value, value.count, value.late, value.stage, value.examples,
            )
            for value in reader.values()
        },
        "alerts": sorted(
            (alert.id, alert.kind, alert.rule, alert.state, alert.since, alert.event_time, tuple(alert.group.items()))
            for alert in (stored.alert for stored in reader.alerts(limit=ALL))
        ),
        "late": reader.late(),
        "dead": sorted(kept.letter.reason for kept in DeadLetters(settings.dead_letters_path, _never).list()),
        "applied": {f"{mark.source}/{mark.partition}": mark.offset for mark in reader.applied()},
    }  # fmt: skip


def values_of(found: dict[str, Any], kpi: str, window: str) -> dict[tuple[int, tuple[tuple[str, str], ...]], Any]:
    """Return the values of one KPI of `content` in one kind of window, and their counts, by begin and group."""
    return {
        (start, group): (value, count)
        for (name, size, start, group), (_, value, count, *_) in found["kpis"].items()
        if (name, size) == (kpi, window)
    }


def settings_of(data: Path, config: Path = CONFIG, **overrides: Any) -> Settings:
    """Return the settings of `config` with another data folder."""
    with mock.patch.dict(os.environ, {"HEADRACE_CONFIG": str(config)}):
        return load(data_dir=data, **overrides)


def replay(log: Path, data: Path, *, workers: int = 1, batch: int = 1000, config: Path = CONFIG) -> dict[str, Any]:
    """Run the feedback flow over the recorded streams to their end; return what the store holds."""
    settings = settings_of(data, config, mode="replay", log={"dir": log}, embedding={"backend": "hashing"})
    settings = settings.model_copy(update={"feedback": settings.feedback.model_copy(update={"batch_size": batch})})
    flow = build(settings)
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    return content(data, config)


def _rows(reader: KpiReader, statement: str) -> list[Any]:
    return list(reader.sql(statement, rows=ALL, seconds=60).rows)


def _never() -> int:
    message = "reading needs no clock"
    raise AssertionError(message)
