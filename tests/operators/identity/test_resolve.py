from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import TypeAlias

import bytewax.operators as op
import msgspec
import pytest
from bytewax.dataflow import Dataflow, Stream
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import TestingSink, TestingSource, cluster_main, run_main

from events.changes import Truncation
from events.erasure import Erasure
from events.errors import StoreError
from events.log import Mark
from events.persons import Links, Member, person_id
from operators.identity.resolve import Item, resolve
from operators.identity.resolver import Resolved, Resolver
from tests.operators.identity.memory_journal import MemoryJournal
from tests.operators.identity.test_resolver import ONE, REALM, RULES, links, mark, row
from tests.property.identity_oracle import final_rows, members_of
from tests.property.identity_world import RECORDS, Told, arrival, history

OTHER = "rail"


Coming: TypeAlias = "Item | TestingSource.ABORT | TestingSource.EOF"


class Journals:
    """The journals of all realms, which outlive the flows that write them."""

    def __init__(self) -> None:
        self.by_realm: dict[str, MemoryJournal] = {}
        self.opened: list[str] = []

    def open(self, realm: str) -> Resolver:
        self.opened.append(realm)
        journal = self.by_realm.setdefault(realm, MemoryJournal(f"journal of {realm}"))
        return Resolver(realm, RULES, journal, extraction={}, horizon=10**15)


def realm_of(truncation: Truncation) -> str:
    return {"customers": REALM, "passengers": OTHER}[truncation.table]


def flow_of(
    items: Sequence[Coming],
    journals: Journals,
    found: list[Resolved],
    batch: int = 10,
    realm: Callable[[Truncation], str] = realm_of,
) -> Dataflow:
    flow = Dataflow("resolving")
    up: Stream[Item] = op.input("in", flow, TestingSource(items, batch))
    resolved = resolve("resolve", up, realms=(REALM, OTHER), realm_of=realm, open_resolver=journals.open)
    op.output("out", resolved, TestingSink(found))
    return flow


def elsewhere(one: Links) -> Links:
    return msgspec.structs.replace(one, realm=OTHER, change=msgspec.structs.replace(one.change, table="passengers"))


def persons(found: Sequence[Resolved]) -> dict[str, str]:
    return {item.record: item.person for item in found if isinstance(item, Member)}


def test_each_realm_has_a_graph_of_its_own() -> None:
    journals, found = Journals(), list[Resolved]()
    items = [links(1, 1, ["a@x"]), elsewhere(links(2, 2, ["a@x"])), links(3, 3, ["a@x"])]
    run_main(flow_of(items, journals, found))
    other = row(2, "passengers")
    assert persons(found) == {row(1): ONE, row(3): ONE, other: person_id(OTHER, other)}


def test_a_mark_goes_to_all_realms_and_no_further() -> None:
    journals, found = Journals(), list[Resolved]()
    run_main(flow_of([links(1, 1), mark(5, offset=9)], journals, found))
    assert not [item for item in found if isinstance(item, Mark)]
    assert {realm: journal.marks for realm, journal in journals.by_realm.items()} == {
        REALM: [mark(5, offset=9)],
        OTHER: [mark(5, offset=9)],
    }


def test_a_truncation_goes_to_its_realm_and_is_passed_along() -> None:
    journals, found = Journals(), list[Resolved]()
    mine = Truncation("crm", "customers", 99, (0, 9), stream="crm", offset=9)
    both = [links(1, 1, ["a@x"]), elsewhere(links(2, 2, ["a@x"]))]
    run_main(flow_of([*both, mine], journals, found, batch=2))
    assert [item for item in found if isinstance(item, Truncation)] == [mine]
    assert persons(found)[row(1)] == ""
    assert persons(found)[row(2, "passengers")] != ""


def test_an_erasure_reaches_its_realm() -> None:
    journals, found = Journals(), list[Resolved]()
    erasure = Erasure("e1", REALM, ONE, (row(1),), ("email:a@x",), 9)
    run_main(flow_of([links(1, 1, ["a@x"]), erasure], journals, found, batch=1))
    assert persons(found) == {row(1): ""}
    assert "a@x" not in journals.by_realm[REALM].text()


def test_an_erasure_in_a_realm_that_is_none_opens_nothing() -> None:
    journals, found = Journals(), list[Resolved]()
    run_main(flow_of([Erasure("e1", "../outside", ONE, (row(1),), (), 9), mark(1)], journals, found))
    assert found == []
    assert sorted(journals.opened) == sorted((REALM, OTHER))


@pytest.fixture
def recovery(tmp_path: Path) -> RecoveryConfig:
    init_db_dir(tmp_path, 1)
    return RecoveryConfig(str(tmp_path))


def test_a_flow_that_goes_on_knows_its_records_and_tells_nothing_twice(recovery: RecoveryConfig) -> None:
    journals, found = Journals(), list[Resolved]()
    items: list[Coming] = [
        links(1, 1, ["a@x"]),
        links(2, 2, ["b@x"]),
        TestingSource.EOF(),
        mark(1),
        links(2, 3, ["a@x"]),
    ]
    flow = flow_of(items, journals, found)
    run_main(flow, recovery_config=recovery)
    assert row(2) in persons(found)
    found.clear()
    run_main(flow, recovery_config=recovery)
    assert persons(found) == {row(2): ONE}


def test_after_a_crash_the_journal_goes_back_and_the_store_is_told(recovery: RecoveryConfig) -> None:
    journals, found = Journals(), list[Resolved]()
    first: list[Coming] = [links(1, 1, ["a@x"]), links(2, 2, ["b@x"]), TestingSource.EOF()]
    second: list[Coming] = [links(2, 3, ["a@x"]), links(3, 4, ["c@x"]), TestingSource.ABORT()]
    flow = flow_of([*first, *second, mark(1), TestingSource.EOF()], journals, found, batch=1)
    run_main(flow, recovery_config=recovery)
    journal = journals.by_realm[REALM]
    # As after a crash between the journal's commit and the engine's: the journal is ahead.
    ahead = journals.open(REALM)
    ahead.start(None)
    ahead.take([links(9, 9, ["z@x"])])
    ahead.close_epoch()
    found.clear()
    run_main(flow, recovery_config=recovery)
    run_main(flow, recovery_config=recovery)
    assert persons(found)[row(9)] == ""
    assert persons(found)[row(2)] == ONE
    assert journal.get(row(9)) is None


def test_another_journal_than_the_one_of_the_recovery_folder_is_refused(recovery: RecoveryConfig) -> None:
    journals = Journals()
    flow = flow_of([links(1, 1, ["a@x"]), TestingSource.EOF(), mark(1)], journals, [])
    run_main(flow, recovery_config=recovery)
    journals.by_realm[REALM] = MemoryJournal("another one")
    with pytest.raises(StoreError, match=r"another identity journal of the realm 'travel'.*put the old journal back"):
        run_main(flow, recovery_config=recovery)


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_neither_workers_nor_batches_matter(workers: int, batch: int) -> None:
    rng = Random(20260115)
    kinds = ("put", "put", "put", "part", "delete", "truncate")
    made = [(rng.choice(kinds), rng.randrange(len(RECORDS)), rng.randrange(2**11)) for _ in range(200)]
    # What has no positions has to come in its order, which one worker gives it here.
    events = history(
        step for step in made if RECORDS[step[1]][0] != "desk" and (step[0] != "truncate" or step[2] < 400)
    )
    journals, found = Journals(), list[Resolved]()
    flow = flow_of([*arrival(events, rng), mark(1)], journals, found, batch, realm=lambda truncation: REALM)
    if workers == 1:
        run_main(flow)
    else:
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    told = Told()
    told.take(found)
    assert told.members == members_of(REALM, RULES, final_rows(events))
    assert len(told.members) >= 3
    assert journals.opened.count(REALM) == 1
