"""A look at real stores: each part by itself, none of them waited for, shared by all who look at once."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from events.clock import system_clock
from events.dead_letters import DeadLetter
from events.kpis import FACT_KINDS
from events.log import LogRecord
from serving.overview import Overview, Watch
from serving.runs import ALONE, lock_path
from stores.dead_letters import DeadLetters
from stores.kpis.writer import KpiWriter
from stores.settings import FLOWS, Settings, load

ROOT = Path(__file__).parents[3]
STREAMS = ROOT / "fixtures" / "streams"


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with the live tables of the recorded company."""
    data = tmp_path_factory.mktemp("company")
    command = [sys.executable, "-m", "serving.cli", "replay", "tables", str(STREAMS), "--data-dir", str(data)]
    subprocess.run(command, cwd=ROOT, env=variables({}), check=True, timeout=120, capture_output=True)
    return data


def variables(given: dict[str, str]) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return {**plain, **given}


@pytest.fixture
def settings(replayed: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return of(replayed, monkeypatch)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return of(tmp_path / "data", monkeypatch)


def of(data: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HEADRACE_CONFIG", str(STREAMS / "headrace.toml"))
    monkeypatch.setenv("HEADRACE_LOG__DIR", str(STREAMS))
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(data))
    return load()


@contextmanager
def running(flow: str, settings: Settings) -> Iterator[None]:
    """Hold the lock that a running flow holds."""
    lock = os.open(lock_path(flow, settings.data_dir), os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(lock)


def test_stores_that_are_not_there_are_empty_and_looking_makes_none(empty: Settings) -> None:
    seen = Watch(empty, system_clock).look()
    assert seen.stores["documents"] == seen.stores["records"] == seen.stores["lake"]["rows"] == 0
    assert (seen.stores["tables"], seen.dead_letters, seen.alerts, seen.unavailable) == ({}, {}, 0, {})
    assert {source.flow for source in seen.sources} == set(FLOWS) - set(ALONE)
    assert not empty.data_dir.exists()


def test_what_the_stores_hold_and_how_far_they_are_is_told(settings: Settings) -> None:
    before = system_clock()
    seen = Watch(settings, system_clock).look()
    (operations,) = (source for source in seen.sources if source.flow == "tables")
    assert (operations.source, operations.backlog, operations.caught_up) == ("operations", 0, True)
    oldest = min(mark.read_at for mark in seen.marks["tables"] if mark.source == "operations")
    assert operations.lag == seen.at - oldest
    assert before <= seen.at <= system_clock()
    assert seen.stores["tables"]["rate_imports"]["rows"] == 5
    assert set(seen.stores["tables"]) == {live.name for live in settings.tables.live}
    assert seen.marks["tables"]
    assert not seen.marks["profiles"]


def test_as_json_it_is_what_the_interfaces_promise(settings: Settings) -> None:
    seen = Watch(settings, system_clock).look().as_json()
    assert json.loads(json.dumps(seen)) == seen
    assert set(seen) >= {"at", "sources", "stores", "dead_letters", "alerts"}
    assert set(seen["sources"][0]) >= {
        "flow", "source", "running", "partitions", "backlog", "lag_ms", "objective_ms", "met", "newest", "age_ms",
        "positions", "rate", "caught_up",
    }  # fmt: skip
    assert set(seen["stores"]) >= {"documents", "pieces", "tables", "records", "persons", "feedback", "lake"}
    assert str(settings.data_dir) not in json.dumps(seen)


def test_a_flow_runs_as_long_as_somebody_holds_its_lock(settings: Settings) -> None:
    watch = Watch(settings, system_clock)
    with running("tables", settings):
        seen = watch.look()
        assert seen.running == {"tables"}
        assert "the flow tables does not run" not in seen.problems()
        assert "the flow profiles does not run" in seen.problems()
    assert watch.look().running == frozenset()


def test_what_was_read_too_long_ago_misses_its_objective_and_is_a_problem(settings: Settings) -> None:
    clock = iter(range(system_clock() + 86_400_000, 2**62, 1)).__next__
    seen = Watch(settings, clock).look()
    (operations,) = (source for source in seen.sources if source.flow == "tables")
    assert operations.met is False
    assert any("operations of the flow tables is" in problem for problem in seen.problems())


def test_dead_letters_are_counted_by_flow(empty: Settings) -> None:
    letters = DeadLetters(empty.dead_letters_path, system_clock)
    letters.write([DeadLetter("tables", "decode", "no", LogRecord("ops", 0, n, 0)) for n in range(3)])
    assert Watch(empty, system_clock).look().dead_letters == {"tables": 3}


HOLDER = """
import sys
from pathlib import Path
from stores.kpis.file import open_for_writing
with open_for_writing(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_kpis_that_are_held_by_their_writer_are_told_as_such_and_the_rest_goes_on(empty: Settings) -> None:
    writer = KpiWriter(empty.kpis_path, empty.feedback, system_clock)
    writer.close()
    watch = Watch(empty, system_clock, kpi_seconds=0.1)
    assert set(watch.look().stores["feedback"]) == {*FACT_KINDS, "kpis", "alerts"}
    command = [sys.executable, "-c", HOLDER, str(empty.kpis_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        told = until(watch, lambda seen: "feedback" in seen.unavailable)
        assert "held" in told.unavailable["feedback"]
        assert told.stores["feedback"]["answers"] == 0, "the last that was known"
        assert told.stores["documents"] == 0
        assert any("feedback cannot be read" in problem for problem in told.problems())
        holder.stdin.close()
    assert not until(watch, lambda seen: "feedback" not in seen.unavailable).unavailable


def until(watch: Watch, fulfilled: object) -> Overview:
    assert callable(fulfilled)
    deadline = time.monotonic() + 30
    while not fulfilled(seen := watch.look()):
        assert time.monotonic() < deadline, seen.unavailable
        threading.Event().wait(0.02)
    return seen


def test_many_who_look_at_once_share_few_looks_and_none_sees_an_older_one(settings: Settings) -> None:
    arrived = threading.Semaphore(0)
    everybody = threading.Event()
    seen: list[tuple[int, Overview]] = []

    def clock() -> int:
        everybody.wait(30)  # the first look lasts until all have come
        return system_clock()

    watch = Watch(settings, clock)

    def ask() -> None:
        arrived.release()
        began = system_clock()
        seen.append((began, watch.look()))

    threads = [threading.Thread(target=ask) for _ in range(24)]
    for thread in threads:
        thread.start()
    for _ in threads:
        arrived.acquire(timeout=30)
    everybody.set()
    for thread in threads:
        thread.join(30)
    assert len(seen) == 24
    assert all(overview.at >= began for began, overview in seen)
    assert len({id(overview) for _, overview in seen}) < 12
