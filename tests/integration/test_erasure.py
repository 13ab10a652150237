"""A person is erased by the command line while the flow runs, over the customers of four systems."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stores.log.files import FileLog
from tests.integration.live import Home, Running, wait_until

STREAMS = Path(__file__).parents[2] / "fixtures" / "streams"
CUSTOMERS = ("crm", "shop", "loyalty", "desk")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    shutil.copy(STREAMS / "headrace.toml", tmp_path)
    for stream in CUSTOMERS:
        shutil.copytree(STREAMS / stream, tmp_path / ".headrace" / "log" / stream)
    return Home(tmp_path)


def of_one_person() -> list[str]:
    """Return the records that the fixture's truth gives to the person with most of them."""
    truth = json.loads((STREAMS / "customers.truth.json").read_text())
    records: dict[int, list[str]] = {}
    for record, person in truth.items():
        records.setdefault(person, []).append(record)
    return max(records.values(), key=len)


def profile(home: Home, record: str) -> dict[str, Any] | None:
    answer = home.headrace("profile", "--record", record, "--json")
    return json.loads(answer.stdout) if answer.returncode == 0 else None


def texts(value: Any) -> set[str]:
    """Return the addresses and numbers in a profile."""
    found = [text for type_ in ("email", "phone", "loyalty") for text in value["identifiers"].get(type_, [])]
    return set(found)


def count(home: Home, *names: str) -> dict[str, int]:
    """Return how often each name stands in all files, by a search of its own."""
    files = [path for path in (home.path / ".headrace").rglob("*") if path.is_file()]
    content = b"\n".join(path.read_bytes() for path in files)
    return {name: content.count(name.encode()) for name in names}


def caught_up(home: Home) -> bool:
    status = json.loads(home.headrace("status", "--json").stdout)
    log = FileLog(home.path / ".headrace" / "log")
    applied = {(mark["source"], int(mark["partition"])): mark["offset"] for mark in status["applied"]}
    return all(
        applied.get((stream, partition)) == log.bounds(stream, partition)[1]
        for stream in CUSTOMERS
        for partition in log.partitions(stream)
    )


def append_all_again(home: Home) -> None:
    recorded, log = FileLog(STREAMS), FileLog(home.path / ".headrace" / "log")
    for stream in CUSTOMERS:
        for partition in recorded.partitions(stream):
            offset, end = recorded.bounds(stream, partition)
            while offset < end:
                records, offset = recorded.read(stream, partition, offset, 1000)
                log.append(stream, records)


def test_a_person_is_erased_while_the_flow_runs_and_a_replay_of_everything_changes_nothing(home: Home) -> None:
    records = of_one_person()
    with Running(home, "profiles"):
        wait_until(lambda: caught_up(home), "all customers")
        before = profile(home, records[0])
        assert before is not None
        names = [*texts(before), *records, before["person"]]
        assert all(number for number in count(home, *texts(before)).values())

        dry = home.headrace("forget", "--record", records[0], "--dry-run")
        assert (dry.returncode, dry.stdout) == (0, "")
        assert "log/shop" in dry.stderr
        refused = home.headrace("forget", "--record", records[0])
        assert refused.returncode == 1
        assert "not confirmed" in refused.stderr

        done = home.headrace("forget", "--record", records[0], "--yes", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        receipt = json.loads(done.stdout)
        assert receipt["clean"]
        assert {one["place"] for one in receipt["removed"]} >= {"profile store", "log/shop", "log/control.profiles"}
        assert count(home, *names) == dict.fromkeys(names, 0)
        assert not any(name in done.stdout for name in names)

        others = json.loads(home.headrace("status", "--json").stdout)
        append_all_again(home)
        wait_until(lambda: caught_up(home), "the replay")
        after = json.loads(home.headrace("status", "--json").stdout)
        assert (after["persons"], after["records"]) == (others["persons"], others["records"])
        assert [profile(home, record) for record in records] == [None] * len(records)
        again = home.headrace("forget", "--record", records[0], "--yes")
        assert (again.returncode, again.stdout) == (0, "")
        assert "erased already" in again.stderr


def test_a_person_is_erased_while_the_flow_stands_still_and_after_the_command_was_killed(home: Home) -> None:
    records = of_one_person()
    with Running(home, "profiles"):
        wait_until(lambda: caught_up(home), "all customers")
    before = profile(home, records[0])
    assert before is not None
    names = [*texts(before), *records, before["person"]]
    erasures = home.path / ".headrace" / "erasures.json"

    command = [sys.executable, "-m", "serving.cli", "forget", "--record", records[0], "--yes"]
    variables = {**os.environ, "NO_COLOR": "1"}
    with subprocess.Popen(command, cwd=home.path, env=variables, stdout=subprocess.DEVNULL) as killed:
        wait_until(erasures.exists, "the fingerprints")
        killed.kill()

    done = home.headrace("forget", "--finish")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "profile store" in done.stdout
    assert ": none was found." in done.stdout
    assert count(home, *names) == dict.fromkeys(names, 0)
    nothing = home.headrace("forget", "--finish")
    assert (nothing.returncode, nothing.stdout) == (0, "")
