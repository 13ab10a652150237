"""How the processes of a flow are can be read by others, as long as the flow runs."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from serving.cluster.health import ClusterHealth, path_of, read, remove, write
from serving.runs import lock_path

HEALTH = ClusterHealth("tables", 12, "waiting", 1_800_000_000_500, (None, None), 2, "process 1 was killed by signal 9")


def test_it_is_believed_only_while_somebody_holds_the_lock(tmp_path: Path) -> None:
    write(tmp_path, HEALTH)
    assert read("tables", tmp_path) is None
    lock = os.open(lock_path("tables", tmp_path), os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert read("tables", tmp_path) == HEALTH
    assert read("lake", tmp_path) is None
    path_of("tables", tmp_path).write_text("{")
    assert read("tables", tmp_path) is None
    os.close(lock)


def test_times_are_written_for_people_and_other_programs() -> None:
    assert HEALTH.as_json() == {
        "flow": "tables", "pid": 12, "state": "waiting", "since": "2027-01-15T08:00:00.500Z", "processes": [None, None],
        "restarts": 2, "error": "process 1 was killed by signal 9",
    }  # fmt: skip


def test_removing_it_twice_does_nothing(tmp_path: Path) -> None:
    write(tmp_path, HEALTH)
    remove("tables", tmp_path)
    remove("tables", tmp_path)
    assert list(tmp_path.iterdir()) == []
