"""The profile of a person, and what the store is told to do with rows."""

from __future__ import annotations

from typing import Any

import pytest

from events.persons import Member, person_id
from events.profiles import RecordRow
from operators.changes.keys import canonical_key
from operators.profiles.logic import Profiler
from operators.profiles.rules import ActivityRules, FieldRules, ProfileRules
from stores.profiles.logic import ProfileLogic

BOOKINGS = ActivityRules("bookings", ("", "public.people"), {"person": "id"}, last=1)
TICKETS = ActivityRules("tickets", ("crm", "public.people"), {"b": "nr", "a": "country"}, last=1)
RULES = ProfileRules(
    (FieldRules("city", {"people": ("city",)}), FieldRules("name", {"people": ("name",), "users": ("name",)})),
    {"bookings": BOOKINGS, "tickets": TICKETS},
)


def profiler(rules: ProfileRules = RULES) -> ProfileLogic:
    return Profiler(rules)


def member(number: int, *identifiers: str, since: int, held: tuple[str, ...] = ()) -> Member:
    record = f'crm/public.people/{{"id":{number}}}'
    person = person_id("default", 'crm/public.people/{"id":1}')
    return Member(record, "default", person, identifiers, since, held)


def row(number: int, **columns: Any) -> RecordRow:
    return RecordRow(f'crm/public.people/{{"id":{number}}}', "people", {"id": number, **columns}, (0, 5), 5, 77)


MEMBERS = [member(1, "email:b@x", "phone:1", since=5), member(3, "email:a@x", since=6), member(2, since=7)]


def test_a_person_is_called_by_its_earliest_record_and_found_by_all() -> None:
    profile = profiler().profile(MEMBERS, [], {})
    assert profile.person == person_id("default", MEMBERS[0].record)
    assert profile.aliases == tuple(person_id("default", one.record) for one in MEMBERS[1:])
    assert profile.records == tuple(one.record for one in MEMBERS)
    assert (profile.realm, profile.since, profile.held) == ("default", 5, ())


def test_identifiers_are_of_all_records_by_type_without_repeats() -> None:
    members = [*MEMBERS, member(4, "email:a@x", "email:odd:one", since=9)]
    profile = profiler().profile(members, [], {})
    assert profile.identifiers == {"email": ("a@x", "b@x", "odd:one"), "phone": ("1",)}


def test_held_types_are_told() -> None:
    members = [member(1, since=1, held=("email", "phone")), member(2, since=2, held=("email", "phone"))]
    assert profiler().profile(members, [], {}).held == ("email", "phone")


def test_fields_are_in_the_order_of_the_rules_and_absent_without_a_value() -> None:
    profile = profiler().profile(MEMBERS, [row(1, name="Ana", city="Bonn")], {})
    assert list(profile.fields) == ["city", "name"]
    assert list(profiler().profile(MEMBERS, [row(1, name="Ana")], {}).fields) == ["name"]


def test_without_rules_every_column_is_a_field() -> None:
    profile = profiler(ProfileRules()).profile(MEMBERS, [row(1, name="Ana"), row(2, city="Bonn")], {})
    assert {name: field.value for name, field in profile.fields.items()} == {"city": "Bonn", "name": "Ana"}


def test_collections_take_in_the_summaries_of_all_records() -> None:
    logic = profiler()
    summaries = [
        logic.added("bookings", None, logic.activity(RecordRow(f"crm/b/{at}", "bookings", {}, (0, at), at, 77)))
        for at in (4, 9)
    ]
    collections = logic.profile(MEMBERS, [], {"bookings": summaries}).collections
    assert list(collections) == ["bookings"]
    bookings = collections["bookings"]
    assert (bookings.count, bookings.first, bookings.latest) == (2, 4, 9)
    assert [activity.record for activity in bookings.last] == ["crm/b/9"]


def test_an_activity_belongs_to_the_record_that_its_row_refers_to() -> None:
    logic = profiler()
    assert logic.owner("bookings", "shop", {"person": 7}) == "shop/public.people/" + canonical_key({"id": 7})
    assert logic.owner("bookings", "shop", {"person": 7.0}) == 'shop/public.people/{"id":7}'
    assert logic.owner("bookings", "shop", {"person": "7"}) == 'shop/public.people/{"id":"7"}'
    assert logic.owner("tickets", "desk", {"b": 1, "a": "pt"}) == 'crm/public.people/{"country":"pt","nr":1}'


@pytest.mark.parametrize(
    "row", [{}, {"a": "pt"}, {"a": "pt", "b": None}, {"a": "pt", "b": [1]}, {"a": "\ud800", "b": 1}]
)
def test_an_activity_whose_row_does_not_say_belongs_to_nobody(row: dict[str, Any]) -> None:
    assert profiler().owner("tickets", "desk", row) is None


def test_summaries_are_the_same_whether_made_at_once_or_one_by_one() -> None:
    logic = profiler()
    activities = [logic.activity(RecordRow(f"crm/b/{at}", "bookings", {"x": at}, (0, at), at, 77)) for at in (3, 1, 2)]
    one_by_one: bytes | None = None
    for activity in activities:
        one_by_one = logic.added("bookings", one_by_one, activity)
    assert one_by_one is not None
    assert logic.summed("bookings", activities) == one_by_one
    left = logic.removed("bookings", one_by_one, activities[0])
    assert left == logic.summed("bookings", activities[1:])
    assert logic.summed("bookings", []) is None
    assert logic.removed("bookings", logic.added("bookings", None, activities[0]), activities[0]) == b""
