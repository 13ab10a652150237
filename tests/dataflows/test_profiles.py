"""The profiles flow ends in the same profiles however it is run, and in those that one batch over the rows finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fixtures import people
from fixtures.people import Crowd, Key
from operators.identity.configure import identity_rules, record_rules
from operators.identity.extract import Extractor
from tests.dataflows.profiles_content import STREAMS, crowd_config, partition, replay, settings_of
from tests.property.identity_oracle import FinalRow, members_of

CROWD = Crowd(seed=4, persons=250, changes=1_500)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return replay(STREAMS, tmp_path_factory.mktemp("calm"))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log with the stream of a crowd, and its settings beside it."""
    folder = tmp_path_factory.mktemp("crowd")
    people.write(CROWD, folder / "log", 3)
    crowd_config(folder)
    return folder


@pytest.mark.parametrize(("workers", "batch"), [(1, 7), (1, 100), (2, 50), (3, 1000)])
def test_replay_ends_in_the_same_profiles_whatever_the_workers_and_batches(
    tmp_path: Path, calm: dict[str, Any], workers: int, batch: int
) -> None:
    assert calm["profiles"]
    assert replay(STREAMS, tmp_path, workers=workers, batch=batch) == calm


def test_single_events_end_in_the_same_profiles(tmp_path: Path, crowd: Path) -> None:
    config = crowd / "headrace.toml"
    whole = replay(crowd / "log", tmp_path / "whole", config=config)
    assert replay(crowd / "log", tmp_path / "single", batch=1, config=config) == whole


@pytest.mark.parametrize("workers", [1, 2])
def test_the_partition_is_that_of_a_batch_over_the_rows_that_are_left(
    tmp_path: Path, crowd: Path, workers: int
) -> None:
    config = crowd / "headrace.toml"
    found = replay(crowd / "log", tmp_path, workers=workers, config=config)
    assert set(partition(found).values()) == batch_partition(config, people.final(CROWD))
    assert found["totals"] == (sum(map(len, partition(found).values())), len(found["profiles"]))


def test_bookings_are_counted_for_the_person_that_made_them(tmp_path: Path, crowd: Path) -> None:
    found = replay(crowd / "log", tmp_path, config=crowd / "headrace.toml")
    rows = people.final(CROWD)
    counts: dict[str, int] = {}
    for (table, _), row in rows.items():
        if table == "bookings" and ("shop", row["user_id"]) in rows:
            record = record_key(("shop", row["user_id"]))
            counts[record] = counts.get(record, 0) + 1
    for profile, members in found["profiles"].values():
        own = sum(counts.get(member["record"], 0) for member in members)
        assert profile["collections"].get("bookings", {}).get("count", 0) == own


def batch_partition(config: Path, rows: dict[Key, dict[str, Any]]) -> set[frozenset[str]]:
    """Return who is who by one batch computation over rows."""
    profiles = settings_of(Path("unused"), config).profiles
    rules = identity_rules(profiles)
    extractor = Extractor(rules, record_rules(profiles))
    carried = {
        record_key(key): FinalRow(frozenset(one.identifier for one in extractor.found(key[0], row).identifiers), 0)
        for key, row in rows.items()
        if key[0] != "bookings"
    }
    persons: dict[str, set[str]] = {}
    for record, member in members_of("default", rules, carried).items():
        persons.setdefault(member.person, set()).add(record)
    return set(map(frozenset, persons.values()))


def record_key(key: Key) -> str:
    return f'customers/public.{people.TABLES[key[0]]}/{{"id":{key[1]}}}'
