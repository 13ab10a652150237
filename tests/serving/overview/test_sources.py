"""Each source is told as it is: behind, caught up, never read, not on the log, not in the settings any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from events.log import Applied, LogRecord, control_stream, replay_stream
from serving.overview.sources import Sources
from serving.overview.state import SourceState
from stores.log.files import FileLog
from stores.settings import Settings, load

NOW = 1_800_000_000_000
PLENTY = 2**30
STREAMS = [{"name": "ops"}, {"name": "later"}]
LIVE = [{"name": "flights", "table": "public.flights"}]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HEADRACE_TABLES__STREAMS", json.dumps(STREAMS))
    monkeypatch.setenv("HEADRACE_TABLES__LIVE", json.dumps(LIVE))
    monkeypatch.setenv("HEADRACE_KNOWLEDGE__FOLDERS", json.dumps([{"name": "docs", "path": "docs"}]))
    monkeypatch.setenv("HEADRACE_FEEDBACK__OBJECTIVES", json.dumps({"ops": 2}))
    return load()


@pytest.fixture
def log(settings: Settings) -> FileLog:
    return FileLog(settings.log_dir, partitions=2)


def append(log: FileLog, count: int, stream: str = "ops") -> None:
    log.append(stream, [LogRecord(stream, 0, 0, NOW, f"key {n}".encode(), b"{}") for n in range(count)])


def lines(log: FileLog, settings: Settings, stream: str, partition: int) -> list[int]:
    """Return the offsets behind the records of a partition, by looking into its file."""
    (path,) = (settings.log_dir / stream).glob(f"{partition:04d}*.jsonl")
    ends, place = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        place += len(line)
        ends.append(place)
    assert not ends or ends[-1] == log.bounds(stream, partition)[1]
    return ends


def mark(partition: int, offset: int, *, source: str = "ops", read_at: int = NOW, caught_up: bool = True) -> Applied:
    positions: dict[str, tuple[int, ...]] = {"db": (7, partition)}
    return Applied(source, str(partition), offset, NOW - 5_000, read_at, caught_up, read_at, positions)


def look(sources: Sources, marks: list[Applied], now: int = NOW, flow: str = "tables") -> dict[str, SourceState]:
    return {state.source: state for state in sources.look(flow, marks, now, running=True)}


def test_a_source_that_is_all_in_has_no_backlog_and_meets_its_objective(settings: Settings, log: FileLog) -> None:
    append(log, 20)
    ends = [lines(log, settings, "ops", partition)[-1] for partition in (0, 1)]
    marks = [mark(0, ends[0], read_at=NOW - 1_500), mark(1, ends[1], read_at=NOW - 300)]
    ops = look(Sources(settings, log, PLENTY), marks)["ops"]
    assert (ops.backlog, ops.lag, ops.met, ops.caught_up) == (0, 1_500, True, True)
    assert (ops.partitions, ops.read, ops.newest, ops.positions) == (2, 2, NOW - 5_000, {"db": "7:1"})
    assert ops.objective == 2_000


def test_what_waits_is_counted_in_events(settings: Settings, log: FileLog) -> None:
    append(log, 50)
    first, second = (lines(log, settings, "ops", partition) for partition in (0, 1))
    marks = [mark(0, first[4], read_at=NOW - 3_000, caught_up=False), mark(1, second[-1])]
    ops = look(Sources(settings, log, PLENTY), marks)["ops"]
    assert ops.backlog == len(first) - 5
    assert (ops.caught_up, ops.met) == (False, False)


def test_what_came_after_the_last_look_of_the_flow_is_behind_though_it_was_at_the_end(
    settings: Settings, log: FileLog
) -> None:
    append(log, 10)
    ends = [lines(log, settings, "ops", partition)[-1] for partition in (0, 1)]
    append(log, 7)
    ops = look(Sources(settings, log, PLENTY), [mark(0, ends[0]), mark(1, ends[1])])["ops"]
    assert (ops.backlog, ops.caught_up) == (7, False)


def test_the_rate_is_what_was_taken_in_between_looks(settings: Settings, log: FileLog) -> None:
    append(log, 60)
    first, second = (lines(log, settings, "ops", partition) for partition in (0, 1))
    sources = Sources(settings, log, PLENTY)
    assert look(sources, [mark(0, first[0]), mark(1, second[0])])["ops"].rate is None
    ops = look(sources, [mark(0, first[8]), mark(1, second[4])], NOW + 2_000)["ops"]
    assert ops.rate == (8 + 4) / 2
    assert ops.backlog == len(first) - 9 + len(second) - 5


def test_a_backlog_too_large_for_one_look_is_not_told_before_it_is_counted(settings: Settings, log: FileLog) -> None:
    append(log, 40)
    sources = Sources(settings, log, 1_500)
    told = [look(sources, [], NOW + second * 1_000)["ops"].backlog for second in range(8)]
    assert told[0] is None
    assert told[-1] == 40


def test_a_stream_that_was_never_read_has_no_age_and_all_of_it_waits(settings: Settings, log: FileLog) -> None:
    append(log, 5)
    ops = look(Sources(settings, log, PLENTY), [])["ops"]
    assert (ops.lag, ops.met, ops.backlog, ops.read, ops.caught_up) == (None, None, 5, 0, False)


def test_a_stream_that_is_not_on_the_log_is_told_as_such(settings: Settings, log: FileLog) -> None:
    later = look(Sources(settings, log, PLENTY), [])["later"]
    assert (later.partitions, later.lag, later.met, later.backlog, later.caught_up) == (0, None, None, 0, True)


def test_a_partition_that_was_not_read_yet_makes_the_age_unknown(settings: Settings, log: FileLog) -> None:
    append(log, 20)
    ops = look(Sources(settings, log, PLENTY), [mark(0, lines(log, settings, "ops", 0)[-1])])["ops"]
    assert (ops.lag, ops.caught_up) == (None, False)


def test_a_stream_that_the_settings_do_not_name_any_more_is_told_and_has_no_objective(
    settings: Settings, log: FileLog
) -> None:
    append(log, 4, "former")
    old = look(Sources(settings, log, PLENTY), [mark(0, 0, source="former", read_at=NOW - 9_000_000)])
    assert list(old) == ["ops", "later", "former"]
    assert (old["former"].configured, old["former"].met) == (False, None)
    assert all(old[source].configured for source in ("ops", "later"))


def test_streams_on_which_flows_are_told_are_no_sources(settings: Settings, log: FileLog) -> None:
    marks = [mark(0, 0, source=control_stream("tables")), mark(0, 0, source=replay_stream("tables"))]
    assert list(look(Sources(settings, log, PLENTY), marks)) == ["ops", "later"]


def test_a_folder_is_told_before_and_after_it_was_read(settings: Settings, log: FileLog) -> None:
    sources = Sources(settings, log, PLENTY)
    docs = look(sources, [], flow="knowledge")["docs"]
    assert (docs.partitions, docs.read, docs.lag, docs.backlog, docs.caught_up) == (1, 0, None, None, False)
    marks = [mark(0, 12, source="docs", read_at=NOW - 400)]
    docs = look(sources, marks, NOW + 1_000, "knowledge")["docs"]
    assert (docs.read, docs.lag, docs.backlog, docs.caught_up) == (1, 1_400, 0, True)
    look(sources, marks, NOW + 2_000, "knowledge")
    later = look(sources, [mark(0, 32, source="docs")], NOW + 6_000, "knowledge")["docs"]
    assert later.rate == 32 / 6


def test_a_stream_that_is_there_by_default_only_is_told_once_there_is_something_of_it(
    settings: Settings, log: FileLog
) -> None:
    assert list(look(Sources(settings, log, PLENTY), [], flow="knowledge")) == ["docs"]
    append(log, 1, "documents")
    assert list(look(Sources(settings, log, PLENTY), [], flow="knowledge")) == ["docs", "documents"]


def test_a_stream_of_documents_that_the_settings_name_is_told_always(
    log: FileLog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_KNOWLEDGE__STREAMS", json.dumps(["documents"]))
    assert list(look(Sources(load(), log, PLENTY), [], flow="knowledge")) == ["docs", "documents"]


def test_a_log_that_cannot_be_read_is_told(settings: Settings, log: FileLog) -> None:
    settings.log_dir.mkdir(parents=True)
    (settings.log_dir / "ops").write_text("not a folder")
    sources = Sources(settings, log, PLENTY)
    ops = look(sources, [mark(0, 5, read_at=NOW - 100)])["ops"]
    assert (ops.backlog, ops.lag) == (None, 100)
    assert "ops" in sources.failed
