from __future__ import annotations

from typing import Any

import msgspec
import pytest

from events.changes import Change, Row
from events.errors import RejectedError, SettingsError
from events.persons import Links
from operators.identity.extract import Carried, Extractor, rules_digests
from operators.identity.moments import moment
from operators.identity.reading import Refused
from operators.identity.rules import IdentifierRule, IdentityRules, RecordRules, TypeRules

LOYALTY = TypeRules("loyalty", ("code",), 10)
EMAIL = TypeRules("email", ("email",), 10)
PHONE = TypeRules("phone", ("phone",), 10)
BORN = TypeRules("born", ("name", "date", "postcode"), 5)
RULES = IdentityRules((LOYALTY, EMAIL, PHONE, BORN))

CUSTOMERS = RecordRules(
    "customers",
    "travel",
    (
        IdentifierRule("email", (("email",),)),
        IdentifierRule("email", (("email2",),)),
        IdentifierRule("phone", (("phone",),)),
        IdentifierRule("born", (("first", "last"), ("birth_date",), ("postcode",))),
    ),
    created="created_at",
    region="PT",
)
USERS = RecordRules(
    "users", "travel", (IdentifierRule("phone", (("phone",),)), IdentifierRule("loyalty", (("card",),))), region="DE"
)
TABLES = {"customers": CUSTOMERS, "users": USERS}
REALM = "travel"

ANNA: Row = {
    "id": 1,
    "email": "Anna@Silva.example",
    "email2": None,
    "phone": "912 345 678",
    "first": "Anna",
    "last": "Silva",
    "birth_date": "12.03.1984",
    "postcode": "1000-001",
    "created_at": "2024-05-01T12:34:56.789Z",
}
BORN_ANNA = "born:anna silva|1984-03-12|1000001"


def change(after: Row | None, unavailable: tuple[str, ...] = (), table: str = "public.customers") -> Change:
    return Change(
        "crm", table, '{"id":1}', "delete" if after is None else "update", None, after, 5, unavailable=unavailable
    )


def identifiers(row: Row, table: str = "customers", rules: IdentityRules = RULES) -> list[str]:
    """Return all that a row carries, whatever the rule."""
    found = Extractor(rules, TABLES).links(change(row), table).identifiers
    return [one for rule in found for one in rule or ()]


def refused(row: Row, rules: IdentityRules = RULES) -> list[tuple[str, str, str]]:
    return [(one.type, one.text, one.reason) for one in Extractor(rules, TABLES).found("customers", row).refused]


def test_a_row_carries_the_identifiers_of_its_rules_in_their_order() -> None:
    made = change(ANNA)
    assert Extractor(RULES, TABLES).links(made, "customers") == Links(
        made,
        "travel",
        (("email:anna@silva.example",), (), ("phone:+351912345678",), (BORN_ANNA,)),
        # 2024-05-01T12:34:56.789Z by `date -u -d … +%s`.
        1714566896789,
    )


def test_a_deleted_row_carries_nothing_by_any_rule() -> None:
    assert Extractor(RULES, TABLES).links(change(None, ("email",)), "customers").identifiers == ((), (), (), ())


def test_a_rule_is_left_open_where_the_source_left_out_a_column_that_it_reads() -> None:
    row = {column: value for column, value in ANNA.items() if column not in {"email2", "postcode"}}
    links = Extractor(RULES, TABLES).links(change(row, ("email2", "postcode", "notes")), "customers")
    assert links.identifiers == (("email:anna@silva.example",), None, ("phone:+351912345678",), None)


def test_a_column_that_was_filled_in_from_elsewhere_counts_although_the_source_left_it_out() -> None:
    links = Extractor(RULES, TABLES).links(change(ANNA, ("email", "postcode")), "customers")
    assert None not in links.identifiers
    assert links.identifiers[0] == ("email:anna@silva.example",)


def test_columns_that_are_missing_or_null_carry_nothing() -> None:
    assert identifiers({"id": 1}) == []
    assert identifiers({"id": 1, "email": None, "phone": "", "first": " "}) == []


def test_a_number_without_a_country_is_of_its_tables_region() -> None:
    assert identifiers({"phone": "030 901820"}, "users") == ["phone:+4930901820"]
    assert identifiers({"phone": "912 345 678"}, "customers") == ["phone:+351912345678"]


def test_all_parts_of_a_composite_are_needed() -> None:
    assert BORN_ANNA in identifiers(ANNA)
    for column in ("birth_date", "postcode"):
        assert BORN_ANNA not in identifiers(ANNA | {column: None})
        assert BORN_ANNA not in identifiers(ANNA | {column: "n/a"})


def test_joined_columns_leave_out_what_is_missing_or_a_word_for_none() -> None:
    assert BORN_ANNA in identifiers(ANNA | {"first": "Anna Silva", "last": None})
    assert BORN_ANNA in identifiers(ANNA | {"first": "Anna Silva", "last": "n/a"})
    # One name alone does not tell twins apart.
    assert not any(one.startswith("born:") for one in identifiers(ANNA | {"last": "unknown"}))
    assert not any(one.startswith("born:") for one in identifiers(ANNA | {"last": {"family": "Silva"}}))


def test_each_value_of_a_list_is_an_identifier_of_its_own() -> None:
    row = {"email": ["rui@silva.example", "Anna@silva.example", None, "n/a", "anna@silva.example"]}
    assert identifiers(row) == ["email:anna@silva.example", "email:rui@silva.example"]
    assert identifiers({"email": []}) == []
    assert identifiers({"email": [["anna@silva.example"], {"a": 1}]}) == []


def test_values_of_a_list_go_with_each_of_the_other_parts() -> None:
    row = ANNA | {"postcode": ["1000-001", "2000-002"]}
    assert [one for one in identifiers(row) if one.startswith("born:")] == [
        BORN_ANNA,
        "born:anna silva|1984-03-12|2000002",
    ]


def test_a_list_that_is_too_long_carries_nothing_and_says_so() -> None:
    many = [f"u{number}@silva.example" for number in range(101)]
    assert len(identifiers({"email": many[:100]})) == 100
    assert identifiers({"email": many}) == []
    assert refused({"email": many}) == [("email", "(list)", "more than 100 values")]
    days, places = [f"1984-03-{day:02}" for day in range(1, 12)], [f"{place}-001" for place in range(1000, 1010)]
    crowd = ANNA | {"birth_date": days, "postcode": places}
    assert not any(one.startswith("born:") for one in identifiers(crowd))
    assert refused(crowd) == [("born", "", "more than 100 values")]


def test_one_bad_value_costs_its_own_identifier_only() -> None:
    row = ANNA | {"email": {"nested": 1}, "phone": "\ud800", "email2": "rui@silva.example", "created_at": "yesterday"}
    links = Extractor(RULES, TABLES).links(change(row), "customers")
    assert links.identifiers == ((), ("email:rui@silva.example",), (), (BORN_ANNA,))
    assert links.created is None


def test_found_tells_the_columns_of_identifiers_and_why_other_values_are_none() -> None:
    row = ANNA | {"email2": "test@test.com", "phone": "000000", "birth_date": "03/04/1984"}
    found = Extractor(RULES, TABLES).found("customers", row)
    assert found.identifiers == (Carried("email:anna@silva.example", ("email",)),)
    assert found.refused == (
        Refused("email", ("email2",), "test@test.com", "placeholder"),
        Refused("phone", ("phone",), "000000", "placeholder"),
        Refused("born", ("birth_date",), "03/04/1984", "ambiguous date"),
    )


def test_found_tells_which_part_of_a_composite_is_missing_but_not_that_nothing_is_there() -> None:
    assert refused(ANNA | {"postcode": None}) == [("born", "", "empty")]
    assert refused(ANNA | {"postcode": []}) == [("born", "", "empty")]
    assert refused({"id": 1}) == []
    [(_, shown, _)] = refused({"email": "x" * 999})
    assert shown == "x" * 200


def test_found_and_links_agree() -> None:
    rows: list[Row] = [ANNA, {}, ANNA | {"email": ["a.b@gmail.com", "ab@gmail.com", "n/a"]}, ANNA | {"last": "-"}]
    extractor = Extractor(RULES, TABLES)
    for row in rows:
        links = extractor.links(change(row), "customers").identifiers
        found = [one.identifier for one in extractor.found("customers", row).identifiers]
        assert [one for rule in links for one in rule or ()] == found


def test_a_blocked_identifier_is_none_however_it_is_written() -> None:
    rules = msgspec.structs.replace(
        RULES,
        block=(
            "email: Anna@SILVA.example",
            "phone:912 345 678",
            "phone:030/901820",
            "born:Silva, Anna|1984-03-12|1000 001",
        ),
    )
    assert identifiers(ANNA, rules=rules) == []
    assert identifiers({"phone": "+49 30 901820"}, "users", rules) == []
    assert identifiers({"email": ["anna@silva.example", "rui@silva.example"]}, rules=rules) == [
        "email:rui@silva.example"
    ]
    assert refused({"email": "ANNA@silva.example"}, rules) == [("email", "anna@silva.example", "on the block list")]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("fax:123456", "'fax:123456' begins with no type of identifier"),
        ("anna@silva.example", "'anna@silva.example' begins with no type of identifier"),
        ("email:test@test.com", "'email:test@test.com' never links anyway: placeholder"),
        ("phone:4711", "'phone:4711' never links anyway: not a phone number"),
        ("born:Anna Silva", "never links anyway: write its 3 parts (name, date, postcode) with `|` between them"),
    ],
)
def test_a_block_entry_that_is_no_identifier_stops_the_start_and_is_named(entry: str, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Extractor(msgspec.structs.replace(RULES, block=(entry,)), TABLES)
    assert reason in caught.value.detail
    assert caught.value.hint


@pytest.mark.parametrize(
    ("rules", "table", "reason"),
    [
        (RULES, msgspec.structs.replace(USERS, region="XX"), "'XX' is no country"),
        (msgspec.structs.replace(RULES, email_providers={"not a domain": "plus"}), CUSTOMERS, "'not a domain'"),
        (msgspec.structs.replace(RULES, types=(EMAIL,)), USERS, "'phone'"),
        (RULES, msgspec.structs.replace(USERS, identifiers=(IdentifierRule("born", (("a",),)),)), "'born'"),
    ],
)
def test_rules_that_do_not_fit_stop_the_start_and_name_what_does_not(
    rules: IdentityRules, table: RecordRules, reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        Extractor(rules, {"one": table})


def test_what_a_person_types_becomes_the_identifier_that_rows_carry() -> None:
    extractor = Extractor(RULES, TABLES)
    assert extractor.identifier("email", " ANNA@silva.example") == "email:anna@silva.example"
    assert extractor.identifier("phone", "912 345 678", "PT") == "phone:+351912345678"
    assert extractor.identifier("born", "Silva, Anna|12.03.1984|1000-001") == BORN_ANNA
    for one in identifiers(ANNA):
        assert extractor.identifier(*one.split(":", 1)) == one


@pytest.mark.parametrize(
    ("type_", "text", "region", "reason"),
    [
        ("email", "n/a", "", "placeholder"),
        ("email", "info@silva.example", "", "on the block list"),
        ("phone", "912345678", "", "no country: set `region`"),
        ("phone", "912345678", "XX", "'XX' is no country"),
        ("born", "Anna Silva", "", "write its 3 parts"),
        ("fax", "1", "", "there is no type of identifier 'fax'"),
    ],
)
def test_what_is_no_identifier_is_refused_with_the_reason(type_: str, text: str, region: str, reason: str) -> None:
    extractor = Extractor(msgspec.structs.replace(RULES, block=("email:info@silva.example",)), TABLES)
    with pytest.raises(RejectedError) as caught:
        extractor.identifier(type_, text, region)
    assert reason in caught.value.detail
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def digests(rules: IdentityRules = RULES, **users: Any) -> dict[str, str]:
    """Return the digests of both tables, `users` with other rules."""
    return rules_digests(rules, TABLES | {"users": msgspec.structs.replace(USERS, **users)}, REALM)


@pytest.mark.parametrize(
    ("other", "tables"),
    [
        (digests(msgspec.structs.replace(RULES, block=("email:info@silva.example",))), {"customers"}),
        (digests(msgspec.structs.replace(RULES, email_aliases=False)), {"customers"}),
        (digests(msgspec.structs.replace(RULES, email_providers={"silva.example": "plus"})), {"customers"}),
        (digests(msgspec.structs.replace(RULES, block=("phone:912345678",))), {"customers", "users"}),
        (digests(region="AT"), {"users"}),
        (digests(created="made"), {"users"}),
        (digests(identifiers=USERS.identifiers[:1]), {"users"}),
        (digests(identifiers=USERS.identifiers[::-1]), {"users"}),
    ],
)
def test_the_digest_of_a_table_tells_apart_all_that_decides_what_its_rows_carry(
    other: dict[str, str], tables: set[str]
) -> None:
    assert {name for name, digest in digests().items() if other[name] != digest} == tables


def test_another_edition_of_the_normalisers_has_other_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests()
    monkeypatch.setattr("operators.identity.extract.VERSION", 0)
    assert not before.items() & digests().items()


def test_only_tables_of_the_realm_have_digests() -> None:
    tables = TABLES | {"leads": msgspec.structs.replace(USERS, name="leads", realm="other")}
    assert set(rules_digests(RULES, tables, REALM)) == {"customers", "users"}
    assert rules_digests(RULES, tables, REALM) == rules_digests(RULES, TABLES, REALM)


def test_the_digest_leaves_out_limits_unused_types_and_the_order_in_which_settings_are_written() -> None:
    providers: dict[str, Any] = {"a.example": "plus", "b.example": "minus"}
    rules = msgspec.structs.replace(RULES, block=("email:a@b.example", "email:c@d.example"), email_providers=providers)
    other = msgspec.structs.replace(
        rules,
        types=(
            *(msgspec.structs.replace(one, limit=99) for one in reversed(rules.types)),
            TypeRules("unused", ("code",), 3),
        ),
        person_limit=7,
        block=rules.block[::-1],
        email_providers=dict(reversed(providers.items())),
    )
    assert digests(rules) == rules_digests(other, dict(reversed(TABLES.items())), REALM)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # The expectations are of `date -u -d TEXT +%s`.
        ("2024-05-01", 1714521600000),
        ("2024-05-01T12:34:56", 1714566896000),
        ("2024-05-01 12:34:56.7", 1714566896700),
        ("2024-05-01T12:34:56.123456789Z", 1714566896123),
        ("2024-05-01t12:34z", 1714566840000),
        ("2024-05-01T12:34:56+02:00", 1714559696000),
        ("2024-05-01 12:34:56-0330", 1714579496000),
        ("2024-05-01 12:34:56+00", 1714566896000),
        ("1969-12-31T23:59:59.999Z", -1),
        (1714566896789, 1714566896789),
        (1714566896, None),
        (1714566896789012, None),
        (0, None),
        (True, None),
        (1714566896789.0, None),
        ("1714566896789", None),
        ("01.05.2024", None),
        ("20240501", None),
        ("2024-02-30", None),
        ("2024-05-01T25:00:00", None),
        ("2024-05-01T12:60:00", None),
        ("2024-05-01T12:34:56+19:00", None),
        ("1970-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00", None),
        ("9999-12-31", None),
        ("", None),
        (None, None),
        ([], None),
    ],
)
def test_when_a_row_was_made_is_read_from_iso_times_and_milliseconds_only(value: object, expected: int | None) -> None:
    assert moment(value) == expected
