"""The profiles flow, killed again and again, ends with exactly the profiles of the run that nobody disturbed."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bytewax.recovery import init_db_dir

from fixtures import people
from fixtures.people import Crowd
from tests.dataflows.profiles_content import content, crowd_config, partition
from tests.dataflows.test_profiles import batch_partition
from tests.faults.harness import KILLS, ROOT, FlowUnderTest, seeded_moments

CROWD = Crowd(seed=11, persons=3_000, changes=20_000)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a log of a long stream, and its settings."""
    folder = tmp_path_factory.mktemp("crowd")
    people.write(CROWD, folder / "log", 4)
    crowd_config(folder)
    return folder


def profiles(place: Path, *, processes: int = 1, batch: int = 16) -> FlowUnderTest:
    config = place / "headrace.toml"
    return FlowUnderTest(
        "dataflows.profiles", functools.partial(content, config=config), variables(place, batch), processes
    )


def variables(place: Path, batch: int) -> dict[str, str]:
    return {
        "HEADRACE_CONFIG": str(place / "headrace.toml"),
        "HEADRACE_MODE": "replay",
        "HEADRACE_LOG__DIR": str(place / "log"),
        "HEADRACE_PROFILES__BATCH_SIZE": str(batch),
    }


@pytest.mark.timeout(900)
def test_a_long_stream_survives_kills(tmp_path: Path, place: Path) -> None:
    calm = profiles(place, batch=500).run(tmp_path / "calm")
    assert set(partition(calm).values()) == batch_partition(place / "headrace.toml", people.final(CROWD))

    moments = seeded_moments(seed=7, count=KILLS, longest=0.6)
    killed, kills = profiles(place, batch=4).run_killed(tmp_path / "killed", moments)
    assert killed == calm
    assert kills == KILLS


@pytest.mark.timeout(600)
def test_kills_in_two_processes_lose_nothing(tmp_path: Path, place: Path) -> None:
    calm = profiles(place, batch=500).run(tmp_path / "calm", recovery=False)
    moments = seeded_moments(seed=5, count=KILLS // 3, longest=1.0)
    killed, kills = profiles(place, processes=2, batch=8).run_killed(tmp_path / "killed", moments)
    assert killed == calm
    assert kills > 0


@pytest.mark.timeout(300)
def test_a_kill_between_the_commits_of_journal_and_engine_loses_nothing(tmp_path: Path, place: Path) -> None:
    calm = profiles(place, batch=500).run(tmp_path / "calm", recovery=False)
    data = tmp_path / "killed"
    (data / "recovery").mkdir(parents=True)
    init_db_dir(data / "recovery", 4)
    command = [sys.executable, "-m", "bytewax.run", "tests.faults.dying_profiles", "-r", str(data / "recovery")]
    for after in (1, 2, 1, 3):
        chosen = {**os.environ, **variables(place, 4), "HEADRACE_DATA_DIR": str(data), "DIE_AFTER": str(after)}
        died = subprocess.run([*command, "-s", "1", "-b", "0"], cwd=ROOT, env=chosen, check=False, capture_output=True)
        assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert profiles(place).run(data) == calm
