"""A cluster whose processes are killed again and again under a stream ends with the content of the source, and nothing
of it is left running however its supervisor ends.
"""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from fixtures.generator_source import Scale
from tests.faults.harness import seeded_moments
from tests.integration.clusters import Place
from tests.integration.live import wait_until

SCALE = Scale(seed=11, rows=200, events=3_000)
KILLED = "was killed by signal 9; all processes are started again"


def kill_often(place: Place, kills: int, seed: int) -> None:
    """Kill one of the processes at seeded moments after they have taken in some of each part of the stream."""
    chance = random.Random(seed)
    with place.running("--processes", "2") as running:

        def kill(number: int, moment: float) -> None:
            before = place.applied()
            place.append_part()
            running.wait_until(lambda: place.applied() != before, "some of it to be taken in")
            deadline = time.monotonic() + moment
            wait_until(lambda: time.monotonic() >= deadline, "the moment")
            running.kill_one(chance)
            running.wait_until(lambda: place.health()["restarts"] == number, "all to be started again")

        said = running.said().count(KILLED)
        for number, moment in enumerate(seeded_moments(seed, kills, 0.4), 1):
            kill(number, moment)
        place.append_part()
        running.wait_until(place.is_taken_in, "everything to be taken in")
        assert running.said().count(KILLED) - said == kills
        assert running.stop() == 0


def test_kills_under_a_stream_lose_and_double_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path, SCALE, parts=4)
    kill_often(place, kills=3, seed=1)
    place.assert_equals_source()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_twenty_kills_and_those_of_the_supervisor_lose_and_double_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path, Scale(seed=12, rows=2_000, events=60_000), parts=29)
    for seed in range(4):
        kill_often(place, kills=5, seed=seed)
        with place.running("--processes", "2") as running:
            place.append_part()
            running.wait_until(place.engines, "its processes")
            running.process.kill()
    kill_often(place, kills=0, seed=0)
    place.assert_equals_source()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_however_the_supervisor_ends_nothing_is_left_running(tmp_path: Path, number: int) -> None:
    place = Place(tmp_path, SCALE, parts=4)
    place.append_part()
    with place.running("--processes", "2") as running:
        running.wait_until(place.engines, "its processes")
        began = time.monotonic()
        code = running.stop(number)
        wait_until(lambda: not place.processes(), "nothing to be left over")
        assert time.monotonic() - began < 10
        assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)
        # What a killed one has left behind is not believed by anybody: the lock is free.
        assert (place.data / "tables.cluster.json").exists() == (number == signal.SIGKILL)


def test_a_process_that_hangs_is_ended_with_the_others(tmp_path: Path) -> None:
    place = Place(tmp_path, SCALE, parts=4)
    place.append_part()
    with place.running("--processes", "2") as running:
        running.wait_until(place.is_taken_in, "the flow to work")
        first, second = place.health()["processes"]
        hung = next(process for process in place.engines() if process.pid == second)
        hung.suspend()
        next(process for process in place.engines() if process.pid == first).kill()
        running.wait_until(lambda: place.health().get("restarts") == 1, "both to be started again")
        running.wait_until(lambda: not hung.is_running() or hung.status() == "zombie", "the one that hung to be gone")
        running.wait_until(place.engines, "both")
        for engine in place.engines():
            engine.suspend()  # they neither go on nor hear that they shall stop
        assert running.stop() == 0
        assert place.processes() == []
