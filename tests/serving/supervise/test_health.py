"""What `headrace up` runs can be read by others, as long as it runs."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from serving.runs import UP, lock_path
from serving.supervise.health import Health, ProcessHealth, path_of, read, remove, write

HEALTH = Health(
    12, 1_800_000_000_000, "http://x/", {"lake": ProcessHealth("waiting", None, 1_800_000_000_500, 2, "no")}
)


def test_it_is_believed_only_while_somebody_holds_the_lock(tmp_path: Path) -> None:
    write(tmp_path, HEALTH)
    assert read(tmp_path) is None
    lock = os.open(lock_path(UP, tmp_path), os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert read(tmp_path) == HEALTH
    path_of(tmp_path).write_text("{")
    assert read(tmp_path) is None
    os.close(lock)


def test_times_are_written_for_people_and_other_programs(tmp_path: Path) -> None:
    told = HEALTH.as_json()
    assert told["since"] == "2027-01-15T08:00:00.000Z"
    assert told["processes"]["lake"] == {
        "state": "waiting", "pid": None, "since": "2027-01-15T08:00:00.500Z", "restarts": 2, "said": "no"
    }  # fmt: skip


def test_removing_it_twice_does_nothing(tmp_path: Path) -> None:
    write(tmp_path, HEALTH)
    remove(tmp_path)
    remove(tmp_path)
    assert list(tmp_path.iterdir()) == []
