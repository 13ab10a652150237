"""The lake flow over recorded streams: the same rows whatever the workers and batches, and nothing lost."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bytewax.testing import run_main

from dataflows.lake import build
from events.clock import system_clock
from events.feedback import Rating, Turn
from events.log import LogRecord
from operators.feedback.own import to_json
from stores.dead_letters import DeadLetters
from stores.log.files import FileLog
from tests.dataflows.lake_content import (
    BEGIN,
    DAY,
    HOUR,
    SETTINGS,
    content,
    expected,
    record,
    replay,
    settings_of,
    story,
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log of some hundred conversations."""
    return record(story(5, 150), tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="module")
def rows() -> Any:
    """Return what the lake is to hold."""
    return json.loads(json.dumps(expected(story(5, 150)), default=str))


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_rows_depend_neither_on_workers_nor_on_batches(
    tmp_path: Path, log: Path, rows: Any, workers: int, batch: int
) -> None:
    found = replay(log, tmp_path, workers=workers, batch=batch)
    assert found["rows"] == rows
    assert sum(found["applied"].values()) > 0


def test_a_second_replay_takes_nothing_in(tmp_path: Path, log: Path) -> None:
    first = replay(log, tmp_path)
    commits = sorted(path.name for path in (tmp_path / "lake" / "_delta_log").iterdir())
    assert replay(log, tmp_path) == first
    assert sorted(path.name for path in (tmp_path / "lake" / "_delta_log").iterdir()) == commits


def test_late_feedback_amends_the_row_that_is_there(tmp_path: Path) -> None:
    log = tmp_path / "log"
    turn, rating = Turn("c", "1", BEGIN, "assistant", "hello"), Rating("c", "1", BEGIN + DAY, "thumbs", 1.0, "1")
    record([turn], log)
    assert replay(log, tmp_path / "data")["rows"]["c"]["good"] == 0
    record([rating], log)
    assert replay(log, tmp_path / "data")["rows"] == json.loads(json.dumps(expected([turn, rating]), default=str))


def test_feedback_waits_for_its_conversation(tmp_path: Path) -> None:
    log = tmp_path / "log"
    turn, rating = Turn("c", "1", BEGIN, "assistant", "hello"), Rating("c", "1", BEGIN + DAY, "thumbs", 0.0)
    record([rating], log)
    assert replay(log, tmp_path / "data")["rows"] == {}
    record([turn], log)
    assert replay(log, tmp_path / "data")["rows"]["c"]["bad"] == 1


def test_a_backfill_of_streams_of_unequal_length_loses_no_feedback(tmp_path: Path) -> None:
    days = range(20)
    answers = [Turn(f"c{day}", f"a{k}", BEGIN + day * DAY + k, "assistant", "…") for day in days for k in range(20)]
    ratings = [Rating(f"c{day}", "r", BEGIN + day * DAY + HOUR, "thumbs", 0.0) for day in days]
    log = FileLog(tmp_path / "log", partitions=1)
    # Recorded afterwards: the time of the record says nothing of the event's.
    for stream, events in (("chat", answers), ("ratings", ratings)):
        log.append(stream, [LogRecord(stream, 0, 0, BEGIN + 99 * DAY, b"c", to_json(event)) for event in events])
    (tmp_path / "headrace.toml").write_text(SETTINGS)
    lake = {"batch_size": 10, "keep_days": 2}
    settings = settings_of(
        tmp_path / "data", tmp_path / "headrace.toml", mode="replay", log={"dir": tmp_path / "log"}, lake=lake
    )
    run_main(build(settings), epoch_interval=timedelta(0))
    rows = content(tmp_path / "data")["rows"]
    assert rows == json.loads(json.dumps(expected([*answers, *ratings]), default=str))


def test_what_cannot_be_read_becomes_a_dead_letter_and_harms_nobody(tmp_path: Path) -> None:
    log = record([Turn("c", "1", BEGIN, "user", "hello")], tmp_path / "log")
    year_ten_thousand = {"kind": "turn", "conversation": "d", "id": "1", "time": 253_402_300_800_000, "role": "user"}
    for value in (b"\xff", b"{}", json.dumps(year_ten_thousand).encode(), b"x" * 2_000_000):
        FileLog(log, partitions=3).append("chat", [LogRecord("chat", 0, 0, BEGIN, b"c", value)])
    assert list(replay(log, tmp_path / "data")["rows"]) == ["c"]
    letters = DeadLetters(tmp_path / "data" / "dead_letters.sqlite3", system_clock).list("lake")
    assert len(letters) == 4
    assert content(tmp_path / "data")["applied"]["chat/0"] >= 0
