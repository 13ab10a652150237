"""Persons on the command line while the flow runs: found, explained, joined by a change and taken apart by the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.live import Home, Running, wait_until

SETTINGS = """
[profiles]
region = "DE"
block = ["email:info@posteo.example"]

[[profiles.streams]]
name = "people"
format = "headrace"
source = "crm"

[[profiles.tables]]
name = "customers"
table = "public.customers"
identifiers = { email = ["email"], phone = ["phone"], loyalty = ["card"] }

[[profiles.tables]]
name = "tickets"
table = "tickets"
references = "customers"
by = { customer_id = "id" }
open = { status = ["open"] }

[[profiles.identifiers]]
type = "loyalty"
parts = ["code"]

[[profiles.identifiers]]
type = "email"
parts = ["email"]

[[profiles.identifiers]]
type = "phone"
parts = ["phone"]
limit = 2
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "headrace.toml").write_text(SETTINGS)
    return Home(tmp_path)


def customer(id_: int, position: int, **columns: str | None) -> dict[str, Any]:
    after = {"id": id_, "email": None, "phone": None, "card": None, **columns}
    return {"table": "public.customers", "key": {"id": id_}, "op": "update", "position": position, "after": after}


def append(home: Home, *events: dict[str, Any]) -> None:
    done = home.headrace("log", "append", "people", stdin="".join(json.dumps(event) + "\n" for event in events))
    assert done.returncode == 0, done.stderr


def asked(home: Home, *arguments: str) -> Any:
    """Return the answer of a command as data."""
    answer = home.headrace(*arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def records_of(home: Home, *arguments: str) -> set[str]:
    """Return the short keys of a person's records; none if there is nobody."""
    answer = home.headrace("profile", *arguments, "--json")
    return {record["key"] for record in json.loads(answer.stdout)["records"]} if answer.returncode == 0 else set()


def test_a_person_is_found_joined_explained_drawn_and_taken_apart_again(home: Home) -> None:
    office = "+49 30 2000 1000"
    append(
        home,
        customer(1, 1, email="anna@posteo.example", card="HR100200", phone=office),
        customer(2, 2, email="a.k@posteo.example", phone=office),
        customer(3, 3, email="bert@posteo.example", phone=office),
        {
            "table": "tickets",
            "key": {"id": 9},
            "op": "create",
            "position": 4,
            "after": {"id": 9, "customer_id": 2, "status": "open"},
        },
    )
    with Running(home, "profiles"):
        wait_until(lambda: records_of(home, "--email", "a.k@posteo.example") == {"2"}, "the second customer's profile")
        wait_until(lambda: asked(home, "suspects")["shared"], "the number that three records share")

        over = home.headrace("profile", "--phone", "030 20001000")
        assert over.returncode == 1
        assert over.stderr.count("\n") == 1
        assert "carried by 3 records, more than its limit of 2" in over.stderr
        apart = asked(home, "explain", "customers/1", "customers/2")
        assert (apart["together"], [reason["kind"] for reason in apart["reasons"]]) == (False, ["shared"])

        append(home, customer(2, 5, email="a.k@posteo.example", phone=office, card="hr 100-200"))
        demanded = ("--min-position", "5", "--wait", "30s")
        found = asked(home, "profile", "--loyalty", "HR100200", *demanded)
        assert {record["key"] for record in found["records"]} == {"1", "2"}
        assert found["collections"]["tickets"]["open_count"] == 1
        assert found["identifiers"]["email"] == ["a.k@posteo.example", "anna@posteo.example"]
        together = asked(home, "explain", "email:a.k@posteo.example", "customers/1")
        assert [step["columns"] for step in together["path"]] == [["email"], ["card"], ["card"]]

        shown = home.headrace("profile", "bookless@posteo.example")
        assert (shown.returncode, shown.stdout) == (1, "")
        for name in ("person.html", "person.svg", "person.png"):
            drawn = home.headrace("explain", "customers/1", "customers/2", "--graph", name)
            assert drawn.returncode == 0, drawn.stderr
            assert (home.path / name).stat().st_size > 2000
        told = home.headrace("profile", found["person"], "--provenance")
        assert "a.k@posteo.example" in told.stdout
        assert 'crm/public.customers/{"id":2}' in told.stdout

        append(home, customer(2, 6, email="a.k@posteo.example", phone=office))
        asked(home, "profile", "customers/1", "--min-position", "6", "--wait", "30s")
        assert records_of(home, "--record", "customers/1") == {"1"}
        assert records_of(home, "--record", "customers/2") == {"2"}
        assert asked(home, "explain", "customers/1", "customers/2")["together"] is False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["profile"], "it is not clear which person"),
        (["profile", "--email", "a@posteo.example", "--phone", "1"], "--email and --phone are given, one is enough"),
        (["profile", "--email", "n/a"], "placeholder"),
        (["profile", "--email", "info@posteo.example"], "on the block list"),
        (["profile", "--email", "anna@posteo.example"], "not on the log yet: the stream people"),
        (["profile", "--identifier", "passport:1"], "there are: loyalty, email, phone"),
        (["profile", "customers/1", "--graph", "out.pdf"], "let its name end in .html, .svg or .png"),
        (["profile", "customers/1", "--realm", "x"], "there is no realm 'x'"),
        (["profile", "customers/1", "--graph", "absent/out.svg"], "there is no folder"),
        (["profile", "030 20001000"], "looked for as loyalty, phone"),
        (["explain", "customers/1", "nothing"], "not on the log yet: the stream people"),
    ],
)
def test_what_cannot_be_answered_is_one_line_with_the_remedy(home: Home, arguments: list[str], said: str) -> None:
    ended = home.headrace(*arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.count("\n") == 1
    assert said in ended.stderr


def test_without_tables_of_persons_it_says_what_to_configure(tmp_path: Path) -> None:
    ended = Home(tmp_path).headrace("suspects")
    assert ended.returncode == 1
    assert "add [[profiles.tables]] to headrace.toml" in ended.stderr
