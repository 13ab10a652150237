"""Nobody sees what is another's, whichever way they ask: one table of attempts over every interface of a real server.

Besides what each attempt is to show, no response may hold a fact that is not for whoever asked, refused or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from serving.access.caller import SCOPES, Scope
from tests.integration.access_attempts import ATTEMPTS, EVERYBODY, Attempt, Who, expected
from tests.integration.access_company import KEYS, facts_in
from tests.integration.access_doors import APPLICATIONS, DOORS, ROUTES, TOOLS, Ask, Door, McpStdio
from tests.integration.access_world import ANNA, DESK, World, running
from tests.serving.mcp.calling import connected

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("access")) as found:
        yield found


async def difference(world: World, ask: Ask, attempt: Attempt, who: Who) -> str:
    """Return how what somebody sees differs from what they should; empty if it does not."""
    kind, facts = expected(attempt, who)
    given = world.named(attempt.given)
    found = await ask(attempt.verb, given)
    shown = facts_in(found.text) - facts_in(str(given))
    if (found.kind, shown) == (kind, facts):
        return ""
    return (
        f"{attempt.name}: {found.kind or 'allowed'} instead of {kind or 'allowed'}, "
        f"too much: {sorted(shown - facts)}, too little: {sorted(facts - shown)}"
        + (f", said: {found.text[:300]}" if found.kind and found.kind != kind else "")
    )


async def differences(world: World, door: Door, who: Who) -> list[str]:
    async with door.opened(world.pass_of(who)) as ask:
        found = [
            await difference(world, ask, attempt, who)
            for attempt in ATTEMPTS
            if door.takes(attempt.verb, attempt.given)
        ]
    assert found, "there is nothing that this door takes"
    return [one for one in found if one]


@pytest.mark.parametrize("who", EVERYBODY, ids=lambda who: who.name)
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_everybody_sees_what_is_theirs_and_nothing_else(world: World, door: Door, who: Who) -> None:
    assert asyncio.run(differences(world, door, who)) == []


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("door", APPLICATIONS, ids=lambda door: door.name)
def test_a_key_opens_what_its_one_scope_says(world: World, door: Door, scope: Scope) -> None:
    name = f"only-{scope}"
    if name not in world.company.secrets:
        world.company.key(name, [scope])
    who = Who(name, name, KEYS["app"], "anna", frozenset({scope}))
    assert asyncio.run(differences(world, door, who)) == []


@pytest.mark.parametrize("who", [DESK, ANNA], ids=lambda who: who.name)
def test_a_program_of_the_users_own_sees_what_it_was_started_for(world: World, who: Who) -> None:
    labels = [] if who.person else [part for label in who.labels for part in ("--audience", label)]
    door = McpStdio(str(world.company.path), *labels)
    # It is no application's: what is one's is not to be had by it.
    local = who._replace(key="command line")

    async def asked() -> list[str]:
        async with door.opened(world.pass_of(who)) as ask:
            found = [
                await difference(world, ask, attempt, local)
                for attempt in ATTEMPTS
                if door.takes(attempt.verb, attempt.given)
            ]
            return [one for one in found if one]

    assert asyncio.run(asked()) == []


def test_no_way_in_is_left_out(world: World) -> None:
    asked = {attempt.verb for attempt in ATTEMPTS}
    with httpx.Client(base_url=world.url, headers={"Authorization": f"Bearer {world.page}"}) as client:
        paths = client.get("/openapi.json").json()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert routes - {"GET /health"} == {ROUTES[verb] for verb in asked} - {"GET /openapi.json"}

    async def tools() -> set[str]:
        async with connected(f"{world.url}/mcp", world.page) as client:
            return {tool.name for tool in (await client.list_tools()).tools}

    assert asyncio.run(tools()) == {TOOLS[verb] for verb in asked if verb in TOOLS}
