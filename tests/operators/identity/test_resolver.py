from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar

import msgspec
import pytest

from events.changes import Change, Op, Position, Truncation
from events.erasure import Erasure
from events.errors import StoreError
from events.log import Mark
from events.persons import Links, Member, PersonEvent, Shared, person_id
from operators.identity.resolver import Resolved, Resolver
from operators.identity.rules import IdentityRules, TypeRules
from tests.operators.identity.memory_journal import MemoryJournal

REALM = "travel"
RULES = IdentityRules((TypeRules("email", ("email",), 3), TypeRules("phone", ("phone",), 3)), person_limit=4)
DAY = 86_400_000
X = TypeVar("X")


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
    journal: MemoryJournal, sequence: int | None = None, rules: IdentityRules = RULES, horizon: int = 30 * DAY
) -> Resolver:
    resolver = Resolver(REALM, rules, journal, extraction="rules 1", horizon=horizon)
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
    assert of(Member, resolver.take([links(4, 7, ["d@x"]), links(4, 8, op="delete")])) == []


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
    assert persons(found)[row(1)] == persons(found)[row(2)] == ""
    assert row(5) not in persons(found)
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
    resolver.take([links(2, 10, ["b@x"], time=31 * DAY), mark(31 * DAY)])
    assert of(Member, resolver.take([links(1, 5, ["a@x"])])) == []
    resolver.take([links(2, 11, ["b@x"], time=31 * DAY + 2), mark(31 * DAY + 2)])
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


def test_names_kept_for_a_roll_back_go_once_the_epoch_has_closed() -> None:
    journal = MemoryJournal()
    resolver = started(journal)
    resolver.take([mark(1)])
    sequence = resolver.close_epoch()
    resolver.take([links(3, 5, ["c@x"])])
    resolver = started(journal, sequence)
    resolver.take([mark(1)])
    assert journal.get(row(3)) == b""
    resolver.close_epoch()
    resolver.take([mark(2)])
    assert journal.get(row(3)) is None


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


def test_a_journal_made_by_other_rules_is_refused_with_the_remedy() -> None:
    journal = MemoryJournal()
    started(journal).take([links(1, 1, ["a@x"])])
    resolver = Resolver(REALM, RULES, journal, extraction="rules 2", horizon=DAY)
    with pytest.raises(StoreError, match=r"rules have changed.*'travel'.*remove the folder identity/"):
        resolver.start(None)


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
        REALM, RULES, journal, extraction="", horizon=DAY, is_erased=lambda one: one.change.record == row(1)
    )
    resolver.start(None)
    assert persons(resolver.take([links(1, 1, ["a@x"]), links(2, 2, ["a@x"])])) == {row(2): TWO}
    assert of(Change, resolver.take([links(1, 3, ["a@x"])])) == []
    assert journal.get(row(1)) is None


def test_an_erasure_of_another_realm_concerns_nobody_here() -> None:
    resolver = started(MemoryJournal())
    resolver.take([links(1, 1, ["a@x"])])
    other = msgspec.structs.replace(erasure(row(1)), realm="elsewhere")
    assert resolver.take([other]) == []
    assert row(1) in resolver.graph
