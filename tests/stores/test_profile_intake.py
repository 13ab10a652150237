"""How rows and members enter the profile store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from events.erasure import Erasure
from events.log import Applied, Mark
from events.persons import PersonEvent, Shared
from events.profiles import Collection, Profile
from stores.profiles.erase import ERASED
from stores.profiles.intake import Item
from stores.profiles.record_keys import RecordKeys
from stores.profiles.sqlite import SqliteProfiles
from stores.profiles.sqlite_reader import SqliteProfileReader
from stores.rows.base import GONE, RowId, StoredRow
from tests.stores.profile_events import (
    NOW,
    booking,
    change,
    gone,
    intake,
    key_of,
    member,
    own,
    person_event,
    record,
    settings,
    truncation,
)

DAY = 86_400_000
ANA, BO = own("people", 1), own("people", 2)


class Counting(SqliteProfiles):
    """A writer that counts rows read and entries written."""

    reads = 0
    writes = 0

    def fetch(self, table: str, ids: Sequence[RowId]) -> dict[RowId, StoredRow]:
        found = super().fetch(table, ids)
        self.reads += len(found)
        return found

    def activities(self, table: str, owner: str) -> list[RowId]:
        found = super().activities(table, owner)
        self.reads += len(found)
        return found

    def _changed(self, statement: str, values: Any) -> int:
        every = list(values)
        self.writes += len(every)
        return super()._changed(statement, every)


class Store:
    """An intake, its writer, and what it has said."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.told: list[PersonEvent] = []
        self.erased: set[str] = set()
        self.now = NOW
        self.reader = SqliteProfileReader(path)
        self.open()

    def open(self, **more: Any) -> None:
        self.writer = Counting(self.path, lambda: NOW)
        self.intake = intake(
            self.writer,
            settings(**more),
            report=self.told.append,
            is_erased=lambda record, owner: bool({record, owner} & self.erased),
            clock=lambda: self.now,
        )

    def reopen(self, **more: Any) -> None:
        self.intake.close()
        self.open(**more)

    def close(self) -> None:
        self.intake.close()
        self.reader.close()

    def profiles(self) -> dict[str, Profile]:
        return {profile.person: profile for profile in self.reader.persons("", 100)}

    def profile(self, person: str = ANA) -> Profile:
        return self.profiles()[person]

    def bookings(self, person: str = ANA) -> Collection:
        return self.profile(person).collections.get("bookings", Collection())

    def erase(self, *records: str, person: str = ANA, identifiers: tuple[str, ...] = ()) -> None:
        self.erased.update(records)
        self.intake.write([Erasure("e1", "default", person, records, identifiers, NOW)])

    def removed(self) -> dict[str, int]:
        found: dict[str, int] = msgspec.json.decode(self.writer.facts(ERASED)["e1"])
        return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "profiles.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def known(store: Store) -> Store:
    """Ana has a row in the CRM, one in the shop, two bookings and a ticket; Bo has a row in the CRM."""
    store.intake.write(
        [
            change("people", 1, 1, {"name": "Ana", "city": "Bonn"}),
            change("users", 1, 2, {"name": "Ana B.", "news": "yes"}),
            change("people", 2, 3, {"name": "Bo", "city": "Bern"}),
            booking(1, 4, 1, "10.50", "open"),
            booking(2, 5, 1, "4.25"),
            change("tickets", 1, 6, {"person": 1, "subject": "lost bag"}),
            member("people", 1, ANA, "email:ana@x", since=1),
            member("users", 1, ANA, "email:ana@x", "email:b@x", since=2),
            member("people", 2, BO, "email:bo@x", since=3),
        ]
    )
    return store


def values(profile: Profile) -> dict[str, Any]:
    return {name: field.value for name, field in profile.fields.items()}


def mark(offset: int, *, caught_up: bool = True, time: int | None = None, partition: str = "0") -> Mark:
    return Mark("changes", partition, offset, time, 5, caught_up, positions={"crm": (0, offset)}, seen_at=5)


# Rows and members


def test_a_profile_has_what_its_rows_members_and_activities_say(known: Store) -> None:
    ana = known.profile()
    assert values(ana) == {"name": "Ana B.", "city": ["Bonn"], "news": True}
    assert ana.records == (record("people", 1), record("users", 1))
    assert ana.aliases == (own("users", 1),)
    assert ana.identifiers == {"email": ("ana@x", "b@x")}
    assert (ana.collections["bookings"].sums, ana.collections["bookings"].open_count) == ({"price": "14.75"}, 1)
    assert [activity.row for activity in ana.collections["tickets"].last] == [{"subject": "lost bag"}]
    assert values(known.profile(BO)) == {"name": "Bo", "city": ["Bern"]}


def test_a_member_may_come_before_its_row_and_a_row_before_its_member(store: Store) -> None:
    store.intake.write([member("people", 1, ANA), change("people", 2, 1, {"name": "Bo"})])
    assert (values(store.profile()), list(store.profiles())) == ({}, [ANA])
    store.intake.write([change("people", 1, 1, {"name": "Ana"}), member("people", 2, BO)])
    assert {person: values(each)["name"] for person, each in store.profiles().items()} == {ANA: "Ana", BO: "Bo"}


def test_an_activity_may_come_before_its_owner(store: Store) -> None:
    store.intake.write([booking(1, 1, 1)])
    assert store.profiles() == {}
    store.intake.write([member("users", 1, ANA)])
    assert store.bookings().count == 1


def test_records_move_between_persons_with_their_activities(known: Store) -> None:
    known.intake.write([member("users", 1, BO, since=2)])
    assert values(known.profile()) == {"name": "Ana", "city": ["Bonn"]}
    assert known.bookings() == Collection()
    assert (known.bookings(BO).count, values(known.profile(BO))["name"]) == (2, "Bo")
    known.intake.write([member("people", 1, BO, since=1)])
    assert list(known.profiles()) == [BO]


def test_the_last_word_on_a_record_counts(store: Store) -> None:
    store.intake.write([member("people", 1, BO), member("people", 1, "x"), member("people", 1, ANA)])
    assert list(store.profiles()) == [ANA]


def test_a_record_that_is_gone_leaves_its_person(known: Store) -> None:
    known.intake.write([gone("users", 1, 9), member("users", 1, "")])
    assert (values(known.profile())["name"], known.bookings()) == ("Ana", Collection())
    known.intake.write([member("people", 1, "")])
    assert list(known.profiles()) == [BO]


def test_what_a_member_carries_is_in_the_profile_at_once(known: Store) -> None:
    known.intake.write([member("people", 1, ANA, "phone:+351", since=1)])
    assert known.profile().identifiers == {"email": ("ana@x", "b@x"), "phone": ("+351",)}


def test_the_same_again_writes_nothing(known: Store) -> None:
    before, known.writer.writes = known.profiles(), 0
    known.intake.write(
        [
            change("people", 1, 1),
            booking(2, 5, 1),
            member("people", 1, ANA, "email:ana@x", since=1),
            gone("users", 9, 1),
        ]
    )
    known.intake.write([gone("users", 9, 1), member("users", 9, "")])
    assert (known.profiles(), known.writer.writes) == (before, 0)


def test_a_deleted_row_leaves_no_values_behind_and_what_is_older_does_not_come_back(known: Store) -> None:
    known.intake.write([gone("people", 1, 9), change("people", 1, 8, {"name": "late"})])
    stored = known.writer.fetch("people", [("crm", key_of(1))])["crm", key_of(1)]
    assert (stored.state, stored.image, values(known.profile())) == (GONE, None, {"name": "Ana B.", "news": True})


def test_events_of_other_tables_are_passed_over_and_told_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    other = msgspec.structs.replace(change("people", 1, 1), table="elsewhere")
    store.intake.write([other, other])
    assert [one.getMessage() for one in caplog.records] == [
        "events of elsewhere of crm are ignored: [profiles] names no such table"
    ]


# Activities


def test_an_activity_that_changes_counts_as_it_is(known: Store) -> None:
    known.intake.write([booking(1, 9, 1, "20", "done")])
    assert (known.bookings().open_count, known.bookings().sums) == (0, {"price": "24.25"})


def test_an_activity_moves_between_owners_and_from_nobody_to_one(known: Store) -> None:
    known.intake.write([member("users", 2, BO), booking(1, 9, 2), booking(2, 9, None)])
    assert (known.bookings().count, known.bookings(BO).count) == (0, 1)
    known.intake.write([booking(2, 10, 2), booking(1, 11, 2, gone=True)])
    assert [activity.record for activity in known.bookings(BO).last] == [record("bookings", 2)]
    assert known.writer.activities("bookings", record("users", 2)) == [("shop", key_of(2))]
    assert list(known.writer.summaries([record("users", 1), record("users", 2)])) == [("bookings", record("users", 2))]


def test_an_activity_whose_reference_comes_late_finds_its_owner(known: Store) -> None:
    known.intake.write([change("tickets", 5, 9, {"subject": "new"}, silent=["person"])])
    assert known.profile().collections["tickets"].count == 1
    known.intake.write([change("tickets", 5, 8, {"person": 1, "subject": "old"})])
    tickets = known.profile().collections["tickets"]
    assert (tickets.count, tickets.last[0].row) == (2, {"subject": "new"})


def test_a_new_activity_of_a_person_who_has_many_reads_no_other(store: Store) -> None:
    store.intake.write([member("users", 1, ANA), change("users", 1, 1)])
    store.intake.write([booking(number, number + 1, 1, "0.5") for number in range(2000)])
    store.writer.reads = 0
    store.intake.write([booking(3000, 9000, 1)])
    # The booking once it is written, and the row of the owner.
    assert store.writer.reads == 2
    store.writer.reads = 0
    store.intake.write([booking(5, 9001, 1, "2", "open")])
    assert store.writer.reads == 3
    bookings = store.bookings()
    assert (bookings.count, bookings.sums, bookings.open_count) == (2001, {"price": "1002.5"}, 1)


def test_when_a_summary_no_longer_tells_all_activities_are_summed_up(store: Store) -> None:
    store.intake.write([member("users", 1, ANA), *(booking(number, number + 1, 1, "0.1") for number in range(60))])
    store.writer.reads = 0
    for number in reversed(range(3, 60)):
        store.intake.write([booking(number, 100 + number, 1, gone=True)])
        last = [record("bookings", each) for each in (number - 1, number - 2)]
        assert [activity.record for activity in store.bookings().last] == last
        assert (store.bookings().count, store.bookings().first) == (number, 0)
    assert store.bookings().sums == {"price": "0.3"}
    # Ten may go before all are read anew: six times, from the place and the row.
    assert store.writer.reads < 6 * 2 * 60


# Truncations


def test_a_truncation_of_activities_takes_them_from_all_persons(known: Store) -> None:
    known.intake.write([booking(2, 8, 1, "4.25"), truncation("bookings", 6), booking(3, 9, 1)])
    assert {activity.record for activity in known.bookings().last} == {record("bookings", 2), record("bookings", 3)}
    known.reopen()
    known.intake.write([booking(9, 5, 1), booking(1, 2, 1), truncation("bookings", 3)])
    assert known.bookings().count == 2
    known.intake.write([truncation("bookings", 50)])
    assert known.bookings() == Collection()
    assert known.writer.activities("bookings", record("users", 1)) == []


def test_a_truncation_of_records_takes_their_values_before_their_members_go(known: Store) -> None:
    known.intake.write([truncation("people", 50)])
    assert values(known.profile()) == {"name": "Ana B.", "news": True}
    assert values(known.profile(BO)) == {}
    known.intake.write([member("people", 2, "")])
    assert list(known.profiles()) == [ANA]


def test_a_reference_from_before_a_truncation_goes_with_it(known: Store) -> None:
    known.intake.write([change("tickets", 1, 20, {"subject": "still"}, silent=["person"])])
    assert known.profile().collections["tickets"].last[0].row == {"subject": "still"}
    known.intake.write([truncation("tickets", 15)])
    assert "tickets" not in known.profile().collections
    known.intake.write([change("tickets", 1, 17, {"person": 2, "subject": "before"})])
    assert known.profile(BO).collections["tickets"].last[0].row == {"subject": "still"}


def test_a_large_truncation_is_taken_part_by_part(store: Store) -> None:
    store.intake.write([member("users", 1, ANA), *(booking(number, number + 1, 1) for number in range(2500))])
    store.writer.reads = 0
    store.intake.write([truncation("bookings", 9000)])
    assert store.bookings() == Collection()
    # Each once, and not over and over to sum up what is left.
    assert store.writer.reads == 2500
    assert list(store.writer.ids("bookings", "shop")) == []


# What is told of persons


def test_a_former_id_leads_to_the_person_that_lost_it(known: Store) -> None:
    renamed = person_event("renamed", ANA, own("users", 1))
    known.intake.write([gone("people", 1, 9), member("people", 1, ""), member("users", 1, own("users", 1)), renamed])
    assert known.reader.person_of(ANA) == own("users", 1)
    assert known.told == [renamed]


def test_a_former_id_leads_on_when_its_members_come_later_or_its_person_is_merged(known: Store) -> None:
    late, third = own("users", 1), own("users", 3)
    known.intake.write([person_event("renamed", ANA, late), person_event("renamed", "pgone", third)])
    assert known.reader.person_of("pgone") is None
    known.intake.write([member("people", 1, ""), member("users", 1, late)])
    known.intake.write([person_event("merged", BO, third)])
    known.intake.close_epoch([])
    assert known.reader.person_of(ANA) == late
    assert known.reader.person_of("pgone") == BO
    known.intake.write([member("users", 3, BO), person_event("split", BO, third)])
    assert [event.kind for event in known.told] == ["renamed", "renamed", "merged", "split"]


@pytest.mark.parametrize("batches", [1, 2, 5])
def test_an_id_whose_record_went_as_the_rest_merged_leads_to_whom_that_is_of(known: Store, batches: int) -> None:
    items: list[Item] = [person_event("merged", BO, ANA), gone("people", 1, 9)]
    items += [member("people", 1, ""), member("users", 1, BO, "email:b@x", since=2)]
    _in_batches(known, items, batches)
    assert known.reader.person_of(ANA) == BO


@pytest.mark.parametrize("batches", [1, 2, 9])
def test_an_id_whose_record_went_as_the_rest_split_leads_to_the_earliest_part(known: Store, batches: int) -> None:
    parts = [own("users", number) for number in (7, 8)]
    known.intake.write([member("users", 7, ANA, since=9), member("users", 8, ANA, since=5)])
    known.intake.write([member("users", 1, "")])
    items: list[Item] = [person_event("split", ANA, *sorted(parts)), member("people", 1, "")]
    items += [member("users", 7, parts[0], since=9), member("users", 8, parts[1], since=5)]
    _in_batches(known, items, batches)
    assert known.reader.person_of(ANA) == parts[1]


def test_an_id_that_a_record_bears_leads_to_where_that_is(known: Store) -> None:
    merged = [member(name, 1, BO, since=since) for name, since in (("people", 4), ("users", 5))]
    known.intake.write([person_event("merged", BO, ANA), *merged])
    known.intake.close_epoch([])
    known.intake.write([person_event("split", BO, ANA), member("people", 1, ANA)])
    known.intake.close_epoch([])
    assert known.reader.person_of(ANA) == ANA
    known.intake.write([member("people", 1, "")])
    known.intake.close_epoch([])
    # Nothing was noted of it, as there was no need.
    assert known.reader.person_of(ANA) is None


def test_a_former_id_of_an_erased_person_is_not_written_again(known: Store) -> None:
    # The rest of Ana is somebody's who stays.
    known.intake.write([person_event("merged", BO, ANA), member("people", 1, ""), member("users", 1, BO)])
    assert known.reader.person_of(ANA) == BO
    known.erase(record("people", 1))
    known.intake.close_epoch([mark(9)])
    assert known.reader.person_of(ANA) is None


def _in_batches(store: Store, items: list[Item], batches: int) -> None:
    for number in range(batches):
        store.intake.write(items[len(items) * number // batches : len(items) * (number + 1) // batches])
    store.intake.close_epoch([])


def test_over_shared_identifiers_are_noted_and_let_go(store: Store) -> None:
    store.intake.write([Shared("email:info@x", "default", 9, 5), Shared("email:info@x", "default", 12, 5)])
    assert store.reader.shared() == [Shared("email:info@x", "default", 12, 5)]
    store.intake.write([Shared("email:info@x", "default", 5, 5)])
    assert store.reader.shared() == []


def test_what_cannot_be_told_is_not_written_and_is_taken_in_when_it_comes_again(
    known: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    items: list[Item] = [
        truncation("bookings", 50),
        change("people", 1, 60, {"name": "Anna"}),
        person_event("split", ANA, BO),
    ]
    before = known.profiles()
    monkeypatch.setattr(known.intake, "_report", _fail)
    with pytest.raises(OSError, match="no space"):
        known.intake.write(items)
    assert known.profiles() == before
    monkeypatch.setattr(known.intake, "_report", known.told.append)
    known.intake.write([booking(3, 7, 1)])
    assert known.bookings().count == 3
    known.intake.write(items)
    assert (known.bookings(), values(known.profile())["name"]) == (Collection(), "Anna")
    assert len(known.told) == 1


def _fail(event: PersonEvent) -> None:
    message = f"no space for {event.id}"
    raise OSError(message)


# Erasure

OF_ANA = (record("people", 1), record("users", 1), record("bookings", 1), record("bookings", 2), record("tickets", 1))


def test_an_erased_person_leaves_nothing_behind(known: Store) -> None:
    shared, mark_ = Shared("email:ana@x", "default", 9, 5), person_event("renamed", "pold", ANA)
    known.intake.write([shared, mark_])
    known.erase(*OF_ANA, identifiers=("email:ana@x", "email:b@x"))
    assert list(known.profiles()) == [BO]
    assert known.reader.totals() == (1, 1)
    assert known.reader.shared() == []
    assert known.reader.person_of("pold") is None
    assert known.writer.summaries([record("users", 1), record("people", 1)]) == {}
    for table, number in (("people", 1), ("users", 1), ("bookings", 1), ("bookings", 2), ("tickets", 1)):
        found = RecordKeys(settings().tables).find(record(table, number))
        assert found is not None
        assert known.writer.fetch(table, [found[1]]) == {}
    assert known.removed()["rows"] == 5
    # Two members, three places, two summaries, the profile, a former id and a shared identifier.
    assert known.removed()["entries"] == 10


def test_an_erased_person_does_not_come_back(known: Store) -> None:
    known.erase(*OF_ANA)
    known.reopen()
    event = person_event("merged", BO, ANA, of=record("people", 1))
    known.intake.write(
        [
            change("people", 1, 99, {"name": "Ana"}),
            member("people", 1, ANA, "email:ana@x"),
            booking(1, 99, 1),
            booking(7, 99, 1),
            event,
        ]
    )
    assert list(known.profiles()) == [BO]
    assert known.told == []
    assert (list(known.writer.ids("people", "crm")), list(known.writer.ids("bookings", "shop"))) == (
        [("crm", key_of(2))],
        [],
    )


def test_an_erased_person_stays_out_before_its_fingerprints_have_been_read(known: Store) -> None:
    erasure = Erasure("e1", "default", ANA, OF_ANA, (), NOW)
    late: list[Item] = [
        change("people", 1, 99, {"name": "Ana"}),
        member("people", 1, ANA, "email:ana@x"),
        booking(1, 99, 1),
        booking(7, 99, 1),
        person_event("merged", BO, ANA, of=record("people", 1)),
    ]
    known.intake.write([*late[:2], erasure, *late[2:]])
    known.intake.write(late)
    assert list(known.profiles()) == [BO]
    assert known.told == []
    assert [list(known.writer.ids(*place)) for place in (("people", "crm"), ("bookings", "shop"))] == [
        [("crm", key_of(2))],
        [],
    ]
    assert known.removed()["rows"] == 5


def test_an_erasure_that_comes_again_keeps_count(known: Store) -> None:
    known.erase(*OF_ANA)
    before = known.removed()
    known.erase(*OF_ANA)
    assert known.removed() == before


def test_activities_that_came_after_an_erasure_was_asked_for_go_as_well(known: Store) -> None:
    known.intake.write([booking(8, 20, 1), booking(9, 21, 1)])
    known.erase(*OF_ANA)
    assert list(known.writer.ids("bookings", "shop")) == []
    assert known.removed()["rows"] == 7


def test_an_activity_that_belongs_to_somebody_else_by_now_is_counted_out_there(known: Store) -> None:
    known.intake.write([member("users", 2, BO), booking(1, 20, 2, "3"), booking(5, 21, 2, "4")])
    known.erase(*OF_ANA)
    assert (known.bookings(BO).count, known.bookings(BO).sums) == (1, {"price": "4"})


def test_an_activity_that_passes_to_an_erased_person_does_not_stay_with_the_last_one(known: Store) -> None:
    known.intake.write([member("users", 2, BO), booking(5, 20, 2)])
    known.erase(*OF_ANA)
    known.intake.write([booking(5, 30, 1), booking(5, 25, 2)])
    assert known.bookings(BO) == Collection()
    known.intake.write([booking(5, 31, 2)])
    assert known.bookings(BO).count == 1


def test_who_shares_a_person_with_an_erased_record_stays(known: Store) -> None:
    known.intake.write([member("people", 2, ANA, "email:bo@x", since=3)])
    known.erase(*OF_ANA)
    assert (known.profile().records, values(known.profile())["name"]) == ((record("people", 2),), "Bo")
    assert known.reader.members_of(ANA) == [member("people", 2, ANA, "email:bo@x", since=3)]
    known.intake.write([member("people", 2, BO, "email:bo@x", since=3)])
    assert list(known.profiles()) == [BO]


@pytest.mark.parametrize(
    ("record_key", "id_"),
    [
        (record("people", 1), ("people", ("crm", key_of(1)))),
        ('a/b/users/{"id":"x/{"}', ("users", ("a/b", '{"id":"x/{"}'))),
        ('crm/odd/{name/{"id":1}', ("odd", ("crm", key_of(1)))),
        ("crm/public.people/none", None),
        ('crm/nowhere/{"id":1}', None),
        ("", None),
    ],
)
def test_records_are_found_by_their_keys(record_key: str, id_: tuple[str, RowId] | None) -> None:
    tables = settings().tables
    odd = tables[0].model_copy(update={"name": "odd", "table": "odd/{name"})
    users = tables[1].model_copy(update={"source": ""})
    found = RecordKeys([odd, tables[0], users]).find(record_key)
    assert (None if found is None else (found[0].name, found[1])) == id_


# Epochs


def test_an_epoch_that_closes_notes_how_far_the_store_is(store: Store) -> None:
    store.intake.write([change("people", 1, 7)])
    assert (store.reader.applied(), store.intake.progress()) == ([], 0)
    store.intake.close_epoch([mark(8, time=7)])
    applied = Applied("changes", "0", 8, 7, 5, True, NOW, {"crm": (0, 8)}, {"crm": 5})
    assert (store.reader.applied(), store.intake.progress()) == ([applied], NOW)
    identity = store.intake.identity()
    store.now += 1
    store.reopen()
    store.intake.close_epoch([mark(8, time=7)])
    assert (store.reader.applied(), store.intake.progress(), store.intake.identity()) == ([applied], NOW, identity)


def test_deletes_are_remembered_for_their_time_and_until_no_partition_is_behind(known: Store) -> None:
    def remembered() -> bool:
        return bool(known.writer.fetch("people", [("crm", key_of(1))]))

    known.intake.write([gone("people", 1, 9), change("people", 2, 10, time=8 * DAY)])
    known.intake.close_epoch([mark(8, time=8 * DAY), mark(3, time=2, caught_up=False, partition="1")])
    assert remembered()
    known.reopen()
    known.intake.close_epoch([mark(4, time=8 * DAY, partition="1")])
    assert not remembered()
    assert values(known.profile(BO)) == {}


def test_an_event_from_far_ahead_makes_nothing_be_forgotten(known: Store) -> None:
    known.now = 10 * DAY
    known.intake.write([gone("people", 1, 5 * DAY), change("people", 2, 6 * DAY, time=1000 * DAY)])
    known.intake.close_epoch([mark(8, time=6 * DAY)])
    assert known.writer.fetch("people", [("crm", key_of(1))])
