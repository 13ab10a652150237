"""The protocol over HTTP, asked by its own client from a real server: tools, who may call them, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from tests.serving.client.running import Running
from tests.serving.http.world import World, fill, settings_of
from tests.serving.mcp.calling import call, connected, text_of
from tests.serving.persons_sample import ANNA

T = TypeVar("T")
TOOLS = ["get_context", "search_knowledge", "get_profile", "query_table", "give_feedback"]
ASK = {"question": "Is CV 214 on time, and may I bring a bicycle?"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


class Served(Running):
    """A world that is served, and asked by the protocol's own client."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.url += "/mcp"

    def ask(self, use: Callable[[Client], Awaitable[T]], person: str = "", key: str = "", mode: str = "auto") -> T:
        """Connect, and use the connection."""

        async def asking() -> T | MCPError:
            async with connected(self.url, key or self.world.key, person, mode) as client:
                try:
                    return await use(client)
                except MCPError as error:  # raised outside, where it does not come in a group
                    return error

        found = asyncio.run(asking())
        if isinstance(found, MCPError):
            raise found
        return found

    def call(self, name: str, arguments: dict[str, Any], person: str = "", key: str = "") -> Any:
        return self.ask(lambda client: client.call_tool(name, arguments), person, key)

    def raw(self, **changes: Any) -> httpx.Response:
        """Send one request by hand; a header that is None is left out."""
        headers = self.world.headers() | ACCEPT | changes.pop("headers", {})
        sent = {name: value for name, value in headers.items() if value is not None}
        method, json_ = changes.pop("method", "POST"), changes.pop("json", LIST)
        if "content" not in changes:
            changes["content"] = json.dumps(json_)
        return httpx.request(method, self.url, headers=sent, **changes)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path: Path = tmp_path_factory.mktemp("mcp")
    fill(settings_of(path))
    world = World(path, requests_per_minute=100_000, max_body_bytes=4096, wait_seconds=0)
    found = Served(world)
    yield found
    found.stop()
    world.service.close()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_both_generations_of_the_protocol_are_spoken(served: Served, mode: str) -> None:
    async def use(client: Client) -> tuple[list[str], Any, str]:
        listed = await client.list_tools()
        result = await client.call_tool("get_context", ASK)
        return [tool.name for tool in listed.tools], result.structured_content, text_of(result)

    names, data, text = served.ask(use, mode=mode)
    assert names == TOOLS
    assert "CV 214 is delayed" in text
    assert text == data["block"]
    assert {item["kind"] for item in data["items"]} == {"row", "chunk"}
    assert all(item["age_ms"] >= 0 for item in data["items"])


def test_a_context_is_kept_and_shown_again_over_http(served: Served) -> None:
    data = served.call("get_context", ASK).structured_content
    again = httpx.get(served.url.replace("/mcp", f"/contexts/{data['id']}"), headers=served.world.headers())
    assert again.json() == data


def test_a_model_reads_of_each_tool_what_it_gives_takes_and_how_to_call_it(served: Served) -> None:
    listed = served.ask(lambda client: client.list_tools())
    for tool in listed.tools:
        assert tool.description
        assert "Call it" in tool.description
        assert "Returns" in tool.description or "merged" in tool.description
        for name, argument in tool.input_schema["properties"].items():
            assert len(argument["description"].split()) >= 4, (tool.name, name)
        assert tool.output_schema
        assert tool.output_schema["type"] == "object"
        assert tool.annotations
        assert tool.annotations.read_only_hint == (tool.name != "give_feedback")


def test_the_tables_are_told_with_their_columns_but_not_those_that_are_hidden(served: Served) -> None:
    listed = served.ask(lambda client: client.list_tools())
    (about,) = [tool.description or "" for tool in listed.tools if tool.name == "query_table"]
    assert "- flights (id int, number text, seats int, status text)" in about
    assert "- stays (id int, place text, user int; only the user's own rows)" in about
    assert "- crew (id int, name text)" in about
    public = served.world.keys.create("public-tables", ["tables"], [])
    listed = served.ask(lambda client: client.list_tools(), key=public)
    assert "crew" not in str(listed.tools[0].description)


def test_tables_are_resources_for_those_who_may_read_them(served: Served) -> None:
    async def use(client: Client) -> tuple[list[str], str]:
        listed = await client.list_resources()
        read = await client.read_resource("headrace://tables/crew")
        return [resource.uri for resource in listed.resources], getattr(read.contents[0], "text", "")

    uris, text = served.ask(use)
    assert uris == [f"headrace://tables/{name}" for name in ("flights", "crew", "stays")]
    assert [column["column"] for column in json.loads(text)["columns"]] == ["id", "name"]
    public = served.world.keys.create("public-resources", ["tables"], [])
    with pytest.raises(MCPError, match="no such resource"):
        served.ask(lambda client: client.read_resource("headrace://tables/crew"), key=public)


def test_tools_that_a_key_has_no_scope_for_are_neither_listed_nor_called(served: Served) -> None:
    key = served.world.keys.create("searcher", ["search"], [])
    listed = served.ask(lambda client: client.list_tools(), key=key)
    assert [tool.name for tool in listed.tools] == ["search_knowledge"]
    for name, arguments in (
        ("get_context", ASK),
        ("get_profile", {}),
        ("query_table", {"table": "flights"}),
        ("give_feedback", {"conversation": "c", "thumbs": "up"}),
    ):
        result = served.call(name, arguments, key=key)
        assert result.is_error, name
        assert "lacks the scope" in text_of(result)


def test_documents_are_searched_for_the_callers_audiences_only(served: Served) -> None:
    question = {"question": "When is the staff paid?"}
    found = served.call("search_knowledge", question)
    assert "paid on the tenth" in text_of(found)
    assert "salaries.md" in {item["uri"] for item in found.structured_content["items"]}
    public = served.world.keys.create("public-documents", ["search"], [])
    foreign = served.call("search_knowledge", question, key=public)
    assert "paid" not in text_of(foreign)


def test_a_profile_is_for_the_person_whose_token_is_sent(served: Served) -> None:
    mine = served.call("get_profile", {}, served.world.anna)
    assert mine.structured_content["person"] == ANNA
    assert "anna@posteo.example" in text_of(mine)
    nobody = served.call("get_profile", {})
    assert nobody.is_error
    assert "person's token" in text_of(nobody)
    assert served.call("get_profile", {}, served.world.bert).structured_content["person"] != ANNA


def test_rows_of_persons_are_for_their_owner(served: Served) -> None:
    mine = served.call("query_table", {"table": "stays"}, served.world.anna)
    assert [row["row"]["place"] for row in mine.structured_content["rows"]] == ["Lisbon"]
    assert "place: Lisbon" in text_of(mine)
    assert served.call("query_table", {"table": "stays"}).is_error


def test_a_table_is_asked_with_conditions_order_and_limit_also_where_they_are_written_loosely(served: Served) -> None:
    arguments = {"table": "flights", "where": "seats>=10", "order": "seats", "descending": True, "limit": "1"}
    found = served.call("query_table", arguments).structured_content
    assert [row["row"]["number"] for row in found["rows"]] == ["CV 305"]


def test_feedback_is_taken_in_once_the_conversation_is_the_callers(served: Served) -> None:
    said = {"conversation": "mcp-1", "thumbs": "down", "comment": "The fee is wrong."}
    assert served.call("give_feedback", said).structured_content["accepted"] == 2
    foreign = served.call("give_feedback", said, served.world.anna)
    assert foreign.is_error
    assert "somebody else's" in text_of(foreign)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("get_context", {}, "question: Field required"),
        ("get_context", {"question": " "}, "the question is empty"),
        ("get_context", {**ASK, "person": ANNA}, "it takes: question, conversation"),
        ("get_context", {**ASK, "budget_tokens": 1}, "budget_tokens"),
        ("query_table", {"table": "secrets"}, "there is no live table 'secrets'"),
        ("query_table", {"table": "crew", "where": ["salary>1"]}, "no column 'salary'"),
        ("query_table", {"table": "flights", "order": "1; DROP TABLE rows"}, "no column"),
        ("query_table", {"table": "flights", "where": ["number"]}, "number"),
        ("give_feedback", {"conversation": "c", "thumbs": "up", "stars": 5}, "both thumbs and stars"),
        ("give_feedback", {"conversation": "c"}, "neither a rating nor a comment"),
    ],
)
def test_what_cannot_be_done_is_told_to_the_model_with_a_remedy(
    served: Served, name: str, arguments: dict[str, Any], said: str
) -> None:
    result = served.call(name, arguments)
    assert result.is_error
    assert said in text_of(result)
    assert text_of(result).startswith("Refused (")
    assert "Traceback" not in text_of(result)


def test_a_demand_that_cannot_be_met_is_refused_with_advice(served: Served) -> None:
    result = served.call("get_context", {**ASK, "max_age_seconds": 0.1})
    assert result.is_error
    assert "Refused (stale)" in text_of(result)
    assert "without `max_age_seconds`" in text_of(result)


def test_a_bug_is_told_without_what_it_was(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **named: object) -> None:
        raise ZeroDivisionError(*args[1:])

    monkeypatch.setattr(served.world.service, "search", broken)
    result = served.call("search_knowledge", {"question": "secret"})
    assert result.is_error
    assert "should not have" in text_of(result)
    assert "secret" not in text_of(result)
    assert "ZeroDivision" not in text_of(result)


def test_an_unknown_tool_is_an_error_of_the_protocol_that_names_those_there_are(served: Served) -> None:
    with pytest.raises(MCPError, match="get_context, search_knowledge"):
        served.call("drop_tables", {})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer hr_wrong"}, 401),
        ({"Headrace-Person": "forged"}, 401),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Content-Type": "text/plain"}, 422),
    ],
)
def test_requests_are_let_in_by_their_headers(served: Served, headers: dict[str, str | None], status: int) -> None:
    answer = served.raw(headers=headers)
    assert answer.status_code == status
    if status != httpx.codes.OK:
        assert answer.json()["error"]["detail"]


@pytest.mark.parametrize("content", [b"{", b'{"a": 1, "a": 2}', b"[" * 100, b"\xff", b"x" * 5000])
def test_bodies_that_are_no_messages_are_refused(served: Served, content: bytes) -> None:
    assert served.raw(content=content).status_code in {413, 422}


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_no_stream_is_opened_and_no_session_is_there_to_be_ended(served: Served, method: str) -> None:
    answer = served.raw(method=method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_calls_at_the_same_time_are_answered_each_for_its_own_caller(served: Served) -> None:
    async def all_of_them() -> list[Any]:
        keys = [served.world.anna, served.world.bert] * 4
        return await asyncio.gather(*(call(served.url, served.world.key, one, "get_profile", {}) for one in keys))

    persons = [found["person"] for found in asyncio.run(all_of_them())]
    assert persons[::2] == [ANNA] * 4
    assert ANNA not in persons[1::2]


def test_limits_are_those_of_the_rest_of_the_server(tmp_path: Path) -> None:
    world = World(tmp_path, requests_per_minute=10)
    served = Served(world)
    try:
        statuses = [served.raw().status_code for _ in range(12)]
        assert statuses[0] == httpx.codes.OK
        assert statuses[-1] == httpx.codes.TOO_MANY_REQUESTS
    finally:
        served.stop()
        world.service.close()
