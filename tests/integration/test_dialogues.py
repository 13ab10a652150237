"""2,000 real dialogues through the feedback flow: each KPI, in each window and group, is what SQL says of the files."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
from bytewax.recovery import init_db_dir

from events.feedback import FeedbackEvent, Rating, Turn
from events.log import LogRecord
from operators.feedback.decode import Decoder
from stores.kpis.reader import KpiReader, StoredValue
from stores.log.files import FileLog
from stores.settings import load
from tests.integration.dialogues import BEGIN, MULTIWOZ, USS, Said, multiwoz, records, uss
from tests.integration.dialogues_oracle import GROUPINGS, QUANTILES, SESSION, WINDOWS, Place, expected

ROOT = Path(__file__).parents[2]
PARTITIONS = 3
APPEND = 5_000
SECONDS = 540
ERROR = 0.005
"""Relative error that a quantile may have."""


def settings_variables(data: Path) -> dict[str, str]:
    streams = [{"name": name, "format": "headrace", "application": name} for name in (USS, MULTIWOZ)]
    return {
        "HEADRACE_MODE": "replay",
        "HEADRACE_DATA_DIR": str(data),
        "HEADRACE_FEEDBACK__STREAMS": json.dumps(streams),
        "HEADRACE_FEEDBACK__WINDOWS": json.dumps([*WINDOWS, SESSION]),
        "HEADRACE_FEEDBACK__BY": json.dumps(GROUPINGS),
        "HEADRACE_FEEDBACK__SENTIMENT__BACKEND": "none",
        "HEADRACE_FEEDBACK__FACTS_DAYS": "36500",
        "HEADRACE_FEEDBACK__KPIS_DAYS": "36500",
    }


def fill(log: FileLog, stream: str, said: Iterable[Said]) -> list[LogRecord]:
    """Append a stream's records in the order in which they arrive, some late and some twice; return them."""
    log.create(stream, PARTITIONS)
    arriving = records(stream, said, seed=5)
    pending = iter(arriving)
    while batch := list(itertools.islice(pending, APPEND)):
        log.append(stream, batch)
    return arriving


def run(data: Path) -> None:
    """Run the flow as users do, with recovery; it ends by itself."""
    recovery = data / "recovery"
    recovery.mkdir(parents=True)
    init_db_dir(recovery, 2)
    command = [sys.executable, "-m", "bytewax.run", "dataflows.feedback", "-r", str(recovery), "-s", "1", "-b", "0"]
    environment = {**os.environ, **settings_variables(data)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr


def place_of(value: StoredValue) -> Place:
    return value.kpi, value.window, value.start, value.end, value.group


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.realdata("multiwoz")
def test_every_kpi_of_real_dialogues_is_what_sql_says_of_their_files(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rated = real_data.parent / "uss_satisfaction" / "MWOZ.txt"
    if not rated.is_file():
        pytest.skip(f"{rated} is not there")
    with zipfile.ZipFile(real_data / "val.json.zip") as archive:
        plain = Path(archive.extract("val.json", tmp_path))
    data = tmp_path / "data"
    log = FileLog(data / "log", partitions=PARTITIONS)
    arriving = fill(log, USS, uss(rated))
    assert len(arriving) > len({record.value for record in arriving}) + 1_000
    assert sum(later.event_time < earlier.event_time for earlier, later in itertools.pairwise(arriving)) > 1_000
    fill(log, MULTIWOZ, multiwoz(real_data / "val.json.zip"))

    run(data)

    for name, setting in settings_variables(data).items():
        monkeypatch.setenv(name, setting)
    reader = KpiReader(load().kpis_path)
    assert reader.late() == []
    found = {place_of(value): (value.value, value.count) for value in reader.values()}
    wanted = dict(expected(rated, plain))
    assert len(wanted) > 150_000
    assert found.keys() == wanted.keys()
    for place, (value, count) in wanted.items():
        got, of = found[place]
        assert of == count, place
        assert got is not None, place
        error = ERROR if place[0] in QUANTILES else 1e-12
        assert math.isclose(got, value, rel_tol=error, abs_tol=1e-9), (place, got, value)


@pytest.mark.realdata("uss_satisfaction")
def test_all_lines_and_ratings_of_the_file_become_events(real_data: Path) -> None:
    path = real_data / "MWOZ.txt"
    events = decoded(USS, uss(path))
    # Sun et al. (2021), table 1: 12,553 utterances of users, the closing ratings of 1,000 dialogues among them.
    roles = Counter(event.role for event in events if isinstance(event, Turn))
    assert roles["user"] + 1_000 == 12_553
    marks = [mark for line in path.read_text().splitlines() if line for mark in line.split("\t")[3].split(",") if mark]
    ratings = [event for event in events if isinstance(event, Rating)]
    assert Counter(rating.value for rating in ratings) == Counter(map(float, marks))
    assert {rating.scale for rating in ratings if not rating.turn} == {"csat", "stars"}
    assert sum(1 for rating in ratings if rating.scale == "csat") == sum(
        len(line.split("\t")[3].split(",")) for line in path.read_text().splitlines() if "\tOVERALL\t" in line
    )


@pytest.mark.realdata("multiwoz")
def test_all_turns_of_the_archive_become_events(real_data: Path) -> None:
    path = real_data / "val.json.zip"
    with zipfile.ZipFile(path) as archive:
        dialogues = json.loads(archive.read("val.json"))
    turns = [event for event in decoded(MULTIWOZ, multiwoz(path)) if isinstance(event, Turn)]
    assert {(turn.conversation, turn.text) for turn in turns} == {
        (name, line["text"]) for name, dialogue in dialogues.items() for line in dialogue["log"]
    }
    topics = Counter(turn.topic for turn in turns)
    assert set(topics) == {"", "train", "hotel", "restaurant", "attraction", "taxi", "hospital"}


def decoded(stream: str, said: Iterable[Said]) -> list[FeedbackEvent]:
    decoder = Decoder("headrace", stream, 2**20, 0, lambda: BEGIN * 2)
    return [
        event
        for one in said
        for event in decoder.decode(LogRecord(stream, 0, 0, one.time, None, json.dumps(one.value).encode()))
    ]
