"""The company with its server running, and everybody who asks, each with something of their own to be asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.access_attempts import EVERYBODY, QUESTION, Who
from tests.integration.access_company import Company, fill, text_of
from tests.integration.access_doors import Http, Pass, Seen, served

APP, DESK, _, ANNA, BERT = EVERYBODY[:5]


class World:
    """The company, its server, and everybody who asks.

    :arg url: Of the server.
    :arg page: The key of its page.
    """

    def __init__(self, company: Company, url: str, page: str) -> None:
        self.company = company
        self.url = url
        self.page = page
        self._tokens: dict[tuple[str, frozenset[str]], str] = {}
        self.names = {"@app": "app"}

    def pass_of(self, who: Who) -> Pass:
        """Return what somebody comes in with."""
        return Pass(self.url, self.company.secrets[who.key], self.token(who))

    def token(self, who: Who) -> str:
        """Return the token of somebody's person; empty for nobody."""
        asked = who.person, who.labels
        if who.person and asked not in self._tokens:
            self._tokens[asked] = self.company.token(*asked)
        return self._tokens.get(asked, "")

    def named(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments with what stands for something replaced by it."""
        return {name: self._named(value) for name, value in given.items()}

    def prepare(self) -> None:
        """Let everybody say and ask something, to be asked for later."""
        asyncio.run(self._prepare())

    def ask(self, who: Who | Pass, verb: str, **given: Any) -> Seen:
        """Ask one thing over HTTP."""

        async def asked() -> Seen:
            async with Http().opened(who if isinstance(who, Pass) else self.pass_of(who)) as ask:
                return await ask(verb, self.named(given))

        return asyncio.run(asked())

    async def _prepare(self) -> None:
        for person in ("anna", "bert"):
            self.names[f"@{person}"] = self.company.person(person)
        for who in EVERYBODY:
            async with Http().opened(self.pass_of(who)) as ask:
                kept = await ask("context", {"question": QUESTION})
                self.names[f"@context of {who.name}"] = kept.data["id"]
        for who, name in ((APP, "app"), (ANNA, "anna"), (BERT, "bert")):
            words = text_of(f"{name}'s words") if who.person else "And?"
            async with Http().opened(self.pass_of(who)) as ask:
                answer = await ask("answer", {"question": words, "conversation": f"talk-of-{name}"})
                assert not answer.kind, answer.text
                self.names[f"@talk of {name}"] = f"talk-of-{name}"

    def _named(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._named(one) for one in value]
        if isinstance(value, str) and "@" in value:
            before, _, name = value.partition("@")
            return before + self.names.get(f"@{name}", f"@{name}")
        return value


@contextmanager
def running(folder: Path) -> Iterator[World]:
    """Let the company's server run while the block lasts."""
    company = Company(folder)
    fill(company)
    with served(company.path) as (url, page):
        found = World(company, url, page)
        found.prepare()
        yield found
