"""Cuts beside a writer that never rests: whatever is looked at within one, and by many threads at once, agrees."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from events.log import Applied, Mark
from stores.profiles.base import ProfileReader
from stores.rows.base import APPLIED, Condition, RowQuery, RowReader, applied_fact
from stores.vectors.base import Query, VectorReader
from stores.vectors.lance_reader import LanceReader
from stores.vectors.lance_writer import LanceWriter
from stores.vectors.postgres_reader import PostgresVectorReader
from stores.vectors.postgres_writer import PostgresVectors
from tests.contract.profile_samples import ProfilePlace, member, own, profile
from tests.contract.row_samples import RowPlace, postgres_place, row
from tests.servers.postgres import running
from tests.stores.vector_samples import MODEL, embed, upsert, vector_of

THREADS = 8
DEADLINE_SECONDS = 60.0
ROUNDS = {"sqlite": 30, "postgres": 20, "lance": 6}
"""How many different commits each thread is to see."""
LAST = 100_000
P = own("a")


Writing = Callable[[Any, Iterable[int]], None]


class LancePlace:
    """Where a vector store lies, and how it is opened; travels to other processes."""

    kind = "lance"

    def __init__(self, path: Path) -> None:
        self.path = path

    def reader(self) -> VectorReader:
        return LanceReader(self.path, MODEL)

    def writer(self) -> LanceWriter:
        return LanceWriter(self.path, MODEL, embed=embed, clock=lambda: 0, optimize_every=3)


class VectorPlace:
    """The same in PostgreSQL."""

    kind = "postgres"

    def __init__(self, dsn: str, schema: str) -> None:
        self.dsn = dsn
        self.schema = schema

    def reader(self) -> VectorReader:
        return PostgresVectorReader(self.dsn, self.schema, MODEL)

    def writer(self) -> PostgresVectors:
        return PostgresVectors(self.dsn, self.schema, MODEL, embed=embed, clock=lambda: 0)


def applied(number: int) -> Applied:
    return Applied("changes", "0", number, number, number, caught_up=True, applied_at=number)


# What the writers write: everything of one round in one commit, and nothing else.


def write_rows(place: RowPlace, rounds: Iterable[int]) -> None:
    writer = place.writer()
    for number in rounds:
        with writer.transaction():
            writer.put("left", [row(n, a=number, offset=number) for n in range(3)])
            writer.put("right", [row(n, a=number, offset=number) for n in range(3)])
            writer.note(APPLIED, dict([applied_fact(applied(number))]))
    writer.close()


def write_profiles(place: ProfilePlace, rounds: Iterable[int]) -> None:
    writer = place.writer()
    for number in rounds:
        with writer.transaction():
            writer.put_members([member("a", P, f"email:{number}"), member("b", P, f"email:{number}")])
            writer.put_profiles({P: profile(P, number)})
            writer.put("orders", [row(1, a=number, offset=number)])
            writer.note(APPLIED, dict([applied_fact(applied(number))]))
    writer.close()


def write_documents(place: LancePlace | VectorPlace, rounds: Iterable[int]) -> None:
    with place.writer() as writer:
        for number in rounds:
            pair = [upsert(uri, f"version{number} of {uri}", position=number) for uri in ("left", "right")]
            writer.write(pair, [Mark("docs", "0", number, None, number, caught_up=False)])


# What a cut says of the round that it was taken in: each look for itself.


def looks_at_rows(cut: RowReader) -> list[Callable[[], set[int]]]:
    def numbers(table: str, *where: Condition) -> set[int]:
        return {stored.image["a"] for stored in cut.select(RowQuery(table=table, where=where)) if stored.image}

    return [
        lambda: numbers("left"),
        lambda: offsets(cut.applied()),
        lambda: numbers("right"),
        lambda: numbers("left", Condition("id", "=", 2)),
    ]


def looks_at_profiles(cut: ProfileReader) -> list[Callable[[], set[int]]]:
    def carried() -> set[int]:
        return {int(name.partition(":")[2]) for one in cut.members_of(P) for name in one.identifiers}

    def told() -> set[int]:
        found = cut.profile(P)
        return set() if found is None else {found.fields["name"].value}

    def owned() -> set[int]:
        return {stored.image["a"] for stored in cut.select(RowQuery(table="orders")) if stored.image}

    def held() -> set[int]:
        (number,) = carried() or {0}
        return {number for _ in cut.holders("default", f"email:{number}", 9)}

    return [carried, told, lambda: offsets(cut.applied()), held, owned]


def looks_at_documents(cut: VectorReader) -> list[Callable[[], set[int]]]:
    def versions(items: list[Any]) -> set[int]:
        return {int(item.text.split()[0].removeprefix("version")) for item in items}

    return [
        lambda: versions(cut.chunks("docs", "left")),
        lambda: offsets(cut.applied()),
        lambda: versions(cut.search(Query(vector=vector_of("of"), text="left right", k=9))),
        lambda: {document.position for document in cut.documents()},
        lambda: versions(cut.chunks("docs", "right")),
    ]


def offsets(marks: list[Applied]) -> set[int]:
    return {mark.offset for mark in marks}


def write_until(told: Event, begun: Event, write: Writing, place: Any) -> None:
    """Write round after round, from the second on, until `told` to stop; tell when it has `begun`."""

    def rounds() -> Iterator[int]:
        for number in itertools.takewhile(lambda _: not told.is_set(), range(2, LAST)):
            yield number
            begun.set()

    write(place, rounds())


KINDS = (
    "rows in sqlite",
    "rows in postgres",
    "profiles in sqlite",
    "profiles in postgres",
    "documents",
    "documents in postgres",
)


class Store:
    """A store with a writer's work, and what its cuts are asked."""

    def __init__(self, place: Any, write: Writing, looks: Callable[[Any], Any]) -> None:
        self.rounds = ROUNDS[place.kind]
        self.reader = place.reader()
        self.looks = looks
        self._place = place
        self._write = write

    def write(self, first: int, last: int) -> None:
        """Write the rounds from `first` to `last`."""
        self._write(self._place, range(first, last + 1))

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Write in another process during the block."""
        spawn = multiprocessing.get_context("spawn")
        told, begun = spawn.Event(), spawn.Event()
        process = spawn.Process(target=write_until, args=(told, begun, self._write, self._place))
        process.start()
        try:
            assert begun.wait(DEADLINE_SECONDS)
            yield
        finally:
            told.set()
            process.join(DEADLINE_SECONDS)
            process.kill()
        assert process.exitcode == 0

    def round_of(self, cut: Any) -> int:
        """Return the round that everything in a cut is of; 0 for an empty one."""
        found = [look() for look in self.looks(cut)]
        assert all(seen == found[0] for seen in found), found
        return max(found[0], default=0)


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    what, _, where = request.param.partition(" in ")
    if what == "documents" and where:
        with postgres_place(running(request.config).dsn()) as free:
            made = Store(VectorPlace(free.dsn, free.schema), write_documents, looks_at_documents)
            yield made
            made.reader.close()
        return
    if what == "documents":
        yield Store(LancePlace(tmp_path / "vectors"), write_documents, looks_at_documents)
        return
    make: type[RowPlace] | type[ProfilePlace] = RowPlace if what == "rows" else ProfilePlace
    write, looks = (write_rows, looks_at_rows) if what == "rows" else (write_profiles, looks_at_profiles)
    if where == "sqlite":
        made = Store(make("sqlite", path=str(tmp_path / "store.sqlite3")), write, looks)
        yield made
        made.reader.close()
    else:
        with postgres_place(running(request.config).dsn()) as place:
            made = Store(make("postgres", dsn=place.dsn, schema=place.schema), write, looks)
            yield made
            made.reader.close()


def test_everything_in_a_cut_is_of_one_commit_whatever_the_writer_does_meanwhile(store: Store) -> None:
    store.write(1, 1)

    def follow(_: int) -> list[int]:
        seen: list[int] = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(set(seen)) < store.rounds and time.monotonic() < deadline:
            with store.reader.cut() as cut:
                seen.append(store.round_of(cut))
        return seen

    with store.writer(), ThreadPoolExecutor(THREADS) as threads:
        followed = list(threads.map(follow, range(THREADS)))
    for seen in followed:
        assert seen == sorted(seen)
        assert len(set(seen)) == store.rounds


def test_nobody_waits_for_an_open_cut(store: Store) -> None:
    store.write(1, 1)
    with store.reader.cut() as cut:
        assert store.round_of(cut) == 1
        store.write(2, 5)
        rounds: list[int] = []

        def ask() -> None:
            # Nobody writes, so single calls agree as well.
            rounds.append(store.round_of(store.reader))

        threads = [threading.Thread(target=ask) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_SECONDS)
        assert rounds == [5] * THREADS
        with store.reader.cut() as other:
            assert store.round_of(other) == 5
        assert store.round_of(cut) == 1


def test_cuts_of_different_commits_are_open_side_by_side(store: Store) -> None:
    with ExitStack() as opened:
        cuts = []
        for number in range(1, 9):
            store.write(number, number)
            cuts.append(opened.enter_context(store.reader.cut()))
        assert [store.round_of(cut) for cut in cuts] == list(range(1, 9))


def test_a_cut_of_a_store_that_is_not_there_yet_stays_empty(store: Store) -> None:
    with store.reader.cut() as cut:
        assert store.round_of(cut) == 0
        store.write(1, 1)
        assert store.round_of(store.reader) == 1
        # In PostgreSQL what has been made is to be seen at once, though nothing in it.
        assert store.round_of(cut) == 0
    with store.reader.cut() as cut:
        assert store.round_of(cut) == 1
