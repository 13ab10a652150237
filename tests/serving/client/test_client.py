"""The Python client, against a real server: typed documents, errors to react to, answers as they are written."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.client import AsyncClient, Client, ClientError
from serving.client import calls as built
from serving.client.documents import Answer, Context, Token
from serving.client.errors import (
    ForbiddenError,
    NotFoundError,
    RejectedError,
    StaleError,
    TooLargeError,
    TooManyError,
    UnavailableError,
    UnknownCallerError,
)
from tests.serving.client.running import Running
from tests.serving.http.world import World, fill, settings_of
from tests.serving.persons_sample import ANNA

ASK = "Is CV 214 on time, and may I bring a bicycle?"
ROOT = Path(__file__).parents[3]
VERBS = {
    name for name, function in inspect.getmembers(built, inspect.isfunction) if function.__module__ == built.__name__
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path = tmp_path_factory.mktemp("client")
    fill(settings_of(path))
    world = World(path, requests_per_minute=100_000, max_body_bytes=4096, wait_seconds=0)
    found = Running(world)
    yield found
    found.stop()
    world.service.close()


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with Client(running.url, running.world.key) as found:
        yield found


def test_a_context_comes_with_types(client: Client) -> None:
    context = client.context(ASK, budget_tokens=500, chunks=2, tables=["flights"])
    assert isinstance(context, Context)
    assert (context.question, context.budget, context.person) == (ASK, 500, "")
    (row,) = [item for item in context.items if item.kind == "row"]
    assert row.data["number"] == "CV 214"
    assert (row.number, row.age_ms >= 0, row.superseded) == (row.number, True, ())
    assert row.text in context.block
    assert {cut.store for cut in context.cuts} >= {"tables"}


def test_a_kept_context_is_the_same_again_byte_for_byte(client: Client, running: Running) -> None:
    context = client.context(ASK)
    assert client.kept(context.id) == context
    held = running.world.service.contexts.get(context.id)
    assert held is not None
    assert client.kept_bytes(context.id) == held.body
    peeked = client.context(ASK, peek=True)
    with pytest.raises(NotFoundError):
        client.kept(peeked.id)


def test_an_answer_comes_whole_or_as_it_is_written(client: Client) -> None:
    whole = client.answer(ASK)
    assert whole.answer.context == whole.context.id
    assert whole.answer.citations
    first, *tokens, last = list(client.stream(ASK, conversation=whole.answer.conversation))
    assert isinstance(first, Context)
    assert isinstance(last, Answer)
    assert all(isinstance(token, Token) for token in tokens)
    assert "".join(token.text for token in tokens if isinstance(token, Token)) == last.text
    assert (last.conversation, last.context) == (whole.answer.conversation, first.id)


def test_an_answer_that_nobody_reads_on_is_closed(client: Client) -> None:
    events = client.stream(ASK)
    assert isinstance(next(events), Context)
    events.close()
    assert client.tables()


def test_answers_are_rated(client: Client) -> None:
    answer = client.answer(ASK).answer
    taken = client.feedback(answer.conversation, answer.turn, rating=("stars", 2), comment="too long")
    assert taken.accepted == len(taken.ids) == 2


def test_everything_else_is_asked_with_types(client: Client) -> None:
    assert client.search("bicycle", k=1, prefix="bicycles")[0].uri == "bicycles.md"
    assert [table.name for table in client.tables()] == ["flights", "crew", "stays"]
    rows = client.rows("flights", where=["seats>=10"], order="seats", descending=True, limit=1)
    assert [row.row for row in rows.rows] == [{"id": 2, "number": "CV 305", "status": "on time", "seats": 40}]
    assert isinstance(client.kpis(), list)
    assert isinstance(client.alerts(limit=5), list)
    assert client.letters("tables") == []
    found = client.freshness()
    assert found.at
    assert all(source.flow for source in found.sources)


def test_a_persons_data_are_asked_for_with_a_token_of_the_call_of_the_client_or_of_whoever_makes_them(
    client: Client, running: Running
) -> None:
    signed = client.token("email:anna@posteo.example", audiences=["public"])
    assert signed.person == ANNA
    profile = client.profile(person_token=signed.token)
    assert (profile.person, ANNA in {profile.person, *profile.aliases}) == (ANNA, True)
    assert "anna@posteo.example" in profile.identifiers["email"]
    assert profile.fields["email"].of[0].source
    assert client.graph(person_token=signed.token).startswith("<svg")
    asked: list[str] = []

    def provider() -> str:
        asked.append("asked")
        return running.world.bert

    with Client(running.url, running.world.key, provider) as other:
        assert other.profile().person == other.profile("me").person != ANNA
        assert other.profile(person_token=signed.token).person == ANNA
    assert asked == ["asked"] * 2


def test_the_awaited_client_has_the_same_verbs_and_signatures(running: Running) -> None:
    public = {name for name in VERBS if not name.startswith("_")}
    for name in public:
        blocking, awaited = getattr(Client, name), getattr(AsyncClient, name)
        assert inspect.signature(blocking) == inspect.signature(awaited)
        assert blocking.__doc__ == awaited.__doc__ == getattr(built, name).__doc__
    assert {"context", "kept", "answer", "stream", "search", "token"} <= public

    async def provider() -> str:
        return running.world.anna

    async def use() -> tuple[Any, ...]:
        async with AsyncClient(running.url, running.world.key, provider) as client:
            contexts = await asyncio.gather(*(client.context(ASK) for _ in range(8)))
            events = [event async for event in client.stream(ASK)]
            return contexts, events, await client.profile(), await client.rows("stays")

    contexts, events, profile, stays = asyncio.run(use())
    assert len({context.id for context in contexts}) == len(contexts)
    assert isinstance(events[-1], Answer)
    assert profile.person == ANNA
    assert [row.row["place"] for row in stays.rows] == ["Lisbon"]


@pytest.mark.parametrize(
    ("verb", "given", "error", "kind"),
    [
        ("context", {"question": " "}, RejectedError, "rejected"),
        ("context", {"question": "x", "audiences": ["board"]}, ForbiddenError, "forbidden"),
        ("context", {"question": "x", "max_age_ms": 1, "wait_seconds": 0}, StaleError, "stale"),
        ("context", {"question": "x" * 5000}, TooLargeError, "too_large"),
        ("stream", {"question": " "}, RejectedError, "rejected"),
        ("kept", {"id_": "../../profiles/me"}, NotFoundError, "not_found"),
        ("kept", {"id_": ".."}, NotFoundError, "not_found"),
        ("profile", {}, ForbiddenError, "forbidden"),
        ("profile", {"person_token": "forged"}, UnknownCallerError, "unknown_caller"),
        ("rows", {"table": "no such table?x=1#y"}, ForbiddenError, "forbidden"),
        ("rows", {"table": "flights", "where": ["a=b"]}, RejectedError, "rejected"),
        ("token", {"person": "eve@posteo.de"}, NotFoundError, "nobody"),
        ("feedback", {"conversation": "c"}, RejectedError, "rejected"),
        ("profile", {"person_token": "line\nend"}, RejectedError, "refused"),
    ],
)
def test_what_is_refused_is_an_error_that_says_what_to_do(
    client: Client, verb: str, given: dict[str, Any], error: type[ClientError], kind: str
) -> None:
    with pytest.raises(error) as raised:
        list(getattr(client, verb)(**given))
    assert raised.value.kind == kind
    assert raised.value.detail
    assert raised.value.hint or kind == "nobody"


def test_stale_says_how_old(client: Client) -> None:
    with pytest.raises(StaleError) as raised:
        client.rows("flights", max_age_ms=0, wait_seconds=0)
    assert raised.value.status == 412
    assert raised.value.age_ms is None or raised.value.age_ms >= 0


@pytest.mark.parametrize(("url", "key"), [("127.0.0.1:80", "k"), ("ftp://x", "k"), ("http://", "k"), ("http://x", "")])
def test_an_address_or_a_key_that_is_none_is_refused_before_anything_is_sent(url: str, key: str) -> None:
    with pytest.raises(RejectedError):
        Client(url, key)


def test_a_server_that_is_not_there_is_said_to_be_unreachable() -> None:
    with Client("http://127.0.0.1:9", "k", sleep=lambda seconds: None) as client:
        with pytest.raises(UnavailableError) as raised:
            client.tables()
        assert raised.value.kind == "unreachable"


def test_what_the_verbs_do_not_take_is_refused() -> None:
    with Client("http://127.0.0.1:9", "k") as client, pytest.raises(TypeError, match="colour"):
        client.context("x", colour="blue")  # type: ignore[call-arg]  # the very mistake


def test_too_many_says_when_to_ask_again(tmp_path: Path) -> None:
    world = World(tmp_path, requests_per_minute=10)
    running = Running(world)
    slept: list[float] = []
    try:
        with Client(running.url, world.key, sleep=slept.append, longest_pause=60) as client:
            with pytest.raises(TooManyError) as raised:
                [client.tables() for _ in range(20)]
            assert raised.value.after > 0
            assert slept[:1] == [raised.value.after]
    finally:
        running.stop()
        world.service.close()


def test_the_client_loads_nothing_heavy() -> None:
    code = """if True:
        import sys
        import serving.client
        heavy = {"torch", "fastapi", "starlette", "bytewax", "pydantic", "numpy", "mcp", "stores", "operators"}
        print(sorted(heavy & set(sys.modules)), sorted(m for m in sys.modules if m.startswith("serving.")))
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded, _, modules = done.stdout.partition("] ")
    assert loaded == "["
    assert all(name.strip(" []'\n").startswith("serving.client") for name in modules.split(",")), modules
