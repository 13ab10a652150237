"""The feedback flow, killed again and again, ends with exactly the KPIs of the run that nobody disturbed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.conversations import events
from fixtures.conversations_expected import KPIS, expected
from fixtures.conversations_writing import STREAM, records
from stores.log.files import FileLog
from tests.dataflows.feedback_content import CONFIG, STREAMS, content, values_of
from tests.faults.harness import KILLS, FlowUnderTest, seeded_moments

EVENTS = 24_000
SPACING = 5_000.0
"""Milliseconds from one conversation to the next: some five hours in all."""


def feedback(log: Path, *, processes: int = 1, batch: int = 16) -> FlowUnderTest:
    variables = {
        "HEADRACE_CONFIG": str(CONFIG),
        "HEADRACE_MODE": "replay",
        "HEADRACE_LOG__DIR": str(log),
        # What is said of a text depends on the text alone; without that, a run begins seconds sooner.
        "HEADRACE_FEEDBACK__SENTIMENT__BACKEND": "none",
        "HEADRACE_FEEDBACK__BATCH_SIZE": str(batch),
    }
    return FlowUnderTest("dataflows.feedback", content, variables, processes)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log with a long stream."""
    folder = tmp_path_factory.mktemp("log")
    FileLog(folder, partitions=4).append(STREAM, list(records(events("kills", EVENTS, spacing=SPACING))))
    return folder


def test_two_processes_end_in_the_same_content_as_one(tmp_path: Path) -> None:
    alone = feedback(STREAMS).run(tmp_path / "one", recovery=False)
    assert alone["kpis"]
    assert feedback(STREAMS, processes=2).run(tmp_path / "two", recovery=False) == alone


@pytest.mark.timeout(900)
def test_a_long_stream_survives_kills(tmp_path: Path, log: Path) -> None:
    calm = feedback(log, batch=500).run(tmp_path / "calm")
    lines = [path.read_text(encoding="utf-8").splitlines() for path in sorted((log / STREAM).glob("*.jsonl"))]
    checked = 0
    for value in expected(lines):
        if value.kpi in KPIS and value.kpi != "users":
            place = (value.start, tuple(value.group.items()))
            assert values_of(calm, value.kpi, value.window)[place] == (pytest.approx(value.value), value.count), value
            checked += 1
    assert checked > 100

    moments = seeded_moments(seed=7, count=KILLS, longest=0.5)
    killed, kills = feedback(log, batch=8).run_killed(tmp_path / "killed", moments)
    for part, of_calm in calm.items():
        assert killed[part] == of_calm, part
    assert kills == KILLS


@pytest.mark.timeout(600)
def test_kills_in_two_processes_lose_nothing(tmp_path: Path, log: Path) -> None:
    calm = feedback(log, batch=500).run(tmp_path / "calm", recovery=False)
    moments = seeded_moments(seed=5, count=KILLS // 3, longest=1.0)
    killed, kills = feedback(log, processes=2, batch=8).run_killed(tmp_path / "killed", moments)
    assert killed == calm
    assert kills > 0
