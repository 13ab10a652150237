"""Commands that show persons: their profile, why two things are one person, and what is suspect.

Whoever may read the data folder may run them: they show a person's data, and of identifiers that many share the count
of records, never whose they are.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from events.clock import system_clock
from events.errors import HeadraceError
from serving.commands.tables import MinPosition, Source, Wait, demanded
from serving.lookups import Lookup, anything, by_identifier, by_normaliser, by_type
from stores.profile_settings import ProfilesSettings
from stores.settings import load

if TYPE_CHECKING:
    from rich.console import RenderableType

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document for other programs.")]
Realm = Annotated[str, typer.Option(help="Only in this realm; default: in all.")]
MaxAge = Annotated[
    str | None, typer.Option(metavar="SPAN", help="Wait until the profiles are no older than this, e.g. 5s.")
]
Graph = Annotated[Path | None, typer.Option(metavar="FILE", help="Also draw it: a file ending in .html, .svg or .png.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(profile)
    app.command()(explain)
    app.command()(suspects)


def profile(
    person: Annotated[
        str, typer.Argument(metavar="[PERSON]", help="Id, alias, address, number, TYPE:VALUE or a record.")
    ] = "",
    email: Annotated[str, typer.Option(metavar="ADDRESS", help="By e-mail address.")] = "",
    phone: Annotated[str, typer.Option(metavar="NUMBER", help="By phone number.")] = "",
    loyalty: Annotated[str, typer.Option(metavar="NUMBER", help="By loyalty number.")] = "",
    identifier: Annotated[str, typer.Option(metavar="TYPE:VALUE", help="By any identifier.")] = "",
    record: Annotated[str, typer.Option(metavar="KEY", help="By SOURCE/TABLE/KEY, or NAME/KEY.")] = "",
    realm: Realm = "",
    provenance: Annotated[
        bool, typer.Option("--provenance", help="Show where each value is from, and what else is said.")
    ] = False,
    graph: Graph = None,
    max_age: MaxAge = None,
    min_position: MinPosition = None,
    source: Source = "",
    wait: Wait = "5s",
    as_json: AsJson = False,
) -> None:
    """Show the profile of the person that an address, a number, a record or an id leads to.

    Example: headrace profile --email anna@example.org --provenance
    """
    from serving.profile_document import document
    from serving.profiles import Profiles

    settings = load()
    profiles = Profiles.of(settings)
    given = {
        "PERSON": person,
        "--email": email,
        "--phone": phone,
        "--loyalty": loyalty,
        "--identifier": identifier,
        "--record": record,
    }
    lookup = lookup_of(given, settings.profiles, realm)
    _check_picture(graph)
    found = profiles.find(lookup, demanded(max_age, min_position, source, wait))
    if as_json:
        _print_json(document(found, profiles.name_of))
    else:
        from serving.show_profile import profile_view

        _print(profile_view(found, profiles.name_of, provenance=provenance))
    if graph is not None:
        from serving.draw_person.save import picture, save

        save(picture(profiles, [found.profile.person], found.profile.person), graph)


def explain(
    a: Annotated[str, typer.Argument(metavar="A", help="Id, alias, address, number, TYPE:VALUE or a record.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    realm: Realm = "",
    graph: Graph = None,
    max_age: MaxAge = None,
    min_position: MinPosition = None,
    source: Source = "",
    wait: Wait = "5s",
    as_json: AsJson = False,
) -> None:
    """Show why two records are one person, step by step, or what keeps them apart.

    Example: headrace explain customers/4711 email:anna@example.org
    """
    from serving.profile_document import explained
    from serving.profiles import Profiles

    settings = load()
    profiles = Profiles.of(settings)
    _check_picture(graph)
    lookups = [anything(text, settings.profiles, realm) for text in (a, b)]
    explanation = profiles.explain(lookups[0], lookups[1], demanded(max_age, min_position, source, wait))
    now = profiles.clock()
    if as_json:
        _print_json(explained(explanation, now, profiles.name_of))
    else:
        from serving.show_profile import explanation_view

        _print(explanation_view(explanation, profiles.name_of, now))
    if graph is not None:
        from serving.draw_person.save import picture, save

        title = f"{a} and {b}: {'one person' if explanation.together else 'not one person'}"
        save(picture(profiles, explanation.persons, title, explanation.nodes), graph)


def suspects(
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many of each kind at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List identifiers that too many records share, and persons that would be too large.

    Identifiers are shown whole: whoever is to correct them at their source, or to block them, needs them.
    """
    from serving.profile_document import suspected
    from serving.profiles import Profiles

    found = Profiles.of(load(), system_clock).suspects(limit)
    if as_json:
        _print_json(suspected(found))
    else:
        from serving.show_profile import suspects_view

        _print(suspects_view(found))


def lookup_of(given: dict[str, str], profiles: ProfilesSettings, realm: str) -> Lookup:
    """Return the look-up that one of the options asks for.

    :arg given: By option, what was typed; empty where it was not given.
    :raises HeadraceError: When it is not exactly one, or means nothing.
    """
    named = {option: text for option, text in given.items() if text}
    if len(named) != 1:
        detail = f"{' and '.join(named)} are given, one is enough" if named else "it is not clear which person"
        raise HeadraceError(detail, "give one of --email, --phone, --loyalty, --identifier, --record or an id")
    (option, text), *_ = named.items()
    if option in {"--email", "--phone"}:
        return by_normaliser(option.removeprefix("--"), text, profiles, realm)
    if option == "--loyalty":
        return by_type("loyalty", text, profiles, realm)
    if option == "--identifier":
        return by_identifier(text, profiles, realm)
    return Lookup("record", text, (), realm) if option == "--record" else anything(text, profiles, realm)


def _check_picture(path: Path | None) -> None:
    if path is not None:
        from serving.draw_person.save import check

        check(path)


def _print(drawn: RenderableType) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200).print(drawn)


def _print_json(value: object) -> None:
    from serving.printable import json_text

    typer.echo(json_text(value))
