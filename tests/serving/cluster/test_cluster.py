"""Processes that live and die together: one that ends takes the others with it, and all come back, or end for good."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from events.clock import system_clock
from serving.cluster import cluster as cluster_module
from serving.cluster.cluster import Cluster, Member
from serving.supervise.log_file import LogFile
from serving.supervise.process import Process
from serving.supervise.restarts import Restarts, ticks
from tests.integration.live import wait_until

ACTOR = """
import os, signal, sys, time
from pathlib import Path

number, life = int(sys.argv[1]), Path(sys.argv[2])
lives = len(list(life.glob(f"{number}-*")))
(life / f"{number}-{lives}-{sys.argv[3].split(';')[number].rpartition(':')[2]}").touch()
role = sys.argv[4 + number].split(",")
role = role[min(lives, len(role) - 1)]
print("process", number, "is", role, flush=True)
if role == "end":
    sys.exit(0)
if role == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if role == "fail":
    print("Traceback: a panic", file=sys.stderr)
    sys.exit(1)
if role == "explain":
    print("headrace: the broker is gone (start it)", file=sys.stderr, flush=True)
    sys.exit(3)
if role == "pass":
    print("headrace: the broker is away (start it)", file=sys.stderr, flush=True)
    sys.exit(75)
if role == "warn":
    print("WARNING x: that is odd", flush=True)
time.sleep(600)
"""


class Troupe:
    """A cluster of processes that play roles, life by life."""

    def __init__(self, home: Path, *roles: str, explanations: int = 1) -> None:
        self.home = home
        (home / "actor.py").write_text(ACTOR)
        (home / "lives").mkdir()
        self.said: list[str] = []
        environment = {**os.environ, "PYTHONPATH": str(home)}
        members = [
            Member(Process([], environment, []), LogFile(home / f"{number}.log", system_clock, 100_000))
            for number in range(len(roles))
        ]

        def command(number: int, addresses: str) -> list[str]:
            return ["actor", str(number), str(home / "lives"), addresses, *roles]

        restarts = Restarts(ticks(), explanations, first=1)
        self.cluster = Cluster(members, command, restarts, ticks=ticks, clock=system_clock, say=self.said.append)

    def lives(self, number: int) -> list[str]:
        """Return the port of each life of a process."""
        paths = sorted((self.home / "lives").glob(f"{number}-*"), key=lambda path: int(path.name.split("-")[1]))
        return [path.name.split("-")[2] for path in paths]

    def log(self, number: int) -> str:
        path = self.home / f"{number}.log"
        return path.read_text() if path.exists() else ""

    def turn_until(self, what: str) -> None:
        """Go on until something has been said by one of the processes, or until it has ended."""

        def reached() -> bool:
            self.cluster.turn()
            return any(what in self.log(number) for number in range(len(self.cluster.pids)))

        wait_until(reached, what)

    def turn_to_end(self) -> int:
        def over() -> bool:
            self.cluster.turn()
            return self.cluster.code is not None

        wait_until(over, "the end")
        assert self.cluster.code is not None
        return self.cluster.code


@pytest.fixture
def left() -> Iterator[list[Troupe]]:
    troupes: list[Troupe] = []
    yield troupes
    for troupe in troupes:
        pids = [pid for pid in troupe.cluster.pids if pid is not None]
        troupe.cluster.kill()
        wait_until(troupe.cluster.await_end, "their end")
        troupe.cluster.close()
        assert not any(psutil.pid_exists(pid) for pid in pids)


def test_all_that_end_well_end_it_well(tmp_path: Path, left: list[Troupe]) -> None:
    troupe = Troupe(tmp_path, "end", "end")
    left.append(troupe)
    assert troupe.turn_to_end() == 0
    assert (troupe.said, troupe.cluster.restarted) == ([], 0)
    assert "process 1 is end" in troupe.log(1)


def test_when_one_is_killed_all_are_started_again_with_other_ports(tmp_path: Path, left: list[Troupe]) -> None:
    troupe = Troupe(tmp_path, "live,end", "die,end", "live,end")
    left.append(troupe)
    assert troupe.turn_to_end() == 0
    assert troupe.cluster.restarted == 1
    assert troupe.said == ["process 1 was killed by signal 9; all processes are started again in 1 s"]
    ports = [port for number in range(3) for port in troupe.lives(number)]
    assert len(ports) == len(set(ports)) == 6


def test_when_one_ends_well_and_others_go_on_all_are_started_again(
    tmp_path: Path, left: list[Troupe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "LEFT_MILLIS", 50)
    troupe = Troupe(tmp_path, "live,end", "end,end")
    left.append(troupe)
    assert troupe.turn_to_end() == 0
    assert troupe.said == ["process 1 ended while others went on; all processes are started again in 1 s"]
    assert troupe.cluster.restarted == 1


def test_one_that_fails_without_a_word_is_tried_again_and_its_noise_stays_in_its_log(
    tmp_path: Path, left: list[Troupe]
) -> None:
    troupe = Troupe(tmp_path, "fail,fail,end", "live,live,end")
    left.append(troupe)
    assert troupe.turn_to_end() == 0
    assert [line.partition(";")[0] for line in troupe.said] == ["process 0 ended with exit code 1"] * 2
    assert troupe.log(0).count("Traceback") == 2


def test_what_one_explains_before_it_ever_worked_ends_all_with_that_line(tmp_path: Path, left: list[Troupe]) -> None:
    troupe = Troupe(tmp_path, "live", "explain")
    left.append(troupe)
    assert troupe.turn_to_end() == 1
    assert troupe.said == ["headrace: the broker is gone (start it)"]
    assert troupe.cluster.error == "the broker is gone (start it)"
    assert troupe.cluster.pids == (None, None)
    assert troupe.lives(0) == troupe.lives(0)[:1]


def test_what_one_explains_that_may_pass_is_told_and_tried_again(tmp_path: Path, left: list[Troupe]) -> None:
    troupe = Troupe(tmp_path, "live,live,end", "pass,pass,end")
    left.append(troupe)
    assert troupe.turn_to_end() == 0
    assert troupe.said == ["the broker is away (start it); all processes are started again in 1 s"] * 2


def test_what_is_explained_although_another_one_died_first_counts(tmp_path: Path, left: list[Troupe]) -> None:
    troupe = Troupe(tmp_path, "fail", "explain")
    left.append(troupe)
    assert troupe.turn_to_end() == 1
    assert troupe.said == ["headrace: the broker is gone (start it)"]


def test_what_is_grave_is_passed_on_at_once(tmp_path: Path, left: list[Troupe]) -> None:
    troupe = Troupe(tmp_path, "warn", "live")
    left.append(troupe)
    troupe.turn_until("that is odd")
    assert troupe.said == ["process 0: WARNING x: that is odd"]
    assert troupe.cluster.state == "running"


def test_all_stop_when_they_are_asked_to(tmp_path: Path, left: list[Troupe]) -> None:
    troupe = Troupe(tmp_path, "live", "live")
    left.append(troupe)
    troupe.turn_until("is live")
    troupe.cluster.stop()
    wait_until(troupe.cluster.await_end, "their end")
    assert troupe.cluster.code is None
    assert troupe.cluster.pids == (None, None)


def test_while_they_wait_to_be_started_again_they_say_so(tmp_path: Path, left: list[Troupe]) -> None:
    troupe = Troupe(tmp_path, "live", "live")
    left.append(troupe)
    troupe.turn_until("is live")
    first = troupe.cluster.pids[0]
    assert first is not None
    os.kill(first, signal.SIGKILL)
    states = set()

    def again() -> bool:
        troupe.cluster.turn()
        states.add(troupe.cluster.state)
        return troupe.cluster.restarted == 1 and all(troupe.cluster.pids)

    wait_until(again, "their return")
    assert states == {"running", "waiting"}
