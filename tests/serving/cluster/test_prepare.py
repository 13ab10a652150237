"""What a flow needs before it is started is made once, and by the process that is to have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.errors import HeadraceError
from serving.cluster.prepare import (
    RECOVERY_PARTITIONS,
    metrics_port_of,
    only_run,
    process_number,
    recovery_arguments,
)
from serving.commands.run import run
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
