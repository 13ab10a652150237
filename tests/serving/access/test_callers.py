"""Who asks: told by two headers, and what cannot be believed is refused in the same words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.access.callers import caller_of
from serving.access.keys import Keys, new_key
from serving.access.tokens import Tokens
from serving.errors import UnknownCallerError
from stores.settings import load

NOW = 1_700_000_000_000
PERSON = "pabcdefghijklmnop"


class Door:
    """Keys and tokens of one installation, and a key that is good for a little."""

    def __init__(self, path: Path) -> None:
        settings = load(data_dir=path)
        self.path = settings.keys_path
        self.keys = Keys(self.path, clock=lambda: NOW)
        self.tokens = Tokens(settings, lambda: NOW)
        self.key = self.keys.create("shop", ["context", "tokens"], ["staff"])


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Door:
    return Door(tmp_path_factory.mktemp("door"))


def test_a_key_alone_asks_for_nobody_with_its_own_labels(door: Door) -> None:
    caller = caller_of(door.keys, door.tokens, f"Bearer {door.key}", "")
    assert (caller.key, set(caller.scopes), caller.audiences) == ("shop", {"context", "tokens"}, ("public", "staff"))
    assert (caller.person, caller.realm) == ("", "")


@pytest.mark.parametrize(
    ("labels", "seen"), [((), ("public",)), (("staff",), ("public", "staff")), (("board",), ("public", "board"))]
)
def test_with_a_token_the_labels_are_those_of_the_token(
    door: Door, labels: tuple[str, ...], seen: tuple[str, ...]
) -> None:
    token = door.tokens.sign(PERSON, "default", labels).token
    caller = caller_of(door.keys, door.tokens, f"Bearer {door.key}", token)
    assert (caller.key, set(caller.scopes)) == ("shop", {"context", "tokens"})
    assert (caller.person, caller.realm, caller.audiences) == (PERSON, "default", seen)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_as_http_says_whatever_its_case(door: Door, scheme: str) -> None:
    assert caller_of(door.keys, door.tokens, f"{scheme}  {door.key}", "").key == "shop"


def test_without_a_key_it_says_how_to_get_one(door: Door) -> None:
    token = door.tokens.sign(PERSON, "default").token
    with pytest.raises(UnknownCallerError, match="no key was given") as refused:
        caller_of(door.keys, door.tokens, "", token)
    assert "headrace keys create" in refused.value.hint


def _refusal(door: Door, authorization: str, person_token: str = "") -> str:
    with pytest.raises(UnknownCallerError) as refused:
        caller_of(door.keys, door.tokens, authorization, person_token)
    return str(refused.value)


WRONG = [
    "Bearer",
    "Bearer ",
    "Basic c2hvcDpzaG9w",
    "Bearer {key}x",
    "Bearer {key} {key}",
    "Bearer {key}, Bearer {key}",
    " Bearer {key}",
    "Bearer\t{key}",
    "Bearer {key}\n",
    "Bearer {key}\r\nHeadrace-Person: x",
    "Token {key}",
    "{key}",
    "Bearer é",
    "Bearer \ud800",
    "Bearer " + "x" * 100_000,
]


@pytest.mark.parametrize("authorization", WRONG)
def test_a_malformed_header_is_refused_in_the_same_words_as_a_wrong_key(door: Door, authorization: str) -> None:
    said = _refusal(door, authorization.replace("{key}", door.key))
    assert said == _refusal(door, f"Bearer {new_key()}")
    assert door.key not in said


def test_a_key_that_is_over_is_refused_in_the_same_words_too(door: Door) -> None:
    over = Keys(door.path, clock=lambda: NOW - 86_400_000).create("old", ["context"], days=1)
    assert _refusal(door, f"Bearer {over}") == _refusal(door, f"Bearer {new_key()}")


@pytest.mark.parametrize("token", [" ", "x", "a.b.c", "Bearer x", "é", "\0"])
def test_a_token_that_is_none_is_never_taken_for_no_token(door: Door, token: str) -> None:
    assert "none that was signed here" in _refusal(door, f"Bearer {door.key}", token)


@given(authorization=st.text(), token=st.text())
def test_whatever_is_sent_is_refused_and_breaks_nothing(door: Door, authorization: str, token: str) -> None:
    said = _refusal(door, authorization, token)
    assert "\n" not in said
    assert "none that was signed here" in _refusal(door, f"Bearer {door.key}", token or "x")
