"""The lake flow, killed again and again, ends with exactly the rows of the run that nobody disturbed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.dataflows.lake_content import SETTINGS, content, expected, record, story
from tests.faults.harness import KILLS, FlowUnderTest, seeded_moments

CONVERSATIONS = 4_000


def lake(log: Path, *, processes: int = 1, batch: int = 8) -> FlowUnderTest:
    config = log / "headrace.toml"
    config.write_text(SETTINGS)
    variables = {
        "HEADRACE_CONFIG": str(config),
        "HEADRACE_MODE": "replay",
        "HEADRACE_LOG__DIR": str(log),
        "HEADRACE_LAKE__BATCH_SIZE": str(batch),
        "HEADRACE_LAKE__COMPACT_EVERY": "5",
    }
    return FlowUnderTest("dataflows.lake", content, variables, processes)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log with many conversations."""
    return record(story(11, CONVERSATIONS), tmp_path_factory.mktemp("log"))


@pytest.mark.timeout(900)
def test_a_long_stream_survives_kills(tmp_path: Path, log: Path) -> None:
    calm = lake(log, batch=500).run(tmp_path / "calm")
    assert calm["rows"] == json.loads(json.dumps(expected(story(11, CONVERSATIONS)), default=str))

    killed, kills = lake(log).run_killed(tmp_path / "killed", seeded_moments(seed=3, count=KILLS, longest=0.3))
    assert killed == calm
    assert kills == KILLS
    files = list((tmp_path / "killed" / "lake").rglob("*.parquet"))
    assert files


@pytest.mark.timeout(600)
def test_kills_in_two_processes_lose_nothing(tmp_path: Path, log: Path) -> None:
    moments = seeded_moments(seed=5, count=KILLS // 3, longest=0.5)
    killed, kills = lake(log, processes=2).run_killed(tmp_path / "killed", moments)
    assert killed["rows"] == json.loads(json.dumps(expected(story(11, CONVERSATIONS)), default=str))
    assert kills > 0
