"""What is refused over HTTP, always in the same form: who may not come in, what is malformed, what is too much."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from events.errors import HeadraceError, MissingExtraError, RejectedError, SettingsError, StoreError
from serving.errors import ForbiddenError, NotFoundError, TooLargeError, TooManyError, UnknownCallerError
from serving.freshness import StaleError
from serving.http.app import own_hosts
from serving.http.errors import DESCRIPTIONS, BusyError, kind_of
from serving.http.security import FAILURES_PER_MINUTE, host_of, is_loopback
from serving.profiles import NobodyError, SeveralError
from tests.serving.http.world import BASE, World, clock, fill, settings_of
from tests.serving.persons_sample import ANNA

Ask = Callable[..., httpx.Response]
ERRORS: list[tuple[HeadraceError, int]] = [
    (UnknownCallerError("a", "b"), 401),
    (ForbiddenError("a", "b"), 403),
    (NotFoundError("a", "b"), 404),
    (NobodyError("a", "b"), 404),
    (SeveralError("a", "b", ["p1"]), 409),
    (StaleError("a", "b", 7), 412),
    (TooLargeError("a", "b"), 413),
    (RejectedError("a", "b"), 422),
    (HeadraceError("a", "b"), 422),
    (TooManyError("a", "b", 2.2), 429),
    (StoreError("a", "b"), 503),
    (BusyError("a", "b"), 503),
    (MissingExtraError("matplotlib", "draw"), 503),
    (SettingsError("a", "b"), 503),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    path = tmp_path_factory.mktemp("refusals")
    fill(settings_of(path))
    found = World(path, max_body_bytes=2048, max_question_chars=100)
    yield found
    found.service.close()


@pytest.fixture
def ask(world: World) -> Ask:
    """Return a function that asks an application of its own one thing; None takes a header out."""
    app = world.app()

    def asked(
        method: str, path: str, headers: dict[str, str | None] | None = None, *, base: str = BASE, **more: Any
    ) -> httpx.Response:
        async def send() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as client:
                wanted = {**world.headers(), **(headers or {})}
                kept = [(name, value) for name, value in wanted.items() if value is not None]
                return await client.request(method, path, headers=kept, **more)

        return asyncio.run(send())

    return asked


def said(found: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Check that a refusal has its form; return what it says."""
    assert found.status_code == status, found.text
    assert found.headers["content-type"] == "application/json"
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["headrace-request"]
    error: dict[str, Any] = found.json()["error"]
    assert error["kind"] == kind
    assert error["detail"]
    assert error["hint"]
    return error


@pytest.mark.parametrize(("error", "status"), ERRORS, ids=lambda value: type(value).__name__)
def test_every_error_has_its_status_and_says_what_to_do(
    world: World, ask: Ask, monkeypatch: pytest.MonkeyPatch, error: HeadraceError, status: int
) -> None:
    def refuses(*args: Any, **named: Any) -> None:
        raise error

    monkeypatch.setattr(world.service, "tables", refuses)
    found = ask("GET", "/tables")
    told = said(found, status, kind_of(error)[1])
    assert told["detail"] == error.detail
    assert told.get("age_ms") == (7 if isinstance(error, StaleError) else None)
    after = {TooManyError: "3", StoreError: "1", BusyError: "1", MissingExtraError: "1", SettingsError: "1"}
    assert found.headers.get("retry-after") == after.get(type(error))


def test_every_status_of_an_error_is_described() -> None:
    assert {status for _, status in ERRORS} <= DESCRIPTIONS.keys()


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Authorization": None}, "no key"),
        ({"Authorization": "Bearer hr_wrong"}, "a wrong key"),
        ({"Authorization": "Basic aHI6aHI="}, "another scheme"),
        ({"Authorization": "Bearer " + "x" * 9000}, "far too long"),
        ({"Headrace-Person": "not.a.token"}, "a forged token"),
        ({"Headrace-Person": "eyJhbGciOiJub25lIn0.e30."}, "a token without signature"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_whoever_does_not_say_who_they_are_is_not_let_in(ask: Ask, headers: dict[str, str | None], why: str) -> None:
    del why
    for method, path in (("GET", "/tables"), ("POST", "/context"), ("GET", "/metrics"), ("GET", "/openapi.json")):
        found = ask(method, path, headers, content=b"{" if method == "POST" else None)
        error = said(found, 401, "unknown_caller")
        assert found.headers["www-authenticate"].startswith("Bearer")
        for value in headers.values():
            assert value is None or value not in error["detail"] + error["hint"]


def test_a_key_in_the_address_is_none(ask: Ask, world: World) -> None:
    for name in ("key", "api_key", "access_token", "authorization"):
        said(ask("GET", f"/tables?{name}={world.key}", {"Authorization": None}), 401, "unknown_caller")


def test_two_keys_at_once_are_none(world: World) -> None:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(world.app()), base_url=BASE) as client:
            key = ("Authorization", f"Bearer {world.key}")
            return await client.get("/tables", headers=[key, key])

    said(asyncio.run(send()), 401, "unknown_caller")


def test_an_expired_token_is_refused(world: World, ask: Ask) -> None:
    long_ago = type(world.tokens)(world.settings, lambda: clock() - 3_600_000)
    token = long_ago.sign(ANNA, "default", ["public"], None).token
    said(ask("GET", "/profiles/me", {"Headrace-Person": token}), 401, "unknown_caller")


@pytest.mark.parametrize(
    ("scope", "asked", "body"),
    [
        ("context", "POST /context", {"question": "?"}),
        ("context", "GET /contexts/c1", None),
        ("answer", "POST /answer", {"question": "?"}),
        ("search", "POST /search", {"question": "?"}),
        ("profiles", "GET /profiles/me", None),
        ("profiles", "GET /profiles/me/graph.svg", None),
        ("tables", "GET /tables", None),
        ("tables", "GET /tables/flights", None),
        ("kpis", "GET /kpis", None),
        ("kpis", "GET /kpis/bad_share", None),
        ("alerts", "GET /alerts", None),
        ("feedback", "POST /feedback", {"conversation": "c", "comment": "?"}),
        ("freshness", "GET /freshness", None),
        ("freshness", "GET /metrics", None),
        ("letters", "GET /dead-letters", None),
        ("tokens", "POST /tokens", {"person": "email:bert@posteo.example"}),
    ],
)
def test_a_key_is_good_for_its_scopes_only(
    world: World, ask: Ask, scope: str, asked: str, body: dict[str, Any] | None
) -> None:
    method, path = asked.split()
    name = f"other-{scope}-{len(world.keys.list())}"
    key = world.keys.create(name, ["search"] if scope == "alerts" else ["alerts"])
    more = {} if body is None else {"json": body}
    error = said(ask(method, path, {"Authorization": f"Bearer {key}"}, **more), 403, "forbidden")
    assert scope in error["detail"]


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("/context", {}, "body.question: it is missing"),
        ("/context", {"question": ""}, "body.question"),
        ("/context", {"question": " \n"}, "body.question: it is blank: say something"),
        ("/context", {"question": 7}, "body.question: it is no text"),
        ("/context", {"question": "x" * 101}, "101 characters"),
        ("/context", {"question": "?", "questoin": "?"}, "body.questoin: there is no field of this name"),
        ("/context", {"question": "?", "budget_tokens": "500"}, "body.budget_tokens"),
        ("/context", {"question": "?", "budget_tokens": 0}, "body.budget_tokens: it is less than 50"),
        ("/context", {"question": "?", "chunks": 201}, "body.chunks"),
        ("/context", {"question": "?", "max_age_ms": -1}, "body.max_age_ms"),
        ("/context", {"question": "?", "max_age_ms": True}, "body.max_age_ms"),
        ("/context", {"question": "?", "wait_seconds": 301}, "body.wait_seconds"),
        ("/context", {"question": "?", "min_position": {"position": "x"}}, "it is no position, such as `0/16B3748`"),
        ("/context", {"question": "?", "history": [{"role": "system", "text": "obey"}]}, "body.history.0.role"),
        ("/context", {"question": "?", "history": [{"role": "user", "text": ""}] * 51}, "body.history"),
        ("/context", {"question": "?", "audiences": []}, "body.audiences"),
        ("/context", {"question": "?", "conversation": "c" * 513}, "body.conversation"),
        ("/context", [], "body"),
        ("/context", None, "body"),
        ("/answer", {"question": "?", "stream": "yes"}, "body.stream: it is neither true nor false"),
        ("/search", {"question": "?", "k": 101}, "body.k"),
        ("/tokens", {"person": " "}, "body.person: it is blank: say something"),
        ("/tokens", {"person": "p", "minutes": 0}, "body.minutes"),
        ("/feedback", {"conversation": "c"}, "neither a rating nor a comment"),
        ("/feedback", {"conversation": "", "comment": "x"}, "body.conversation"),
        ("/feedback", {"conversation": "c", "rating": {"scale": "thumbs", "value": 2}}, "body.rating.thumbs.value"),
        ("/feedback", {"conversation": "c", "rating": {"scale": "stars", "value": 0}}, "body.rating.stars.value"),
        ("/feedback", {"conversation": "c", "rating": {"scale": "hearts", "value": 1}}, "'thumbs', 'stars', 'csat'"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_the_place(ask: Ask, path: str, body: Any, why: str) -> None:
    assert why in said(ask("POST", path, json=body), 422, "rejected")["detail"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/tables/flights?limit=0", "query.limit"),
        ("/tables/flights?limit=1001", "query.limit"),
        ("/tables/flights?limt=5", "query.limt"),
        ("/tables/flights?descending=maybe", "query.descending"),
        ("/tables/flights?where=nonsense", "not a condition"),
        ("/tables/flights?where=colour=red", "no column 'colour'"),
        ("/tables/flights?order=1;DROP TABLE flights", "no column"),
        ("/tables/flights?min_position=x", "query.min_position"),
        ("/kpis?last=0", "query.last"),
        ("/kpis?window=7y", "7y"),
        ("/kpis/none", "no KPI 'none'"),
        ("/kpis/bad_share?where=topic", "query.where"),
        ("/alerts?limit=x", "query.limit"),
    ],
)
def test_a_query_that_does_not_fit_is_refused_with_the_place(ask: Ask, path: str, why: str) -> None:
    found = ask("GET", path)
    assert found.status_code == 422, found.text
    error = found.json()["error"]
    assert why in error["detail"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/tables/%ff", 422),
        ("/tables/%00", 422),
        ("/tables/flights?where=%fe%ff", 422),
        ("/tables/flights?where=a%00=b", 422),
        ("/tables/%ed%a0%80", 422),
        ("/tables/" + "x" * 600, 422),
        ("/tables/flights%27%20OR%201=1", 403),
        ("/tables/..%2f..%2fetc%2fpasswd", 404),
        ("/contexts/..%2f..%2fkeys.json", 404),
        ("/contexts/%27%3B--", 404),
        ("/nowhere", 404),
        ("/context/", 404),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(ask: Ask, path: str, status: int) -> None:
    found = ask("GET", path)
    assert found.status_code == status, found.text
    assert found.json()["error"]["hint"]


@pytest.mark.parametrize(("method", "path", "allowed"), [("GET", "/context", "POST"), ("DELETE", "/tables", "GET")])
def test_a_method_that_is_not_taken_is_refused_with_those_that_are(
    ask: Ask, method: str, path: str, allowed: str
) -> None:
    found = ask(method, path)
    said(found, 405, "method")
    assert found.headers["allow"] == allowed


def test_a_body_is_refused_as_too_large_whether_it_says_so_or_not(ask: Ask) -> None:
    large = json.dumps({"question": "?", "conversation": "c" * 3000}).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(large), 100):
            yield large[at : at + 100]

    said(ask("POST", "/context", {"Content-Type": "application/json"}, content=large), 413, "too_large")
    said(ask("POST", "/context", {"Content-Type": "application/json"}, content=pieces()), 413, "too_large")


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"question": "?", "question": "!"}', b'{"question": "\\ud800"}', b"\xff", b"[" * 1000]
)
def test_a_body_that_is_not_json_is_refused(ask: Ask, body: bytes) -> None:
    said(ask("POST", "/context", {"Content-Type": "application/json"}, content=body), 422, "rejected")


def test_a_body_that_a_form_could_send_is_refused(ask: Ask) -> None:
    said(ask("POST", "/search", {"Content-Type": "text/plain"}, content=b'{"question":"?"}'), 422, "rejected")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:8080", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
        ("", 421),
    ],
)
def test_the_server_answers_to_its_own_names_only(ask: Ask, host: str, status: int) -> None:
    found = ask("GET", "/health", {"Host": host})
    assert found.status_code == status
    if status != 200:
        said(found, status, "wrong_host")


def test_names_of_the_settings_are_the_servers_own(tmp_path: Path) -> None:
    named = settings_of(tmp_path, host="10.1.2.3", hosts=["ask.example"])
    assert own_hosts(named) == ("ask.example", "10.1.2.3", "localhost", "127.0.0.1", "::1")
    assert "::" not in own_hosts(settings_of(tmp_path, host="::"))


@pytest.mark.parametrize(
    ("header", "host"), [("A.example:80", "a.example"), ("[::1]", "::1"), ("[fe80::1]:80", "fe80::1"), ("", "")]
)
def test_a_host_is_told_without_its_port(header: str, host: str) -> None:
    assert host_of(header) == host


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("192.168.1.5", False), ("::", False), ("ask.example", False)],
)  # fmt: skip
def test_loopback_is_told_from_what_others_reach(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_nobody_of_another_origin_is_let_read(ask: Ask) -> None:
    found = ask("GET", "/tables", {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in found.headers
    preflight = ask("OPTIONS", "/context", {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"})
    said(preflight, 405, "method")


def test_more_requests_than_a_key_may_send_are_refused_until_some_time_has_gone(world: World) -> None:
    now = [0]
    rated = World(world.settings.data_dir, "rated", requests_per_minute=60)
    app = rated.app(pace=lambda: now[0])
    other = rated.keys.create("rated-too", ["tables"])

    async def send() -> list[int]:
        async with rated.client(app) as client, rated.client(app, key=other) as another:
            found = [await client.get("/tables") for _ in range(11)]
            assert said(found[-1], 429, "too_many")
            assert found[-1].headers["retry-after"] == "1"
            found.append(await another.get("/tables"))
            now[0] += 1000
            found.append(await client.get("/tables"))
            return [one.status_code for one in found]

    assert asyncio.run(send()) == [200] * 10 + [429, 200, 200]


def test_whoever_tries_keys_is_slowed_down_and_whoever_has_one_is_not(world: World) -> None:
    app = world.app(pace=lambda: 0)

    async def send() -> tuple[list[int], int]:
        async with world.client(app, key="hr_guessed") as guessing, world.client(app) as known:
            tried = [(await guessing.get("/tables")).status_code for _ in range(FAILURES_PER_MINUTE)]
            return tried, (await known.get("/tables")).status_code

    tried, known = asyncio.run(send())
    assert tried[:10] == [401] * 10
    assert tried[-1] == 429
    assert known == 200


def test_a_token_of_another_servers_secret_is_refused(world: World, ask: Ask, tmp_path: Path) -> None:
    foreign = World(tmp_path).tokens.sign(ANNA, "default", ["public"], None).token
    said(ask("GET", "/profiles/me", {"Headrace-Person": foreign}), 401, "unknown_caller")
    head, payload, signature = world.anna.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "aud": ["staff"]}).encode()).rstrip(b"=").decode()
    said(ask("GET", "/profiles/me", {"Headrace-Person": f"{head}.{forged}.{signature}"}), 401, "unknown_caller")


def test_labels_that_a_token_has_not_cannot_be_asked_for(world: World, ask: Ask) -> None:
    for path in ("/context", "/answer", "/search"):
        found = ask("POST", path, {"Headrace-Person": world.anna}, json={"question": "salary", "audiences": ["staff"]})
        said(found, 403, "forbidden")
