"""A flow in one process ends as soon as it is asked to, and says how when somebody else has ended it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from fixtures.corpus import ROOT
from tests.integration.live import SECONDS, wait_until

# A flow that never comes to its end, and says that it has begun.
ENDLESS = """
import os, time
from pathlib import Path
Path("begun.made").write_text(str(os.getpid()))
Path("begun.made").rename("begun")
time.sleep(600)
"""

ALONE = """
import os, sys
from serving.cluster import alone
alone.STOP_SECONDS = float(sys.argv[1])
sys.exit(alone.run_alone("tables", ["endless"], os.environ, os.open("lock", os.O_CREAT | os.O_RDWR)))
"""


class Running:
    """The flow, and who has started it.

    :arg before: What the command begins with.
    :arg patience: Seconds that the flow has to stop by itself.
    """

    def __init__(self, home: Path, patience: float, before: Sequence[str]) -> None:
        (home / "endless.py").write_text(ENDLESS)
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", ALONE, str(patience)],
            cwd=home,
            env={**os.environ, "PYTHONPATH": f"{ROOT.parent}{os.pathsep}{home}"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until((home / "begun").exists, "the flow to run")
        self.flow = psutil.Process(int((home / "begun").read_text()))

    def end(self) -> tuple[int, str]:
        """Wait for the end of both; return exit code and what was said."""
        said = self.process.communicate(timeout=SECONDS)[1]
        assert not self.flow.is_running()
        return self.process.returncode, said


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []

    def begin(*before: str, patience: float = SECONDS) -> Running:
        started.append(Running(tmp_path, patience, before))
        return started[-1]

    yield begin
    for running in started:
        if running.flow.is_running():
            running.flow.kill()
        running.process.kill()
        running.process.communicate(timeout=SECONDS)


def is_asked(process: psutil.Process) -> bool:
    """Tell whether a SIGTERM waits for a process that is suspended; proc(5) has it as bits of a number."""
    status = dict(line.split(":\t") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    return bool(int(status["ShdPnd"], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_asked_to_stop_it_ends_without_noise(start: Start, number: int) -> None:
    running = start()
    running.process.send_signal(number)
    assert running.end() == (0, "tables stopped\n")


def test_under_nohup_it_outlives_its_terminal(start: Start) -> None:
    running = start("nohup")
    running.process.send_signal(signal.SIGHUP)
    running.flow.terminate()  # had it been asked to stop, it would not wonder
    code, said = running.end()
    assert code == 128 + signal.SIGTERM
    assert said.endswith("tables was killed by signal 15; start it again: it goes on where it was\n")


def test_a_flow_that_the_system_kills_does_not_end_without_a_word(start: Start) -> None:
    running = start()
    running.flow.kill()
    told = "tables was killed by signal 9 (out of memory?); start it again: it goes on where it was\n"
    assert running.end() == (128 + signal.SIGKILL, told)


def test_one_that_hangs_is_ended_after_the_time_that_it_has_to_stop(start: Start) -> None:
    running = start(patience=0.2)
    running.flow.suspend()  # it neither goes on nor hears that it shall stop
    running.process.send_signal(signal.SIGTERM)
    assert running.end() == (0, "tables stopped\n")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody tells which signals wait")
def test_one_that_hangs_is_ended_at_once_when_it_is_asked_again(start: Start) -> None:
    running = start()
    running.flow.suspend()
    running.process.send_signal(signal.SIGINT)
    wait_until(lambda: is_asked(running.flow), "the first one to be passed on")
    running.process.send_signal(signal.SIGINT)
    assert running.end() == (0, "tables stopped\n")
