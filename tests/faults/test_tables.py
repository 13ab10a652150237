"""The tables flow, killed again and again, ends with exactly the content of the run that nobody disturbed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures.generator import final, write
from fixtures.generator_source import Scale
from tests.dataflows.tables_content import CONFIG, STREAMS, content, rows_of
from tests.faults.harness import KILLS, FlowUnderTest, seeded_moments

SCALE = Scale(seed=3, rows=4_000, events=120_000)


def tables(log: Path, *, processes: int = 1, batch: int = 16) -> FlowUnderTest:
    variables = {
        "HEADRACE_CONFIG": str(CONFIG),
        "HEADRACE_MODE": "replay",
        "HEADRACE_LOG__DIR": str(log),
        "HEADRACE_TABLES__BATCH_SIZE": str(batch),
    }
    return FlowUnderTest("dataflows.tables", content, variables, processes)


def expected(scale: Scale) -> dict[str, dict[str, Any]]:
    """Return what the source holds in the end, told by the generator without any event."""
    tables: dict[str, dict[str, Any]] = {}
    for table, key, row in final(scale):
        tables.setdefault(table, {})[key] = row
    return tables


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log with a long stream."""
    folder = tmp_path_factory.mktemp("log")
    write(SCALE, folder, 4)
    return folder


def test_two_processes_end_in_the_same_content_as_one(tmp_path: Path) -> None:
    alone = tables(STREAMS).run(tmp_path / "one", recovery=False)
    assert all(alone["tables"].values())
    assert tables(STREAMS, processes=2).run(tmp_path / "two", recovery=False) == alone


@pytest.mark.timeout(900)
def test_a_long_stream_survives_kills(tmp_path: Path, log: Path) -> None:
    calm = tables(log, batch=500).run(tmp_path / "calm")
    for table, rows in expected(SCALE).items():
        assert rows_of(calm, table) == rows, table

    moments = seeded_moments(seed=7, count=KILLS, longest=0.5)
    killed, kills = tables(log, batch=8).run_killed(tmp_path / "killed", moments)
    assert killed == calm
    assert kills == KILLS


@pytest.mark.timeout(600)
def test_kills_in_two_processes_lose_nothing(tmp_path: Path, log: Path) -> None:
    moments = seeded_moments(seed=5, count=KILLS // 3, longest=1.0)
    killed, kills = tables(log, processes=2, batch=8).run_killed(tmp_path / "killed", moments)
    for table, rows in expected(SCALE).items():
        assert rows_of(killed, table) == rows, table
    assert kills > 0
