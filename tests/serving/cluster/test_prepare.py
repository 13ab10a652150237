"""What a flow needs before it is started is made once, and by the process that is to have it."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from events.errors import PASSING, HeadraceError, StoreError, UnreachableError
from serving.cluster.prepare import (
    RECOVERY_PARTITIONS,
    metrics_port_of,
    only_run,
    process_number,
    recovery_arguments,
)
from serving.commands.run import run, start
from stores.settings import FLOWS, load
from tests.dataflows.tables_content import CONFIG


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("part-*.sqlite3"))


def test_a_new_folder_has_64_files_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    from bytewax.recovery import init_db_dir

    assert RECOVERY_PARTITIONS == 64
    assert recovery_arguments(tmp_path / "new", {}) == ["-r", str(tmp_path / "new"), "-b", "0"]
    assert len(files(tmp_path / "new")) == 64
    (tmp_path / "old").mkdir()
    init_db_dir(tmp_path / "old", 3)
    recovery_arguments(tmp_path / "old", {})
    assert len(files(tmp_path / "old")) == 3


@pytest.fixture
def state(tmp_path: Path) -> Path:
    from bytewax.recovery import init_db_dir

    folder = tmp_path / "of a flow?#1"
    folder.mkdir()
    init_db_dir(folder, 6)
    return folder


def refusal(state: Path) -> str:
    """Return what is said of a state that is not whole; nothing of it is changed by that."""
    left = sorted(state.iterdir())
    with pytest.raises(StoreError) as refused:
        recovery_arguments(state, {})
    assert sorted(state.iterdir()) == left
    assert refused.value.detail.startswith(f"the flow's state in {state} is not whole: ")
    assert (
        refused.value.hint == "put back what was moved away, or remove the folder: the flow then goes on from its store"
    )
    return refused.value.detail.partition("is not whole: ")[2]


@pytest.mark.parametrize(
    ("removed", "said"),
    [
        ([3], "part-3.sqlite3 of 6 files is missing"),
        ([0, 2], "part-0.sqlite3, part-2.sqlite3 of 6 files are missing"),
        ([0, 1, 2, 3, 4], "part-0.sqlite3, part-1.sqlite3, part-2.sqlite3 and 2 more of 6 files are missing"),
    ],
)
def test_a_state_that_lacks_a_file_is_refused_with_its_name(state: Path, removed: list[int], said: str) -> None:
    for number in removed:
        (state / f"part-{number}.sqlite3").unlink()
    assert refusal(state) == said


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "no such table: parts"), (b"no database" * 100, "file is not a database")],
)
def test_a_state_with_a_file_that_is_spoilt_is_refused_with_its_name(state: Path, content: bytes, said: str) -> None:
    (state / "part-0.sqlite3").write_bytes(content)
    assert refusal(state) == f"part-0.sqlite3 cannot be read: {said}"


def test_a_state_with_a_file_of_another_one_is_refused(state: Path, tmp_path: Path) -> None:
    from bytewax.recovery import init_db_dir

    (tmp_path / "other").mkdir()
    init_db_dir(tmp_path / "other", 3)
    shutil.copy(tmp_path / "other" / "part-1.sqlite3", state)
    different = "part-1.sqlite3 is one of 3 and part-0.sqlite3 is one of 6"
    assert refusal(state) == f"it holds files of different states: {different}"


def test_a_state_that_is_whole_is_looked_at_without_a_trace(state: Path) -> None:
    left = {path: path.stat().st_mtime_ns for path in state.iterdir()}
    recovery_arguments(state, {})
    assert {path: path.stat().st_mtime_ns for path in state.iterdir()} == left


def test_what_a_power_failure_leaves_to_the_journal_is_whole(state: Path, tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    with closing(sqlite3.connect(state / "part-1.sqlite3", isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA user_version = 1")  # so that the journal has the first page
        for path in state.glob("*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, left)
    with (left / "part-1.sqlite3").open("r+b") as file:
        file.write(bytes(4096))  # a page that was about to be written
    assert recovery_arguments(left, {})[1] == str(left)
    (left / "part-1.sqlite3-wal").write_bytes(b"")
    with pytest.raises(StoreError, match=r"part-1\.sqlite3 cannot be read"):
        recovery_arguments(left, {})


def test_over_machines_the_state_of_others_is_theirs(state: Path) -> None:
    (state / "part-3.sqlite3").unlink()
    assert recovery_arguments(state, {"BYTEWAX_PROCESS_ID": "1"})[1] == str(state)
    with pytest.raises(StoreError, match="is missing"):
        recovery_arguments(state, {"BYTEWAX_PROCESS_ID": "0"})


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing_that_is_taken_for_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cramped = tmp_path / "python"
    cramped.write_text(f'#!/bin/bash\nulimit -f 4\nexec {sys.executable} "$@"\n')
    cramped.chmod(0o755)
    state = tmp_path / "data" / "state"
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(cramped))
        with pytest.raises(HeadraceError, match=r"the flow's state cannot be made in .*state: .*make room") as error:
            recovery_arguments(state, {})
    assert "\n" not in str(error.value)
    assert list(state.parent.rglob("*")) == [state]
    (state.parent / "state.made").mkdir()  # as one that was killed leaves it
    (state.parent / "state.made" / "part-0.sqlite3").touch()
    recovery_arguments(state, {})
    assert len(files(state)) == 64
    assert list(state.parent.iterdir()) == [state]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HeadraceError, match=r"cannot be made in .*state: Not a directory"):
        recovery_arguments(tmp_path / "file" / "state", {})


def test_a_store_whose_server_is_away_ends_a_flow_so_that_it_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(*_: object) -> None:
        detail = "the server is away"
        raise UnreachableError(detail, "start it")

    monkeypatch.setenv("HEADRACE_CONFIG", str(CONFIG))
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("serving.cluster.prepare.check_store", away)
    assert start("tables", {}, []) == PASSING
    assert capsys.readouterr().err == "headrace: the server is away (start it)\n"


@pytest.mark.parametrize(
    ("variables", "number"),
    [
        ({}, None),
        ({"BYTEWAX_PROCESS_ID": "0"}, 0),
        ({"BYTEWAX_POD_NAME": "tables-12", "BYTEWAX_STATEFULSET_NAME": "tables"}, 12),
        ({"BYTEWAX_POD_NAME": "tables-12"}, None),
        ({"BYTEWAX_PROCESS_ID": "2", "BYTEWAX_POD_NAME": "a-1", "BYTEWAX_STATEFULSET_NAME": "a"}, 2),
    ],
)
def test_over_machines_only_the_first_process_keeps_the_state(
    tmp_path: Path, variables: dict[str, str], number: int | None
) -> None:
    assert process_number(variables) == number
    recovery_arguments(tmp_path / "state", variables)
    assert (tmp_path / "state").is_dir()
    assert len(files(tmp_path / "state")) == (64 if number in {None, 0} else 0)


@pytest.mark.parametrize(
    "variables",
    [{"BYTEWAX_PROCESS_ID": "one"}, {"BYTEWAX_POD_NAME": "other-1", "BYTEWAX_STATEFULSET_NAME": "tables"}],
)
def test_what_is_no_number_is_refused(variables: dict[str, str]) -> None:
    with pytest.raises(HeadraceError, match="the number of this process"):
        process_number(variables)


def test_of_two_that_start_at_once_the_one_that_holds_the_lock_makes_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_CONFIG", str(CONFIG))
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path))
    with only_run("tables", tmp_path), pytest.raises(HeadraceError, match="runs already"):
        run("tables", folder=None, workers=1, processes=1, recovery=True, metrics_port=0)
    assert not (tmp_path / "recovery").exists()


def test_each_flow_has_a_port_of_its_own_if_metrics_are_wanted() -> None:
    assert {metrics_port_of(flow, load()) for flow in FLOWS} == {0}
    wanted = load(cluster={"metrics_port": 9000})
    assert [metrics_port_of(flow, wanted) for flow in FLOWS] == [*range(9000, 9000 + len(FLOWS))]
