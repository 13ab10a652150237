"""The command that serves models that use tools, over standard input and output."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from events.clock import system_clock
from events.errors import HeadraceError
from stores.settings import Settings, load

if TYPE_CHECKING:
    from serving.access.caller import Caller

Audience = Annotated[list[str], typer.Option("--audience", "-a", help="Label of the asker; may be repeated.")]
PERSON_TOKEN = "HEADRACE_PERSON_TOKEN"  # noqa: S105  # the variable's name
"""Variable with the token of the person that asks: arguments can be seen by every user of the machine."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(mcp)


def mcp(
    email: Annotated[str, typer.Option(metavar="ADDRESS", help="Who asks, by e-mail address.")] = "",
    person: Annotated[
        str, typer.Option(metavar="PERSON", help="Who asks: id, number, TYPE:VALUE or a record; default: nobody.")
    ] = "",
    realm: Annotated[str, typer.Option(help="The realm of the person; default: any.")] = "",
    audience: Audience = ["public"],  # noqa: B006  # Typer copies it
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Take no feedback, and neither keep contexts nor tell the log of them.")
    ] = False,
) -> None:
    """Serve the Model Context Protocol on standard input and output, for a program that starts this command.

    Its tools: get_context, search_knowledge, get_profile, query_table, give_feedback. A running headrace serve has
    the same for others at /mcp. With a token in HEADRACE_PERSON_TOKEN, of headrace token, it asks for that person.

    Example, in the settings of such a program:
    {"command": "headrace", "args": ["mcp", "--email", "anna@example.org"], "cwd": "/where/headrace.toml/is"}
    """
    # Taken out: it is no setting, and nothing that is started from here needs it.
    token = os.environ.pop(PERSON_TOKEN, "")
    settings = load()
    who = _who(settings, token, {"--email": email, "--person": person}, realm, tuple(audience))
    from serving.mcp.stdio import serve
    from serving.service import Service

    serve(Service.of(settings), who, read_only=read_only)


def _who(
    settings: Settings, token: str, given: dict[str, str], realm: str, audiences: tuple[str, ...]
) -> Callable[[], Caller]:
    from serving.access.caller import local

    if token:
        if any(given.values()):
            detail = f"{PERSON_TOKEN} and {' and '.join(name for name in given if given[name])} are given"
            raise HeadraceError(detail, "one of them is enough")
        return _by_token(settings, token)
    if not any(given.values()):
        caller = local(audiences=audiences)
    else:
        from serving.commands.profile import lookup_of
        from serving.profiles import Profiles

        found = Profiles.of(settings).find(lookup_of(given, settings.profiles, realm)).profile
        caller = local(found.person, found.realm, audiences)
    return lambda: caller


def _by_token(settings: Settings, token: str) -> Callable[[], Caller]:
    from serving.access.caller import PUBLIC, local
    from serving.access.tokens import Tokens

    tokens = Tokens(settings, system_clock)

    def who() -> Caller:
        claims = tokens.read(token)
        return local(claims.person, claims.realm, tuple(dict.fromkeys((PUBLIC, *claims.audiences))))

    who()
    return who
