"""Commands that let applications in: their keys, and tokens of persons for trying things out.

Whoever may write into the data folder may run them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from events.clock import system_clock, to_iso
from stores.settings import load

if TYPE_CHECKING:
    from serving.access.keys import StoredKey

keys = typer.Typer(
    help="""Keys by which applications ask over HTTP and MCP: create, list and remove them.

    Example: headrace keys create shop-assistant --scope context --scope feedback --audience staff --days 90""",
    no_args_is_help=True,
)

_SCOPES = (
    "What it may do: context, answer, search, profiles, tables, kpis, alerts, feedback, freshness, letters; "
    "tokens: say who a person is; all: everything but tokens. Again for more."
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
Audience = Annotated[
    list[str] | None,
    typer.Option(metavar="LABEL", help="A label whose documents and tables it may see, beside public. Again for more."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.add_typer(keys, name="keys")
    app.command()(token)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The application, such as shop-assistant.")],
    scope: Annotated[list[str], typer.Option(metavar="SCOPE", help=_SCOPES)],
    audience: Audience = None,
    days: Annotated[
        float | None, typer.Option(metavar="N", help="Good for so many days; default: until removed.")
    ] = None,
) -> None:
    """Make a key and print it: this once, as only its hash is kept.

    Example: headrace keys create shop-assistant --scope context --scope feedback

    A key with the scope tokens opens every person's data: it is for the part that knows who has signed in.
    """
    from serving.access.keys import Keys, scopes_of

    key = Keys(load().keys_path).create(name, scopes_of(scope), audience or (), days=days)
    typer.echo(key)
    typer.echo(f"This is the key of {name}. Keep it: it is not shown again.", err=True)


@keys.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the keys, oldest first; without what is secret."""
    from serving.access.keys import Keys

    found, now = Keys(load().keys_path).list(), system_clock()
    if as_json:
        from serving.printable import json_text

        typer.echo(json_text([_plain(key, now) for key in found]))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("name", "begins", "scopes", "audiences", "made", "good until", box=None, header_style="bold")
    for key in found:
        until = "removed" if key.expires_at is None else to_iso(key.expires_at)[:16] + "Z"
        ended = " (over)" if key.expired(now) else ""
        made = to_iso(key.created_at)[:10]
        labels = escape(", ".join(key.audiences))
        table.add_row(key.name, f"hr_{key.id}_…", ", ".join(key.scopes), labels, made, until + ended)
    console = Console()
    console.print(table if found else "There are no keys. `headrace keys create NAME --scope context` makes one.")


@keys.command()
def remove(name: Annotated[str, typer.Argument(metavar="NAME", help="As `headrace keys list` names it.")]) -> None:
    """End a key: running servers refuse it from the next request on."""
    from serving.access.keys import Keys

    Keys(load().keys_path).remove(name)
    typer.echo(f"the key of {name} has ended")


def token(
    person: Annotated[
        str, typer.Option(metavar="WHO", help="Id, alias, address, number, TYPE:VALUE or a record.")
    ] = "",
    email: Annotated[str, typer.Option(metavar="ADDRESS", help="By e-mail address.")] = "",
    phone: Annotated[str, typer.Option(metavar="NUMBER", help="By phone number.")] = "",
    loyalty: Annotated[str, typer.Option(metavar="NUMBER", help="By loyalty number.")] = "",
    identifier: Annotated[str, typer.Option(metavar="TYPE:VALUE", help="By any identifier.")] = "",
    record: Annotated[str, typer.Option(metavar="KEY", help="By SOURCE/TABLE/KEY, or NAME/KEY.")] = "",
    realm: Annotated[str, typer.Option(help="Only in this realm; default: in all.")] = "",
    audience: Audience = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="N", help="Good for so many minutes; default: serving.token_minutes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign a token for a person, to try things out as that person: whoever holds it sees that person's data.

    Example: TOKEN=$(headrace token --email anna@example.org)

    Then: curl -H "Authorization: Bearer $KEY" -H "Headrace-Person: $TOKEN" http://127.0.0.1:8080/profiles/me

    An application has tokens signed over HTTP, by POST /tokens, for people of whom it has made sure.
    """
    from serving.access.tokens import Tokens
    from serving.commands.profile import lookup_of
    from serving.profiles import Profiles

    settings = load()
    profiles = Profiles.of(settings)
    given = {
        "--person": person,
        "--email": email,
        "--phone": phone,
        "--loyalty": loyalty,
        "--identifier": identifier,
        "--record": record,
    }
    found = profiles.find(lookup_of(given, settings.profiles, realm)).profile
    tokens = Tokens(settings, system_clock)
    signed = tokens.sign(found.person, found.realm, audience or (), minutes)
    if as_json:
        from serving.printable import json_text

        claims = tokens.read(signed.token)
        beside = {"person": claims.person, "realm": claims.realm, "audiences": claims.audiences}
        typer.echo(json_text({"token": signed.token, **beside, "expires_at": to_iso(signed.expires_at)}))
        return
    typer.echo(signed.token)
    typer.echo(f"This is a token of {found.person}, good until {to_iso(signed.expires_at)}.", err=True)


def _plain(key: StoredKey, now: int) -> dict[str, object]:
    return {
        "name": key.name,
        "id": key.id,
        "scopes": key.scopes,
        "audiences": key.audiences,
        "created_at": to_iso(key.created_at),
        "expires_at": None if key.expires_at is None else to_iso(key.expires_at),
        "expired": key.expired(now),
    }
