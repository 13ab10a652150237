"""The protocol over standard input and output: the command as a process, asked by the protocol's own client."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from events.clock import system_clock
from serving.access.tokens import Tokens
from stores.contexts.sqlite import SqliteContexts
from stores.settings import Settings
from tests.serving.http.world import fill, settings_of
from tests.serving.mcp.calling import text_of
from tests.serving.persons_sample import ANNA

T = TypeVar("T")
ROOT = str(Path(__file__).parents[3])
TOOLS = ["get_context", "search_knowledge", "get_profile", "query_table", "give_feedback"]


class Company:
    """The small company on the disk, with its settings as a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings: Settings = settings_of(path / "data")
        fill(self.settings)
        said = self.settings.model_dump(mode="json", exclude_unset=True)
        self.variables = {
            f"HEADRACE_{name}".upper(): value if isinstance(value, str) else json.dumps(value)
            for name, value in said.items()
        }

    def ask(self, use: Callable[[Client], Awaitable[T]], *arguments: str, **variables: str) -> tuple[T, str]:
        """Run the command, and use the connection; return what it wrote on standard error, too."""
        log = self.path / "stderr"

        async def asking() -> T:
            with log.open("w") as errors:
                command = StdioServerParameters(
                    command=sys.executable,
                    args=["-m", "serving.cli", "mcp", *arguments],
                    cwd=str(self.path),
                    env=self.environment(**variables),
                )
                async with Client(stdio_client(command, errlog=errors), read_timeout_seconds=60) as client:
                    return await use(client)

        return asyncio.run(asking()), log.read_text()

    def environment(self, **variables: str) -> dict[str, str]:
        """Return the variables of the process."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        return {**kept, **self.variables, "PYTHONPATH": ROOT, **variables}


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    return Company(tmp_path_factory.mktemp("stdio"))


def test_the_command_speaks_the_protocol_and_nothing_else_on_its_output(company: Company) -> None:
    async def use(client: Client) -> tuple[list[str], Any, Any]:
        listed = await client.list_tools()
        found = await client.call_tool("get_context", {"question": "Is CV 214 on time?", "conversation": "stdio-1"})
        nobody = await client.call_tool("get_profile", {})
        return [tool.name for tool in listed.tools], found, nobody

    (names, found, nobody), log = company.ask(use)
    assert names == TOOLS
    assert "CV 214 is delayed" in text_of(found)
    assert found.structured_content["id"]
    assert nobody.is_error
    assert log == ""


def test_it_asks_for_the_person_that_is_named(company: Company) -> None:
    async def use(client: Client) -> tuple[Any, Any]:
        mine = await client.call_tool("get_profile", {})
        return mine.structured_content, await client.call_tool("query_table", {"table": "stays"})

    (mine, stays), _ = company.ask(use, "--email", "anna@posteo.example")
    assert mine["person"] == ANNA
    assert [row["row"]["place"] for row in stays.structured_content["rows"]] == ["Lisbon"]


def test_it_asks_for_the_person_of_a_token_with_the_labels_of_the_token(company: Company) -> None:
    signed = Tokens(company.settings, system_clock).sign(ANNA, "default", ["public", "staff"], None)

    async def use(client: Client) -> tuple[Any, Any]:
        return await client.call_tool("get_profile", {}), await client.call_tool("query_table", {"table": "crew"})

    (mine, crew), _ = company.ask(use, HEADRACE_PERSON_TOKEN=signed.token)
    assert mine.structured_content["person"] == ANNA
    assert [row["row"] for row in crew.structured_content["rows"]] == [{"id": 1, "name": "Ola"}]


def test_tables_of_other_audiences_are_there_for_those_who_name_them(company: Company) -> None:
    async def use(client: Client) -> Any:
        return await client.call_tool("query_table", {"table": "crew"})

    foreign, _ = company.ask(use)
    assert foreign.is_error
    assert "no live table 'crew'" in text_of(foreign)
    crew, _ = company.ask(use, "--audience", "staff")
    assert not crew.is_error


def test_read_only_takes_no_feedback_and_keeps_no_context(company: Company) -> None:
    async def use(client: Client) -> tuple[list[str], Any]:
        listed = await client.list_tools()
        return [tool.name for tool in listed.tools], await client.call_tool("get_context", {"question": "CV 214?"})

    (names, found), _ = company.ask(use, "--read-only")
    assert names == TOOLS[:-1]
    store = SqliteContexts(company.settings.contexts_path)
    assert store.get(found.structured_content["id"]) is None
    store.close()


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["--email", "nobody@posteo.example"], {}, "headrace: "),
        (["--email", "a@b.example", "--person", "x"], {}, "one is enough"),
        ([], {"HEADRACE_PERSON_TOKEN": "forged"}, "headrace: "),
        (["--email", "a@b.example"], {"HEADRACE_PERSON_TOKEN": "x"}, "one of them is enough"),
    ],
)
def test_whoever_cannot_be_asked_for_is_told_in_one_line(
    company: Company, arguments: list[str], variables: dict[str, str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "serving.cli", "mcp", *arguments],
        cwd=company.path,
        env=company.environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
