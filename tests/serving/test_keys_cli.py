"""`headrace keys` and `headrace token`: a key is shown once, a token is good for the person that was meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from events.clock import system_clock
from events.errors import HeadraceError
from serving.access.caller import SCOPES
from serving.access.keys import Keys
from serving.access.tokens import Tokens
from serving.commands.keys import register
from stores.settings import Settings, load
from tests.serving import persons_sample as sample

app = typer.Typer()
register(app)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return load()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def refusal(*arguments: str) -> str:
    ended = run(*arguments)
    assert isinstance(ended.exception, HeadraceError)
    assert "\n" not in str(ended.exception)
    return str(ended.exception)


def test_a_key_is_printed_alone_on_standard_output_and_good_for_what_was_asked(settings: Settings) -> None:
    made = run("keys", "create", "shop", "--scope", "context", "--scope", "search", "--audience", "staff")
    key = made.stdout.strip()
    assert "not shown again" in made.stderr
    assert key not in made.stderr
    found = Keys(settings.keys_path).find(key)
    assert found is not None
    assert (found.name, found.scopes, found.audiences) == ("shop", ("context", "search"), ("public", "staff"))
    assert found.expires_at is None


def test_all_scopes_are_all_but_the_one_that_says_who_is_who(settings: Settings) -> None:
    key = run("keys", "create", "shop", "--scope", "all", "--days", "90").stdout.strip()
    found = Keys(settings.keys_path).find(key)
    assert found is not None
    assert set(found.scopes) == set(SCOPES) - {"tokens"}
    assert found.expires_at is not None
    assert abs(found.expires_at - system_clock() - 90 * 86_400_000) < 60_000


def test_keys_are_listed_without_what_is_secret_and_removed_by_name(settings: Settings) -> None:
    assert "There are no keys" in run("keys", "list").stdout
    assert json.loads(run("keys", "list", "--json").stdout) == []
    keys = [run("keys", "create", name, "--scope", "context").stdout.strip() for name in ("shop", "desk")]
    shown, listed = run("keys", "list").stdout, json.loads(run("keys", "list", "--json").stdout)
    assert [one["name"] for one in listed] == ["shop", "desk"]
    assert [one["id"] for one in listed] == [key.split("_")[1] for key in keys]
    for key in keys:
        secret = key.rpartition("_")[2]
        assert key.removesuffix(secret) in shown
        assert secret not in shown
        assert secret not in json.dumps(listed)
    assert "hash" not in listed[0]
    assert run("keys", "remove", "shop").exit_code == 0
    assert [one["name"] for one in json.loads(run("keys", "list", "--json").stdout)] == ["desk"]
    assert Keys(settings.keys_path).find(keys[0]) is None


def test_listing_leaves_no_trace(settings: Settings) -> None:
    run("keys", "list")
    refusal("keys", "remove", "shop")
    assert not settings.data_dir.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "shop", "--scope", "contxt"], "did you mean 'context'?"),
        (["create", "My Shop", "--scope", "context"], "can be no name"),
        (["create", "shop", "--scope", "context", "--days", "-1"], "-1 days"),
        (["create", "shop", "--scope", "context", "--audience", ""], "can be no audience label"),
        (["remove", "shop"], "there is no key 'shop'"),
    ],
)
@pytest.mark.usefixtures("settings")
def test_what_is_wrong_is_one_line_with_the_remedy(arguments: list[str], said: str) -> None:
    assert said in refusal("keys", *arguments)


def test_a_key_without_a_scope_is_asked_for_one(settings: Settings) -> None:
    ended = run("keys", "create", "shop")
    assert ended.exit_code == 2
    assert "--scope" in ended.stderr
    assert not settings.data_dir.exists()


@pytest.mark.parametrize("command", [["keys"], ["keys", "create"], ["keys", "list"], ["keys", "remove"], ["token"]])
def test_each_command_explains_itself(command: list[str]) -> None:
    shown = run(*command, "--help")
    assert shown.exit_code == 0
    assert "Usage:" in shown.stdout


@pytest.fixture
def persons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of a data folder with the sample's persons, which the commands find as well."""
    settings = sample.configured(tmp_path)
    sample.fill(settings)
    monkeypatch.setattr("serving.commands.keys.load", lambda: settings)
    return settings


@pytest.mark.parametrize(
    "who",
    [
        ["--email", "a.k@posteo.example"],
        ["--person", sample.ANNA],
        ["--person", "customers/1"],
        ["--record", "users/7"],
        ["--loyalty", "hr 100200"],
        ["--email", "anna@posteo.example", "--realm", "default"],
    ],
)
def test_a_token_is_for_the_person_that_the_look_up_leads_to(persons: Settings, who: list[str]) -> None:
    made = run("token", *who, "--audience", "staff", "--minutes", "5")
    claims = Tokens(persons, system_clock).read(made.stdout.strip())
    assert (claims.person, claims.realm, claims.audiences) == (sample.ANNA, "default", ("public", "staff"))
    assert 0 < claims.expires_at - system_clock() <= 300_000
    assert sample.ANNA in made.stderr


def test_a_token_is_printed_as_json_for_other_programs(persons: Settings) -> None:
    shown = json.loads(run("token", "--person", sample.ANNA, "--json").stdout)
    assert Tokens(persons, system_clock).read(shown["token"]).person == shown["person"] == sample.ANNA
    assert (shown["realm"], shown["audiences"]) == ("default", ["public"])
    assert shown["expires_at"].endswith("Z")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "it is not clear which person"),
        (["--email", "zoe@posteo.example"], "is not known"),
        (["--email", "anna@posteo.example"], "leads to 2 persons"),
        (["--email", "a.k@posteo.example", "--realm", "mars"], "there is no realm 'mars'"),
        (["--email", "a.k@posteo.example", "--minutes", "16"], "16 minutes"),
        (["--email", "a.k@posteo.example", "--audience", "a,b"], "can be no audience label"),
    ],
)
def test_no_token_is_signed_for_who_is_not_one_known_person(persons: Settings, arguments: list[str], said: str) -> None:
    assert said in refusal("token", *arguments)
    assert not persons.secret_path.exists()
