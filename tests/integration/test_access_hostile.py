"""What is forged, malformed or meant to do harm is refused in the right words, and gets nothing out."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import httpx
import jwt
import pytest

from events.clock import system_clock
from serving.access.tokens import Tokens
from stores.settings import load
from tests.integration.access_attempts import ATTEMPTS, QUESTION
from tests.integration.access_company import FACTS, facts_in
from tests.integration.access_doors import Http, Pass, request_of
from tests.integration.access_world import ANNA, APP, BERT, World, running
from tests.serving.mcp.calling import connected

pytestmark = pytest.mark.timeout(120)
HOUR = 3_600_000
REFUSED = {"unknown_caller", "too_many"}
"""Whoever fails too often is told so instead."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("hostile")) as found:
        yield found


def _coded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(world: World) -> dict[str, str]:
    """Return tokens none of which may be believed; some are signed with the true secret."""
    good, bert = world.token(ANNA), world.token(BERT)
    head, body, sign = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    secret = bytes.fromhex(world.company.settings.secret_path.read_text().strip())
    elsewhere = load(data_dir=world.company.path / "elsewhere")
    now = system_clock()

    def signed(key: bytes = secret, headers: dict[str, Any] | None = None, digest: str = "sha256", **said: Any) -> str:
        payload = {name: value for name, value in {**claims, **said}.items() if value is not None}
        start = f"{_coded({'alg': 'HS256', 'typ': 'JWT', **(headers or {})})}.{_coded(payload)}"
        return f"{start}.{_coded(hmac.digest(key, start.encode(), digest))}"

    before, after = (Tokens(world.company.settings, clock) for clock in (lambda: now - HOUR, lambda: now + HOUR))
    assert world.ask(Pass(world.url, world.page, signed(jti="another")), "me").kind == "", "what is signed here is good"
    return {
        "expired": before.sign(claims["sub"], "default").token,
        "of the future": after.sign(claims["sub"], "default").token,
        "of another installation": Tokens(elsewhere, system_clock).sign(claims["sub"], "default").token,
        "unsigned": f"{_coded({'alg': 'none', 'typ': 'JWT'})}.{body}.",
        "unsigned with a signature": f"{_coded({'alg': 'none'})}.{body}.{sign}",
        "by another algorithm": signed(headers={"alg": "HS512"}, digest="sha512"),
        "by the secret of an empty file": signed(b"", {"kid": "../../../../../../dev/null"}),
        "by a key of its own": signed(b"k" * 32, {"jwk": {"kty": "oct", "k": _coded(b"k" * 32)}}),
        "by a key from elsewhere": signed(b"k" * 32, {"jku": "http://127.0.0.1/keys", "kid": "' OR 1=1 --"}),
        "of somebody else with this signature": f"{head}.{_coded({**claims, 'sub': world.names['@bert']})}.{sign}",
        "with labels put in": f"{head}.{_coded({**claims, 'audiences': ['staff']})}.{sign}",
        "with another's signature": f"{head}.{body}.{bert.rsplit('.', 1)[1]}",
        "without its last character": good[:-1],
        "with one more": good + "A",
        "of five parts": f"{good}.{body}.{sign}",
        "good for ever": signed(exp=claims["exp"] + 10**9),
        "without an end": signed(exp=None),
        "with an end in words": signed(exp="never"),
        "of nobody": signed(sub=""),
        "of a list of persons": signed(sub=[claims["sub"], world.names["@bert"]]),
        "with labels that are none": signed(audiences=["public,staff"]),
        "of another issuer": signed(iss="somebody"),
        "a key": world.page,
        "a scheme before it": f"Bearer {good}",
        "an address": "a.rosa@post.example",
        "an id": claims["sub"],
    }


def wrong_keys(world: World) -> dict[str, str]:
    """Return keys none of which opens anything."""
    company, good = world.company, world.company.secrets["app"]
    company.key("short-lived", ["context", "tables"], days=1e-6)
    company.key("removed", ["context", "tables"])
    company.keys.remove("removed")
    return {
        "none": "",
        "another's end": good[:20] + company.secrets["desk"][20:],
        "one character less": good[:-1],
        "one more": good + "A",
        "in capitals": good.upper(),
        "its name": "app",
        "a token": world.token(ANNA),
        "over": company.secrets["short-lived"],
        "removed": company.secrets["removed"],
        "its hash": company.keys.find(good).hash,  # type: ignore[union-attr]  # it is there
    }


def everything(client: httpx.Client) -> Iterator[httpx.Request]:
    """Yield a request to every address, the protocol's among them."""
    asked: set[str] = set()
    for attempt in ATTEMPTS:
        if attempt.verb not in asked:
            asked.add(attempt.verb)
            yield request_of(client, attempt.verb, attempt.given)
    call = {"name": "get_context", "arguments": {"question": QUESTION}}
    for method, params in (("tools/call", call), ("tools/list", {}), ("initialize", {})):
        yield client.build_request(
            "POST", "/mcp", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params},
            headers={"Accept": "application/json, text/event-stream"},
        )  # fmt: skip


def test_no_forged_token_and_no_wrong_key_opens_any_address(world: World) -> None:
    passes = {f"token {name}": Pass(world.url, world.page, token) for name, token in forged(world).items()}
    passes |= {f"key {name}": Pass(world.url, key, world.token(ANNA)) for name, key in wrong_keys(world).items()}
    opened = []
    with httpx.Client(base_url=world.url) as client:
        requests = list(everything(client))
        for name, one in passes.items():
            for request in requests:
                request.headers.pop("authorization", None)
                request.headers.pop("headrace-person", None)
                request.headers.update(one.headers)
                found = client.send(request)
                if found.status_code not in {401, 429} or found.json()["error"]["kind"] not in REFUSED:
                    opened.append(f"{name}: {request.url.path} {found.status_code}")
                assert not facts_in(found.text)
                secrets = [part for part in (one.key, one.token) if len(part) > 30]
                assert not any(part in found.text for part in secrets), "a credential is said again"
    assert opened == []


TEXTS = (
    "' OR '1'='1", "'; DROP TABLE facts; --", '" OR 1=1 --', "x') OR 1=1 OR ('a'='a", "1 UNION SELECT * FROM rows",
    "%", "_", "*", "", " ", "null", "../../../etc/passwd", "..%2f..%2fkeys.json", "{cost_price}", "${cost_price}",
    "$.salary", "json_extract(image,'$.salary')", "\x00", "a\x00b", "\ud800", "\u202e\u2066", "\r\nX-More: 1",
    "staff\x00", "staff, public", "STAFF", "x" * 5000, "🦦" * 200, "-1", "1e309", "NaN", "[", "(?:a+)+$", "\\",
    "p" * 17,
)  # fmt: skip
FIELDS: list[tuple[str, str, Callable[[str], dict[str, Any]]]] = [
    ("question of a context", "context", lambda text: {"question": text}),
    ("end of a question", "context", lambda text: {"question": QUESTION + text}),
    ("conversation", "context", lambda text: {"question": QUESTION, "conversation": text}),
    ("table of a context", "context", lambda text: {"question": QUESTION, "tables": [text]}),
    ("label of a context", "context", lambda text: {"question": QUESTION, "audiences": ["public", text]}),
    ("source of a position", "context",
     lambda text: {"question": QUESTION, "min_position": {"source": text, "position": "1"}, "wait_seconds": 0}),
    ("position", "context",
     lambda text: {"question": QUESTION, "min_position": {"position": text}, "wait_seconds": 0}),
    ("words before", "context", lambda text: {"question": QUESTION, "history": [{"role": "user", "text": text}]}),
    ("role before", "context", lambda text: {"question": QUESTION, "history": [{"role": text, "text": "a"}]}),
    ("id of a context", "kept", lambda text: {"id": text}),
    ("question to answer", "answer", lambda text: {"question": QUESTION + text}),
    ("question of a search", "search", lambda text: {"question": text}),
    ("source of a search", "search", lambda text: {"question": "baggage", "source": text}),
    ("prefix of a search", "search", lambda text: {"question": "baggage", "prefix": text}),
    ("label of a search", "search", lambda text: {"question": "baggage", "audiences": [text]}),
    ("person", "profile", lambda text: {"person": text}),
    ("table", "rows", lambda text: {"name": text}),
    ("column of stays", "rows", lambda text: {"name": "stays", "where": [f"{text}=7"]}),
    ("value of stays", "rows", lambda text: {"name": "stays", "where": [f"guest={text}"]}),
    ("text in stays", "rows", lambda text: {"name": "stays", "where": [f"which_room~{text}"]}),
    ("condition on flights", "rows", lambda text: {"name": "flights", "where": [text]}),
    ("order of flights", "rows", lambda text: {"name": "flights", "order": text}),
    ("source of flights", "rows",
     lambda text: {"name": "flights", "source": text, "min_position": "1", "wait_seconds": 0}),
    ("position of flights", "rows", lambda text: {"name": "flights", "min_position": text, "wait_seconds": 0}),
    ("window", "kpis", lambda text: {"window": text}),
    ("KPI", "kpi", lambda text: {"name": text}),
    ("grouping", "kpi", lambda text: {"name": "turns", "by": [text]}),
    ("group", "kpi", lambda text: {"name": "turns", "where": [f"{text}=a"]}),
    ("value of a group", "kpi", lambda text: {"name": "turns", "where": [f"application={text}"]}),
    ("flow", "letters", lambda text: {"flow": text}),
    ("limit", "letters", lambda text: {"limit": text}),
    ("whom a token is for", "token", lambda text: {"person": text}),
    ("realm", "token", lambda text: {"person": "@anna", "realm": text}),
    ("label of a token", "token", lambda text: {"person": "@anna", "audiences": [text]}),
    ("turn", "feedback", lambda text: {"conversation": "c-hostile", "turn": text, "comment": "a"}),
    ("comment", "feedback", lambda text: {"conversation": "c-hostile", "comment": text}),
    ("rated conversation", "feedback", lambda text: {"conversation": text, "comment": "a"}),
]  # fmt: skip


def test_no_text_in_any_place_breaks_anything_or_gets_at_more(world: World) -> None:
    async def ask_all() -> list[str]:
        wrong = []
        async with Http().opened(world.pass_of(ANNA)) as ask:
            for place, (name, verb, given_of) in enumerate(FIELDS):
                # Contexts take some time: each of their fields gets other texts.
                for text in TEXTS[place % 4 :: 4] if verb in {"context", "answer"} else TEXTS:
                    given = world.named(given_of(text))
                    found = await ask(verb, given)
                    foreign = [one for one in facts_in(found.text) if not ANNA.may_read(FACTS[one])]
                    # Of a refused request, its own words only are said again.
                    if set(foreign) - facts_in(str(given)):
                        wrong.append(f"{name} {text!r}: {foreign}")
        return wrong

    assert asyncio.run(ask_all()) == []
    assert facts_in(world.ask(APP, "rows", name="flights").text) == {"flight"}
    assert facts_in(world.ask(BERT, "rows", name="stays").text) == {"bert's room"}


def test_no_text_breaks_the_protocol(world: World) -> None:
    async def ask_all() -> list[str]:
        wrong = []
        async with connected(f"{world.url}/mcp", world.company.secrets["app"], world.token(ANNA)) as client:
            for text in (text for text in TEXTS if text.isprintable()):
                for tool, given in (
                    ("get_context", {"question": text, "conversation": text, "tables": [text]}),
                    ("search_knowledge", {"question": text, "source": text}),
                    ("query_table", {"table": text}),
                    ("query_table", {"table": "stays", "where": [text], "order": text}),
                    ("give_feedback", {"conversation": text, "turn": text, "comment": text}),
                    ("get_profile", {"person": text}),
                ):
                    found = await client.call_tool(tool, given)
                    said = str(found.content) + str(found.structured_content)
                    foreign = {one for one in facts_in(said) if not ANNA.may_read(FACTS[one])} - facts_in(text)
                    if foreign or (found.is_error and "Refused (" not in said):
                        wrong.append(f"{tool} {text!r}: {foreign} {said[:200]}")
        return wrong

    assert asyncio.run(ask_all()) == []


class Line:
    """A connection on which anything can be sent."""

    def __init__(self, world: World) -> None:
        self._socket = socket.create_connection(("127.0.0.1", httpx.URL(world.url).port or 0), timeout=10)

    def send(self, raw: bytes) -> None:
        self._socket.sendall(raw)

    def answers(self) -> list[tuple[int, bytes]]:
        """Return status and body of all responses until the server closes, or has said nothing more for a while."""
        self._socket.settimeout(1)
        said = b""
        try:
            while part := self._socket.recv(65536):
                said += part
        except (TimeoutError, ConnectionResetError):
            pass
        parts = said.split(b"HTTP/1.1 ")[1:]
        return [(int(part[:3]), part.partition(b"\r\n\r\n")[2]) for part in parts]

    def close(self) -> None:
        self._socket.close()


def spoken(world: World, raw: bytes) -> list[tuple[int, bytes]]:
    with closing(Line(world)) as line:
        line.send(raw)
        return line.answers()


def _head(world: World, first: bytes, *more: bytes, close: bool = True) -> bytes:
    key = f"Authorization: Bearer {world.page}".encode()
    end = [b"Connection: close"] if close else []
    return b"\r\n".join([first, b"Host: localhost", key, *more, *end]) + b"\r\n\r\n"


def raw_requests(world: World) -> dict[str, tuple[bytes, set[int]]]:
    """Return what no browser sends, and the status codes that may come back."""
    json_ = b"Content-Type: application/json"
    ask, body = b"POST /search HTTP/1.1", b'{"question":"baggage"}'
    length = f"Content-Length: {len(body)}".encode()
    large = b'{"question":"' + b"x" * 300_000 + b'"}'
    chunked = b"".join(f"{len(large[at:at + 9000]):x}\r\n".encode() + large[at : at + 9000] + b"\r\n"
                       for at in range(0, len(large), 9000)) + b"0\r\n\r\n"  # fmt: skip
    return {
        "as it should be": (_head(world, ask, json_, length) + body, {200}),
        "two lengths": (_head(world, ask, json_, length, b"Content-Length: 4") + body, {400}),
        "a length twice in one": (_head(world, ask, json_, b"Content-Length: 22, 4") + body, {400}),
        "a negative length": (_head(world, ask, json_, b"Content-Length: -1") + body, {400}),
        "a length with a sign": (_head(world, ask, json_, b"Content-Length: +22") + body, {400}),
        "an unknown coding": (_head(world, ask, json_, b"Transfer-Encoding: xchunked") + body, {400, 501}),
        "two codings": (_head(world, ask, json_, b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", {400, 501}),
        "a coding twice": (_head(world, ask, json_, b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity")
                           + b"0\r\n\r\n", {400, 501}),
        "a blank before the colon": (_head(world, ask, json_, b"Content-Length : 22") + body, {400}),
        "a folded header": (_head(world, ask, json_, length, b"X-A: a\r\n b") + body, {200, 400}),
        "a header with a NUL": (_head(world, ask, json_, length, b"X-A: a\x00b") + body, {400}),
        "too long by chunks": (_head(world, ask, json_, b"Transfer-Encoding: chunked") + chunked, {413}),
        "too long, and said so": (_head(world, ask, json_, b"Content-Length: 300015"), {413}),
        "absurdly long": (_head(world, ask, json_, b"Content-Length: " + b"9" * 30), {400, 413}),
        "a chunk without a size": (_head(world, ask, json_, b"Transfer-Encoding: chunked") + b"zz\r\nabc\r\n", {400}),
        "a huge header": (_head(world, b"GET /tables HTTP/1.1", b"X-A: " + b"a" * 60_000), {400, 431}),
        "a huge address": (_head(world, b"GET /tables?" + b"a" * 60_000 + b" HTTP/1.1"), {400, 414, 431}),
        "no protocol": (b"GET /tables\r\n\r\n", {400}),
        "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10 + b"\r\n\r\n", {400}),
        "another's address": (_head(world, b"GET http://evil.example/tables HTTP/1.1"), {400, 404, 421}),
        "no host": (b"GET /tables HTTP/1.1\r\n\r\n", {400}),
        "two hosts": (_head(world, b"GET /tables HTTP/1.1", b"Host: evil.example"), {400, 421}),
        "another host": (b"GET /tables HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", {421}),
        "an odd method": (_head(world, b"TRACE /tables HTTP/1.1"), {405}),
        "a tunnel": (_head(world, b"CONNECT evil.example:443 HTTP/1.1"), {400, 404, 405, 421}),
    }  # fmt: skip


def test_requests_that_two_readers_could_take_for_two_things_are_refused(world: World) -> None:
    found = {name: (spoken(world, raw), codes) for name, (raw, codes) in raw_requests(world).items()}
    wrong = {
        name: answers for name, (answers, codes) in found.items() if [code for code, _ in answers[:1]] not in
        [[code] for code in codes] or len(answers) > 1
    }  # fmt: skip
    assert wrong == {}


def test_a_request_within_another_needs_its_own_key(world: World) -> None:
    within = b"GET /tables HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    both = (b"Content-Type: application/json", b"Content-Length: 5", b"Transfer-Encoding: chunked")
    for raw in (
        _head(world, b"POST /search HTTP/1.1", *both, close=False) + b"0\r\n\r\n" + within,
        _head(world, b"GET /health HTTP/1.1", f"Content-Length: {len(within)}".encode()) + within,
        _head(world, b"GET /health HTTP/1.1", close=False) + within,
    ):
        assert {code for code, _ in spoken(world, raw)[1:]} <= {400, 401, 429}


def test_half_requests_hold_nobody_up(world: World) -> None:
    with ExitStack() as stack:
        for _ in range(60):
            line = stack.enter_context(closing(Line(world)))
            line.send(_head(world, b"POST /search HTTP/1.1", b"Content-Type: application/json", b"Content-Length: 99"))
            line.send(b'{"question"')
        assert facts_in(world.ask(APP, "rows", name="flights").text) == {"flight"}
        assert facts_in(world.ask(ANNA, "me").text) == {"anna's name", "anna's mail", "anna's trip"}


def test_nothing_but_the_pages_own_files_can_be_had(world: World) -> None:
    files = ("headrace.toml", "data/keys.json", "data/secret", "service.py", "access/keys.py", "pages/staff/bags.md")
    ways = ("/", "/../", "/../../", "/..%2f", "/..%2F..%2f", "/%2e%2e/", "/%2e%2e%2f", "/..\\", "/..%5c", "//", "/./",
            "/page/../", "/style.css/../../", "/%252e%252e%252f", f"/{world.company.path}/", f"//{world.company.path}/",
            "/..;/", "/\u2025/", "/style.css%00/")  # fmt: skip
    got = []
    for way in ways:
        for file in files:
            ((code, body), *_) = spoken(world, _head(world, f"GET {way}{file} HTTP/1.1".encode()))
            if code not in {400, 404, 422} or (code != 400 and not json.loads(body).get("error")):
                got.append(f"{way}{file}: {code}")
    assert got == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost@evil.example"}, 421),
        ({"Content-Type": "text/plain"}, 422),
    ],
)
def test_the_protocol_is_not_for_pages_of_others(world: World, headers: dict[str, str], status: int) -> None:
    call = {"name": "get_profile", "arguments": {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    known = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    who = world.pass_of(ANNA)
    found = httpx.post(f"{world.url}/mcp", content=json.dumps(body), headers={**who.headers, **known, **headers})
    assert found.status_code == status, found.text
    assert facts_in(found.text) == ({"anna's name", "anna's mail", "anna's trip"} if status == 200 else set())
    assert not {name for name in found.headers if name.startswith("access-control")}
