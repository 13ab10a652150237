from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec
import pytest

from events.changes import Change, Op, Position, Truncation
from events.erasure import Erasure
from events.errors import StoreError
from events.log import Mark
from events.persons import Links, Member, PersonEvent, Shared, person_id
from operators.identity.journal import Journal
from operators.identity.resolver import Resolved, Resolver
from operators.identity.rules import IdentityRules, TypeRules
from stores.journal.sqlite import SqliteJournal
from tests.operators.identity.memory_journal import MemoryJournal

REALM = "travel"
RULES = IdentityRules((TypeRules("email", ("email",), 3), TypeRules("phone", ("phone",), 3)), person_limit=4)
DAY = 86_400_000
X = TypeVar("X")
Reopened: TypeAlias = Callable[[], Journal]
"""Opens the journal after whoever had it has died."""


def row(number: int, table: str = "customers") -> str:
    return f'crm/{table}/{{"id":{number}}}'


def links(
    number: int,
    at: int,
    email: Sequence[str] | None = (),
    phone: Sequence[str] | None = (),
    *,
    op: Op = "update",
    time: int | None = None,
    created: int | None = None,
    table: str = "customers",
    position: Position | None = None,
) -> Links:
    gone = op == "delete"
    unavailable = tuple(name for name, said in (("email", email), ("phone", phone)) if said is None)
    change = Change(
        "crm",
        table,
        json.dumps({"id": number}, separators=(",", ":")),
        op,
        None,
        None if gone else {},
        at * 10 if time is None else time,
        (0, at) if position is None else position,
        unavailable=unavailable,
        stream="crm",
        offset=at,
    )
    found = [
        None if said is None else tuple(f"{type_}:{one}" for one in said)
        for type_, said in (("email", email), ("phone", phone))
    ]
    return Links(change, REALM, tuple(found), created)


def mark(read_at: int, *, offset: int = 0, caught_up: bool = True, event_time: int | None = None) -> Mark:
    return Mark("crm", "0", offset, event_time, read_at, caught_up)


def started(
    journal: Journal, sequence: int | None = None, rules: IdentityRules = RULES, horizon: int = 30 * DAY
) -> Resolver:
    resolver = Resolver(REALM, rules, journal, extraction={"rows": "rules 1"}, horizon=horizon)
    resolver.start(sequence)
    return resolver


def of(kind: type[X], items: Sequence[Resolved]) -> list[X]:
    return [item for item in items if isinstance(item, kind)]


def persons(items: Sequence[Resolved]) -> dict[str, str]:
    return {member.record: member.person for member in of(Member, items)}


ONE, TWO, THREE = (person_id(REALM, row(number)) for number in (1, 2, 3))


def test_each_change_is_passed_along_with_whose_its_record_is() -> None:
    resolver = started(MemoryJournal())
    first, second = links(1, 1, ["a@x", "b@x"]), links(2, 2, ["a@x"], ["1"], created=15)
    assert resolver.take([first, second]) == [
        first.change,
        second.change,
        Member(row(1), REALM, ONE, ("email:a@x", "email:b@x"), 10),
        Member(row(2), REALM, ONE, ("email:a@x", "phone:1"), 15),
    ]
    assert resolver.take([second]) == [second.change]


def test_what_moves_nobody_is_passed_along_and_noted_without_work_on_the_graph() -> None:
    journal = MemoryJournal()
    resolver = started(journal)
    resolver.take([links(1, 1, ["a@x"]), links(2, 2, ["a@x"])])
    before, visited = journal.text(), resolver.graph.visited
    assert of(Member, resolver.take([links(1, 5, ["a@x"])])) == []
    assert resolver.graph.visited == visited
    assert journal.text() != before
    # The event from before it is older by now.
    assert of(Member, resolver.take([links(1, 4, ["other@x"])])) == []


def test_a_batch_tells_each_record_once_and_nothing_that_was_undone_within_it() -> None:
    journal = MemoryJournal()
    resolver = started(journal)
    resolver.take([links(1, 1, ["a@x"]), links(2, 2, ["b@x"])])
    commits = journal.commits
    found = resolver.take([links(2, 3, ["a@x"]), links(3, 4, ["c@x"]), links(2, 5, ["b@x"]), links(3, 6, ["a@x"])])
    assert persons(found) == {row(3): ONE}
    assert journal.commits == commits + 1


def test_a_record_that_comes_and_goes_in_one_batch_is_told_to_be_gone_as_the_store_may_know_it_from_before() -> None:
    resolver = started(MemoryJournal())
    assert persons(resolver.take([links(1, 1, ["a@x"]), links(1, 2, op="delete")])) == {row(1): ""}
    assert persons(resolver.take([links(1, 3, op="delete"), links(2, 4)])) == {row(2): TWO}


def test_the_journal_has_a_batch_before_anything_follows_from_it() -> None:
    journal = MemoryJournal()
    told = started(journal).take([links(1, 1, ["a@x"]), links(2, 2, ["a@x"])])
    again = started(journal).take([mark(1)])
    assert of(Member, again) == of(Member, told)


def test_merges_renames_and_splits_are_told_with_their_cause() -> None:
    resolver = started(MemoryJournal())
    resolver.take([links(1, 1, ["a@x"]), links(2, 2, ["b@x"]), links(3, 3, ["b@x"])])
    merged = of(PersonEvent, resolver.take([links(2, 4, ["a@x", "b@x"])]))
    renamed = of(PersonEvent, resolver.take([links(1, 5, op="delete")]))
    split = of(PersonEvent, resolver.take([links(3, 6, ["c@x"], time=77)]))
    assert [(event.kind, event.person, event.others) for event in (*merged, *renamed, *split)] == [
        ("merged", ONE, (TWO,)),
        ("renamed", ONE, (TWO,)),
        ("split", TWO, (THREE,)),
    ]
    cause = split[0].cause
    assert (cause.record, cause.op, cause.stream, cause.offset, cause.event_time) == (row(3), "update", "crm", 6, 77)
    assert (cause.gained, cause.lost) == (("email:c@x",), ("email:b@x",))
    assert merged[0].cause.gained == ("email:a@x",)
    assert renamed[0].cause.op == "delete"


def test_an_event_that_is_told_again_has_the_same_id() -> None:
    journal = MemoryJournal()
    resolver = started(journal)
    resolver.take([links(1, 1, ["a@x"]), links(2, 2, ["b@x"])])
    sequence = resolver.close_epoch()
    first = of(PersonEvent, resolver.take([links(2, 4, ["a@x"])]))
    again = of(PersonEvent, started(journal, sequence).take([links(2, 4, ["a@x"])]))
    assert first == again != []


def test_a_late_event_fills_only_what_newer_ones_have_left_out() -> None:
    resolver = started(MemoryJournal())
    found = resolver.take([links(1, 9, None, ["9"])])
    assert of(Member, found) == [Member(row(1), REALM, ONE, ("phone:9",), 90)]
    found = resolver.take([links(1, 5, ["e5@x"], ["5"])])
    assert of(Member, found) == [Member(row(1), REALM, ONE, ("email:e5@x", "phone:9"), 50)]
    assert of(Member, resolver.take([links(1, 4, ["e4@x"], ["4"], time=999)])) == []
    assert of(Member, resolver.take([links(1, 7, op="delete")]))[0].identifiers == ("phone:9",)


def test_the_time_of_a_record_is_its_own_or_that_of_its_oldest_event_however_late() -> None:
    resolver = started(MemoryJournal())
    assert of(Member, resolver.take([links(1, 5, time=500)]))[0].since == 500
    assert of(Member, resolver.take([links(1, 4, time=300)]))[0].since == 300
    assert of(Member, resolver.take([links(1, 6, created=7, time=600)]))[0].since == 7
    # A row that is sent in part says nothing of it.
    assert of(Member, resolver.take([links(1, 7, None, ["1"])]))[0].since == 7
    assert of(Member, resolver.take([links(1, 8)]))[0].since == 70


def test_positions_of_any_size_are_kept() -> None:
    journal, huge = MemoryJournal(), 2**190
    started(journal).take([links(1, 1, ["a@x"], position=(0, huge + 1))])
    resolver = started(journal)
    assert of(Member, resolver.take([links(1, 2, ["b@x"], position=(0, huge))]))[0].identifiers == ("email:a@x",)
    assert of(Member, resolver.take([links(1, 3, ["c@x"], position=(0, huge + 2))]))[0].identifiers == ("email:c@x",)


def test_a_truncation_takes_all_older_records_of_its_table_and_what_comes_late() -> None:
    resolver = started(MemoryJournal())
    resolver.take(
        [links(1, 1, ["a@x"]), links(2, 2, ["a@x"]), links(3, 9, ["a@x"]), links(4, 4, ["a@x"], table="contacts")]
    )
    truncation = Truncation("crm", "customers", 60, (0, 6), stream="crm", offset=6)
    found = resolver.take([truncation, links(5, 5, ["late@x"])])
    assert found[0] == truncation
    assert persons(found)[row(1)] == persons(found)[row(2)] == persons(found)[row(5)] == ""
    # Four records were over the limit of the address: the two that are left are one person at last.
    assert persons(found)[row(3)] == person_id(REALM, row(4, "contacts"))
    assert [(one.identifier, one.records) for one in of(Shared, found)] == [("email:a@x", 2)]


def test_a_person_that_loses_several_records_at_once_is_told_of_once() -> None:
    resolver = started(MemoryJournal())
    resolver.take([links(1, 1, ["a@x"]), links(2, 2, ["a@x"]), links(4, 4, ["a@x"], table="contacts")])
    found = resolver.take([Truncation("crm", "customers", 60, (0, 6), stream="crm", offset=6)])
    events = of(PersonEvent, found)
    assert [(event.kind, event.person, event.others) for event in events] == [
        ("renamed", ONE, (person_id(REALM, row(4, "contacts")),))
    ]
    assert (events[0].cause.record, events[0].cause.op, events[0].cause.offset) == ("crm/customers/", "truncate", 6)


def test_an_over_shared_identifier_is_told_with_its_count_and_when_it_is_no_longer() -> None:
    resolver = started(MemoryJournal())
    assert of(Shared, resolver.take([links(n, n, ["a@x"]) for n in (1, 2, 3)])) == []
    assert of(Shared, resolver.take([links(4, 4, ["a@x"])])) == [Shared("email:a@x", REALM, 4, 3)]
    assert of(Shared, resolver.take([links(n, n, ["a@x"]) for n in (5, 6)])) == [Shared("email:a@x", REALM, 6, 3)]
    assert of(Shared, resolver.take([links(6, 7), links(6, 8, ["a@x"])])) == []
    found = resolver.take([links(n, 10 + n, op="delete") for n in (4, 5, 6)])
    assert of(Shared, found) == [Shared("email:a@x", REALM, 3, 3)]
    assert persons(found)[row(3)] == ONE


def test_deleted_records_are_remembered_for_the_horizon_and_then_go() -> None:
    journal = MemoryJournal()
    resolver = started(journal, horizon=30 * DAY)
    resolver.take([links(1, 1, ["a@x"]), links(1, 9, op="delete", time=DAY), mark(DAY)])
    # A day more, as what comes from other sources may lag behind.
    resolver.take([links(2, 10, ["b@x"], time=32 * DAY), mark(32 * DAY)])
    assert of(Member, resolver.take([links(1, 5, ["a@x"])])) == []
    resolver.take([links(2, 11, ["b@x"], time=32 * DAY + 2), mark(32 * DAY + 2)])
    assert journal.get(row(1)) is None
    assert row(1) in persons(resolver.take([links(1, 5, ["a@x"])]))


def test_a_record_that_is_forgotten_as_soon_as_it_goes_is_told_to_have_gone() -> None:
    journal = MemoryJournal()
    resolver = started(journal, horizon=30 * DAY)
    resolver.take([links(1, 1, ["a@x"]), links(2, 2, ["b@x"], time=99 * DAY), mark(99 * DAY)])
    assert persons(resolver.take([links(1, 9, op="delete", time=DAY), mark(99 * DAY)])) == {row(1): ""}
    resolver.take([mark(99 * DAY)])
    assert journal.get(row(1)) is None


def test_a_time_far_ahead_and_a_source_that_is_behind_forget_nothing_too_early() -> None:
    journal = MemoryJournal()
    resolver = started(journal, horizon=30 * DAY)
    resolver.take([links(1, 9, op="delete", time=5 * DAY), mark(5 * DAY)])
    resolver.take([links(2, 10, time=9_999 * DAY), mark(6 * DAY)])
    assert journal.get(row(1)) is not None
    resolver.take([links(2, 11, time=40 * DAY), mark(40 * DAY, caught_up=False, event_time=7 * DAY)])
    assert journal.get(row(1)) is not None
    resolver.take([mark(40 * DAY, event_time=40 * DAY)])
    assert journal.get(row(1)) is None


def test_a_partition_that_has_not_been_heard_of_since_the_start_holds_back_what_is_to_be_forgotten() -> None:
    journal = MemoryJournal()
    resolver = started(journal, horizon=30 * DAY)
    other = msgspec.structs.replace(mark(DAY), partition="1")
    resolver.take([links(1, 9, op="delete", time=DAY), mark(DAY), other])
    sequence = resolver.close_epoch()
    for start in (sequence, None):
        resolver = started(journal, start, horizon=30 * DAY)
        resolver.take([links(2, 10, ["b@x"], time=99 * DAY), mark(99 * DAY)])
        assert journal.get(row(1)) is not None
    # Before it has caught up, it holds back from where it is.
    behind = msgspec.structs.replace(other, caught_up=False, event_time=2 * DAY)
    for item in (msgspec.structs.replace(behind, event_time=None), behind):
        resolver.take([item])
        assert journal.get(row(1)) is not None
    resolver.take([other])
    assert journal.get(row(1)) is None


BACK: list[Links | Mark] = [
    links(1, 1, ["a@x"], time=0),
    links(2, 2, ["a@x"], time=DAY),
    links(1, 3, op="delete", time=2 * DAY),
    links(3, 4, ["z@x"], time=20 * DAY),
    mark(20 * DAY, event_time=20 * DAY),
    links(1, 5, ["a@x"], op="create", time=21 * DAY),
]


@pytest.mark.parametrize("cuts", [(), (5,), (1, 2, 3, 4, 5), (4,)])
def test_a_record_that_comes_back_after_the_horizon_begins_anew_in_any_batches(cuts: tuple[int, ...]) -> None:
    journal, told = MemoryJournal(), list[Resolved]()
    resolver = started(journal, horizon=7 * DAY)
    for begin, end in pairwise((0, *cuts, len(BACK))):
        told += resolver.take(BACK[begin:end])
    newest = {member.record: member for member in of(Member, told)}
    assert (newest[row(1)].person, newest[row(1)].since) == (TWO, 21 * DAY)
    # Nor does it matter that all is read once more, by a start that knows nothing.
    resolver = started(journal, horizon=7 * DAY)
    newest.update((member.record, member) for event in BACK for member in of(Member, resolver.take([event])))
    assert (newest[row(1)].person, newest[row(1)].since) == (TWO, 21 * DAY)


def test_truncations_that_are_read_again_tell_which_events_are_of_an_earlier_life() -> None:
    def emptied(at: int, days: int) -> Truncation:
        return Truncation("crm", "customers", days * DAY, (0, at), stream="crm", offset=at)

    told: list[Resolved] = []
    resolver = started(MemoryJournal(), horizon=7 * DAY)
    events: list[Links | Truncation | Mark] = [
        links(1, 1, ["a@x"], time=0),
        emptied(2, 10),
        links(9, 3, time=20 * DAY, table="contacts"),
        mark(20 * DAY),
        links(1, 4, ["a@x"], time=21 * DAY),
        emptied(5, 22),
        links(1, 6, ["a@x"], time=23 * DAY),
    ]
    for event in (*events, *events):
        told += resolver.take([event])
    assert [member.since for member in of(Member, told) if member.record == row(1)][-1] == 21 * DAY


def test_a_record_that_comes_back_within_the_horizon_is_as_old_as_it_was() -> None:
    resolver = started(MemoryJournal(), horizon=30 * DAY)
    found = resolver.take(BACK)
    assert {member.record: member.since for member in of(Member, found)}[row(1)] == 0


def test_events_that_come_later_than_the_horizon_tell_when_a_record_was_made_unless_it_went_in_between() -> None:
    resolver = started(MemoryJournal(), horizon=7 * DAY)

    told: list[Member] = []

    def since(event: Links | Truncation) -> int:
        told.extend(of(Member, resolver.take([event])))
        return told[-1].since

    assert since(links(1, 9, ["a@x"], time=50 * DAY)) == 50 * DAY
    assert since(links(1, 8, ["a@x"], time=49 * DAY)) == 49 * DAY
    assert since(links(1, 5, ["a@x"], time=20 * DAY)) == 20 * DAY
    assert since(links(1, 4, ["a@x"], time=30 * DAY)) == 20 * DAY
    assert since(links(1, 6, op="delete", time=25 * DAY)) == 49 * DAY
    assert since(links(1, 5, ["a@x"], time=20 * DAY)) == 49 * DAY
    assert since(links(1, 7, ["a@x"], time=26 * DAY)) == 26 * DAY
    assert since(Truncation("crm", "customers", 27 * DAY, (0, 7, 1), stream="crm", offset=7)) == 49 * DAY


def test_marks_are_handed_to_the_journal_when_the_epoch_closes_with_all_positions_seen() -> None:
    journal = MemoryJournal()
    resolver = started(journal)
    one = msgspec.structs.replace(mark(1, offset=5), positions={"crm": (0, 9), "shop": (0, 4)})
    two = msgspec.structs.replace(mark(2, offset=8), positions={"crm": (0, 7)})
    assert resolver.take([one, two]) == []
    assert journal.marks == []
    resolver.close_epoch()
    assert journal.marks == [msgspec.structs.replace(two, positions={"crm": (0, 9), "shop": (0, 4)})]


def test_after_a_roll_back_the_store_is_told_what_it_may_know_wrongly_and_nothing_else() -> None:
    journal = MemoryJournal()
    resolver = started(journal)
    resolver.take([links(1, 1, ["a@x"]), links(2, 2, ["b@x"]), links(9, 3, ["z@x"])])
    sequence = resolver.close_epoch()
    resolver.take([links(2, 4, ["a@x"]), links(3, 5, ["c@x"])])
    found = started(journal, sequence).take([mark(1)])
    assert persons(found) == {row(2): TWO, row(3): ""}
    # The first start may have died before that reached the store.
    assert persons(started(journal, sequence).take([mark(1)])) == {row(2): TWO, row(3): ""}


def test_after_a_roll_back_the_store_is_told_of_identifiers_that_were_over_their_limit_in_between() -> None:
    journal = MemoryJournal()
    resolver = started(journal)
    resolver.take([links(n, n, ["a@x"]) for n in (1, 2, 3)])
    sequence = resolver.close_epoch()
    assert of(Shared, resolver.take([links(4, 4, ["a@x"])])) == [Shared("email:a@x", REALM, 4, 3)]
    resolver.take([links(4, 5, op="delete")])
    assert of(Shared, started(journal, sequence).take([mark(1)])) == [Shared("email:a@x", REALM, 3, 3)]


@pytest.fixture(params=["memory", "disk"])
def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reopened]:
    memory, opened = MemoryJournal(), list[SqliteJournal]()

    def reopen() -> Journal:
        if request.param == "memory":
            return memory
        for journal in opened:
            journal.close()
        opened.append(SqliteJournal(tmp_path / "journal.sqlite3", lambda: 1_000))
        return opened[-1]

    yield reopen
    for journal in opened:
        journal.close()


@pytest.mark.parametrize("starts", [1, 2, 3])
@pytest.mark.parametrize("nothing_came", [False, True])
def test_a_start_that_dies_before_its_first_batch_takes_nothing_away_from_the_next_one(
    reopened: Reopened, starts: int, *, nothing_came: bool
) -> None:
    resolver = started(reopened())
    resolver.take([links(1, 1, ["a@x"]), links(2, 2, ["b@x"])])
    sequence = resolver.close_epoch()
    assert persons(resolver.take([links(2, 3, ["a@x"]), links(3, 4, ["c@x"])])) == {row(2): ONE, row(3): THREE}
    for _ in range(starts):
        resolver = started(reopened(), sequence)
        if nothing_came:
            # The end of all sources closes an epoch with nothing in it.
            sequence = resolver.close_epoch()
    # The log brings the correction along with what it corrects, and what was told of the third record no more.
    assert persons(resolver.take([links(2, 3, ["a@x"]), links(2, 5, ["b@x"])])) == {row(2): TWO, row(3): ""}
    told = resolver.close_epoch()
    assert persons(started(reopened(), told).take([mark(1)])) == {}


def test_what_was_told_in_an_epoch_that_did_not_close_is_told_again(reopened: Reopened) -> None:
    resolver = started(reopened())
    resolver.take([links(1, 1, ["a@x"])])
    sequence = resolver.close_epoch()
    resolver.take([links(3, 4, ["c@x"])])
    assert persons(started(reopened(), sequence).take([mark(1)])) == {row(3): ""}
    resolver = started(reopened(), sequence)
    assert persons(resolver.take([mark(1)])) == {row(3): ""}
    # The journal's epoch has closed, the engine's has not.
    resolver.close_epoch()
    assert persons(started(reopened(), sequence).take([mark(1)])) == {row(3): ""}
    # And all that the engine had is lost.
    assert persons(started(reopened()).take([mark(1)])) == {row(1): ONE, row(3): ""}


def test_an_identifier_that_is_under_its_limit_again_is_told_once_more_without_the_state_of_the_engine(
    reopened: Reopened,
) -> None:
    resolver = started(reopened())
    resolver.take([links(n, n, ["a@x"]) for n in (1, 2, 3, 4)])
    resolver.close_epoch()
    resolver.take([links(4, 5)])
    for number in (6, 7):
        resolver.close_epoch()
        resolver.take([links(9, number, [f"{number}@x"])])
    assert of(Shared, started(reopened()).take([mark(1)])) == [Shared("email:a@x", REALM, 3, 3)]


def test_a_start_without_a_state_tells_everything_once() -> None:
    journal = MemoryJournal()
    told = started(journal).take([*(links(n, n, ["a@x"]) for n in (1, 2, 3, 4)), links(5, 5), links(5, 6, op="delete")])
    resolver = started(journal)
    found = resolver.take([mark(1)])
    assert {member.record: member for member in of(Member, found)} == {
        **{member.record: member for member in of(Member, told)},
        row(5): Member(row(5), REALM, ""),
    }
    assert of(Shared, found) == [Shared("email:a@x", REALM, 4, 3)]
    assert resolver.take([mark(2)]) == []


def test_other_limits_make_other_persons_at_the_next_start() -> None:
    journal = MemoryJournal()
    resolver = started(journal)
    resolver.take([*(links(n, n, ["a@x"]) for n in (1, 2, 3, 4)), links(7, 7, ["g@x"])])
    sequence = resolver.close_epoch()
    more = IdentityRules((TypeRules("email", ("email",), 4), TypeRules("phone", ("phone",), 3)), person_limit=9)
    found = started(journal, sequence, more).take([mark(1)])
    assert persons(found) == {row(n): ONE for n in (2, 3, 4)}
    assert of(Shared, found) == [Shared("email:a@x", REALM, 4, 4)]


def test_a_limit_that_an_identifier_is_still_over_is_told_when_it_is_another_one() -> None:
    journal = MemoryJournal()
    resolver = started(journal)
    assert of(Shared, resolver.take([links(n, n, ["a@x"]) for n in range(1, 7)])) == [Shared("email:a@x", REALM, 6, 3)]
    sequence = resolver.close_epoch()
    more = IdentityRules((TypeRules("email", ("email",), 5), TypeRules("phone", ("phone",), 3)), person_limit=4)
    resolver = started(journal, sequence, more)
    assert of(Shared, resolver.take([mark(1)])) == [Shared("email:a@x", REALM, 6, 5)]
    sequence = resolver.close_epoch()
    assert of(Shared, started(journal, sequence, more).take([mark(1)])) == []


def test_a_journal_made_by_other_rules_is_refused_with_the_remedy() -> None:
    journal = MemoryJournal()
    started(journal).take([links(1, 1, ["a@x"])])
    resolver = Resolver(REALM, RULES, journal, extraction={"rows": "rules 2"}, horizon=DAY)
    with pytest.raises(StoreError, match=r"rules of 'rows' have changed.*'travel'.*remove the folder identity/"):
        resolver.start(None)


def test_a_new_table_is_none_of_the_journals_business_and_one_that_is_left_out_is() -> None:
    journal = MemoryJournal()
    started(journal).take([links(1, 1, ["a@x"])])
    more = Resolver(REALM, RULES, journal, extraction={"rows": "rules 1", "more": "rules"}, horizon=DAY)
    more.start(None)
    more.take([mark(1)])
    with pytest.raises(StoreError, match="rules of 'more' have changed"):
        started(journal)


def test_what_other_limits_merge_and_split_is_told_once() -> None:
    journal = MemoryJournal()
    resolver = started(journal)
    resolver.take([links(1, 1, ["a@x"]), links(2, 2, ["a@x"]), links(3, 3, ["b@x"], ["3"]), links(4, 4, [], ["3"])])
    sequence = resolver.close_epoch()
    alone = msgspec.structs.replace(RULES, person_limit=1)
    resolver = started(journal, sequence, alone)
    events = of(PersonEvent, resolver.take([mark(1)]))
    four = person_id(REALM, row(4))
    assert {(event.kind, event.person, event.others, event.cause.op) for event in events} == {
        ("split", ONE, (TWO,), "limits"),
        ("split", THREE, (four,), "limits"),
    }
    sequence = resolver.close_epoch()
    assert of(PersonEvent, started(journal, sequence, alone).take([mark(2)])) == []
    back = of(PersonEvent, started(journal, sequence).take([mark(3)]))
    assert {(event.kind, event.person, event.others) for event in back} == {
        ("merged", ONE, (TWO,)),
        ("merged", THREE, (four,)),
    }


def erasure(*records: str, identifiers: tuple[str, ...] = ()) -> Erasure:
    return Erasure("e1", REALM, ONE, records, identifiers, 1_000)


def test_an_erased_person_leaves_graph_and_journal_and_those_beside_it_are_told_who_they_are() -> None:
    journal = MemoryJournal()
    resolver = started(journal)
    resolver.take([*(links(n, n, ["secret@x"]) for n in (2, 4, 5)), links(1, 6, ["secret@x"], ["1"], created=1)])
    assert persons(resolver.take([links(3, 7, [], ["1"])])) == {row(3): ONE}
    resolver.close_epoch()
    resolver.take([links(1, 8, ["secret@x"], ["1", "22"])])
    found = resolver.take([erasure(*map(row, (1, 2, 4, 5)), identifiers=("email:secret@x", "phone:22"))])
    assert persons(found) == {**{row(n): "" for n in (1, 2, 4, 5)}, row(3): THREE}
    assert of(PersonEvent, found) == []
    resolver.close_epoch()
    resolver.take([links(3, 9, [], ["2"])])
    text = journal.text()
    assert "secret" not in text
    assert row(1) not in text
    assert [entry for entry, _ in resolver.graph.persons()] == [THREE]


def test_an_erasure_that_comes_again_after_a_roll_back_leaves_the_same() -> None:
    journal = MemoryJournal()
    resolver = started(journal)
    resolver.take([links(1, 1, ["a@x"], ["1"]), links(2, 2, ["a@x"]), links(3, 3, [], ["1"])])
    sequence = resolver.close_epoch()
    resolver.take([erasure(row(1))])
    found = started(journal, sequence).take([erasure(row(1))])
    assert persons(found) == {row(1): "", row(2): TWO, row(3): THREE}


def test_events_of_erased_persons_are_dropped() -> None:
    journal = MemoryJournal()
    resolver = Resolver(
        REALM, RULES, journal, extraction={}, horizon=DAY, is_erased=lambda one: one.change.record == row(1)
    )
    resolver.start(None)
    assert persons(resolver.take([links(1, 1, ["a@x"]), links(2, 2, ["a@x"])])) == {row(2): TWO}
    assert of(Change, resolver.take([links(1, 3, ["a@x"])])) == []
    assert journal.get(row(1)) is None


def test_events_of_erased_records_are_refused_from_the_erasure_on_whatever_else_is_known_of_it() -> None:
    journal = MemoryJournal()
    resolver = started(journal)
    resolver.take([links(1, 1, ["a@x"]), links(2, 2, ["a@x"])])
    found = resolver.take([links(1, 3, ["b@x"]), erasure(row(1)), links(1, 4, ["a@x"]), links(3, 5)])
    assert [change.record for change in of(Change, found)] == [row(3)]
    assert persons(found) == {row(1): "", row(2): TWO, row(3): THREE}
    assert resolver.take([links(1, 6, ["a@x"])]) == []
    assert row(1) not in journal.text()


def test_an_erasure_of_another_realm_concerns_nobody_here() -> None:
    resolver = started(MemoryJournal())
    resolver.take([links(1, 1, ["a@x"])])
    other = msgspec.structs.replace(erasure(row(1)), realm="elsewhere")
    assert resolver.take([other]) == []
    assert row(1) in resolver.graph
