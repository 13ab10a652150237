"""Whom an address, a number, a record or an id leads to; and what is said when that is nobody, or not one person."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from events.clock import to_iso
from events.errors import HeadraceError, RejectedError
from events.log import LogRecord
from events.persons import Member, person_id
from events.profiles import Field
from serving.freshness import Demand, StaleError
from serving.lookups import Lookup, anything, by_identifier, by_normaliser, by_type
from serving.printable import json_text
from serving.profile_document import document, suspected
from serving.profiles import NobodyError, Profiles, SeveralError
from serving.show_profile import profile_view, suspects_view
from stores.log.files import FileLog
from stores.profiles.choose import open_profile_writer
from stores.rows.base import GONE
from tests.serving import persons_sample as sample
from tests.serving.persons_sample import ANNA, NOW, configured, fill, opened


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Profiles:
    settings = configured(tmp_path_factory.mktemp("persons"))
    fill(settings)
    return opened(settings)


def looked_up(profiles: Profiles, text: str, realm: str = "") -> str:
    return profiles.find(anything(text, profiles.settings.profiles, realm)).profile.person


@pytest.mark.parametrize(
    "text",
    [
        ANNA,
        person_id("default", sample.ANNA_OLD),
        "email:A.K@Posteo.example",
        "a.k@posteo.example",
        "loyalty:hr-100-200",
        sample.ANNA_SHOP,
        'shop/users/{"id": 7.0}',
        "users/7",
        'users/{"id":7}',
        "shop/users/7",
        "customers/2",
        "bookings/5",
        "hr-100 200",
        " a.k@posteo.example ",
    ],
)
def test_every_name_of_a_person_leads_to_it(profiles: Profiles, text: str) -> None:
    assert looked_up(profiles, text) == ANNA


def test_a_number_is_read_with_the_country_that_some_table_has(profiles: Profiles) -> None:
    lookup = by_normaliser("phone", "030 2000 3000", profiles.settings.profiles)
    with pytest.raises(SeveralError) as caught:
        profiles.find(lookup)
    fay, gil = person_id("default", sample.FAY), person_id("default", sample.GIL)
    assert set(caught.value.persons) == {fay, gil}
    assert fay in caught.value.detail
    assert gil in caught.value.detail


def test_one_address_in_two_realms_needs_the_realm(profiles: Profiles) -> None:
    settings = profiles.settings.profiles
    with pytest.raises(SeveralError, match="--realm, one of: default, partners"):
        profiles.find(by_normaliser("email", "anna@posteo.example", settings))
    assert looked_up(profiles, "anna@posteo.example", "default") == ANNA
    assert looked_up(profiles, "anna@posteo.example", "partners") == person_id("partners", sample.HUGO)
    with pytest.raises(HeadraceError, match="there is no realm 'x'"):
        looked_up(profiles, "anna@posteo.example", "x")


def test_an_over_shared_number_leads_to_nobody_and_names_nobody(profiles: Profiles) -> None:
    with pytest.raises(NobodyError) as caught:
        profiles.find(by_type("phone", "+49 30 2000 1000", profiles.settings.profiles))
    said = str(caught.value)
    assert "carried by 3 records, more than its limit of 2" in said
    assert not any(member.person in said or member.record in said for member in sample.MEMBERS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("phone:000000", "is no phone"),
        ("email:info@posteo.example", "block list"),
        ("email:otto@posteo.example", "is not known"),
        ("customers/9", "was deleted"),
        ("customers/77", "is not known"),
        ("houses/1", "is not a record of a table"),
        ("pabcdefghijklmnop", "is not known"),
        ("something", "is not known (looked for as loyalty; else write TYPE:VALUE"),
        ("030/2000 4000", "is not known (looked for as loyalty, phone; else write"),
        ("030/2000 1000", "carried by 3 records, more than its limit of 2"),
        ("000000", "is no loyalty that names a person"),
        ("", "is no person's id, identifier or record"),
    ],
)
def test_what_leads_to_nobody_says_why_in_one_line(profiles: Profiles, text: str, said: str) -> None:
    with pytest.raises((NobodyError, RejectedError, HeadraceError)) as caught:
        looked_up(profiles, text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_type_that_is_not_configured_is_refused_with_those_that_are(profiles: Profiles) -> None:
    settings = profiles.settings.profiles
    with pytest.raises(HeadraceError, match="loyalty, email, phone"):
        by_identifier("passport:1", settings)
    with pytest.raises(HeadraceError, match="write TYPE:VALUE"):
        by_identifier("passport", settings)
    with pytest.raises(HeadraceError, match="made of one document"):
        by_normaliser("document", "1", settings)


def test_a_store_that_is_behind_says_so_when_something_is_not_known(profiles: Profiles) -> None:
    later = opened(profiles.settings, NOW + 3_600_000)
    with pytest.raises(NobodyError, match="behind; see `headrace status`"):
        looked_up(later, "email:otto@posteo.example")


def test_a_read_waits_for_the_freshness_that_it_demands(profiles: Profiles) -> None:
    lookup = Lookup("person", ANNA)
    assert profiles.find(lookup, Demand(max_age=5000)).age == 500
    assert profiles.find(lookup, Demand(position=(0, 60))).profile.person == ANNA
    with pytest.raises(StaleError, match="has not been reached"):
        profiles.find(lookup, Demand(position=(0, 61), seconds=0))


def test_an_empty_store_knows_nobody_and_says_that_nothing_was_read(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    with pytest.raises(NobodyError, match=r"is not known \(not on the log yet: the stream crm\)"):
        looked_up(opened(settings), ANNA)
    with pytest.raises(RejectedError, match=r"key is not known.*not on the log yet: the stream crm"):
        looked_up(opened(settings), "customers/1")
    with pytest.raises(StaleError, match="not on the log yet: the stream crm"):
        opened(settings).find(Lookup("person", ANNA), Demand(max_age=1000, seconds=0))
    FileLog(settings.log_dir).append("crm", [LogRecord("crm", 0, 0, NOW, b"1", b"{}")])
    with pytest.raises(NobodyError, match="not all streams have been read: is the flow running"):
        looked_up(opened(settings), ANNA)


def test_a_bare_number_that_means_two_persons_leads_to_neither_and_names_what_led_to_each(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    number, other = "+493020003000", sample.key(sample.CUSTOMERS, 20)
    # A loyalty number of somebody that reads as a telephone number of two others.
    fill(
        settings, [*sample.MEMBERS, Member(other, "default", person_id("default", other), (f"loyalty:{number}",), NOW)]
    )
    with pytest.raises(SeveralError) as caught:
        looked_up(opened(settings), "+49 30 2000 3000")
    said = str(caught.value)
    assert set(caught.value.persons) == {person_id("default", one) for one in (other, sample.FAY, sample.GIL)}
    assert f"{person_id('default', other)} (loyalty:{number})" in said
    assert f"{person_id('default', sample.FAY)} (phone:{number})" in said
    assert "\n" not in said


def test_an_activity_says_whether_its_owner_was_deleted_or_never_seen_or_is_not_named(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    fill(settings)
    writer = open_profile_writer(settings, lambda: NOW)
    gone = sample.stored(sample.key(sample.USERS, 30), {}, state=GONE)
    bookings = [
        sample.stored(sample.key(sample.BOOKINGS, number), {"user_id": user}) for number, user in ((6, 30), (7, 31))
    ]
    with writer.transaction():
        writer.put("users", [gone])
        writer.put("bookings", [*bookings, sample.stored(sample.key(sample.BOOKINGS, 8), {})])
    writer.close()
    profiles = opened(settings)
    deleted = rf"bookings/\{{\"id\":6\}} belongs to users 30 \(shop\), which was deleted {to_iso(gone.as_of)}"
    with pytest.raises(NobodyError, match=deleted):
        looked_up(profiles, "bookings/6")
    with pytest.raises(NobodyError, match=r"belongs to users 31 \(shop\), which is not known"):
        looked_up(profiles, "bookings/7")
    with pytest.raises(NobodyError, match="does not say to whom it belongs"):
        looked_up(profiles, "bookings/8")
    of = settings.profiles
    (reason,) = profiles.explain(anything("bookings/6", of), anything("customers/1", of)).reasons
    assert reason.kind == "deleted"
    assert "belongs to users 30 (shop), which was deleted" in reason.said


def test_a_key_that_is_a_number_and_a_text_in_two_rows_leads_to_both(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    texts = 'shop/users/{"id":"7"}'
    fill(settings, [*sample.MEMBERS, Member(texts, "default", person_id("default", texts), (), NOW)])
    writer = open_profile_writer(settings, lambda: NOW)
    writer.put("users", [sample.stored(texts, {"login": "x@posteo.example"})])
    writer.close()
    with pytest.raises(SeveralError, match="leads to 2 persons"):
        looked_up(opened(settings), "users/7")


def test_the_document_says_of_each_value_where_it_is_from_and_how_old(profiles: Profiles) -> None:
    found: dict[str, Any] = json.loads(json_text(document(profiles.find(Lookup("person", ANNA)), profiles.name_of)))
    assert found["person"] == ANNA
    assert found["age_ms"] == 500
    (name,) = found["fields"]["name"]["of"]
    assert name == {
        "value": "Anna [b]Kowalska[/b]",
        "record": sample.ANNA_CRM,
        "source": "crm",
        "table": "customers",
        "key": "1",
        "position": "1",
        "as_of": "2023-11-14T22:12:20.000Z",
        "applied_at": "2023-11-14T22:12:20.250Z",
        "age_ms": 60_000,
    }
    assert {one["value"] for one in found["fields"]["name"]["others"]} == {"A. Kowalska"}
    assert [one["record"] for one in found["records"]] == [sample.ANNA_CRM, sample.ANNA_SHOP, sample.ANNA_OLD]
    bookings = found["collections"]["bookings"]
    assert (bookings["count"], bookings["open_count"], bookings["sums"]) == (1, 1, {"price": "120.5"})
    assert bookings["open"][0]["record"] == 'shop/bookings/{"id":5}'


@pytest.mark.parametrize("width", [50, 120])
@pytest.mark.parametrize("provenance", [False, True])
def test_a_profile_is_shown_whole_at_any_width_and_runs_no_command(
    profiles: Profiles, width: int, provenance: bool
) -> None:
    found = profiles.find(Lookup("record", sample.ANNA_CRM))
    shown = drawn(profile_view(found, profiles.name_of, provenance=provenance), width)
    joined = "".join(shown.split())
    for said in (
        ANNA,
        "[b]Kowalska[/b]",
        "a.k@posteo.example",
        "HR100200",
        "price120.5",
        "open",
        "users7",
    ):
        assert said in joined, said
    assert ("position" in joined) == provenance
    assert ("A.Kowalska" in joined) == provenance
    assert max(map(len, shown.splitlines())) <= width

    bert = profiles.find(Lookup("record", sample.BERT))
    assert "\x1b" not in drawn(profile_view(bert, profiles.name_of, provenance=provenance), width)


def test_held_links_are_a_warning_on_the_profile(profiles: Profiles) -> None:
    shown = drawn(profile_view(profiles.find(Lookup("record", sample.FAY)), profiles.name_of), 120)
    assert "Links by phone are held back" in shown
    assert "phone:+493020003000  joins 2 records" in shown


def test_what_is_held_back_are_types_that_the_person_has_and_identifiers_that_others_carry(tmp_path: Path) -> None:
    settings = configured(tmp_path)
    one, other, more = (sample.key(sample.USERS, number) for number in (40, 41, 42))
    held, alone = ("email", "phone", "device"), "email:only@posteo.example"
    person, apart = person_id("default", one), person_id("default", more)
    tie, inside = "phone:+493020005000", "phone:+493020006000"
    members = [
        # Nobody has a device; one address is in one record, and one number is of this person alone.
        Member(one, "default", person, (alone, tie, inside, sample.SWITCHBOARD), NOW, held),
        Member(other, "default", person, (inside,), NOW, held),
        Member(more, "default", apart, (tie,), NOW, ("phone",)),
    ]
    fill(settings, [*sample.MEMBERS, *members])
    profiles = opened(settings)
    said = document(profiles.find(Lookup("person", person)), profiles.name_of)
    assert (said["held"], said["ties"]) == (("email", "phone"), [{"identifier": tie, "records": 2}])
    listed = {one["person"]: one for one in suspected(profiles.suspects(10))["held"]}
    assert (listed[person]["held"], listed[person]["ties"]) == (("email", "phone"), said["ties"])
    shown = drawn(suspects_view(profiles.suspects(10)), 80)
    assert f"{person}  default  2        {tie}  joins 2 records" in shown
    assert f"{apart}  default  1        {tie}  joins 2 records" in shown


def test_a_union_of_one_value_is_shown_as_that_value(profiles: Profiles) -> None:
    bert = profiles.find(Lookup("record", sample.BERT))
    assert bert.profile.fields["email"].value == ["bert@posteo.example"]
    shown = drawn(profile_view(bert, profiles.name_of), 80)
    assert "email  bert@posteo.example  " in shown
    assert "[" not in shown.partition("email")[2].splitlines()[0]


@pytest.mark.parametrize("provenance", [False, True])
def test_of_a_very_long_value_the_beginning_is_shown_and_that_there_is_more(
    profiles: Profiles, provenance: bool
) -> None:
    found = profiles.find(Lookup("record", sample.ANNA_CRM))
    name = found.profile.fields["name"]
    long = msgspec.structs.replace(name.of[0], value="x" * 9_999 + "y")
    listed = msgspec.structs.replace(name.others[0], value=["z" * 9_996])
    field = Field(long.value, (long,), (listed,))
    bookings = found.profile.collections["bookings"]
    activity = msgspec.structs.replace(bookings.open[0], row={"note": long.value})
    profile = msgspec.structs.replace(
        found.profile,
        fields={"name": field},
        collections={"bookings": msgspec.structs.replace(bookings, open=(activity,), last=())},
    )
    view = profile_view(msgspec.structs.replace(found, profile=profile), profiles.name_of, provenance=provenance)
    shown = drawn(view, 80)
    told = "…(10,000characters;--jsonhasall)"
    assert "".join(shown.split()).count(told) == (3 if provenance else 2)
    assert shown.count("x") < 2 * 300 + 10
    assert shown.count("z") < 300 + 10


def test_of_many_aliases_ten_are_shown(profiles: Profiles) -> None:
    found = profiles.find(Lookup("record", sample.BERT))
    aliases = tuple(f"p{number:016}" for number in range(59))
    profile = msgspec.structs.replace(found.profile, aliases=aliases)
    shown = drawn(profile_view(msgspec.structs.replace(found, profile=profile), profiles.name_of), 80)
    assert [alias for alias in aliases if alias in shown] == list(aliases[:10])
    assert "and 49 more" in " ".join(shown.split())


def test_suspects_name_over_shared_identifiers_and_persons_that_would_be_too_large(profiles: Profiles) -> None:
    suspects = profiles.suspects(10)
    assert suspected(suspects) == {
        "shared": [{"identifier": sample.SWITCHBOARD, "realm": "default", "records": 3, "limit": 2}],
        "shared_count": 1,
        "held": [
            {
                "person": person,
                "realm": "default",
                "records": 1,
                "held": ("phone",),
                "ties": [{"identifier": "phone:+493020003000", "records": 2}],
            }
            for person in sorted((person_id("default", sample.FAY), person_id("default", sample.GIL)))
        ],
        "person_limit": 3,
    }
    shown = drawn(suspects_view(suspects), 120)
    assert sample.SWITCHBOARD in shown
    assert "larger than 3 records" in shown


def drawn(view: Any, width: int) -> str:
    out = io.StringIO()
    Console(width=width, file=out, color_system=None).print(view)
    return out.getvalue()
