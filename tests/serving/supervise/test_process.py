"""A process is started, heard and ended, with all that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from serving.supervise.process import Process, descendants, headrace
from tests.integration.live import wait_until


@pytest.fixture
def lifeline() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        try:
            os.close(end)
        except OSError:
            assert end == writing, "only the test itself lets go of its end"


def heard(process: Process, said: list[str]) -> tuple[int, list[str]] | None:
    said += process.lines()
    ended = process.ended()
    if ended is not None:
        said += ended[1]
    return ended


def run_to_end(process: Process) -> tuple[int, list[str]]:
    """Start it; return its exit code and all it has said."""
    said: list[str] = []
    codes: list[int] = []

    def over() -> bool:
        ended = heard(process, said)
        if ended is not None:
            codes.append(ended[0])
        return bool(codes)

    process.start()
    wait_until(over, "its end")
    return codes[0], said


def test_what_it_says_is_heard_line_by_line_and_it_can_be_started_again(lifeline: tuple[int, int]) -> None:
    process = Process(headrace(lifeline[0], "run", "knowledg"), os.environ, lifeline[:1])
    for _ in range(2):
        code, said = run_to_end(process)
        assert code == 1
        assert said[-1].startswith("headrace: there is no flow 'knowledg'")
        assert process.pid is None


def test_it_ends_when_its_starter_does(lifeline: tuple[int, int]) -> None:
    reading, writing = lifeline
    process = Process(headrace(reading, "status", "--watch", "--json"), os.environ, [reading])
    process.start()
    said: list[str] = []
    wait_until(lambda: (heard(process, said), said)[1], "its first words")
    os.close(writing)
    ended: list[int] = []

    def over() -> bool:
        found = heard(process, said)
        if found is not None:
            ended.append(found[0])
        return bool(ended)

    wait_until(over, "its end")
    assert ended == [-signal.SIGTERM]


def test_killing_it_ends_also_those_in_other_sessions(lifeline: tuple[int, int]) -> None:
    process = Process(headrace(lifeline[0], "status", "--watch", "--json"), os.environ, lifeline[:1])
    process.start()
    said: list[str] = []
    wait_until(lambda: (heard(process, said), said)[1], "its first words")
    pid = process.pid
    assert pid is not None
    process.kill()
    wait_until(lambda: heard(process, said), "its end")
    assert not psutil.pid_exists(pid)


def test_descendants_are_found_in_whichever_session_they_are() -> None:
    inner = "import subprocess,sys,time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    inner += "print('ready', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", inner]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as outer:
        assert outer.stdout is not None
        assert outer.stdout.readline() == b"ready\n"
        expected = {child.pid for child in psutil.Process(outer.pid).children(recursive=True)}
        found = descendants(outer.pid)
        assert set(found) == expected
        assert len(found) == 1
        assert outer.pid in descendants(os.getpid())
        for pid in [*found, outer.pid]:
            os.kill(pid, signal.SIGKILL)
