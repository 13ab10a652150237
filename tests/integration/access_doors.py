"""Every way in, each asked in the same words: what is asked, as whom, and what came back whatever way it came."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import msgspec
from typing_extensions import override

from tests.integration.live import wait_until

ROUTES = {
    "context": "POST /context",
    "kept": "GET /contexts/{id}",
    "answer": "POST /answer",
    "search": "POST /search",
    "feedback": "POST /feedback",
    "token": "POST /tokens",
    "me": "GET /profiles/me",
    "graph": "GET /profiles/me/graph.svg",
    "profile": "GET /profiles/{person}",
    "tables": "GET /tables",
    "rows": "GET /tables/{name}",
    "kpis": "GET /kpis",
    "kpi": "GET /kpis/{name}",
    "alerts": "GET /alerts",
    "freshness": "GET /freshness",
    "letters": "GET /dead-letters",
    "metrics": "GET /metrics",
    "openapi": "GET /openapi.json",
}
TOOLS = {
    "context": "get_context",
    "search": "search_knowledge",
    "me": "get_profile",
    "rows": "query_table",
    "feedback": "give_feedback",
}
SECONDS = 60.0
_TLS = ssl.create_default_context()
"""Made once, as that takes longer than a request; nothing here uses it."""
ROOT = str(Path(__file__).parents[2])


class Seen(msgspec.Struct, frozen=True):
    """What came back.

    :arg kind: Of the refusal; empty if there was none.
    :arg text: All of it.
    :arg data: The same, read.
    """

    kind: str
    text: str
    data: Any = None


class Pass(msgspec.Struct, frozen=True):
    """What somebody has who comes in.

    :arg url: Of the server.
    :arg token: The person's; empty: none.
    """

    url: str
    key: str
    token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request."""
        key = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return key | ({"Headrace-Person": self.token} if self.token else {})


Ask = Callable[[str, Mapping[str, Any]], Awaitable[Seen]]


class Door(ABC):
    """One interface.

    :arg name: What it is called in tests.
    """

    name: str

    @abstractmethod
    def opened(self, who: Pass) -> AbstractAsyncContextManager[Ask]:
        """Return a context in which somebody can ask. What cannot be opened at all is refused at the first question."""

    @abstractmethod
    def takes(self, verb: str, given: Mapping[str, Any]) -> bool:
        """Tell whether this can be asked here."""


class Http(Door):
    """Plain requests, as of the page."""

    name = "http"

    @asynccontextmanager
    async def opened(self, who: Pass) -> AsyncIterator[Ask]:
        async with httpx.AsyncClient(base_url=who.url, headers=who.headers, timeout=SECONDS, verify=_TLS) as client:

            async def ask(verb: str, given: Mapping[str, Any]) -> Seen:
                return seen(await client.send(request_of(client, verb, self._given(verb, given))))

            yield ask

    @override
    def takes(self, verb: str, given: Mapping[str, Any]) -> bool:
        return True

    def _given(self, verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
        return {**given, **({"stream": False} if verb == "answer" else {})}


class Events(Http):
    """Answers as server-sent events."""

    name = "events"

    @override
    def takes(self, verb: str, given: Mapping[str, Any]) -> bool:
        return verb == "answer"

    @override
    def _given(self, verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
        return dict(given)


class McpHttp(Door):
    """The Model Context Protocol at `/mcp`, by its own client."""

    name = "mcp"

    @asynccontextmanager
    async def opened(self, who: Pass) -> AsyncIterator[Ask]:
        import httpx2
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client

        async with (
            httpx2.AsyncClient(headers=who.headers, timeout=SECONDS) as http,
            Client(streamable_http_client(f"{who.url}/mcp", http_client=http), read_timeout_seconds=SECONDS) as client,
        ):
            yield _tools(client)

    @override
    def takes(self, verb: str, given: Mapping[str, Any]) -> bool:
        return verb in TOOLS and _arguments(verb, given) is not None


class McpStdio(McpHttp):
    """The protocol over standard input and output: the user's own, for one person or nobody.

    :arg folder: Where the settings are.
    """

    name = "mcp-stdio"

    def __init__(self, folder: str, *arguments: str) -> None:
        self._folder = folder
        self._arguments = arguments

    @asynccontextmanager
    async def opened(self, who: Pass) -> AsyncIterator[Ask]:
        from mcp import Client
        from mcp.client.stdio import StdioServerParameters, stdio_client

        variables = {"PYTHONPATH": ROOT} | ({"HEADRACE_PERSON_TOKEN": who.token} if who.token else {})
        command = ["-m", "serving.cli", "mcp", *self._arguments]
        started = StdioServerParameters(command=sys.executable, args=command, env=variables, cwd=self._folder)
        with open(os.devnull, "w") as nowhere:
            async with Client(stdio_client(started, errlog=nowhere), read_timeout_seconds=SECONDS) as client:
                yield _tools(client)


def request_of(client: httpx.Client | httpx.AsyncClient, verb: str, given: Mapping[str, Any]) -> httpx.Request:
    """Return the request that asks so."""
    method, path = ROUTES[verb].split()
    left = dict(given)
    for name in [name for name in left if f"{{{name}}}" in path]:
        path = path.replace(f"{{{name}}}", quote(str(left.pop(name)), safe="", errors="surrogatepass"))
    if method == "POST":
        # Escaped: half a character can be sent so.
        headers = {"Content-Type": "application/json"}
        return client.build_request(method, path, content=json.dumps(left).encode(), headers=headers)
    query = urlencode(left, doseq=True, errors="surrogatepass")
    return client.build_request(method, f"{path}?{query}" if query else path)


def seen(answer: httpx.Response) -> Seen:
    """Return what came back over HTTP."""
    assert answer.status_code < 500, answer.text
    if answer.is_success:
        is_json = answer.headers["content-type"] == "application/json"
        return Seen("", plain(answer.text), answer.json() if is_json else None)
    error = answer.json()["error"]
    return Seen(error["kind"], plain(answer.text), error)


def plain(text: str) -> str:
    """Return a text with whatever was escaped in it twice."""
    return text.replace("\\\\", "\\").replace('\\"', '"')


def _arguments(verb: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the arguments of the tool that asks the same; None if there is none."""
    left = dict(given)
    if verb == "rows":
        left["table"] = left.pop("name")
    if verb == "feedback" and "rating" in left:
        left["stars"] = left.pop("rating")["value"]
    known = {
        "context": {"question", "conversation", "budget_tokens", "tables"},
        "search": {"question", "k", "source"},
        "me": set[str](),
        "rows": {"table", "where", "order", "descending", "limit"},
        "feedback": {"conversation", "turn", "stars", "comment"},
    }[verb]
    return left if left.keys() <= known else None


def _tools(client: Any) -> Ask:
    from mcp.shared.exceptions import MCPError

    async def ask(verb: str, given: Mapping[str, Any]) -> Seen:
        try:
            found = await client.call_tool(TOOLS[verb], _arguments(verb, given))
        except MCPError as error:
            return Seen("protocol", str(error))
        text = "\n".join(part.text for part in found.content)
        if found.is_error:
            assert text.startswith("Refused ("), text
            return Seen(text.removeprefix("Refused (").partition(")")[0], text)
        whole = text + json.dumps(found.structured_content, ensure_ascii=False)
        return Seen("", plain(whole), found.structured_content)

    return ask


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, str]]:
    """Run the server over the settings in `folder` while the block lasts; return its address and its page's key."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    log = folder / "server.log"
    command = [sys.executable, "-m", "serving.cli", "serve", "--port", "0"]
    with log.open("wb") as said:
        process = subprocess.Popen(
            command, cwd=folder, env={**variables, "PYTHONPATH": ROOT}, stdout=subprocess.PIPE, stderr=said, text=True
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("serving "), log.read_text()
        address, _, key = line.removeprefix("serving ").strip().partition("#key=")
        with httpx.Client(base_url=address) as client:
            wait_until(lambda: client.get("/health").json()["status"] == "ok", "the server to be ready")
        yield address.rstrip("/"), key
        process.terminate()
        process.stdout.close()
        assert process.wait(SECONDS) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


class PythonClient(Door):
    """The client that blocks."""

    name = "client"

    @asynccontextmanager
    async def opened(self, who: Pass) -> AsyncIterator[Ask]:
        from serving.client.client import Client
        from serving.client.errors import ClientError

        with Client(who.url, who.key, who.token, timeout=SECONDS) as client:

            async def ask(verb: str, given: Mapping[str, Any]) -> Seen:
                name, args, named = _called(verb, given)
                try:
                    return _given(getattr(client, name)(*args, **named))
                except ClientError as error:
                    return Seen(error.kind, f"{error.detail} {error.hint}")

            yield ask

    @override
    def takes(self, verb: str, given: Mapping[str, Any]) -> bool:
        return verb in ROUTES.keys() - {"metrics", "openapi"}


class AwaitedClient(PythonClient):
    """The client that is awaited; answers as they are written."""

    name = "client-awaited"

    @asynccontextmanager
    async def opened(self, who: Pass) -> AsyncIterator[Ask]:
        from serving.client.client import AsyncClient
        from serving.client.errors import ClientError

        async with AsyncClient(who.url, who.key, who.token, timeout=SECONDS) as client:

            async def ask(verb: str, given: Mapping[str, Any]) -> Seen:
                name, args, named = _called(verb, given)
                try:
                    if verb == "answer":
                        return _given([event async for event in client.stream(*args, **named)])
                    return _given(await getattr(client, name)(*args, **named))
                except ClientError as error:
                    return Seen(error.kind, f"{error.detail} {error.hint}")

            yield ask


def _given(found: Any) -> Seen:
    text = found if isinstance(found, bytes) else msgspec.json.encode(found)
    return Seen("", plain(text.decode()), found)


def _called(verb: str, given: Mapping[str, Any]) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """Return the client's verb that asks the same, and its arguments."""
    left = dict(given)
    firsts = {"context": "question", "answer": "question", "search": "question", "kept": "id", "rows": "name",
              "kpi": "name", "profile": "person", "token": "person", "feedback": "conversation"}  # fmt: skip
    first = (left.pop(firsts[verb]),) if verb in firsts else ()
    if "rating" in left:
        left["rating"] = (left["rating"]["scale"], left["rating"]["value"])
    if "history" in left:
        left["history"] = [(turn["role"], turn["text"]) for turn in left["history"]]
    if verb == "kpi" and "where" in left:
        left["where"] = dict(one.split("=", 1) for one in left["where"])
    return {"me": "profile", "kept": "kept_bytes"}.get(verb, verb), first, left


class LangChain(Door):
    """LangChain's retriever, which is awaited."""

    name = "langchain"

    @asynccontextmanager
    async def opened(self, who: Pass) -> AsyncIterator[Ask]:
        from serving.client import AsyncClient, Client
        from serving.client.errors import ClientError
        from serving.retrievers.langchain import HeadraceRetriever

        with Client(who.url, who.key, who.token) as client:
            async with AsyncClient(who.url, who.key, who.token, timeout=SECONDS) as awaited:

                async def ask(verb: str, given: Mapping[str, Any]) -> Seen:
                    _, (question,), options = _called(verb, given)
                    retriever = HeadraceRetriever(client=client, async_client=awaited, options=options)
                    try:
                        found = await retriever.ainvoke(question)
                    except ClientError as error:
                        return Seen(error.kind, f"{error.detail} {error.hint}")
                    return Seen("", plain(str([(one.page_content, one.metadata) for one in found])))

                yield ask

    @override
    def takes(self, verb: str, given: Mapping[str, Any]) -> bool:
        return verb == "context"


class LlamaIndex(LangChain):
    """LlamaIndex's retriever, which blocks."""

    name = "llama-index"

    @asynccontextmanager
    async def opened(self, who: Pass) -> AsyncIterator[Ask]:
        from serving.client import Client
        from serving.client.errors import ClientError
        from serving.retrievers.llama_index import HeadraceRetriever

        with Client(who.url, who.key, who.token, timeout=SECONDS) as client:

            async def ask(verb: str, given: Mapping[str, Any]) -> Seen:
                _, (question,), options = _called(verb, given)
                try:
                    found = HeadraceRetriever(client, options=options).retrieve(question)
                except ClientError as error:
                    return Seen(error.kind, f"{error.detail} {error.hint}")
                return Seen("", plain(str([(one.node.get_content(), one.node.metadata) for one in found])))

            yield ask


APPLICATIONS: tuple[Door, ...] = (Http(), McpHttp())
DOORS: tuple[Door, ...] = (*APPLICATIONS, Events(), PythonClient(), AwaitedClient(), LangChain(), LlamaIndex())
"""All of them; the last ones go through the first, and are asked about less."""
