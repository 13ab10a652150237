"""What a flow needs before it is started is made once, and by the process that is to have it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from events.errors import PASSING, HeadraceError, UnreachableError
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
