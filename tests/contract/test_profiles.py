"""What every profile store must do, whatever it is kept in, beyond what test_rows.py asks of any row store."""

from __future__ import annotations

import multiprocessing.pool
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events.changes import Standing
from events.errors import StoreError
from events.persons import Member, Shared
from events.profiles import Profile
from stores.profiles.base import HeldPerson, Place, ProfileReader, ProfileWriter
from stores.rows.base import GONE, HELD, LIVE, RowQuery, StoredRow
from tests.contract.profile_samples import (
    HOSTILE_TEXTS,
    REALM,
    VALUES,
    Model,
    ProfilePlace,
    gone,
    member,
    own,
    profile,
)
from tests.contract.row_samples import AS_OF, NOW, SOURCE, key_of, postgres_place, row
from tests.servers.postgres import running

P, Q = own("a"), own("b")


@pytest.fixture(params=("sqlite", "postgres"))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ProfilePlace]:
    if request.param == "sqlite":
        yield ProfilePlace("sqlite", path=str(tmp_path / "profiles.sqlite3"))
    else:
        with postgres_place(running(request.config).dsn()) as made:
            yield ProfilePlace("postgres", dsn=made.dsn, schema=made.schema)


@pytest.fixture
def writer(place: ProfilePlace) -> Iterator[ProfileWriter]:
    opened = place.writer()
    yield opened
    opened.close()


@pytest.fixture
def reader(place: ProfilePlace) -> Iterator[ProfileReader]:
    opened = place.reader()
    yield opened
    opened.close()


def at(number: int, when: int, owner: str = "a", table: str = "orders") -> Place:
    return Place(table, owner, when, (SOURCE, key_of(number)))


# The store


def test_a_store_that_was_never_written_is_empty(place: ProfilePlace, reader: ProfileReader) -> None:
    def look() -> None:
        assert reader.profile(P) is None
        assert reader.person_of(P) is None
        assert reader.member("a") is None
        assert reader.members_of(P) == []
        assert reader.holders(REALM, "email:a", 9) == []
        assert reader.shared() == []
        assert reader.held(9) == []
        assert reader.row("t", SOURCE, key_of(1)) is None
        assert reader.owned("a", 9) == []
        assert reader.persons("", 9) == []
        assert reader.totals() == (0, 0)

    look()
    place.writer().close()
    look()


def test_a_store_has_one_writer_and_is_found_again_as_it_was_left(place: ProfilePlace, writer: ProfileWriter) -> None:
    with pytest.raises(StoreError, match="writer"):
        place.writer()
    writer.put_members([member("a", P, "email:x")])
    identity = writer.identity()
    writer.close()
    successor = place.writer()
    assert successor.identity() == identity
    assert successor.members(["a"]) == {"a": member("a", P, "email:x")}
    successor.close()


def test_a_transaction_that_fails_leaves_nothing_of_any_verb(writer: ProfileWriter, reader: ProfileReader) -> None:
    writer.put_members([member("a", P, "email:x")])
    writer.put_profiles({P: profile(P)})

    def fail() -> None:
        with writer.transaction():
            writer.put("t", [row(1)])
            writer.put_members([member("a", Q, "email:y"), member("b", Q), gone("c")])
            writer.put_former({"old": "a"})
            writer.put_shared([Shared("email:x", REALM, 20, 10)])
            writer.place([], [at(1, 5)])
            writer.put_summaries({("orders", "a"): b"1"})
            writer.put_profiles({P: None, Q: profile(Q)})
            raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            fail()
        assert writer.members(["a", "b"]) == {"a": member("a", P, "email:x")}
        assert writer.activities("orders", "a") == []
        assert writer.summaries(["a"]) == {}
        assert reader.person_of("old") is None
        assert reader.shared() == []
        assert reader.holders(REALM, "email:y", 9) == []
        assert reader.persons("", 9) == [profile(P)]
        assert reader.row("t", SOURCE, key_of(1)) is None


def test_the_writer_sees_what_its_transaction_has_written_and_readers_do_not(
    writer: ProfileWriter, reader: ProfileReader
) -> None:
    with writer.transaction():
        writer.put_members([member("a", P)])
        writer.put_profiles({P: profile(P)})
        assert writer.members_of([P]) == {P: [member("a", P)]}
        assert reader.member("a") is None
        assert reader.totals() == (0, 0)
    assert reader.member("a") == member("a", P)
    assert reader.totals() == (1, 1)
    assert reader.realms() == [REALM]


def test_threads_share_a_reader_beside_the_writer(writer: ProfileWriter, reader: ProfileReader) -> None:
    writer.put_members([member(f"r{number}", P, "email:x", since=number) for number in range(50)])

    def look(number: int) -> list[int]:
        if number % 10 == 0:
            assert reader.person_of(P) == P
        return [len(reader.members_of(P)), len(reader.holders(REALM, "email:x", 99))]

    with multiprocessing.pool.ThreadPool(4) as pool:
        looking = pool.map_async(look, range(60))
        for number in range(10):
            writer.put_members([member(f"r{number}", P, "email:x", since=-number)])
        assert looking.get(30) == [[50, 50]] * 60


# Rows


def test_the_ids_of_live_rows_are_those_at_the_call(writer: ProfileWriter) -> None:
    assert list(writer.ids("t", SOURCE)) == []
    writer.put("t", [row(1), row(2, state=GONE), row(3, state=HELD), row(4), row(5, source="other")])
    writer.put("u", [row(6)])
    with writer.transaction():
        writer.put("t", [row(7)])
        ids = writer.ids("t", SOURCE)
        found = {next(ids)}
        writer.put("t", [row(1, state=GONE), row(4, state=GONE), row(8)])
        found.update(ids)
    assert found == {(SOURCE, key_of(number)) for number in (1, 4, 7)}
    assert {key for _, key in writer.ids("t", SOURCE)} == {key_of(7), key_of(8)}


def test_live_rows_are_read_on_and_on_in_the_order_of_their_ids(writer: ProfileWriter) -> None:
    assert writer.live_rows("t", ("", ""), 9) == []
    there = [row(number, source=source, a=number) for source in ("A", "a\0", "ä", SOURCE) for number in range(3)]
    writer.put("t", [*there, row(9, state=GONE), row(8, state=HELD)])
    writer.put("u", [row(7)])
    found: list[StoredRow] = []
    after = ("", "")
    while some := writer.live_rows("t", after, 5):
        assert len(some) in {5, 2}
        found, after = found + some, some[-1].id
    assert found == sorted(there, key=lambda one: one.id)
    with writer.transaction():
        writer.put("t", [row(2, state=GONE)])
        assert [one.id for one in writer.live_rows("t", (SOURCE, key_of(0)), 9)[:2]] == [
            one.id for one in found if one.id > (SOURCE, key_of(0)) and one.id != (SOURCE, key_of(2))
        ][:2]


def test_dropped_rows_leave_no_trace(writer: ProfileWriter, reader: ProfileReader) -> None:
    assert writer.drop_rows("t", [(SOURCE, key_of(1))]) == 0
    writer.put("t", [row(1), row(2, state=GONE), row(3, state=HELD), row(4), row(4, source="other")])
    dropped = [(SOURCE, key_of(number)) for number in (1, 2, 3, 9)]
    assert writer.drop_rows("t", dropped) == 3
    assert writer.drop_rows("t", dropped) == 0
    assert writer.drop_rows("t", []) == 0
    assert writer.fetch("t", [*dropped, (SOURCE, key_of(4))]) == {(SOURCE, key_of(4)): row(4)}
    assert reader.counts()["t"][:2] == (2, 0)
    writer.put("t", [row(1, a=2)])
    assert reader.row("t", SOURCE, key_of(1)) == row(1, a=2)


@pytest.mark.parametrize("state", [LIVE, GONE, HELD])
def test_a_row_is_read_in_any_state(writer: ProfileWriter, reader: ProfileReader, state: int) -> None:
    stored = row(1, state=state, a="b\0", gaps={"c": None}, position=(0, 3))
    writer.put("t", [stored, row(2)])
    assert reader.row("t", SOURCE, key_of(1)) == stored
    assert reader.row("t", "other", key_of(1)) is None
    assert reader.row("t", SOURCE, key_of(3)) is None
    assert reader.row("u", SOURCE, key_of(1)) is None


def test_rows_are_buried_and_forgotten_as_in_any_row_store(writer: ProfileWriter, reader: ProfileReader) -> None:
    writer.put("t", [row(1), row(2)])
    assert writer.bury("t", SOURCE, Standing((), "changes", 0, 9), AS_OF + 1, NOW) == 2
    writer.forget("t", AS_OF + 2, AS_OF + 2)
    assert writer.fetch("t", [row(1).id, row(2).id]) == {}
    writer.put("t", [row(3)])
    assert reader.select(RowQuery(table="t")) == [row(3)]


# Members


def test_members_are_found_by_record_person_identifier_and_own_id(writer: ProfileWriter, reader: ProfileReader) -> None:
    first = member("a", P, "email:x", "phone:1", since=5)
    second = member("b", P, "email:x", since=7, held=("device", "born"))
    other = member("c", own("c"), "email:y", since=6)
    writer.put_members([second, other, first])
    assert writer.members(["a", "b", "zzz"]) == {"a": first, "b": second}
    assert writer.members([]) == {}
    assert writer.members_of([P, "p-none"]) == {P: [first, second]}
    assert [reader.member(record) for record in ("a", "b", "c", "d")] == [first, second, other, None]
    assert reader.members_of(P) == [first, second]
    assert reader.holders(REALM, "email:x", 9) == [first, second]
    assert reader.holders(REALM, "phone:1", 9) == [first]
    assert reader.holders("elsewhere", "email:x", 9) == []
    assert [reader.person_of(own(record)) for record in ("a", "b", "c", "d")] == [P, P, own("c"), None]


def test_members_of_a_person_are_in_order_of_age_then_of_record(writer: ProfileWriter, reader: ProfileReader) -> None:
    put = [member("b", P, since=1), member("B", P, since=1), member("ä", P, since=1), member("z", P, since=-1)]
    writer.put_members(put)
    expected = [member("z", P, since=-1), member("B", P, since=1), member("b", P, since=1), member("ä", P, since=1)]
    assert writer.members_of([P]) == {P: expected}
    assert reader.members_of(P) == expected


def test_a_member_is_put_over_what_was_there(writer: ProfileWriter, reader: ProfileReader) -> None:
    writer.put_members([member("a", P, "email:x", "phone:1", since=5, held=("device",)), member("b", P, "email:x")])
    newer = member("a", Q, "email:y", "phone:1", since=9)
    writer.put_members([newer])
    assert reader.member("a") == newer
    assert reader.holders(REALM, "email:x", 9) == [member("b", P, "email:x")]
    assert reader.holders(REALM, "email:y", 9) == reader.holders(REALM, "phone:1", 9) == [newer]
    assert reader.held(9) == []
    assert reader.members_of(P) == [member("b", P, "email:x")]
    assert reader.person_of(own("a")) == P  # the id of a person goes before that of a record
    assert reader.totals() == (2, 0)


def test_a_member_that_moves_to_another_realm_is_found_there_only(writer: ProfileWriter, reader: ProfileReader) -> None:
    writer.put_members([member("a", P, "email:x")])
    moved = member("a", own("a", "brand"), "email:x", realm="brand")
    writer.put_members([moved])
    assert reader.holders(REALM, "email:x", 9) == []
    assert reader.holders("brand", "email:x", 9) == [moved]
    assert reader.person_of(P) is None


def test_a_member_without_a_person_is_removed_from_everywhere(writer: ProfileWriter, reader: ProfileReader) -> None:
    writer.put_members([member("a", P, "email:x", held=("device",)), member("b", P, "email:x")])
    for _ in range(2):
        writer.put_members([gone("a"), gone("never was")])
        assert writer.members(["a", "never was"]) == {}
        assert reader.members_of(P) == reader.holders(REALM, "email:x", 9) == [member("b", P, "email:x")]
        assert reader.held(9) == []
        assert reader.totals() == (1, 0)


def test_what_is_asked_for_twice_is_answered_once(writer: ProfileWriter) -> None:
    put = [member("a", "p"), member("a\0", "p\0")]
    writer.put_members(put)
    assert writer.members_of(["p", "p\0"] * 2) == {one.person: [one] for one in put}
    assert writer.members(["a", "a\0"] * 2) == {one.record: one for one in put}


def test_holders_are_told_apart_where_identifiers_have_one_number(
    writer: ProfileWriter, reader: ProfileReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sqlite_reader", "postgres_reader", "keys"):
        monkeypatch.setattr(f"stores.profiles.{module}.number_of", lambda *_: 7)
    put = [member(f"r{number}", f"p{number}", f"email:{number % 3}") for number in range(9)]
    elsewhere = member("a", "p", "email:1", realm="brand")
    writer.put_members([*put, elsewhere])
    assert reader.holders(REALM, "email:1", 2) == [put[1], put[4]]
    assert reader.holders(REALM, "email:1", 9) == put[1::3]
    assert reader.holders("brand", "email:1", 9) == [elsewhere]
    assert reader.holders(REALM, "email:9", 9) == []


def test_holders_are_the_first_by_record_key(writer: ProfileWriter, reader: ProfileReader) -> None:
    put = [member(f"r{number:03}", f"p{number}", "email:x", since=-number) for number in range(200)]
    writer.put_members(put[::-1])
    assert reader.holders(REALM, "email:x", 3) == put[:3]
    assert reader.holders(REALM, "email:x", 999) == put
    assert reader.holders(REALM, "email:x", 0) == []


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=ascii)
def test_records_identifiers_and_ids_may_be_any_text(writer: ProfileWriter, reader: ProfileReader, text: str) -> None:
    record, other, identifier = f"crm/t/{text}", f"crm/t/{text}+", f"email:{text}"
    person, former = own(record), f"p-{text}"
    first, second = member(record, person, identifier, since=1), member(other, person, identifier, since=2)
    writer.put_members([first, second])
    writer.put_former({former: record})
    writer.put_shared([Shared(identifier, REALM, 20, 10)])
    writer.put_profiles({former: profile(former, text)})
    writer.place([], [Place("orders", record, 5, (text, f'{{"id":"{text}"}}'))])
    writer.put_summaries({("orders", record): text.encode()})
    assert writer.members([record, other]) == {record: first, other: second}
    assert writer.members_of([person]) == {person: [first, second]}
    assert writer.activities("orders", record) == [(text, f'{{"id":"{text}"}}')]
    assert writer.summaries([record, other]) == {("orders", record): text.encode()}
    assert reader.holders(REALM, identifier, 9) == [first, second]
    assert reader.person_of(former) == reader.person_of(own(other)) == person
    assert reader.shared() == [Shared(identifier, REALM, 20, 10)]
    assert reader.profile(former) == profile(former, text)
    assert reader.owned(record, 9) == [("orders", (text, f'{{"id":"{text}"}}'))]
    assert writer.forget_persons([record, other], [former], [identifier]) == 7
    assert reader.totals() == (0, 0)
    assert not any((reader.shared(), reader.holders(REALM, identifier, 9), reader.owned(record, 9)))


def test_texts_may_be_long(writer: ProfileWriter, reader: ProfileReader) -> None:
    long = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(20_000))
    held = member("a", P, f"loyalty:{long}")
    writer.put_members([held])
    writer.put_shared([Shared(f"loyalty:{long}", REALM, 20, 10)])
    places = [Place("orders", long, 5, (SOURCE, f"{long}{number}")) for number in range(3)]
    writer.place([], places)
    writer.place(places[1:2], places[2:])
    writer.put_summaries({("orders", long): long.encode()})
    assert reader.holders(REALM, f"loyalty:{long}", 9) == [held]
    assert reader.shared() == [Shared(f"loyalty:{long}", REALM, 20, 10)]
    assert writer.activities("orders", long) == [places[0].id, places[2].id]
    assert writer.summaries([long]) == {("orders", long): long.encode()}
    assert writer.forget_persons([long], [], [f"loyalty:{long}"]) == 4


# Ids that lead to persons


def test_a_former_id_leads_to_whose_its_record_is(writer: ProfileWriter, reader: ProfileReader) -> None:
    writer.put_members([member("b", Q)])
    writer.put_former({P: "b"})
    assert reader.person_of(P) == Q
    writer.put_members([member("b", own("c")), member("c", own("c"))])
    assert reader.person_of(P) == reader.person_of(Q) == own("c")
    writer.put_former({P: "nowhere"})
    assert reader.person_of(P) is None


def test_a_former_id_leads_on_where_its_record_is_gone_too(writer: ProfileWriter, reader: ProfileReader) -> None:
    writer.put_members([member("a", own("a", "brand"), realm="brand"), member("f", own("f"), realm="brand")])
    for earlier, later in ("ab", "bc", "cd", "de"):
        writer.put_members([gone(earlier, "brand"), member(later, own(later, "brand"), realm="brand")])
        writer.put_former({own(earlier, "brand"): later})
    assert [reader.person_of(own(record, "brand")) for record in "abcde"] == [own("e", "brand")] * 5
    writer.put_members([gone("e", "brand")])
    assert reader.person_of(own("a", "brand")) is None


def test_ids_that_lead_in_a_circle_lead_to_nobody(writer: ProfileWriter, reader: ProfileReader) -> None:
    writer.put_members([member("c", own("c"))])
    writer.put_former({P: "b", Q: "a"})
    assert reader.person_of(P) is None


# Profiles


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value)[:20])
def test_a_profile_comes_back_whole_with_every_digit(writer: ProfileWriter, reader: ProfileReader, value: Any) -> None:
    put = profile(P, value)
    writer.put_profiles({P: put})
    found = reader.profile(P)
    assert found == put
    assert repr(found) == repr(put)
    assert reader.profile(Q) is None


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("-Infinity"), [Decimal("Infinity")]], ids=repr)
def test_a_value_that_is_no_number_is_kept_as_text(writer: ProfileWriter, reader: ProfileReader, value: Any) -> None:
    writer.put_profiles({P: profile(P, value)})
    assert reader.profile(P) == profile(P, [str(part) for part in value] if isinstance(value, list) else str(value))


def test_profiles_are_put_over_one_another_and_removed(writer: ProfileWriter, reader: ProfileReader) -> None:
    writer.put_profiles({P: profile(P, 1), Q: profile(Q, 1)})
    writer.put_profiles({P: profile(P, 2), Q: None, "p-none": None})
    writer.put_profiles({})
    assert reader.persons("", 9) == [profile(P, 2)]
    assert reader.profile(Q) is None
    assert reader.totals() == (0, 1)


def test_profiles_are_read_page_by_page_in_the_order_of_ids(writer: ProfileWriter, reader: ProfileReader) -> None:
    ids = sorted([own(f"r{number}") for number in range(20)] + ["P", "p", "ü", "p\0"])
    writer.put_profiles({person: profile(person) for person in reversed(ids)})
    found, after = list[str](), ""
    while page := reader.persons(after, 5):
        assert len(page) <= 5
        found += [one.person for one in page]
        after = found[-1]
    assert found == ids
    assert reader.persons("", 0) == reader.persons("", -1) == []


# What is reported


def test_shared_identifiers_are_told_until_they_link_again(writer: ProfileWriter, reader: ProfileReader) -> None:
    writer.put_shared([Shared("email:x", REALM, 20, 10), Shared("email:x", "brand", 20, 10)])
    writer.put_shared([Shared("email:y", REALM, 30, 10), Shared("email:z", REALM, 10, 10)])
    assert reader.shared() == [
        Shared("email:y", REALM, 30, 10),
        Shared("email:x", "brand", 20, 10),
        Shared("email:x", REALM, 20, 10),
    ]
    writer.put_shared([Shared("email:x", REALM, 40, 12), Shared("email:y", REALM, 10, 10)])
    assert reader.shared() == [Shared("email:x", REALM, 40, 12), Shared("email:x", "brand", 20, 10)]
    writer.put_shared([Shared("email:x", REALM, 11, 10), Shared("email:x", REALM, 3, 10)])
    assert reader.shared() == [Shared("email:x", "brand", 20, 10)]


def test_persons_that_are_held_back_are_told_the_largest_first(writer: ProfileWriter, reader: ProfileReader) -> None:
    writer.put_members(
        [
            *(member(f"a{number}", P, since=number, held=("device", "born")) for number in range(3)),
            *(member(f"b{number}", Q, realm="brand", held=("born",)) for number in range(5)),
            *(member(f"c{number}", own("c")) for number in range(9)),
            member("d", own("d"), held=("born",)),
        ]
    )
    expected = [
        HeldPerson(Q, "brand", 5, ("born",)),
        HeldPerson(P, REALM, 3, ("device", "born")),
        HeldPerson(own("d"), REALM, 1, ("born",)),
    ]
    assert reader.held(9) == expected
    assert reader.held(2) == expected[:2]
    assert reader.held(0) == []


# Activities


def test_activities_are_found_by_owner_newest_first(writer: ProfileWriter, reader: ProfileReader) -> None:
    there = [at(1, 5), at(2, 7), at(10, 7), at(3, -2), at(1, 5, table="tickets"), at(4, 9, owner="b")]
    for _ in range(2):
        writer.place([], there)
    assert writer.activities("orders", "a") == [(SOURCE, key_of(number)) for number in (10, 2, 1, 3)]
    assert writer.activities("orders", "none") == writer.activities("none", "a") == []
    tickets = ("tickets", (SOURCE, key_of(1)))
    assert reader.owned("a", 9) == [*(("orders", id_) for id_ in writer.activities("orders", "a")), tickets]
    assert reader.owned("a", 2) == [("orders", (SOURCE, key_of(10))), ("orders", (SOURCE, key_of(2)))]


def test_an_activity_moves_from_one_owner_and_time_to_another(writer: ProfileWriter) -> None:
    writer.place([], [at(1, 5), at(2, 6)])
    writer.place([at(1, 5), at(9, 9)], [at(1, 8), at(3, 1, owner="b")])
    writer.place([at(2, 6)], [at(2, 6, owner="b"), at(2, 6, owner="b")])
    assert writer.activities("orders", "a") == [(SOURCE, key_of(1))]
    assert writer.activities("orders", "b") == [(SOURCE, key_of(2)), (SOURCE, key_of(3))]
    writer.place([at(1, 8)], [at(1, 8)])
    writer.place([], [])
    assert writer.activities("orders", "a") == [(SOURCE, key_of(1))]


def test_clearing_a_table_of_activities_leaves_its_rows_and_all_others(writer: ProfileWriter) -> None:
    writer.put("orders", [row(1)])
    writer.place([], [at(1, 5), at(2, 6, owner="b"), at(1, 5, table="tickets")])
    writer.put_summaries({("orders", "a"): b"1", ("tickets", "a"): b"2", ("orders", "c"): b"3"})
    assert writer.clear_activities("orders") == 2 + 2
    assert writer.clear_activities("orders") == writer.clear_activities("none") == 0
    assert writer.activities("orders", "a") == writer.activities("orders", "b") == []
    assert writer.activities("tickets", "a") == [(SOURCE, key_of(1))]
    assert writer.summaries(["a", "b", "c"]) == {("tickets", "a"): b"2"}
    assert writer.fetch("orders", [row(1).id]) == {row(1).id: row(1)}


def test_summaries_are_put_over_one_another_and_removed(writer: ProfileWriter) -> None:
    writer.put_summaries({("orders", "a"): b"1", ("tickets", "a"): b"\0\xff", ("orders", "b"): b""})
    assert writer.summaries(["a", "c"]) == {("orders", "a"): b"1", ("tickets", "a"): b"\0\xff"}
    writer.put_summaries({("orders", "a"): b"2", ("tickets", "a"): None, ("tickets", "c"): None})
    writer.put_summaries({})
    assert writer.summaries(["a", "b", "c"]) == {("orders", "a"): b"2", ("orders", "b"): b""}
    assert writer.summaries([]) == {}


# Erasure


def test_forgetting_removes_all_that_names_a_person_and_nothing_else(
    writer: ProfileWriter, reader: ProfileReader
) -> None:
    left = member("c", own("c"), "email:x")
    writer.put_members([member("a", P, "email:x", held=("device",)), member("b", P, "phone:1"), left])
    writer.put_members([member("stale", P, "phone:2")])
    writer.put_former({"p-1": "a", "p-2": "c", P: "c", Q: "c"})
    writer.put_shared([Shared("email:x", REALM, 20, 10), Shared("phone:1", REALM, 20, 10)])
    writer.place([], [at(1, 5), at(2, 5, owner="b"), at(3, 5, owner="c")])
    writer.put_summaries({("orders", "a"): b"1", ("orders", "c"): b"1"})
    writer.put_profiles({P: profile(P), own("c"): profile(own("c"))})
    # Members a, b and stale; former ids p-1, that of the person and that of record b; phone:1; two places; one summary.
    assert writer.forget_persons(["a", "b"], [P], ["phone:1"]) == 3 + 3 + 1 + 2 + 1 + 1
    assert writer.forget_persons(["a", "b"], [P], ["phone:1"]) == 0
    assert writer.forget_persons([], [], []) == 0
    assert reader.totals() == (1, 1)
    assert [reader.person_of(id_) for id_ in (P, Q, "p-1", "p-2")] == [None, None, None, own("c")]
    assert reader.holders(REALM, "email:x", 9) == [left]
    assert reader.holders(REALM, "phone:1", 9) == reader.holders(REALM, "phone:2", 9) == []
    assert reader.held(9) == []
    assert reader.shared() == [Shared("email:x", REALM, 20, 10)]
    assert [reader.owned(record, 9) for record in "abc"] == [[], [], [("orders", (SOURCE, key_of(3)))]]
    assert writer.summaries(["a", "b", "c"]) == {("orders", "c"): b"1"}
    assert reader.persons("", 9) == [profile(own("c"))]


# Against a model

RECORDS = ("a", "b", "crm/t/ü", "c\0", "c", "d'")
REALMS = (REALM, "brand")
PERSONS = (*(own(record, realm) for record in RECORDS[:4] for realm in REALMS), "p", "p\0")
IDENTIFIERS = ("email:x", "email:X", "phone:\0", 'born:a"|b', "device:数")
TABLES = ("orders", "tickets")

Step = Callable[[Any], object]


def steps() -> st.SearchStrategy[tuple[Step, ...]]:
    """Return a strategy for transactions: what to do, to a store and to its model."""
    records, persons, identifiers = map(st.sampled_from, (RECORDS, PERSONS, IDENTIFIERS))
    realms, tables, few = st.sampled_from(REALMS), st.sampled_from(TABLES), st.integers(-2, 2)
    members = st.builds(
        Member,
        records,
        realms,
        persons | st.just(""),
        st.sets(identifiers, max_size=3).map(sorted).map(tuple),
        few,
        st.sampled_from([(), (), ("device",), ("device", "born"), ("born",)]),
    )
    shared = st.builds(Shared, identifiers, realms, st.integers(1, 4), st.just(2))
    places = st.builds(Place, tables, records, few, st.tuples(st.just(SOURCE), st.sampled_from(["1", '{"a\0":2}'])))
    profiles = st.builds(profile, persons, st.sampled_from(VALUES))

    def step(verb: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
        return st.tuples(*arguments).map(lambda given: lambda store: getattr(store, verb)(*given))

    def put(one: Profile) -> dict[str, Profile]:
        return {one.person: one}

    verbs = st.one_of(
        step("put_members", st.lists(members, max_size=5, unique_by=lambda one: one.record)),
        step("put_former", st.dictionaries(persons, records, max_size=2)),
        step("put_shared", st.lists(shared, max_size=3)),
        step("place", st.lists(places, max_size=2), st.lists(places, max_size=3)),
        step(
            "put_summaries", st.dictionaries(st.tuples(tables, records), st.none() | st.binary(max_size=2), max_size=3)
        ),
        step("clear_activities", tables),
        step("put_profiles", profiles.map(put) | persons.map(lambda person: {person: None})),
        step("forget_persons", *(st.lists(one, max_size=1) for one in (records, persons, identifiers))),
    )
    return st.lists(verbs, min_size=1, max_size=6).map(tuple)


def compare(writer: ProfileWriter, reader: ProfileReader, model: Model) -> None:
    assert writer.members(RECORDS) == model.by_record
    by_person = {person: model.members_of(person) for person in PERSONS}
    assert writer.members_of(PERSONS) == {person: members for person, members in by_person.items() if members}
    assert writer.summaries(RECORDS) == model.sums
    everybody = sorted({one.person for one in model.by_record.values()})
    assert writer.person_ids("", 99) == everybody
    assert writer.person_ids(everybody[0] if everybody else "", 2) == everybody[1:3]
    assert reader.totals() == (len(model.by_record), len(model.profiles))
    assert reader.shared() == model.shared()
    assert reader.held(99) == model.held()
    assert reader.persons("", 99) == [model.profiles[person] for person in sorted(model.profiles)]
    for record in RECORDS:
        assert reader.member(record) == model.by_record.get(record)
        owned = model.owned(record)
        assert reader.owned(record, 2) == owned[:2]
        for table in TABLES:
            assert writer.activities(table, record) == [id_ for of, id_ in owned if of == table]
    for person in PERSONS:
        assert reader.members_of(person) == by_person[person]
        assert reader.person_of(person) == model.person_of(person)
        assert reader.profile(person) == model.profiles.get(person)
    for realm in REALMS:
        for identifier in IDENTIFIERS:
            assert reader.holders(realm, identifier, 2) == model.holders(realm, identifier)[:2]


class _Undone(Exception):
    """Ends a transaction that is to leave nothing."""


def test_the_store_answers_as_its_model_does(writer: ProfileWriter, reader: ProfileReader) -> None:
    @given(st.lists(st.tuples(steps(), st.integers(0, 4)), max_size=8))
    @example([])
    def follow(transactions: list[tuple[tuple[Step, ...], int]]) -> None:
        model = Model()
        model.realms = set(seen)
        for todo, fate in transactions:
            after = model.copy()
            with suppress(_Undone), writer.transaction():
                for step in todo:
                    assert step(writer) == step(after)
                if fate == 0:
                    raise _Undone
            if fate:
                model = after
        seen.update(model.realms)
        compare(writer, reader, model)
        assert writer.forget_persons(RECORDS, PERSONS, IDENTIFIERS) == model.forget_persons(
            RECORDS, PERSONS, IDENTIFIERS
        )
        compare(writer, reader, model)
        assert reader.totals() == (0, 0)

    seen: set[str] = set()
    follow()


# Cuts; beside a writer that never rests they are tested in tests/stores/test_cuts.py


def test_a_cut_answers_every_verb_from_the_commit_that_it_began_with(
    writer: ProfileWriter, reader: ProfileReader
) -> None:
    def answers(asked: ProfileReader) -> list[Any]:
        return [
            asked.profile(P),
            asked.person_of("p-old"),
            asked.member("a"),
            asked.members_of(P),
            asked.holders(REALM, "email:x", 9),
            asked.shared(),
            asked.held(9),
            asked.row("orders", SOURCE, key_of(1)),
            asked.owned("a", 9),
            asked.persons("", 9),
            asked.totals(),
            asked.realms(),
            asked.select(RowQuery(table="orders")),
        ]

    writer.put_members([member("a", P, "email:x"), member("b", P, "email:x", held=("device",))])
    writer.put_former({"p-old": "a"})
    writer.put_shared([Shared("email:x", REALM, 20, 10)])
    writer.put_profiles({P: profile(P)})
    writer.put("orders", [row(1, a=1)])
    writer.place([], [at(1, 5)])
    before = answers(reader)
    with reader.cut() as cut:
        writer.put_members([member("a", Q, "email:y", realm="other", held=("device",)), gone("b")])
        writer.put_shared([Shared("email:x", REALM, 2, 10)])
        writer.put_profiles({P: None, Q: profile(Q)})
        writer.put("orders", [row(1, a=2)])
        writer.place([at(1, 5)], [at(1, 6, table="tickets")])
        assert answers(cut) == before
        after = answers(reader)
        assert [one for one, other in zip(before, after, strict=True) if one == other] == []
    with reader.cut() as cut:
        assert answers(cut) == after
