"""The LanceDB store among processes: no reader sees a torn commit, and no kill leaves one."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from events.context import FoundChunk
from events.errors import StoreError
from events.log import Mark
from stores.vectors.base import Query
from stores.vectors.lance_reader import LanceReader
from stores.vectors.lance_writer import LanceWriter
from tests.stores.vector_samples import MODEL, embed, upsert, vector_of

DEADLINE_SECONDS = 60.0
PARTS = 5


def write_versions(place: Path, first: int, last: int) -> None:
    """Write two documents again and again, both in one call, all parts of one version, with the version as mark."""
    with LanceWriter(place, MODEL, embed=embed, clock=lambda: 0, optimize_every=5) as writer:
        for version in range(first, last):
            texts = [f"part {part} version{version}" for part in range(PARTS)]
            pair = [upsert("left", *texts, position=version), upsert("right", *texts, position=version)]
            writer.write(pair, [Mark("docs", "0", version, None, version, caught_up=False)])


def versions(items: list[FoundChunk]) -> list[int]:
    return sorted(int(item.text.rpartition("version")[2]) for item in items)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int, int], BaseProcess]]:
    started: list[BaseProcess] = []

    def begin(first: int, last: int) -> BaseProcess:
        process = multiprocessing.get_context("spawn").Process(target=write_versions, args=(tmp_path, first, last))
        process.start()
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.join()


def test_readers_in_another_process_see_whole_versions_only(
    tmp_path: Path, start: Callable[[int, int], BaseProcess]
) -> None:
    reader = LanceReader(tmp_path, MODEL)
    query = Query(vector=vector_of("part"), text="part version", k=100)
    # The first search loads libraries, which takes longer than the other process needs for all its versions.
    write_versions(tmp_path / "elsewhere", 1, 2)
    assert LanceReader(tmp_path / "elsewhere", MODEL).search(query)
    start(1, 61)
    seen: list[int] = []

    def search() -> bool:
        items = reader.search(query)
        if items:
            (version,) = set(versions(items))
            assert [(item.uri, item.ordinal) for item in sorted(items, key=lambda item: (item.uri, item.ordinal))] == [
                (uri, part) for uri in ("left", "right") for part in range(PARTS)
            ]
            assert {item.position for item in items} == {version}
            seen.append(version)
            (right,) = set(versions(reader.chunks("docs", "right")))
            seen.append(right)
        return bool(seen) and seen[-1] == 60

    eventually(search)
    assert seen == sorted(seen)
    assert len(set(seen)) > 10


def test_a_killed_writer_leaves_one_version_and_its_mark(
    tmp_path: Path, start: Callable[[int, int], BaseProcess]
) -> None:
    chance = random.Random(11)
    version = 0
    for _ in range(3):
        reader = LanceReader(tmp_path, MODEL)
        process = start(version + 1, 1_000_000)
        goal = version + chance.randint(3, 20)

        def reached(reader: LanceReader = reader, goal: int = goal) -> bool:
            return any(mark.offset >= goal for mark in reader.applied())

        eventually(reached)
        process.kill()
        process.join()

        ((version,), (right,)) = (set(versions(reader.chunks("docs", uri))) for uri in ("left", "right"))
        (mark,) = reader.applied()
        assert mark.offset == version == right
        assert version >= goal
        with LanceWriter(tmp_path, MODEL, embed=embed, clock=lambda: 0) as writer:
            texts = [f"part {part} version{version + 1}" for part in range(PARTS)]
            writer.write([upsert(uri, *texts, position=version + 1) for uri in ("left", "right")])
        version += 1
        assert versions(reader.search(Query(text="part", k=100))) == [version] * 2 * PARTS


def test_a_writer_in_another_process_keeps_a_second_one_out_until_it_dies(
    tmp_path: Path, start: Callable[[int, int], BaseProcess]
) -> None:
    process = start(1, 1_000_000)
    reader = LanceReader(tmp_path, MODEL)
    eventually(lambda: bool(reader.applied()))
    with pytest.raises(StoreError, match=f"process {process.pid}"):
        LanceWriter(tmp_path, MODEL, embed=embed, clock=lambda: 0)
    process.kill()
    process.join()
    LanceWriter(tmp_path, MODEL, embed=embed, clock=lambda: 0).close()
