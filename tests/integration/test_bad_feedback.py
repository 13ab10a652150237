"""Feedback that nobody should have to fear: each bad event is one dead letter with its reason, KPIs are unharmed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from events.clock import system_clock
from fixtures import broken_feedback
from fixtures.stream import file_name
from stores.dead_letters import DeadLetters, KeptLetter
from tests.dataflows.feedback_content import replay

SETTINGS = """
[feedback]
windows = ["1d"]
horizon_hours = 87840

[[feedback.streams]]
name = "feedback-broken"
"""

BAD = [case for case in broken_feedback.cases() if case.reason and case.name != "ahead"]
"""Those that are bad whatever the clock says."""

Run = tuple[dict[str, Any], list[KeptLetter]]


def run(home: Path, log: Path) -> Run:
    config = home / "headrace.toml"
    config.write_text(SETTINGS)
    found = replay(log, home / "data", config=config)
    letters = DeadLetters(home / "data" / "dead_letters.sqlite3", system_clock).list(limit=1_000)
    # An event of the year 2000 can be read, and is too late.
    return found, [kept for kept in letters if kept.letter.step != "lateness"]


def recorded(log: Path) -> Path:
    folder = log / "feedback-broken"
    folder.mkdir(parents=True)
    for partition, content in broken_feedback.files().items():
        (folder / file_name(partition)).write_bytes(content)
    return log


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("broken")
    return run(home, recorded(home / "log"))


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory, broken: Run) -> Run:
    """Run over the same stream, the bad events left out."""
    home = tmp_path_factory.mktemp("without")
    bad = {(kept.letter.record.partition, kept.letter.record.offset) for kept in broken[1]}
    log = recorded(home / "log")
    for path in log.rglob("*.jsonl"):
        partition, offset, kept = int(path.name.split("-")[0]), 0, []
        for line in path.read_bytes().splitlines(keepends=True):
            if (partition, offset) not in bad:
                kept.append(line)
            offset += len(line)
        path.write_bytes(b"".join(kept))
    return run(home, log)


def test_every_bad_event_is_one_dead_letter(broken: Run) -> None:
    assert len(broken[1]) == len(BAD) > 50
    assert all(kept.letter.step == "decode" and "\n" not in kept.letter.reason for kept in broken[1])
    assert not [kept.letter.reason for kept in broken[1] if kept.letter.reason.startswith("unexpected")]


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_the_reason_says_what_is_wrong_and_what_to_do(broken: Run, case: broken_feedback.Case) -> None:
    said = [kept.letter.reason for kept in broken[1] if kept.letter.record.value == case.value]
    assert any(case.reason in reason and case.remedy in reason for reason in said), said


def test_kpis_are_what_they_are_without_the_bad_events(broken: Run, without: Run) -> None:
    assert not without[1]
    assert broken[0]["facts"] == without[0]["facts"]
    assert broken[0]["kpis"] == without[0]["kpis"]
    assert broken[0]["facts"]["questions"]
    assert broken[0]["facts"]["ratings"]
