"""Servers, capture and flows are killed while a company works: what is served in the end is what the company has.

PostgreSQL, a Kafka broker, capture and the flows, each in two processes, run as they do for users, and are killed (-9)
at seeded moments, while pgbench and a writer of our own change tables, and feedback is told. A freshly read age is
never less than the truth.

The broker is noida-db, which has what it acknowledges on the disk a second or two later, and forgets what it has
acknowledged since when it is killed: no fault of ours. So capture is halted, and nobody else appends, from before it
has written everything down until it is back.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median

import pytest

from events.clock import system_clock
from events.errors import HeadraceError
from serving.freshness import Demand
from serving.profiles import Profiles
from serving.tables import LiveTables
from stores.dead_letters import DeadLetters
from stores.kpis.reader import KpiReader
from stores.log.choose import open_log
from tests.faults.live_oracles import source_rows, wrong_kpis, wrong_persons, wrong_tables
from tests.faults.live_workers import Beat, Bench, Feedback, Witness, writing
from tests.faults.live_world import World, running_world
from tests.faults.live_writer import Writer

_logger = logging.getLogger(__name__)
FAULTS = (
    "process capture",
    "broker",
    "process tables",
    "database",
    "supervisor profiles",
    "process feedback",
    "process profiles",
    "supervisor tables",
    "supervisor capture",
    "supervisor feedback",
)


def live(home: Path, *, client: str, seed: int, kills: int, seconds: float, rate: int, events: int) -> None:
    """Kill so often within so many seconds, and compare."""
    chance = random.Random(seed)
    faults = [FAULTS[number % len(FAULTS)] for number in range(kills)]
    chance.shuffle(faults)
    moments = sorted(chance.uniform(0, seconds) for _ in range(kills))
    with running_world(home, client) as world:
        tables = LiveTables.of(world.settings())
        world.wait_until(lambda: known_age(tables) is not None, "the snapshot")
        beat = Beat(world)
        witness = Witness(world, beat)
        writer = Writer(world, seed, pause=0.01)
        feedback = Feedback(world, events)
        with writing(world, beat, witness, writer, feedback, Bench(world, rate)):
            passed = 0.0
            for fault, moment in zip(faults, moments, strict=True):
                world.pass_time(max(0.0, moment - passed))
                passed = moment
                world.fault(fault, chance)
            world.pass_time(max(0.0, seconds - passed))
        assert world.kills == faults
        is_right(world, tables, feedback)
        _logger.info("an age was told %d times, the median is %d ms", len(witness.ages), median(witness.ages))
        assert witness.overstated == []
        assert len(witness.ages) > 10 * seconds / 20, "an age was hardly ever known"


def is_right(world: World, tables: LiveTables, feedback: Feedback) -> None:
    """Compare all that is stored with what the source has, as soon as it is as fresh by its own word."""
    settings = world.settings()
    with world.connect() as database:
        source = source_rows(database)
    ended = system_clock()
    profiles = Profiles.of(settings)
    world.wait_until(lambda: is_newer(tables, ended), "the tables to be up to date")
    none_of(wrong_tables(settings, source), world)
    world.wait_until(lambda: is_newer(profiles, ended), "the profiles to be up to date")
    none_of(wrong_persons(settings, source), world)
    wait_for_kpis(world, feedback)
    none_of(wrong_kpis(settings, feedback.appended), world)
    assert DeadLetters(settings.dead_letters_path, system_clock).list() == []


def none_of(wrong: Iterator[str], world: World) -> None:
    """Fail with what is wrong, if anything is."""
    told = list(islice(wrong, 20))
    assert not told, "\n".join([*told, world.report()])


def wait_for_kpis(world: World, feedback: Feedback) -> None:
    """Wait until the feedback flow has taken in its stream to the end."""
    settings = world.settings()
    log = open_log(settings)
    ends = {(str(part)): log.bounds("feedback", part)[1] for part in log.partitions("feedback")}
    log.close()
    reader = KpiReader(settings.kpis_path)

    def is_in() -> bool:
        there = {mark.partition: mark.offset for mark in reader.applied() if mark.source == "feedback"}
        return all(there.get(part, 0) >= end for part, end in ends.items())

    world.wait_until(is_in, "the feedback to be taken in")


def known_age(tables: LiveTables | Profiles) -> int | None:
    """Return how old they are by their own word; None if they do not say."""
    try:
        return tables.await_fresh(Demand())
    except HeadraceError:
        return None


def is_newer(tables: LiveTables | Profiles, moment: int) -> bool:
    """Tell whether they say that they hold all that there was at a moment."""
    asked = system_clock()
    age = known_age(tables)
    return age is not None and asked - age > moment


def test_six_kills_under_work_lose_double_and_revive_nothing(tmp_path: Path) -> None:
    pytest.importorskip("confluent_kafka")
    live(tmp_path, client="confluent", seed=3, kills=6, seconds=12, rate=60, events=2_000)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("client", ["confluent", "kafka-python-ng"])
def test_twenty_kills_in_a_minute_lose_double_and_revive_nothing(tmp_path: Path, client: str) -> None:
    live(tmp_path, client=client, seed=20, kills=20, seconds=60, rate=150, events=12_000)
