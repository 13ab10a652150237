"""Commands that assemble the context of a question, and answer from it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from serving.commands.profile import lookup_of
from serving.commands.tables import demanded
from stores.settings import Settings, load

if TYPE_CHECKING:
    from events.context import Context
    from serving.access.caller import Caller
    from serving.answer.parts import AnswerPart
    from serving.context.request import ContextRequest
    from serving.freshness import Demand
    from serving.service import Service

Question = Annotated[str, typer.Argument(help="What somebody asks, in their own words.")]
Email = Annotated[str, typer.Option(metavar="ADDRESS", help="Who asks, by e-mail address.")]
Person = Annotated[str, typer.Option(metavar="PERSON", help="Who asks: id, number, TYPE:VALUE or a record.")]
Realm = Annotated[str, typer.Option(help="The realm of the person; default: any.")]
Audience = Annotated[
    list[str], typer.Option("--audience", "-a", help="Label of the asker, beside public; may be repeated.")
]
Tables = Annotated[
    list[str] | None, typer.Option("--table", "-t", help="Look-ups of this live table only; may be repeated.")
]
Conversation = Annotated[str, typer.Option(metavar="ID", help="The conversation that it belongs to.")]
Budget = Annotated[int | None, typer.Option(min=50, help="Tokens of the block at most; default: the settings'.")]
MaxAge = Annotated[
    str | None, typer.Option(metavar="SPAN", help="Wait until all that is read is no older than this, e.g. 5s.")
]
MinPosition = Annotated[
    str | None, typer.Option(metavar="POSITION", help="Wait until everything up to this position of --source is in.")
]
Source = Annotated[str, typer.Option(help="The source that the position is of; default: the only one.")]
Wait = Annotated[str, typer.Option(metavar="SPAN", help="How long to wait for that before refusing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, as the server serves it.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(context)
    app.command()(answer)


def context(
    question: Question,
    email: Email = "",
    person: Person = "",
    realm: Realm = "",
    audience: Audience = ["public"],  # noqa: B006  # Typer copies it
    table: Tables = None,
    conversation: Conversation = "",
    budget: Budget = None,
    max_age: MaxAge = None,
    min_position: MinPosition = None,
    source: Source = "",
    wait: Wait = "5s",
    block: Annotated[bool, typer.Option("--block", help="Print only the block that goes into the prompt.")] = False,
    as_json: AsJson = False,
) -> None:
    """Assemble what a model should know about a question and who asks it: each piece with its source and age.

    Example: headrace context "is my flight CRV204 on time?" --email anna@example.org
    """
    from events.clock import system_clock

    settings = load()
    with _service(settings) as service:
        caller = _caller(settings, email, person, realm, tuple(audience))
        demand = demanded(max_age, min_position, source, wait) if max_age or min_position else None
        served = service.context(caller, _request(question, conversation, budget, table, demand))
        if block:
            typer.echo(served.context.block)
        elif as_json:
            sys.stdout.buffer.write(served.body + b"\n")
        else:
            from rich.console import Console

            from serving.show_context import context_view

            Console().print(context_view(served.context, system_clock()))


def answer(
    question: Question,
    email: Email = "",
    person: Person = "",
    realm: Realm = "",
    audience: Audience = ["public"],  # noqa: B006  # Typer copies it
    table: Tables = None,
    conversation: Conversation = "",
    budget: Budget = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Answer a question from its context, with citations: by the model of serving.answer, or without one.

    Example: headrace answer "what does it cost to change my booking?" --email anna@example.org
    """
    import asyncio

    settings = load()
    with _service(settings) as service:
        caller = _caller(settings, email, person, realm, tuple(audience))
        asyncio.run(_answer(service, caller, _request(question, conversation, budget, table, None), as_json=as_json))


async def _answer(service: Service, caller: Caller, request: ContextRequest, *, as_json: bool) -> None:
    from rich.console import Console

    from serving.answer.show import show
    from serving.printable import json_text
    from serving.service import Given, Served, given_json
    from serving.show_context import sources_view

    contexts: list[Context] = []
    ends: list[Given] = []

    async def parts() -> AsyncIterator[AnswerPart]:
        async for part in service.answer(caller, request):
            if isinstance(part, Served):
                contexts.append(part.context)
            elif isinstance(part, Given):
                ends.append(part)
            else:
                yield part

    await show(parts(), (lambda _: None) if as_json else _write)
    if as_json:
        typer.echo(json_text(given_json(ends[0])))
    else:
        _write("\n\n")
        Console().print(sources_view(contexts[0], ends[0].answer))
    await service.aclose()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@contextmanager
def _service(settings: Settings) -> Iterator[Service]:
    from serving.service import Service

    service = Service.of(settings)
    try:
        yield service
    finally:
        service.close()


def _caller(settings: Settings, email: str, person: str, realm: str, audiences: tuple[str, ...]) -> Caller:
    from serving.access.caller import local
    from serving.profiles import Profiles

    if not email and not person:
        return local(audiences=audiences)
    lookup = lookup_of({"--email": email, "--person": person}, settings.profiles, realm)
    found = Profiles.of(settings).find(lookup).profile
    return local(found.person, found.realm, audiences)


def _request(
    question: str, conversation: str, budget: int | None, tables: list[str] | None, demand: Demand | None
) -> ContextRequest:
    from serving.context.request import ContextRequest

    return ContextRequest(
        question=question,
        conversation=conversation,
        budget_tokens=budget,
        tables=tuple(tables) if tables else None,
        demand=demand,
    )
