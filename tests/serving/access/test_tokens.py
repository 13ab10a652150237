"""Tokens of persons: what was signed here is believed until it expires, and nothing else ever is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import multiprocessing
import stat
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.errors import RejectedError, StoreError
from serving.access.caller import Caller
from serving.access.tokens import LONGEST, Tokens
from serving.errors import ForbiddenError, UnknownCallerError
from stores.settings import Settings, load

NOW = 1_700_000_000_250
SECOND = NOW // 1000
MINUTE = 60_000
SECRET = "0123456789abcdef" * 2
PERSON = "pabcdefghijklmnop"
HEADER = {"alg": "HS256", "typ": "JWT"}
PAYLOAD: dict[str, Any] = {
    "iss": "headrace",
    "sub": PERSON,
    "realm": "default",
    "audiences": ["public", "staff"],
    "iat": SECOND,
    "nbf": SECOND,
    "exp": SECOND + 600,
    "jti": "1",
}


class Time:
    """A clock that stands until it is set."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def configured(path: Path, **serving: Any) -> Settings:
    return load(data_dir=path, serving={"secret": SECRET, **serving})


def kept(path: Path) -> Settings:
    return load(data_dir=path)


def segment(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def signed(header: object, payload: object, secret: bytes = SECRET.encode()) -> str:
    """Sign by hand, as RFC 7515 says."""
    text = f"{segment(json.dumps(header).encode())}.{segment(json.dumps(payload).encode())}"
    return f"{text}.{segment(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(configured(tmp_path), lambda: NOW)


def test_a_token_says_who_it_is_for_and_by_which_labels(tokens: Tokens) -> None:
    token, expires_at = tokens.sign(PERSON, "default", ["staff", "staff"], 5)
    assert tokens.read(token) == (PERSON, "default", ("public", "staff"), expires_at)
    assert NOW + 5 * MINUTE - 1000 < expires_at <= NOW + 5 * MINUTE


def test_a_token_is_a_jwt_as_others_read_them(tokens: Tokens) -> None:
    token, expires_at = tokens.sign(PERSON, "default", ["staff"], 10)
    read = jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_exp": False})
    assert {**read, "jti": "1"} == {**PAYLOAD, "exp": expires_at // 1000}
    assert jwt.get_unverified_header(token) == HEADER


def test_a_token_signed_elsewhere_with_the_secret_is_good(tokens: Tokens) -> None:
    assert tokens.read(jwt.encode(PAYLOAD, SECRET)).person == PERSON
    assert tokens.read(signed({"typ": "JWT", "alg": "HS256"}, PAYLOAD)).audiences == ("public", "staff")


def test_no_two_tokens_are_the_same(tokens: Tokens) -> None:
    assert tokens.sign(PERSON, "default") != tokens.sign(PERSON, "default")


def test_a_token_is_good_until_it_expires(tmp_path: Path) -> None:
    clock = Time()
    tokens = Tokens(configured(tmp_path), clock)
    token, expires_at = tokens.sign(PERSON, "default")
    clock.now = expires_at - 1
    assert tokens.read(token).person == PERSON
    clock.now = expires_at
    with pytest.raises(UnknownCallerError, match="not good any more"):
        tokens.read(token)


def test_a_token_from_the_future_is_not_good_yet_but_for_two_seconds_of_difference_between_clocks(
    tmp_path: Path,
) -> None:
    clock = Time()
    tokens = Tokens(configured(tmp_path), clock)
    token, _ = tokens.sign(PERSON, "default")
    clock.now = SECOND * 1000 - 2000
    assert tokens.read(token).person == PERSON
    clock.now -= 1
    with pytest.raises(UnknownCallerError, match="not good yet"):
        tokens.read(token)


@pytest.mark.parametrize("minutes", [0, -1, 15.01, 1e300, float("inf"), float("nan")])
def test_a_token_is_for_no_longer_than_the_settings_allow(tokens: Tokens, minutes: float) -> None:
    with pytest.raises(RejectedError, match=r"up to 15; see serving\.token_minutes"):
        tokens.sign(PERSON, "default", (), minutes)


@pytest.mark.parametrize("person", ["", "p" * 201])
def test_a_token_is_for_a_person(tokens: Tokens, person: str) -> None:
    with pytest.raises(RejectedError, match="one person"):
        tokens.sign(person, "default")


def test_a_token_too_long_for_a_header_is_not_signed(tokens: Tokens) -> None:
    with pytest.raises(RejectedError, match="too long"):
        tokens.sign(PERSON, "default", [f"{number:0100}" for number in range(50)])


CLAIMS: list[tuple[dict[str, Any], str]] = [
    *(({name: None}, "none that was signed here") for name in PAYLOAD),
    ({"iss": "another"}, "none that was signed here"),
    ({"sub": ""}, "none that was signed here"),
    ({"sub": "p" * 201}, "none that was signed here"),
    ({"sub": 7}, "none that was signed here"),
    ({"audiences": "staff"}, "none that was signed here"),
    ({"audiences": ["a,b"]}, "none that was signed here"),
    ({"audiences": [f"{number}" for number in range(101)]}, "none that was signed here"),
    ({"exp": "9999999999"}, "none that was signed here"),
    ({"exp": 10**12}, "longer than 15 minutes"),
    ({"exp": SECOND + 600.5}, "none that was signed here"),
    ({"exp": 10**30}, ""),
    ({"exp": SECOND}, "not good any more"),
    ({"exp": -1}, "not good any more"),
    ({"exp": SECOND + 901}, "longer than 15 minutes"),
    ({"iat": SECOND + 100, "nbf": SECOND}, "not good yet"),
    ({"iat": SECOND, "nbf": SECOND + 100}, "not good yet"),
    ({"iat": SECOND - 901}, "longer than 15 minutes"),
]


@pytest.mark.parametrize(("change", "said"), CLAIMS)
def test_claims_that_are_missing_or_wrong_are_refused_whoever_signed_them(
    tokens: Tokens, change: dict[str, Any], said: str
) -> None:
    claims = {name: value for name, value in {**PAYLOAD, **change}.items() if value is not None}
    token = signed(HEADER, claims)
    with pytest.raises(UnknownCallerError) as refused:
        tokens.read(token)
    assert said in refused.value.detail
    _says_one_line_without(refused.value, token)


def _says_one_line_without(error: UnknownCallerError, token: str) -> None:
    assert "\n" not in str(error)
    assert error.hint
    assert not any(len(part) > 8 and part in str(error) for part in token.split("."))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "JWT"},
        {"alg": "None", "typ": "JWT"},
        {"alg": "hs256", "typ": "JWT"},
        {"alg": "HS384", "typ": "JWT"},
        {"alg": "HS512", "typ": "JWT"},
        {"alg": "RS256", "typ": "JWT"},
        {"alg": "ES256", "typ": "JWT"},
        {"alg": "", "typ": "JWT"},
        {"alg": None},
        {"alg": ["HS256"]},
        {"alg": {"HS256": 1}},
        {"typ": "JWT"},
        {},
        [],
        "HS256",
        7,
        None,
        {"alg": "HS256", "crit": ["exp"]},
        {"alg": "HS256", "crit": "b64", "b64": False},
        {"alg": "HS256", "crit": ["b64"], "b64": False},
        {"alg": "HS256", "kid": 7},
    ],
)
def test_a_header_of_any_other_kind_is_refused_even_with_a_right_signature(tokens: Tokens, header: object) -> None:
    token = signed(header, PAYLOAD)
    with pytest.raises(UnknownCallerError) as refused:
        tokens.read(token)
    _says_one_line_without(refused.value, token)


@pytest.mark.parametrize("alg", ["HS384", "HS512"])
def test_another_algorithm_with_the_same_secret_is_refused(tmp_path: Path, alg: str) -> None:
    tokens = Tokens(configured(tmp_path, secret=SECRET * 2), lambda: NOW)
    assert tokens.read(jwt.encode(PAYLOAD, SECRET * 2)).person == PERSON
    with pytest.raises(UnknownCallerError):
        tokens.read(jwt.encode(PAYLOAD, SECRET * 2, algorithm=alg))


def test_a_token_without_a_signature_is_refused(tokens: Tokens) -> None:
    unsigned = jwt.encode(PAYLOAD, "", algorithm="none")
    for token in (unsigned, unsigned + "A" * 43, unsigned.rstrip("."), unsigned + "."):
        with pytest.raises(UnknownCallerError):
            tokens.read(token)


def test_a_token_of_another_installation_is_refused(tmp_path: Path) -> None:
    ours, theirs = (Tokens(kept(tmp_path / name), lambda: NOW) for name in ("ours", "theirs"))
    ours.sign(PERSON, "default")
    with pytest.raises(UnknownCallerError):
        ours.read(theirs.sign(PERSON, "default").token)


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "a" * 100,
        "é" * 100,
        "\ud800.\ud800.\ud800",
        "\0" * 10,
        "A" * 10_000_000,
        "." * 100_000,
        segment(b"[" * 2500) + ".e30." + "A" * 43,
        segment(b'{"alg":"HS256","n":' + b"9" * 2500 + b"}") + ".e30." + "A" * 43,
        segment(b"\xff\xfe{}") + ".e30." + "A" * 43,
    ],
)
def test_what_is_no_token_at_all_is_refused_in_the_same_words_as_a_forged_one(tokens: Tokens, token: str) -> None:
    with pytest.raises(UnknownCallerError, match="none that was signed here"):
        tokens.read(token)


DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@st.composite
def mutated(draw: st.DrawFn, token: str) -> str:
    """Return something made of a token that is not that token."""
    header, payload, signature = token.split(".")
    parts = [header, payload, signature]
    which = draw(st.integers(0, 2))
    part = parts[which]
    at = draw(st.integers(0, len(part) - 1))
    way = draw(st.integers(0, 7))
    if way == 0:  # other bits
        parts[which] = part[:at] + draw(st.sampled_from(DIGITS)) + part[at + 1 :]
    elif way == 1:  # bits that decoding may throw away
        parts[which] = part[:-1] + DIGITS[DIGITS.index(part[-1]) ^ draw(st.integers(1, 15))]
    elif way == 2:  # what decoders may pass over
        parts[which] = part[:at] + draw(st.sampled_from("= \n\r\t+/%.~\0é")) + part[at:]
    elif way == 3:  # the other alphabet, and padding
        parts[which] = part + draw(st.sampled_from(["=", "==", "====", "A", "AAAA", "\n"]))
    elif way == 4:
        parts[which] = part[:at]
    elif way == 5:
        other = draw(st.permutations(parts))
        parts = list(other)
    elif way == 6:
        claims = {**PAYLOAD, **draw(st.fixed_dictionaries({}, optional={"sub": st.text(), "realm": st.text()}))}
        parts[1] = segment(json.dumps({**claims, "audiences": draw(st.lists(st.text()))}).encode())
    else:
        head = draw(
            st.fixed_dictionaries({"alg": st.sampled_from(["none", "HS256", "HS512", "RS256"]), "x": st.text()})
        )
        parts[0] = segment(json.dumps(head).encode())
    return ".".join(parts)


@given(data=st.data())
def test_no_mutation_of_a_token_is_ever_accepted(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    tokens = Tokens(configured(tmp_path_factory.getbasetemp()), lambda: NOW)
    token = tokens.sign(PERSON, "default", ["staff"]).token
    forged = data.draw(mutated(token))
    if forged != token:
        with pytest.raises(UnknownCallerError) as refused:
            tokens.read(forged)
        assert "\n" not in str(refused.value)


def test_each_way_to_write_the_last_digit_of_a_signature_is_refused_but_one(tokens: Tokens) -> None:
    token = tokens.sign(PERSON, "default").token
    read = 0
    for digit in DIGITS:
        try:
            tokens.read(token[:-1] + digit)
        except UnknownCallerError:
            continue
        read += 1
    assert read == 1


LABELS = st.lists(st.sampled_from(["public", "staff", "board", "partners", "x"]), max_size=5).map(tuple)


@given(own=LABELS, first=LABELS | st.none(), second=LABELS | st.none())
def test_labels_are_never_more_than_those_of_the_key_however_often_they_are_narrowed(
    tmp_path_factory: pytest.TempPathFactory,
    own: tuple[str, ...],
    first: tuple[str, ...] | None,
    second: tuple[str, ...] | None,
) -> None:
    tokens = Tokens(configured(tmp_path_factory.getbasetemp()), lambda: NOW)
    key = Caller("shop", frozenset({"tokens"}), ("public", *own))
    try:
        narrowed = key.narrowed(first)
        claims = tokens.read(tokens.sign(PERSON, "default", narrowed).token)
        person = Caller("shop", key.scopes, claims.audiences, claims.person, claims.realm)
        again = person.narrowed(second)
    except ForbiddenError:
        assert not (set(first or ()) | set(second or ())) <= {*own, "public"} or not set(second or ()) <= {
            *(first if first is not None else own),
            "public",
        }
        return
    assert set(again) <= set(person.audiences) <= {*narrowed, "public"} <= {*own, "public"}


def test_the_secret_is_made_once_for_its_owner_alone_and_used_by_all_processes(tmp_path: Path) -> None:
    settings = kept(tmp_path)
    token = Tokens(settings, lambda: NOW).sign(PERSON, "default").token
    secret = settings.secret_path.read_bytes()
    assert stat.S_IMODE(settings.secret_path.stat().st_mode) == 0o600
    assert len(bytes.fromhex(secret.decode())) == 32
    again = Tokens(settings, lambda: NOW)
    assert again.read(token).person == PERSON
    assert again.read(again.sign(PERSON, "default").token).person == PERSON
    assert settings.secret_path.read_bytes() == secret


def test_reading_a_token_makes_no_secret(tmp_path: Path) -> None:
    settings = kept(tmp_path)
    with pytest.raises(UnknownCallerError):
        Tokens(settings, lambda: NOW).read(signed(HEADER, PAYLOAD))
    assert list(tmp_path.iterdir()) == []


def test_a_secret_that_is_taken_away_ends_all_tokens_at_once(tmp_path: Path) -> None:
    settings = kept(tmp_path)
    tokens = Tokens(settings, lambda: NOW)
    old = tokens.sign(PERSON, "default").token
    settings.secret_path.unlink()
    with pytest.raises(UnknownCallerError):
        tokens.read(old)
    new = Tokens(settings, lambda: NOW).sign(PERSON, "default").token
    assert tokens.read(new).person == PERSON
    with pytest.raises(UnknownCallerError):
        tokens.read(old)


@pytest.mark.parametrize("content", [b"", b"short", b"0" * 63, b"\xff" * 64, b"0" * 64 + b"x"])
def test_a_secret_that_was_not_made_here_is_refused_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    settings = kept(tmp_path)
    settings.secret_path.write_bytes(content)
    settings.secret_path.chmod(0o600)
    for ask in (lambda: Tokens(settings, lambda: NOW).sign(PERSON, "d"), lambda: _read(settings)):
        with pytest.raises(StoreError, match="remove it"):
            ask()


def _read(settings: Settings) -> None:
    Tokens(settings, lambda: NOW).read(signed(HEADER, PAYLOAD))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o666])
def test_a_secret_that_others_can_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    settings = kept(tmp_path)
    Tokens(settings, lambda: NOW).sign(PERSON, "default")
    settings.secret_path.chmod(mode)
    with pytest.raises(StoreError, match="chmod 600"):
        Tokens(settings, lambda: NOW).sign(PERSON, "default")


def test_a_secret_of_the_settings_is_in_no_file(tmp_path: Path) -> None:
    Tokens(configured(tmp_path), lambda: NOW).sign(PERSON, "default")
    assert list(tmp_path.iterdir()) == []


def _sign(path: Path, begin: Any, made: Any) -> None:
    tokens = Tokens(kept(path), lambda: NOW)
    begin.wait(60)
    made.put(tokens.sign(PERSON, "default").token)


def test_processes_that_make_the_secret_at_once_make_one(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    begin, made = spawn.Barrier(3), spawn.Queue()
    signers = [spawn.Process(target=_sign, args=(tmp_path, begin, made)) for _ in range(3)]
    for signer in signers:
        signer.start()
    several = [made.get(timeout=60) for _ in signers]
    for signer in signers:
        signer.join(60)
    tokens = Tokens(kept(tmp_path), lambda: NOW)
    assert [tokens.read(token).person for token in several] == [PERSON] * 3


def test_a_token_of_usual_labels_is_far_from_its_bound(tokens: Tokens) -> None:
    assert len(tokens.sign(PERSON, "default", ["staff", "partners"]).token) < LONGEST / 8
