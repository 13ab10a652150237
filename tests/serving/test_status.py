"""`headrace status`: everything at a glance, as JSON, again and again, and as a check for who only wants to know."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.clock import system_clock
from serving.overview import Overview, SourceState
from serving.runs import UP, lock_path
from serving.show_status import shown
from serving.supervise.health import Health, ProcessHealth, write
from tests.integration.live import SECONDS, wait_until

ROOT = Path(__file__).parents[2]
STREAMS = ROOT / "fixtures" / "streams"
NOW = 1_800_000_000_000


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return {
        **plain,
        "HEADRACE_CONFIG": str(STREAMS / "headrace.toml"),
        "HEADRACE_LOG__DIR": str(STREAMS),
        "HEADRACE_DATA_DIR": str(tmp_path / "data"),
        "NO_COLOR": "1",
        "COLUMNS": "250",
    }


def headrace(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "serving.cli", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


@pytest.fixture
def locks(environment: dict[str, str]) -> Iterator[list[int]]:
    held: list[int] = []
    yield held
    for lock in held:
        os.close(lock)


def hold(environment: dict[str, str], held: list[int], *names: str) -> None:
    """Hold the locks that running flows hold."""
    data = Path(environment["HEADRACE_DATA_DIR"])
    data.mkdir(exist_ok=True)
    for name in names:
        lock = os.open(lock_path(name, data), os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)
        held.append(lock)


def test_all_sources_are_told_before_anything_runs(environment: dict[str, str]) -> None:
    ended = headrace(environment, "status")
    assert ended.returncode == 0
    rows = [line.split() for line in ended.stdout.splitlines()]
    assert ["tables", "operations", "not", "running"] in [row[:4] for row in rows]
    assert ["lake", "feedback", "not", "running"] in [row[:4] for row in rows]
    assert "0 persons of 0 records" in ended.stdout


def test_as_json_there_is_one_object_with_everything(environment: dict[str, str]) -> None:
    seen = json.loads(headrace(environment, "status", "--json").stdout)
    assert {"documents", "pieces", "persons", "records", "tables", "feedback", "too_late", "lake"} - set(seen) == set()
    assert (seen["dead_letters"], seen["applied"], seen["up"]) == ({}, [], None)
    backlogs = {(source["flow"], source["source"]): source["backlog"] for source in seen["sources"]}
    recorded = sum(path.read_bytes().count(b"\n") for path in (STREAMS / "operations").glob("*.jsonl"))
    assert backlogs["tables", "operations"] == recorded
    assert "the flow tables does not run" in seen["problems"]


def test_a_check_fails_with_what_is_wrong_a_line_each(environment: dict[str, str]) -> None:
    ended = headrace(environment, "status", "--check")
    assert ended.returncode == 1
    assert "headrace: the flow tables does not run" in ended.stderr.splitlines()
    assert "headrace: operations of the flow tables has not been read whole yet" in ended.stderr.splitlines()


def test_a_check_of_what_is_as_it_should_be_says_nothing(environment: dict[str, str], locks: list[int]) -> None:
    replayed = headrace(environment, "replay", "tables", str(STREAMS), "--data-dir", environment["HEADRACE_DATA_DIR"])
    assert replayed.returncode == 0, replayed.stderr
    only = {"HEADRACE_PROFILES__STREAMS": "[]", "HEADRACE_FEEDBACK__STREAMS": "[]", "HEADRACE_KNOWLEDGE__STREAMS": "[]"}
    long = {"HEADRACE_FEEDBACK__OBJECTIVES": "{}", "HEADRACE_FEEDBACK__OBJECTIVE_SECONDS": "3600"}
    hold(environment, locks, "tables")
    ended = headrace({**environment, **only, **long}, "status", "--check")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_check_where_nothing_is_configured_fails(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").touch()
    elsewhere = {"HEADRACE_CONFIG": str(tmp_path / "headrace.toml"), "HEADRACE_LOG__DIR": str(tmp_path / "log")}
    ended = headrace({**environment, **elsewhere}, "status", "--check")
    assert ended.returncode == 1
    assert "nothing is configured here: no flow has anything to follow" in ended.stderr


def test_checking_and_watching_are_not_the_same(environment: dict[str, str]) -> None:
    ended = headrace(environment, "status", "--check", "--watch")
    assert ended.returncode == 1
    assert ended.stderr == "headrace: --check looks once (leave --watch out)\n"


def test_watching_looks_each_second_until_it_is_interrupted(environment: dict[str, str], tmp_path: Path) -> None:
    output = tmp_path / "lines"
    command = [sys.executable, "-m", "serving.cli", "status", "--watch", "--json"]
    with output.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)
        try:
            wait_until(lambda: output.read_bytes().count(b"\n") >= 3, "three looks")
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
    seen = [json.loads(line) for line in output.read_text().splitlines()]
    assert [source["rate"] for source in seen[0]["sources"]] == [None] * len(seen[0]["sources"])
    assert {source["rate"] for source in seen[2]["sources"]} == {0}


def test_what_up_runs_is_told_while_it_runs(environment: dict[str, str], locks: list[int]) -> None:
    data = Path(environment["HEADRACE_DATA_DIR"])
    data.mkdir()
    lost = ProcessHealth("given up", None, system_clock(), 2, "there is no folder 'x'")
    again = ProcessHealth("running", 77, system_clock(), 3)
    write(data, Health(4711, system_clock(), "http://127.0.0.1:1/", {"knowledge": lost, "tables": again}))
    assert "4711" not in headrace(environment, "status").stdout, "nobody holds the lock: it is not believed"
    hold(environment, locks, UP)
    told = headrace(environment, "status").stdout
    assert "process 4711" in told
    assert "there is no folder 'x'" in told
    assert "tables was started again 3 times" in told
    assert "headrace: knowledge was given up by `headrace up`" in headrace(environment, "status", "--check").stderr
    assert json.loads(headrace(environment, "status", "--json").stdout)["up"]["processes"]["tables"]["restarts"] == 3


def source(**given: object) -> SourceState:
    known: dict[str, object] = {
        "flow": "tables", "source": "ops", "running": True, "configured": True, "partitions": 2, "read": 2,
        "backlog": 0, "lag": 500, "objective": 2_000, "newest": NOW - 3_000, "positions": {"db": "0/1"}, "rate": 12.0,
        "caught_up": True,
    }  # fmt: skip
    return SourceState(**{**known, **given})  # type: ignore[arg-type]  # what is given is of the fields' types


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "on time"),
        ({"caught_up": False}, "on time, reading"),
        ({"lag": 9_000, "caught_up": False}, "behind, reading"),
        ({"running": False}, "not running"),
        ({"lag": None, "read": 0}, "never read"),
        ({"lag": None, "read": 1}, "reading"),
        ({"partitions": 0, "read": 0, "lag": None}, "nothing on the log yet"),
        ({"configured": False}, "not in the settings any more"),
    ],
)
def test_each_source_says_how_it_is(given: dict[str, object], told: str) -> None:
    row = drawn([source(**given)]).splitlines()[1]
    assert row.split("ops")[1].strip().startswith(told)


def test_backlog_rate_position_and_dead_letters_stand_beside_it() -> None:
    lines = drawn([source(backlog=18_240), source(source="other", backlog=None)]).splitlines()
    first, second = lines[1:3]
    told = [part.strip() for part in first.split("  ") if part.strip()]
    assert told[3:] == ["500 ms", "2.0 s", "3.0 s ago", "0/1", "18,240", "12.0 /s", "7"]
    assert "not known" in second


def test_what_the_lake_had_no_room_for_and_what_cannot_be_read_is_told() -> None:
    text = drawn([])
    assert "3 events were left out" in text
    assert "feedback cannot be read: it is held by another" in text


def drawn(sources: list[SourceState]) -> str:
    from rich.console import Console

    lake = {"rows": 5, "kept": 2, "waiting": 1, "left_out": 3, "committed_at": "2027-01-15T07:59:00.000Z"}
    seen = Overview(
        at=NOW,
        sources=tuple(sources),
        running=frozenset({"tables"}),
        wanted=frozenset({"tables"}),
        marks={},
        stores={"lake": lake, "documents": 4, "pieces": 9},
        dead_letters={"tables": 7},
        alerts=None,
        ages={},
        unavailable={"feedback": "it is held by another"},
    )
    console = Console(width=250, no_color=True)
    with console.capture() as captured:
        console.print(shown(seen, None, "data", rates=True))
    return captured.get()
