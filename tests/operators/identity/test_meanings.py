"""What a text may mean that names a person: all identifiers that it is when it is normalised, and nothing guessed."""

from __future__ import annotations

import pytest

from operators.identity.configure import identity_rules, record_rules
from operators.identity.extract import Extractor
from operators.identity.meanings import Meanings
from stores.settings import load

CARD = {"type": "card", "parts": ["code"]}
BORN = {"type": "born", "parts": ["name", "date"]}
TYPES = [CARD, {"type": "email", "parts": ["email"]}, {"type": "phone", "parts": ["phone"]}, BORN]


def meanings() -> Meanings:
    tables = [
        {"name": "customers", "table": "customers", "identifiers": {"email": ["mail"], "card": ["card"]}},
        {"name": "guests", "table": "guests", "region": "DE", "realm": "hotel", "identifiers": {"phone": ["phone"]}},
    ]
    profiles = load(
        profiles={"streams": [{"name": "crm"}], "tables": tables, "identifiers": TYPES, "region": "PT"}
    ).profiles
    rules, of_tables = identity_rules(profiles), record_rules(profiles)
    return Meanings(Extractor(rules, of_tables), rules, of_tables, profiles.region)


@pytest.mark.parametrize(
    ("text", "identifiers"),
    [
        (" Anna.Silva@Example.ORG ", {"email:anna.silva@example.org"}),
        ("email:Anna.Silva@example.org", {"email:anna.silva@example.org"}),
        ("+351 213 000 111", {"phone:+351213000111", "card:+351213000111"}),
        ("hr 900-100", {"card:HR900100"}),
        ("card:HR900100", {"card:HR900100"}),
        ("12", set()),
        ("", set()),
        ("anna@", set()),
        ("born:Anna Silva|1990-01-31", None),
    ],
)
def test_a_text_means_what_it_is_when_normalised(text: str, identifiers: set[str] | None) -> None:
    found = {identifier for _, identifier in meanings().of(text)}
    if identifiers is None:
        assert {identifier.partition(":")[0] for identifier in found} == {"born"}
    else:
        assert found == identifiers


def test_a_number_without_country_is_one_of_each_region_of_its_realm() -> None:
    found = {(realm, identifier) for realm, identifier in meanings().of("phone:030 1234567")}
    assert ("hotel", "phone:+49301234567") in found
    assert not any(identifier == "phone:+49301234567" for realm, identifier in found if realm == "default")


def test_a_text_is_read_once() -> None:
    ours = meanings()
    assert ours.of("anna@example.org") is ours.of("anna@example.org")
