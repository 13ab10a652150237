"""The state of a flow tells when it last finished something, whoever looks."""

from __future__ import annotations

import os
from pathlib import Path

from bytewax.recovery import init_db_dir

from serving.cluster.pulse import last_epoch

NOON = 1_700_000_000_000


def test_the_last_change_counts_but_none_from_before_it_was_started(tmp_path: Path) -> None:
    init_db_dir(tmp_path, 2)
    (tmp_path / "part-1.sqlite3-wal").touch()
    (tmp_path / "notes").touch()
    for path, at in (("part-0.sqlite3", -9), ("part-1.sqlite3", -5), ("part-1.sqlite3-wal", -2), ("notes", 0)):
        os.utime(tmp_path / path, ns=((NOON + at) * 1_000_000,) * 2)
    assert last_epoch(tmp_path, NOON - 7) == NOON - 2
    assert last_epoch(tmp_path, NOON - 1) == NOON - 1


def test_of_a_flow_that_keeps_no_state_here_nothing_is_known(tmp_path: Path) -> None:
    assert last_epoch(None, NOON) is None
    assert last_epoch(tmp_path, NOON) is None
    assert last_epoch(tmp_path / "absent", NOON) is None
